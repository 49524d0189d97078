"""A student as a folder that translates without fairseq: what is in it, and what that costs."""

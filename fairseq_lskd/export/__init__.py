"""Export a student to a folder that translates without fairseq, and measure its size, speed and quality."""

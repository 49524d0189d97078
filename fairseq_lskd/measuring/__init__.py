"""Measure fairseq's models on fairseq's data, for `analysis`, which does not depend on fairseq."""

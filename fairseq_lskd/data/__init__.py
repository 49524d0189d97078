"""Corpora, cleaning, subword vocabularies, binarised data, and a generated bitext with known probabilities."""

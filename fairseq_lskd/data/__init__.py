"""Bitext: a generated one whose truth is known, checks of one on disk, and its subword vocabulary."""

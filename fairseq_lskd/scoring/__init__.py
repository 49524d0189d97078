"""Scores with signatures and provenance, and tables of them."""

from .metrics import score_corpus
from .table import format_table

__all__ = ["format_table", "score_corpus"]

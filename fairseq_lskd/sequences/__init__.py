"""Sequence-level data: the teacher's translations, in corpus order, weighed and mixed with references."""

from .harvest import Hypothesis, harvest
from .weights import SequenceWeights

__all__ = ["Hypothesis", "SequenceWeights", "harvest"]

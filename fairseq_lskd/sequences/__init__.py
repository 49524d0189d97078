"""Sequence-level training data: a teacher's translations, filtered, weighted and mixed with references."""

from .harvest import Hypothesis, harvest
from .weights import SequenceWeights

__all__ = ["Hypothesis", "SequenceWeights", "harvest"]

"""The criterions, registered with fairseq on import."""

from . import _resuming, _training
from .label_smoothed_teacher import LabelSmoothedTeacherCriterion
from .seq_kd import SeqKDCriterion
from .word_kd import WordKDCriterion

_resuming.watch()
_training.watch()

__all__ = ["LabelSmoothedTeacherCriterion", "SeqKDCriterion", "WordKDCriterion"]

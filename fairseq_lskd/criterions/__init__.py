"""The criterions, registered with fairseq on import."""

from .label_smoothed_teacher import LabelSmoothedTeacherCriterion
from .seq_kd import SeqKDCriterion
from .word_kd import WordKDCriterion

__all__ = ["LabelSmoothedTeacherCriterion", "SeqKDCriterion", "WordKDCriterion"]

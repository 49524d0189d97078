"""Losses on plain tensors for any PyTorch program, without fairseq."""

from .calibration import BINS, PredictionSums, prediction_sums
from .divergence import (
    DIVERGENCES,
    Divergence,
    Parameters,
    adaptive_kl,
    alpha_divergence,
    divergence,
    forward_kl,
    jensen_shannon,
    mix_log_probs,
    reverse_kl,
    skewed_forward_kl,
    skewed_reverse_kl,
    symmetric_kl,
    temper,
    total_variation,
)
from .fused import TokenLosses, fused_loss
from .hidden import HIDDEN, HiddenTerm
from .mixture import MEAN, Mixture
from .objective import Objective, teacher_loss
from .projection import Projection
from .ranking import ranking_loss
from .sampled import Draws, Sampled, choose_head, draw
from .schedule import SCHEDULES, Schedule
from .selection import loss_threshold, push
from .smoothing import count_types, negative_log_likelihood, smoothed_cross_entropy, smoothing_term, unigram_prior
from .topk import RESTS, TopK, top_k

__all__ = [
    "BINS",
    "DIVERGENCES",
    "HIDDEN",
    "MEAN",
    "RESTS",
    "SCHEDULES",
    "Divergence",
    "Draws",
    "HiddenTerm",
    "Mixture",
    "Objective",
    "Parameters",
    "PredictionSums",
    "Projection",
    "Sampled",
    "Schedule",
    "TokenLosses",
    "TopK",
    "adaptive_kl",
    "alpha_divergence",
    "choose_head",
    "count_types",
    "divergence",
    "draw",
    "forward_kl",
    "fused_loss",
    "jensen_shannon",
    "loss_threshold",
    "mix_log_probs",
    "negative_log_likelihood",
    "prediction_sums",
    "push",
    "ranking_loss",
    "reverse_kl",
    "skewed_forward_kl",
    "skewed_reverse_kl",
    "smoothed_cross_entropy",
    "smoothing_term",
    "symmetric_kl",
    "teacher_loss",
    "temper",
    "top_k",
    "total_variation",
    "unigram_prior",
]

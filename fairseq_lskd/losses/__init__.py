"""Losses on plain tensors, usable from any PyTorch program; nothing here knows fairseq."""

from .calibration import BINS, PredictionSums, prediction_sums
from .divergence import forward_kl, mix_log_probs, temper
from .smoothing import smoothed_cross_entropy, smoothing_terms, unigram_prior

__all__ = [
    "BINS",
    "PredictionSums",
    "forward_kl",
    "mix_log_probs",
    "prediction_sums",
    "smoothed_cross_entropy",
    "smoothing_terms",
    "temper",
    "unigram_prior",
]

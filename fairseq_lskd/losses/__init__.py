"""Losses on plain tensors, usable from any PyTorch program; nothing here knows fairseq."""

from .calibration import BINS, PredictionSums, prediction_sums
from .divergence import forward_kl, mix_log_probs, temper
from .smoothing import negative_log_likelihood, smoothed_cross_entropy, smoothing_term, unigram_prior

__all__ = [
    "BINS",
    "PredictionSums",
    "forward_kl",
    "mix_log_probs",
    "negative_log_likelihood",
    "prediction_sums",
    "smoothed_cross_entropy",
    "smoothing_term",
    "temper",
    "unigram_prior",
]

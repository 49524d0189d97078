"""What the criterions share: fairseq's forward and reduce contract, with smoothing and the student's own metrics."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from torch import Tensor

from ..errors import exit_on_user_error
from ..losses import (
    BINS,
    negative_log_likelihood,
    prediction_sums,
    smoothed_cross_entropy,
    smoothing_term,
    unigram_prior,
)
from ._options import check_smoothing, raise_for

logger = logging.getLogger(__name__)


class TranslationCriterion(FairseqCriterion):
    """Smoothed cross-entropy of a translation model; a subclass adds its teacher as a `divergence`.

    Sums are returned, with `sample_size` as the denominator: fairseq averages, once. Perplexity is
    the model's own on the tokens that count. On validation it also logs accuracy (%), entropy
    (bits a token) and expected calibration error of the model's predictions.
    """

    NAME: str

    def __init__(self, cfg: Any, task: Any):
        super().__init__(task)
        self.cfg = cfg
        self._prior: Tensor | None = None

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        """What is wrong with the options, a line each."""
        return check_smoothing(cfg)

    @classmethod
    def build_criterion(cls, cfg: Any, task: Any) -> TranslationCriterion:
        with exit_on_user_error(f"--criterion {cls.NAME}"):
            raise_for(cls.check(cfg))
            return cls(cfg, task)
        raise AssertionError  # not reached: the context returns or exits

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        """The loss of a batch.

        Returns:
            `(loss, sample_size, logging_output)`; loss is a sum in nats ([] if `reduce`, else a value a
            target token), sample_size the number of sentences (`--sentence-avg`) or target tokens.
        """
        log_probs = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
        # Columns, not rows: views that keep the batch's shape [B, T, K] and [B, T].
        log_probs, target = self._drop_prefix(log_probs), self._drop_prefix(sample["target"])
        ignore = target.eq(self.padding_idx)
        weights = self.token_weights(sample, target)

        def total(values: Tensor) -> Tensor:
            values = values if weights is None else values * weights
            return values.sum() if reduce else values.reshape(-1)

        nll = negative_log_likelihood(log_probs, target, ignore)
        loss = total(nll)
        if self.cfg.label_smoothing > 0:
            smooth = total(smoothing_term(log_probs, ignore, self._smoothing_prior(log_probs.device)))
            loss = smoothed_cross_entropy(loss, smooth, self.cfg.label_smoothing, log_probs.size(-1), self._uniform)
        sample_size = self.sample_size(sample, weights)
        logging_output: dict[str, Any] = {
            "nll_loss": nll.detach().sum(),
            "nll_tokens": (~ignore).sum(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
        }
        divergence = self.divergence(model, sample, log_probs, ignore)
        if divergence is not None:
            kd_loss = total(divergence)
            logging_output["kd_loss"] = kd_loss.detach().sum()
            loss = (1 - self.cfg.kd_weight) * loss + self.cfg.kd_weight * kd_loss
        logging_output["loss"] = loss.detach().sum()
        if not self.training:
            logging_output.update(self._predictions(log_probs.detach(), target, ignore))
        return loss, sample_size, logging_output

    # What a subclass may change.

    def token_weights(self, sample: dict[str, Any], target: Tensor) -> Tensor | None:
        """A weight a target token, broadcastable to `[B, T]`; None is 1 everywhere."""
        return None

    def sample_size(self, sample: dict[str, Any], weights: Tensor | None) -> Any:
        """The denominator of the gradient: as fairseq has it, whatever the prefix."""
        return sample["target"].size(0) if self.cfg.sentence_avg else sample["ntokens"]

    def divergence(self, model: Any, sample: dict[str, Any], log_probs: Tensor, ignore: Tensor) -> Tensor | None:
        """`[B, T]`, the teacher's part of the loss, which has the share `kd_weight`; None without a teacher."""
        return None

    # The rest is private.

    @property
    def _uniform(self) -> bool:
        return str(self.cfg.smoothing_prior) == "uniform"

    def _drop_prefix(self, columns: Tensor) -> Tensor:
        return columns[:, self.cfg.ignore_prefix_size :]

    def _smoothing_prior(self, device: torch.device) -> Tensor | None:
        """`[K]` unigram probabilities of the training target, counted once, at the first batch."""
        if self._uniform:
            return None
        if self._prior is None:
            self._prior = unigram_prior(self._count_training_target())
        self._prior = self._prior.to(device)
        return self._prior

    def _count_training_target(self) -> Tensor:
        split = getattr(self.task.cfg, "train_subset", "train")
        if split not in self.task.datasets:  # fairseq-validate
            self.task.load_dataset(split)
        targets = self.task.dataset(split).tgt
        logger.info(f"counting the target tokens of {len(targets):,} training sentences for the unigram prior")
        classes = len(self.task.target_dictionary)
        counts = torch.zeros(classes, dtype=torch.long)
        for start in range(0, len(targets), 10_000):
            block = torch.cat([targets[i] for i in range(start, min(start + 10_000, len(targets)))])
            counts += torch.bincount(block.long(), minlength=classes)
        counts[self.padding_idx] = 0
        return counts

    @staticmethod
    def _predictions(log_probs: Tensor, target: Tensor, ignore: Tensor) -> dict[str, Any]:
        sums = prediction_sums(log_probs.flatten(0, 1), target.flatten(), ignore.flatten())
        # Scalars, since that is what fairseq can sum over workers.
        gaps = {f"gap_{i}": gap for i, gap in enumerate(sums.gaps)}
        return {"total": sums.tokens, "n_correct": sums.correct, "entropy": sums.entropy, **gaps}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log sums over workers as averages: losses in bits, as fairseq has them."""

        def total(key: str) -> Any:
            return sum(utils.item(log.get(key, 0)) for log in logging_outputs)

        def log_bits(key: str, value: float, count: float) -> None:
            # A batch whose every target is masked has nothing to average.
            metrics.log_scalar(key, value / count / math.log(2) if count else 0.0, count, round=3)

        log_bits("loss", total("loss"), total("sample_size"))
        log_bits("nll_loss", total("nll_loss"), total("nll_tokens"))
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        if any("kd_loss" in log for log in logging_outputs):
            log_bits("kd_loss", total("kd_loss"), total("sample_size"))
        if total("total") > 0:
            log_bits("entropy", total("entropy"), total("total"))
            metrics.log_scalar_sum("_total", total("total"))
            metrics.log_scalar_sum("_n_correct", total("n_correct"))
            for i in range(BINS):
                metrics.log_scalar_sum(f"_gap_{i}", total(f"gap_{i}"))
            metrics.log_derived("accuracy", lambda m: round(100 * m["_n_correct"].sum / m["_total"].sum, 3))
            metrics.log_derived(
                "ece", lambda m: round(sum(abs(m[f"_gap_{i}"].sum) for i in range(BINS)) / m["_total"].sum, 5)
            )

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True

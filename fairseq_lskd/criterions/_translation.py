"""What the criterions share: fairseq's forward and reduce contract, with smoothing and the student's own metrics."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from torch import Tensor

from ..errors import UserError, exit_on_user_error
from ..losses import (
    BINS,
    PredictionSums,
    Projection,
    fused_loss,
    negative_log_likelihood,
    prediction_sums,
    smoothed_cross_entropy,
    smoothing_term,
    unigram_prior,
)
from ..models import log_probs, places, project, why_not_projected
from ._options import check_smoothing, raise_for

logger = logging.getLogger(__name__)

#: Tokens whose distributions are looked at together on validation.
PREDICTION_ROWS = 256


class Seen(NamedTuple):
    """What validation logs of a batch's predictions, as sums."""

    predictions: PredictionSums
    classes: Tensor | None  #: sums over classes, any shape


class Terms(NamedTuple):
    """The loss of a batch and its parts, in nats."""

    loss: Tensor  #: [], or a value a target token where the sum was not asked for
    nll: Tensor  #: any shape, to be summed over tokens
    kd: Tensor | None  #: likewise, the teacher's part, weighted as the sentences are
    seen: Seen | None  #: on validation


def per_token(weights: Tensor | None, counts: Tensor, rows: Tensor) -> Tensor:
    """`[N]` float32: the weight, given as `[B, 1]`, of each token that counts; `rows`, `[N]`, are their places."""
    if weights is None:
        return torch.ones_like(rows, dtype=torch.float32)
    return weights.expand_as(counts).flatten()[rows]


def _numbers(logging_outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with numbers for tensors of one, all of them fetched from the GPU at once: each waits for it."""
    held = [(log, key) for log in logging_outputs for key, value in log.items() if _is_on_gpu(value)]
    if not held:
        return logging_outputs
    # In float64, which has every float32 and every count of tokens.
    values = torch.stack([log[key].reshape(()).double() for log, key in held]).tolist()
    found = [dict(log) for log in logging_outputs]
    copies = {id(log): copy for log, copy in zip(logging_outputs, found, strict=True)}
    for (log, key), value in zip(held, values, strict=True):
        copies[id(log)][key] = value
    return found


def _is_on_gpu(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_cuda and value.numel() == 1


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
        self._said = False

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
        target = sample["target"]
        counts = target.ne(self.padding_idx)
        counts[:, : self.cfg.ignore_prefix_size] = False
        weights = self.token_weights(sample)
        fused = reduce and self._fuses(model)
        terms = (
            self.fused(model, sample, counts, weights) if fused else self.plain(model, sample, counts, weights, reduce)
        )
        sample_size = self.sample_size(sample, weights)
        logging_output: dict[str, Any] = {
            "loss": terms.loss.detach().sum(),
            "nll_loss": terms.nll.detach().sum(),
            "nll_tokens": counts.sum(),
            "ntokens": sample["ntokens"],
            "nsentences": target.size(0),
            "sample_size": sample_size,
        }
        if terms.kd is not None:
            logging_output["kd_loss"] = terms.kd.detach().sum()
        if terms.seen is not None:
            tokens, correct, entropy, gaps = terms.seen.predictions
            logging_output.update(total=tokens, n_correct=correct, entropy=entropy)
            logging_output.update((f"gap_{i}", gap) for i, gap in enumerate(gaps))
            if terms.seen.classes is not None:
                logging_output["classes"] = terms.seen.classes
        return terms.loss, sample_size, logging_output

    # What a subclass may change. `counts` is [B, T] bool: the tokens that have a loss, N of them.

    def token_weights(self, sample: dict[str, Any]) -> Tensor | None:
        """A weight a sentence, `[B, 1]`; None is 1 everywhere."""
        return None

    def sample_size(self, sample: dict[str, Any], weights: Tensor | None) -> Any:
        """The denominator of the gradient: as fairseq has it, whatever the prefix."""
        return sample["target"].size(0) if self.cfg.sentence_avg else sample["ntokens"]

    def why_not_fused(self, model: Any) -> str | None:
        """Why the fused form does not apply; None if it does."""
        return why_not_projected(model)

    def fused(self, model: Any, sample: dict[str, Any], counts: Tensor, weights: Tensor | None) -> Terms:
        """The loss from hidden states, a chunk of tokens at a time."""
        rows = self.places(sample, counts)
        student, target = project(model, sample["net_input"], rows), sample["target"].flatten()[rows]
        found = fused_loss(student, target, per_token(weights, counts, rows), **self.smoothing(target.device))
        return Terms(found.loss, found.nll, None, self.predictions(student, target))

    def plain(
        self, model: Any, sample: dict[str, Any], counts: Tensor, weights: Tensor | None, reduce: bool = True
    ) -> Terms:
        """The loss from whole log-probabilities; with `reduce`, to the last bit what fairseq makes of them."""
        # Columns, not rows: views that keep the batch's shape [B, T, K] and [B, T].
        columns = slice(self.cfg.ignore_prefix_size, None)
        student = log_probs(model, sample["net_input"])[:, columns]
        target, ignore = sample["target"][:, columns], ~counts[:, columns]

        def total(values: Tensor) -> Tensor:
            values = values if weights is None else values * weights
            return values.sum() if reduce else values.reshape(-1)

        nll = negative_log_likelihood(student, target, ignore)
        loss, (alpha, prior) = total(nll), self.smoothing(target.device).values()
        if alpha > 0:
            smooth = total(smoothing_term(student, ignore, prior))
            loss = smoothed_cross_entropy(loss, smooth, alpha, student.size(-1), prior is None)
        taught = self.plain_teacher_loss(model, sample, counts, student, nll.detach())
        kd = None if taught is None else total(taught)
        if kd is not None:
            loss = self.label_share * loss + self.cfg.kd_weight * kd
        seen = None
        if not self.training:
            rows = student.detach().flatten(0, 1), target.flatten(), ignore.flatten()
            seen = Seen(prediction_sums(*rows), self.class_sums(*rows))
        return Terms(loss, nll, kd, seen)

    def class_sums(self, log_probs: Tensor, target: Tensor, ignore: Tensor) -> Tensor | None:
        """Further sums of what is predicted, on validation: log_probs `[N, K]`, target `[N]`, ignore `[N]` bool."""
        return None

    def plain_teacher_loss(
        self, model: Any, sample: dict[str, Any], counts: Tensor, student: Tensor, nll: Tensor
    ) -> Tensor | None:
        """`[B, T]`, the teacher's part of the loss, which has the share `kd_weight`; None without a teacher.

        Args:
            student: `[B, T, K]`, log-probabilities, the prefix left out; nll: `[B, T]`, likewise.
        """
        return None

    # What subclasses use.

    def places(self, sample: dict[str, Any], counts: Tensor) -> Tensor:
        """`[N]` int64: where the tokens that count are in the flattened batch."""
        # fairseq's collater has counted them on the CPU, the prefix included.
        return places(counts, sample["ntokens"] if self.cfg.ignore_prefix_size == 0 else None)

    def smoothing(self, device: torch.device) -> dict[str, Any]:
        """The arguments `label_smoothing` and `prior` of the losses."""
        alpha = self.cfg.label_smoothing
        return {"label_smoothing": alpha, "prior": self._smoothing_prior(device) if alpha else None}

    @torch.no_grad()
    def predictions(self, student: Projection, target: Tensor) -> Seen | None:
        """What the student's predictions look like, on validation."""
        if self.training:
            return None
        parts, classes = [], []
        for rows in torch.arange(len(target), device=target.device).split(PREDICTION_ROWS) or (slice(0),):
            hidden, weight, bias = student.rows(rows)
            scores = F.log_softmax(F.linear(hidden, weight, bias), dim=-1, dtype=torch.float32)
            labels = target[rows]
            nothing = torch.zeros_like(labels, dtype=torch.bool)
            parts.append(prediction_sums(scores, labels, nothing))
            classes.append(self.class_sums(scores, labels, nothing))
        sums = None if classes[0] is None else sum(part for part in classes if part is not None)
        return Seen(PredictionSums(*(sum(parts) for parts in zip(*parts, strict=True))), sums)  # type: ignore[arg-type]

    # The rest is private.

    def _fuses(self, model: Any) -> bool:
        form = str(self.cfg.loss_form)
        if form == "plain":
            return False
        why = self.why_not_fused(model)
        if why is not None and form == "fused":
            with exit_on_user_error(f"--criterion {self.NAME}"):
                raise UserError(f"--loss-form fused: {why}; --loss-form auto takes the plain form where it must")
        if why is not None and not self._said:
            logger.warning(f"the loss is computed on whole [tokens x vocabulary] tensors: {why}")
            self._said = True
        return why is None

    @property
    def _uniform(self) -> bool:
        return str(self.cfg.smoothing_prior) == "uniform"

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
            with exit_on_user_error(f"--criterion {self.NAME}"):
                try:
                    self.task.load_dataset(split, combine=True)
                except FileNotFoundError as error:
                    raise UserError(
                        f"--smoothing-prior unigram is counted on the split {split}, which is not there ({error}). To "
                        "validate without it: --model-overrides \"{'label_smoothing': 0.0}\""
                    ) from None
        targets = self.task.dataset(split).tgt
        logger.info(f"counting the target tokens of {len(targets):,} training sentences for the unigram prior")
        classes = len(self.task.target_dictionary)
        counts = torch.zeros(classes, dtype=torch.long)
        for start in range(0, len(targets), 10_000):
            block = torch.cat([targets[i] for i in range(start, min(start + 10_000, len(targets)))])
            counts += torch.bincount(block.long(), minlength=classes)
        counts[self.padding_idx] = 0
        return counts

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log sums over workers as averages: losses in bits, as fairseq has them."""
        logging_outputs = _numbers(logging_outputs)

        def total(key: str) -> Any:
            return sum(utils.item(log.get(key, 0)) for log in logging_outputs)

        def log_bits(key: str, value: float, count: float) -> None:
            # A batch whose every target is masked has nothing to average.
            metrics.log_scalar(key, value / count / math.log(2) if count else 0.0, count, round=3)

        log_bits("loss", total("loss"), total("sample_size"))
        # On the student's own translations there is none.
        if total("nll_tokens") or not any("on_policy_tokens" in log for log in logging_outputs):
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

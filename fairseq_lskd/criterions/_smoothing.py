"""The base class of all criterions: fairseq's interface, label smoothing, and validation metrics of the model."""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from torch import Tensor

from ..errors import UserError, exit_on_user_error
from ..losses import BINS, count_types, prediction_sums, unigram_prior
from ..models import why_not_left_to_right, why_not_projected
from ..teachers.compatibility import task_name
from ..teachers.languages import OF_PAIRS, options_of, pairs_of
from ._batch import Batch
from ._checks import check_smoothing, raise_for
from ._forms import Distributions, Fused, Plain, Terms, compute

logger = logging.getLogger(__name__)


def _fetch_scalars(logging_outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace one-element GPU tensors by numbers, in one transfer, because each transfer waits for the GPU."""
    held = [(log, key) for log in logging_outputs for key, value in log.items() if _is_on_gpu(value)]
    if not held:
        return logging_outputs
    # float64 represents every float32 and every token count exactly.
    values = torch.stack([log[key].reshape(()).double() for log, key in held]).tolist()
    copies = {id(log): dict(log) for log in logging_outputs}
    for (log, key), value in zip(held, values, strict=True):
        copies[id(log)][key] = value
    return [copies[id(log)] for log in logging_outputs]


def _is_on_gpu(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_cuda and value.numel() == 1


def _total(logs: list[dict[str, Any]], key: str) -> Any:
    return sum(utils.item(log.get(key, 0)) for log in logs)


def log_mean(
    logs: list[dict[str, Any]], key: str, count: str, name: str | None = None, unit: float = 1.0, digits: int = 4
) -> None:
    """Log the sum of a key over the sum of a count, as `name` (default: the key) and in a unit."""
    value, weight = _total(logs, key), _total(logs, count)
    # The count is 0 if every target is masked.
    metrics.log_scalar(name or key, value / weight / unit if weight else 0.0, weight, round=digits)


def check_left_to_right(model: Any) -> None:
    """Raise a `UserError` if a student does not predict one token after the other."""
    if why := why_not_left_to_right(model):
        raise UserError(
            f"{why}, but this loss predicts the next token. Distil the student at sequence level: translate with a "
            "teacher (lskd translate), build training data (lskd select), and train with fairseq's "
            "--criterion nat_loss"
        )


class SmoothingCriterion(FairseqCriterion):
    """Smoothed cross-entropy of a translation model. A subclass extends `describe`.

    Losses are sums, and fairseq divides them by `sample_size`. Perplexity is the model's own, on the tokens that
    have a loss. Validation also logs accuracy (%), entropy (bits per token) and expected calibration error of the
    model's predictions.
    """

    NAME: str

    def __init__(self, cfg: Any, task: Any):
        super().__init__(task)
        self.cfg = cfg
        self._prior: Tensor | None = None
        self._warned = False
        self.pairs = pairs_of(task) if task_name(options_of(task)) in OF_PAIRS else []
        if self.pairs and cfg.label_smoothing and str(cfg.smoothing_prior) != "uniform":
            raise UserError(
                f"--smoothing-prior {cfg.smoothing_prior} needs the training target of one language pair, but --task "
                f"{task_name(options_of(task))} has several. Use --smoothing-prior uniform"
            )

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        """Return the problems with the options, one message each."""
        return check_smoothing(cfg)

    @classmethod
    def build_criterion(cls, cfg: Any, task: Any) -> SmoothingCriterion:
        with exit_on_user_error(f"--criterion {cls.NAME}"):
            raise_for(cls.check(cfg))
            return cls(cfg, task)
        raise AssertionError  # not reached: the context returns or exits

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        """Compute the loss of a batch.

        Returns:
            `(loss, sample_size, logging_output)`. The loss is a sum in nats with `reduce`, else one value per target
            token. `sample_size` is the number of sentences with `--sentence-avg`, else of target tokens.
        """
        with exit_on_user_error(f"--criterion {self.NAME}"):
            batch = self.describe(model, sample)
            form = Fused() if reduce and self._fuses(model) else Plain(reduce)
            terms = compute(form, model, batch)
            logging_output = self.logging_output(batch, terms)
            if not self.training:
                logging_output |= self._validation(terms.distributions)
            return terms.loss, batch.sample_size, logging_output
        raise AssertionError  # not reached: the context returns or exits

    def describe(self, model: Any, sample: dict[str, Any]) -> Batch:
        """Return the description of fairseq's batch from which the loss is computed.

        Raises:
            UserError: if the model is not autoregressive.
        """
        check_left_to_right(model)
        target, prefix, alpha = sample["target"], self.cfg.ignore_prefix_size, self.cfg.label_smoothing
        mask = target.ne(self.padding_idx)
        mask[:, :prefix] = False
        return Batch(
            net_input=sample["net_input"],
            target=target,
            mask=mask,
            padding=self.padding_idx,
            prefix=prefix,
            ntokens=sample["ntokens"],
            # As in fairseq, the prefix counts.
            sample_size=target.size(0) if self.cfg.sentence_avg else sample["ntokens"],
            label_smoothing=alpha,
            prior=self._smoothing_prior(target.device) if alpha else None,
        )

    def logging_output(self, batch: Batch, terms: Terms) -> dict[str, Any]:
        """Return the sums that fairseq adds up over batches and workers."""
        found = {
            "loss": terms.loss.detach().sum(),
            "nll_loss": terms.nll.detach().sum(),
            "nll_tokens": batch.mask.sum(),
            "ntokens": batch.ntokens,
            "nsentences": batch.target.size(0),
            "sample_size": batch.sample_size,
        }
        return found if terms.kd is None else {**found, "kd_loss": terms.kd.detach().sum()}

    def statistics(self, log_probs: Tensor, target: Tensor, ignore: Tensor) -> dict[str, Tensor]:
        """Return validation statistics of predictions `[n, K]` for targets `[n]`, as sums over tokens."""
        return prediction_sums(log_probs, target, ignore)._asdict()

    def why_not_fused(self, model: Any) -> str | None:
        """Return the reason why the fused form does not apply; None if it does."""
        return why_not_projected(model)

    @torch.no_grad()
    def _validation(self, distributions: Distributions) -> dict[str, Any]:
        """Return the sums of `statistics` over a batch, under the names in which they are logged."""
        parts = [self.statistics(*some) for some in distributions]
        sums: dict[str, Any] = {key: sum(part[key] for part in parts) for key in parts[0]}
        found = {"total": sums.pop("tokens"), "n_correct": sums.pop("correct"), "entropy": sums.pop("entropy")}
        return {**found, **{f"gap_{i}": gap for i, gap in enumerate(sums.pop("gaps"))}, **sums}

    def _fuses(self, model: Any) -> bool:
        form = str(self.cfg.loss_form)
        if form == "plain":
            return False
        why = self.why_not_fused(model)
        if why is not None and form == "fused":
            raise UserError(f"--loss-form fused: {why}. Use --loss-form auto, which falls back to the plain form")
        if why is not None and not self._warned:
            logger.warning(f"the loss is computed on whole [tokens x vocabulary] tensors: {why}")
            self._warned = True
        return why is None

    def _smoothing_prior(self, device: torch.device) -> Tensor | None:
        """Return the unigram probabilities of the training target, `[K]`, or None for the uniform prior."""
        if str(self.cfg.smoothing_prior) == "uniform":
            return None
        if self._prior is None:
            self._prior = unigram_prior(self._count_training_target())
        self._prior = self._prior.to(device)
        return self._prior

    def _count_training_target(self) -> Tensor:
        split = getattr(self.task.cfg, "train_subset", "train")
        if split not in self.task.datasets:  # fairseq-validate
            try:
                self.task.load_dataset(split, combine=True)
            except FileNotFoundError as error:
                raise UserError(
                    f"--smoothing-prior unigram needs the split {split}, which was not found ({error}). To validate "
                    "without it: --model-overrides \"{'label_smoothing': 0.0}\""
                ) from None
        targets = self.task.dataset(split).tgt
        logger.info(f"counting the target tokens of {len(targets):,} training sentences")
        return count_types(targets, range(len(targets)), len(self.task.target_dictionary), self.padding_idx)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log averages of the sums over workers. Losses are in bits, as in fairseq."""
        logging_outputs = _fetch_scalars(logging_outputs)
        total = functools.partial(_total, logging_outputs)
        log_bits = functools.partial(log_mean, logging_outputs, unit=math.log(2), digits=3)
        # If no word was decoded, fairseq logs no BLEU, and then cannot choose the best checkpoint by BLEU.
        if any("_bleu_totals_0" in log for log in logging_outputs) and not total("_bleu_totals_0"):
            metrics.log_derived("bleu", _bleu)
        log_bits("loss", "sample_size")
        # Batches with the student's own translations have no labels.
        if total("nll_tokens") or not any("on_policy_tokens" in log for log in logging_outputs):
            log_bits("nll_loss", "nll_tokens")
            metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        if any("kd_loss" in log for log in logging_outputs):
            log_bits("kd_loss", "sample_size")
        if total("total") > 0:
            log_bits("entropy", "total")
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


def _bleu(meters: Any) -> float:
    """Return the BLEU of all batches as fairseq's translation task computes it, or 0 if no word was decoded."""
    if "_bleu_totals" not in meters:
        return 0.0
    from sacrebleu.metrics import BLEU  # needed only with --eval-bleu

    found = BLEU.compute_bleu(
        correct=[int(each) for each in meters["_bleu_counts"].sum],
        total=[int(each) for each in meters["_bleu_totals"].sum],
        sys_len=int(meters["_bleu_sys_len"].sum),
        ref_len=int(meters["_bleu_ref_len"].sum),
        smooth_method="exp",
    )
    return round(found.score, 2)

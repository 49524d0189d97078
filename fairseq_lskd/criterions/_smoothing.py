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

from ..errors import UserError, exit_on_user_error
from ..losses import BINS, count_types, prediction_sums, unigram_prior
from ..models import why_not_left_to_right, why_not_projected
from ..teachers.compatibility import task_name
from ..teachers.languages import OF_PAIRS, options_of, pairs_of
from ._batch import Batch
from ._forms import Distributions, Fused, Plain, Terms, compute
from ._options import check_smoothing, raise_for

logger = logging.getLogger(__name__)


def _numbers(logging_outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with numbers for tensors of one, all of them fetched from the GPU at once: each waits for it."""
    held = [(log, key) for log in logging_outputs for key, value in log.items() if _is_on_gpu(value)]
    if not held:
        return logging_outputs
    # In float64, which has every float32 and every count of tokens.
    values = torch.stack([log[key].reshape(()).double() for log, key in held]).tolist()
    copies = {id(log): dict(log) for log in logging_outputs}
    for (log, key), value in zip(held, values, strict=True):
        copies[id(log)][key] = value
    return [copies[id(log)] for log in logging_outputs]


def _is_on_gpu(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_cuda and value.numel() == 1


class SmoothingCriterion(FairseqCriterion):
    """Smoothed cross-entropy of a translation model. A subclass adds to what `describe` says of a batch.

    Sums are returned, with `sample_size` as the denominator: fairseq averages, once. Perplexity is
    the model's own on the tokens that have a loss. On validation it also logs accuracy (%), entropy
    (bits a token) and expected calibration error of the model's predictions.
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
                f"--smoothing-prior {cfg.smoothing_prior} counts the target of one pair, and --task "
                f"{task_name(options_of(task))} has several: expected uniform"
            )

    @classmethod
    def check(cls, cfg: Any) -> list[str]:
        """What is wrong with the options, a line each."""
        return check_smoothing(cfg)

    @classmethod
    def build_criterion(cls, cfg: Any, task: Any) -> SmoothingCriterion:
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
        """All that the loss needs to know of fairseq's batch, the student's and the teacher's outputs aside.

        Raises:
            UserError: if the model does not predict one token after the other.
        """
        if why := why_not_left_to_right(model):
            raise UserError(
                f"{why}, and this loss is of a next token. Distil such a student at sequence level: translate with a "
                "teacher (lskd translate), build training data (lskd select), and train with fairseq's "
                "--criterion nat_loss"
            )
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
            # As fairseq has it, whatever the prefix.
            sample_size=target.size(0) if self.cfg.sentence_avg else sample["ntokens"],
            label_smoothing=alpha,
            prior=self._smoothing_prior(target.device) if alpha else None,
        )

    def logging_output(self, batch: Batch, terms: Terms) -> dict[str, Any]:
        """Sums that fairseq adds up over batches and workers."""
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
        """What validation logs of the student's predictions `[n, K]`, as sums over some tokens, `[n]`."""
        return prediction_sums(log_probs, target, ignore)._asdict()

    def why_not_fused(self, model: Any) -> str | None:
        """Why the fused form does not apply; None if it does."""
        return why_not_projected(model)

    # The rest is private.

    @torch.no_grad()
    def _validation(self, distributions: Distributions) -> dict[str, Any]:
        """The sums of `statistics` over a batch, as they are logged."""
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
            raise UserError(f"--loss-form fused: {why}; --loss-form auto takes the plain form where it must")
        if why is not None and not self._warned:
            logger.warning(f"the loss is computed on whole [tokens x vocabulary] tensors: {why}")
            self._warned = True
        return why is None

    def _smoothing_prior(self, device: torch.device) -> Tensor | None:
        """`[K]` unigram probabilities of the training target, counted once, at the first batch."""
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
                    f"--smoothing-prior unigram is counted on the split {split}, which is not there ({error}). To "
                    "validate without it: --model-overrides \"{'label_smoothing': 0.0}\""
                ) from None
        targets = self.task.dataset(split).tgt
        logger.info(f"counting the target tokens of {len(targets):,} training sentences")
        return count_types(targets, range(len(targets)), len(self.task.target_dictionary), self.padding_idx)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log sums over workers as averages: losses in bits, as fairseq has them."""
        logging_outputs = _numbers(logging_outputs)

        def total(key: str) -> Any:
            return sum(utils.item(log.get(key, 0)) for log in logging_outputs)

        def log_bits(key: str, value: float, count: float) -> None:
            # A batch whose every target is masked has nothing to average.
            metrics.log_scalar(key, value / count / math.log(2) if count else 0.0, count, round=3)

        # fairseq logs no BLEU where nothing was decoded, and then has nothing to choose the best checkpoint by.
        if any("_bleu_totals_0" in log for log in logging_outputs) and not total("_bleu_totals_0"):
            metrics.log_derived("bleu", _bleu)
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


def _bleu(meters: Any) -> float:
    """The BLEU of all batches, as fairseq's translation task has it: 0 where none has a word."""
    if "_bleu_totals" not in meters:
        return 0.0
    from sacrebleu.metrics import BLEU  # only where BLEU is validated

    found = BLEU.compute_bleu(
        correct=[int(each) for each in meters["_bleu_counts"].sum],
        total=[int(each) for each in meters["_bleu_totals"].sum],
        sys_len=int(meters["_bleu_sys_len"].sum),
        ref_len=int(meters["_bleu_ref_len"].sum),
        smooth_method="exp",
    )
    return round(found.score, 2)

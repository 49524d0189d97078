"""The divergence of models from the known distribution of a generated bitext, and how smoothing changes it.

A generated bitext is drawn from a distribution p(y | x), and `log p` of every sentence is known. The mean of
`log p(y | x) - log q(y | x)` over sentences is an unbiased estimate of KL(p || q) for a model q. In the difference of
two models on the same sentences p cancels, so that small effects are visible. If words are split into pieces, a model's
probability is that of one segmentation, and the estimate is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..lines import read_lines
from .bootstrap import DRAWS, Interval, interval, resampled_ratios
from .document import Picture, Section, Table
from .style import figure, look, styled


@dataclass(frozen=True)
class Divergence:
    """KL(truth || model) in nats, with intervals over sentences."""

    per_sentence: Interval
    per_token: Interval


@dataclass(frozen=True)
class Change:
    """The KL of a smoothed model minus that of a model without smoothing, on the same sentences."""

    per_sentence: Interval
    per_token: Interval
    share: Interval  #: change divided by the KL of the model without smoothing

    @property
    def verdict(self) -> str:
        """The effect of smoothing on the divergence: `added`, `removed` or `undecided`."""
        return {1: "added", -1: "removed", 0: "undecided"}[self.per_sentence.sign]


def truth_path(folder: Path, split: str) -> Path:
    """Return the path of the truth of a split in a folder of `lskd generate`.

    Raises:
        UserError: if the file does not exist.
    """
    path = folder / f"truth.{split}.tsv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a folder that `lskd generate` wrote")
    return path


def read_log_probs(folder: Path, split: str) -> Tensor:
    """Read the true log-probability of every sentence of a split, `[N]` float64, nats, in corpus order.

    Args:
        folder: folder of `lskd generate` with truth.SPLIT.tsv.
        split: name of the split.

    Raises:
        UserError: if the file does not exist or is invalid.
    """
    path = truth_path(folder, split)
    try:
        header, *lines = read_lines(path)
        column = header.split("\t").index("log_prob")
        found = torch.tensor([float(line.split("\t")[column]) for line in lines], dtype=torch.float64)
    except UserError:
        raise
    except (ValueError, IndexError):
        raise UserError(f"{path}: expected a column log_prob of numbers, as written by `lskd generate`") from None
    if not len(found) or not bool(found.isfinite().all()):
        raise UserError(f"{path}: expected one finite log-probability per sentence")
    return found


def divergence(truth: Tensor, model: Tensor, tokens: Tensor, draws: int = DRAWS) -> Divergence:
    """Estimate KL(truth || model) on sentences drawn from the truth.

    Args:
        truth: `[N]`, log-probabilities of the sentences by the true distribution, nats.
        model: `[N]`, those of the same sentences by the model.
        tokens: `[N]`, number of tokens of each sentence.
        draws: number of resamples.
    """
    gap = truth.double() - model.double()
    return Divergence(_mean(gap, torch.ones_like(gap), draws), _mean(gap, tokens.double(), draws))


def change(truth: Tensor, plain: Tensor, smoothed: Tensor, tokens: Tensor, draws: int = DRAWS) -> Change:
    """Estimate the change of the KL by smoothing; arguments as for `divergence`."""
    more, before = plain.double() - smoothed.double(), truth.double() - plain.double()
    return Change(
        _mean(more, torch.ones_like(more), draws), _mean(more, tokens.double(), draws), _mean(more, before, draws)
    )


def _mean(values: Tensor, sizes: Tensor, draws: int) -> Interval:
    ratio = (values.sum() / sizes.sum()).item()
    return interval(ratio, resampled_ratios(values[:, None], sizes, draws)[:, 0])


def section(
    models: Mapping[str, Tensor], tokens: Tensor, truth: Tensor, pairs: Sequence[tuple[str, str]] = ()
) -> Section:
    """Return the section on the divergence of models from the truth, and how smoothing changes it.

    Args:
        models: name -> log-probabilities of the split's sentences, `[N]`, nats, in corpus order, as
            `scoring.sentences.sentence_log_probs` returns them.
        tokens: `[N]`, number of target tokens of each sentence, with the end of sentence.
        truth: `[N]`, the output of `read_log_probs`.
        pairs: names of (not smoothed, smoothed) models to compare.

    Raises:
        UserError: if the numbers of sentences differ, a log-probability is infinite or NaN, or there is no model.
    """
    _check(models, tokens, truth)
    found = {name: divergence(truth, log_probs, tokens) for name, log_probs in models.items()}
    changes = {pair: change(truth, models[pair[0]], models[pair[1]], tokens) for pair in pairs}
    rows = [(name, *_ends(each.per_sentence), *_ends(each.per_token)) for name, each in found.items()]
    more = [
        (plain, smoothed, *_ends(c.per_sentence), *_ends(c.per_token), *_ends(c.share, 100), c.verdict)
        for (plain, smoothed), c in changes.items()
    ]
    # Names are unique, because they are the keys of a row in numbers.json.
    names = [name for unit in ("per sentence", "per token") for name in (unit, f"{unit}, 95 % from", f"{unit}, to")]
    caption = f"KL(truth || model) in nats, on {len(truth):,} sentences with {int(tokens.sum()):,} tokens."
    tables = [Table("truth", caption, ["model", *names], rows)]
    if more:
        caption = "Change of the KL by smoothing in nats, on the same sentences."
        share = ["% of the KL", "% of the KL, 95 % from", "% of the KL, to"]
        tables.append(Table("truth_changes", caption, ["not smoothed", "smoothed", *names, *share, "smoothing"], more))
    return Section(
        "The truth",
        list(_words(found, changes, truth)),
        tables,
        [Picture("truth", "KL(truth || model) with 95 % intervals over sentences.", _draw(found), "truth")],
    )


def _check(models: Mapping[str, Tensor], tokens: Tensor, truth: Tensor) -> None:
    if not models:
        raise UserError("expected models to compare with the truth, found none")
    problems = []
    for name, values in {"the tokens of the split": tokens, **models}.items():
        if values.shape != truth.shape:
            problems.append(
                f"{name}: found {len(values):,} sentences, expected {len(truth):,} as in the truth: use the same split"
            )
        elif not bool(values.isfinite().all()):
            bad = int((~values.isfinite()).nonzero()[0]) + 1
            problems.append(
                f"{name}: the log-probability of sentence {bad} is {values[bad - 1].item()}, expected a finite number"
            )
    if problems:
        raise UserError("\n  ".join(problems))


def _ends(found: Interval, factor: float = 1) -> list[float | None]:
    return [None if math.isnan(end) else round(factor * end, 4) for end in (found.value, found.low, found.high)]


def _words(found: Mapping[str, Divergence], changes: Mapping[tuple[str, str], Change], truth: Tensor) -> Iterator[str]:
    best = min(found, key=lambda name: found[name].per_sentence.value)
    yield (
        f"{best} is nearest to the truth, with a KL divergence of {found[best].per_sentence.shown()} nats per sentence "
        f"({found[best].per_token.shown(3)} per token). The entropy of the truth is {-truth.mean().item():.2f} nats "
        "per sentence: it is the lowest possible negative log-likelihood."
    )
    for (plain, smoothed), c in changes.items():
        did = {"added": "increased", "removed": "decreased", "undecided": "did not significantly change"}[c.verdict]
        yield (
            f"Smoothing {did} the divergence from the truth ({smoothed} compared with {plain}): "
            f"{c.per_sentence.shown(sign=True)} nats per sentence, {c.per_token.shown(4, sign=True)} per token, "
            f"{c.share.shown(1, sign=True, factor=100)} %."
        )
    if changes:
        yield "The intervals are over sentences. They do not cover the variation between seeds."


@styled
def _draw(found: Mapping[str, Divergence]) -> Any:
    drawn = figure(6.0, 0.9 + 0.35 * len(found))
    panel = drawn.subplots()
    for place, each in enumerate(found.values()):
        kl = each.per_sentence
        error = None if math.isnan(kl.low) else [[kl.value - kl.low], [kl.high - kl.value]]
        panel.errorbar([kl.value], [place], xerr=error, capsize=3, linestyle="none", **look(place))
    panel.set_yticks(range(len(found)), list(found))
    panel.invert_yaxis()
    panel.margins(y=0.25)
    panel.set_xlabel("KL(truth || model), nats per sentence")
    return drawn

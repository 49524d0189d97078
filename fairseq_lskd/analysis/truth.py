"""How far models are from a truth that is known, and how much of that smoothing removed or added.

A generated bitext is drawn from p(y | x), of which every sentence's `log p` is known. So the mean over its sentences of
`log p(y | x) - log q(y | x)` estimates KL(p || q) of a model q, without bias. Between two models p cancels, and the
difference is of the same sentences: small effects show. Where words are cut into pieces, a model's probability is that
of one way to cut them, and its KL an upper bound.
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
from .style import COLOURS, MARKERS, figure, styled


@dataclass(frozen=True)
class Divergence:
    """KL(truth || model) with its interval over sentences, in nats."""

    per_sentence: Interval
    per_token: Interval


@dataclass(frozen=True)
class Change:
    """KL of the smoothed model minus that of the other, over the same sentences; above 0: smoothing added some."""

    per_sentence: Interval
    per_token: Interval
    share: Interval  #: of the other's KL

    @property
    def verdict(self) -> str:
        """What smoothing did to the divergence, by the interval: `added`, `removed` or `undecided`."""
        return {1: "added", -1: "removed", 0: "undecided"}[self.per_sentence.sign]


def truth_path(folder: Path, split: str) -> Path:
    """Where `lskd generate` writes the truth of a split.

    Raises:
        UserError: if it is not there.
    """
    path = folder / f"truth.{split}.tsv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; the truth is known of a bitext that `lskd generate` wrote, of no other")
    return path


def read_log_probs(folder: Path, split: str) -> Tensor:
    """`[N]` float64, nats: the truth's log-probability of every sentence of a split, in corpus order.

    Args:
        folder: what `lskd generate` wrote, with truth.SPLIT.tsv.

    Raises:
        UserError: if it is not there, or not that.
    """
    path = truth_path(folder, split)
    try:
        header, *lines = read_lines(path)
        column = header.split("\t").index("log_prob")
        found = torch.tensor([float(line.split("\t")[column]) for line in lines], dtype=torch.float64)
    except UserError:
        raise
    except (ValueError, IndexError):
        raise UserError(f"{path}: expected a column log_prob of numbers, as `lskd generate` writes it") from None
    if not len(found) or not bool(found.isfinite().all()):
        raise UserError(f"{path}: expected finite log-probabilities, one a sentence")
    return found


def divergence(truth: Tensor, model: Tensor, tokens: Tensor, draws: int = DRAWS) -> Divergence:
    """KL(truth || model), estimated on sentences drawn from the truth.

    Args:
        truth, model: `[N]`, log-probabilities of the same sentences, nats; tokens: `[N]`, their tokens.
    """
    gap = truth.double() - model.double()
    return Divergence(_mean(gap, torch.ones_like(gap), draws), _mean(gap, tokens.double(), draws))


def change(truth: Tensor, plain: Tensor, smoothed: Tensor, tokens: Tensor, draws: int = DRAWS) -> Change:
    """What smoothing did to the KL; arguments as for `divergence`."""
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
    """Each model's KL to the truth, and what smoothing did to it.

    Args:
        models: name -> `[N]` log-probabilities (nats) of the split's sentences, in corpus order, as
            `scoring.sentences.sentence_log_probs` gives them.
        tokens: `[N]`, target tokens of each, the end of the sentence included.
        truth: `[N]`, as `read_log_probs` gives it.
        pairs: (not smoothed, smoothed) names of models that differ in their teacher's smoothing.

    Raises:
        UserError: if the numbers of sentences differ, a sentence has no probability, or NaN, or there is no model.
    """
    _check(models, tokens, truth)
    found = {name: divergence(truth, log_probs, tokens) for name, log_probs in models.items()}
    changes = {pair: change(truth, models[pair[0]], models[pair[1]], tokens) for pair in pairs}
    rows = [(name, *_ends(each.per_sentence), *_ends(each.per_token)) for name, each in found.items()]
    more = [
        (plain, smoothed, *_ends(c.per_sentence), *_ends(c.per_token), *_ends(c.share, 100), c.verdict)
        for (plain, smoothed), c in changes.items()
    ]
    ends = ["95 % from", "to"]
    tables = [
        Table("truth", f"KL(truth || model) on {len(truth):,} sentences, {int(tokens.sum()):,} tokens, in nats.",
              ["model", "a sentence", *ends, "a token", *ends], rows)
    ]  # fmt: skip
    if more:
        caption = "What smoothing did to the KL, in nats; the same sentences under both models."
        header = ["not smoothed", "smoothed", "a sentence", *ends, "a token", *ends, "% of the KL", *ends, "smoothing"]
        tables.append(Table("truth_changes", caption, header, more))
    return Section(
        "The truth",
        list(_words(found, changes, truth)),
        tables,
        [Picture("truth", "KL(truth || model) with 95 % intervals over sentences.", _draw(found), "truth")],
    )


def _check(models: Mapping[str, Tensor], tokens: Tensor, truth: Tensor) -> None:
    if not models:
        raise UserError("no model was named, of which to measure the distance from the truth")
    problems = []
    for name, values in {"the tokens of the split": tokens, **models}.items():
        if values.shape != truth.shape:
            problems.append(
                f"{name}: {len(values):,} sentences, where the truth knows {len(truth):,}: is it another split?"
            )
        elif not bool(values.isfinite().all()):
            bad = int((~values.isfinite()).nonzero()[0]) + 1
            problems.append(
                f"{name}: the log-probability of sentence {bad} is {values[bad - 1].item()}: a broken model?"
            )
    if problems:
        raise UserError("\n  ".join(problems))


def _ends(found: Interval, factor: float = 1) -> list[float | None]:
    return [None if math.isnan(end) else round(factor * end, 4) for end in (found.value, found.low, found.high)]


def _words(found: Mapping[str, Divergence], changes: Mapping[tuple[str, str], Change], truth: Tensor) -> Iterator[str]:
    best = min(found, key=lambda name: found[name].per_sentence.value)
    yield (
        f"Nearest to the truth is {best}: {found[best].per_sentence.shown()} nats a sentence, "
        f"{found[best].per_token.shown(3)} a token. The truth itself has an entropy of "
        f"{-truth.mean().item():.2f} nats a sentence, which no model can be without."
    )
    for (plain, smoothed), c in changes.items():
        did = {"added": "added to", "removed": "removed from", "undecided": "cannot be seen to have changed"}[c.verdict]
        yield (
            f"Smoothing {did} the distance from the truth ({smoothed} against {plain}): "
            f"{c.per_sentence.shown(sign=True)} nats a sentence, {c.per_token.shown(4, sign=True)} a token, "
            f"{c.share.shown(1, sign=True, factor=100)} %."
        )
    if changes:
        yield "The intervals are over sentences: another seed of the training may say something else."


@styled
def _draw(found: Mapping[str, Divergence]) -> Any:
    drawn = figure(6.0, 0.9 + 0.35 * len(found))
    panel = drawn.subplots()
    for place, each in enumerate(found.values()):
        kl = each.per_sentence
        error = None if math.isnan(kl.low) else [[kl.value - kl.low], [kl.high - kl.value]]
        looks: Any = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        panel.errorbar([kl.value], [place], xerr=error, capsize=3, linestyle="none", **looks)
    panel.set_yticks(range(len(found)), list(found))
    panel.invert_yaxis()
    panel.margins(y=0.25)
    panel.set_xlabel("KL(truth || model), nats a sentence")
    return drawn

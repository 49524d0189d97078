"""Training curves of teachers and students, and the claims of Shen et al. (ICLR 2021), Figures 5 to 7, about them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.bootstrap import Interval
from ..analysis.document import Picture, Section, Table
from ..analysis.intervals import series_interval, t_interval, verdict
from ..analysis.style import figure, line, styled
from ..commands import trains, without
from ..errors import UserError
from ..records.logs import Run, read_run

#: Subsets and metrics in the table of points, as far as the logs have them.
POINTS = (
    *(("train", metric) for metric in ("loss", "nll_loss", "kd_loss")),
    *(("valid", metric) for metric in ("loss", "nll_loss", "kd_loss", "accuracy", "entropy", "ece", "bleu")),
)


@dataclass(frozen=True)
class Question:
    """A claim about the difference of two curves: with a smoothed teacher minus with one that is not smoothed."""

    claim: str
    role: str
    subset: str
    metric: str
    positive: bool  #: whether the claim is that the difference is positive


QUESTIONS = (
    Question("a smoothed teacher has a worse validation perplexity", "teacher", "valid", "nll_loss", True),
    Question("a smoothed teacher has a better validation BLEU", "teacher", "valid", "bleu", True),
    Question(
        "the student of a smoothed teacher has a higher training distillation loss", "student", "train", "kd_loss", True
    ),
    Question(
        "the student of a smoothed teacher has a better validation perplexity", "student", "valid", "nll_loss", False
    ),
    Question(
        "the student of a smoothed teacher has a better validation accuracy", "student", "valid", "accuracy", True
    ),
    Question("the student of a smoothed teacher has a better validation BLEU", "student", "valid", "bleu", True),
)
#: Panels of the plot: title, role (None: unknown), subset, metric, label of the y axis.
PANELS = (
    ("Teachers, validation", "teacher", "valid", "nll_loss", "negative log-likelihood, bits per token"),
    ("Teachers, validation", "teacher", "valid", "bleu", "BLEU"),
    ("Students, training", "student", "train", "kd_loss", "distillation loss, bits per token"),
    ("Students, validation", "student", "valid", "nll_loss", "negative log-likelihood, bits per token"),
    ("Students, validation", "student", "valid", "accuracy", "accuracy, %"),
    ("Students, validation", "student", "valid", "bleu", "BLEU"),
    ("Training", None, "train", "nll_loss", "negative log-likelihood, bits per token"),
    ("Validation", None, "valid", "nll_loss", "negative log-likelihood, bits per token"),
)


@dataclass(frozen=True)
class Claim:
    """The answer to a question for one group: a method, a temperature, and a label smoothing compared with none."""

    question: Question
    group: str
    difference: Interval  #: difference of the means over the last third of training
    basis: str  #: the samples that the interval is computed over
    verdict: str


def answer(runs: Sequence[Run]) -> list[Claim]:
    """Answer every question for which there are pairs of runs.

    The runs of a pair have the same seed and differ only in the label smoothing of the teacher. With several pairs the
    interval is over pairs (Student's t). With one pair it is over the points of the curves (block bootstrap), and does
    not cover the variation between seeds.
    """
    found = []
    for question in QUESTIONS:
        for group, pairs in _pairs([run for run in runs if run.labels["role"] == question.role]).items():
            gaps = [gap for pair in pairs if (gap := _gap(*pair, question))]
            if not gaps:
                continue
            if len(gaps) > 1:
                difference = t_interval([math.fsum(gap) / len(gap) for gap in gaps])
                basis = f"{len(gaps)} pairs of runs"
            else:
                difference, basis = series_interval(gaps[0]), f"{len(gaps[0])} points of the curves, one pair of runs"
            found.append(Claim(question, group, difference, basis, verdict(difference, question.positive)))
    return found


#: Options that may differ between the runs of a pair.
_OWN = ("--save-dir", "--teacher-path", "--teacher-cache", "--sequence-weights", "--seed")


def _pairs(runs: Sequence[Run]) -> dict[str, list[tuple[Run, Run]]]:
    """Return pairs (smoothed, not smoothed) that differ only in the teacher's smoothing, by the name of their group."""
    settings: dict[tuple[Any, ...], dict[float, dict[Any, Run]]] = {}
    for run in runs:
        smoothing = run.labels["teacher_smoothing"]
        if smoothing is None:
            continue
        labels = tuple(run.labels[name] for name in ("method", "temperature"))
        seeds = settings.setdefault((*labels, _setting(run)), {}).setdefault(float(smoothing), {})
        # Students of one seed may have teachers of different seeds: take the first.
        seeds.setdefault(run.labels["seed"], run)
    groups: dict[str, list[list[tuple[Run, Run]]]] = {}
    for (method, temperature, _), members in settings.items():
        plain = members.pop(0.0, {})
        for smoothing, smoothed in sorted(members.items()):
            name = "teachers" if method in (None, "none") else f"students, {method} level"
            name += f", T = {temperature}" if temperature is not None else ""
            if pairs := [(smoothed[seed], plain[seed]) for seed in smoothed if seed in plain]:
                groups.setdefault(f"{name}, smoothing {smoothing:g}", []).append(pairs)
    found = {}
    for name, alike in groups.items():
        for pairs in alike:
            # The settings of two groups may differ in something without a label, such as the data.
            found[name if len(alike) == 1 else f"{name}, {pairs[0][0].folder}"] = pairs
    return found


def _setting(run: Run) -> tuple[str, ...]:
    """Return the command without the options that may differ between the runs of a pair."""
    # A student's own label smoothing must be equal, a teacher's may differ.
    own = (*_OWN, "--label-smoothing") if run.labels["role"] == "teacher" else _OWN
    command = list(run.command)
    program = trains(command)
    # Students of different teachers train on different translations: leave out the data folder, the first argument.
    if program is not None and run.labels["method"] in ("sequence", "both"):
        data = command[program + 1 : program + 2]
        del command[program : program + 1 + (bool(data) and not data[0].startswith("-"))]
    return tuple(without(command, own))


def _gap(smoothed: Run, plain: Run, question: Question) -> list[float]:
    """Return the differences of two curves at the updates that both have, in the last third of training."""
    first, second = (run.curve(question.subset, question.metric) for run in (smoothed, plain))
    if first is None or second is None:
        return []
    values = dict(zip(second.updates, second.values, strict=True))
    common = [(u, value - values[u]) for u, value in zip(first.updates, first.values, strict=True) if u in values]
    return [gap for update, gap in common if update > common[-1][0] * 2 / 3]


def section(runs: Sequence[Path]) -> Section:
    """Return the section on the curves of training runs: claims, tables and plots.

    Args:
        runs: folders of `lskd run` (see `logs.find_runs`), or logs of fairseq-train. Logs have no labels, so that they
            take part in no claim.

    Raises:
        UserError: if any of `runs` cannot be read. The message lists all of them.
    """
    read, problems = [], []
    for path in runs:
        try:
            read.append(read_run(path))
        except UserError as error:
            problems.append(str(error))
    if problems or not read:
        raise UserError("\n  ".join(problems) or "expected training runs, found none")
    if len({run.name for run in read}) < len(read):
        read = [dataclasses.replace(run, name=str(path)) for run, path in zip(read, runs, strict=True)]
    claims = answer(read)
    points = [
        (run.name, subset, metric, update, value)
        for run in read
        for subset, metric in POINTS
        if (curve := run.curve(subset, metric))
        for update, value in zip(curve.updates, curve.values, strict=True)
    ]
    said = [
        (c.question.claim, c.group, c.difference.value, c.difference.low, c.difference.high, c.basis, c.verdict)
        for c in claims
    ]
    columns = ["claim", "group", "difference", "95 % from", "to", "interval over", "verdict"]
    caption = (
        "Difference with and without a smoothed teacher, mean over the last third of training (losses in bits per "
        "token, accuracy in %)."
    )
    return Section(
        "Training and validation curves",
        list(_words(claims)),
        [
            Table("curve_claims", caption, columns, said),
            Table("curves", "All points of the curves.", ["run", "subset", "metric", "update", "value"], points),
        ],
        [Picture("curves", "Training and validation curves.", _draw(read), "curves")],
    )


def _words(claims: Sequence[Claim]) -> Iterator[str]:
    if not claims:
        yield (
            "No claim is tested: no two of these runs differ only in their teacher's label smoothing, according to "
            "their run.json."
        )
        return
    for claim in claims:
        yield (
            f"{claim.question.claim[0].upper()}{claim.question.claim[1:]}: {claim.verdict} ({claim.group}; difference "
            f"{claim.difference.shown(3, sign=True)} over {claim.basis})."
        )
    if any(claim.question.metric == "kd_loss" for claim in claims):
        yield (
            "The distillation loss is a divergence: it is 0 if student and teacher agree. Programs that report the "
            "cross-entropy add the teacher's entropy, which smoothing raises."
        )


@styled
def _draw(runs: Sequence[Run]) -> Any:
    wanted = []
    for title, role, subset, metric, unit in PANELS:
        members = [run for run in runs if role in (None, run.labels["role"]) and run.curve(subset, metric)]
        # Runs with a known role are in the panels of that role.
        if role is None:
            members = [run for run in members if run.labels["role"] is None]
        if members:
            wanted.append((title, members, subset, metric, unit))
    if not wanted:
        raise UserError(
            "found no curve to plot; expected nll_loss or kd_loss in the logs, as this package's criterions write them"
        )
    columns = min(2, len(wanted))
    lines = math.ceil(len(wanted) / columns)
    looks = {run.name: line(index) | {"marker": None} for index, run in enumerate(runs)}
    drawn = figure(3.6 * columns, 2.9 * lines)
    panels = drawn.subplots(lines, columns, squeeze=False).ravel()
    for panel, (title, members, subset, metric, unit) in zip(panels, wanted, strict=False):
        seen = []
        for run in members:
            curve = run.curve(subset, metric)
            assert curve is not None
            panel.plot(curve.updates, curve.values, label=run.name, linewidth=1.2, **looks[run.name])
            seen += curve.values[len(curve.values) // 4 :]
        # The y range leaves out the first quarter, where losses are far higher.
        finite = [value for value in seen if math.isfinite(value)]
        if finite and max(finite) > min(finite):
            margin = 0.08 * (max(finite) - min(finite))
            panel.set_ylim(min(finite) - margin, max(finite) + margin)
        panel.set_title(title)
        panel.set_xlabel("updates")
        panel.set_ylabel(unit)
        panel.legend(fontsize=7)
    for panel in panels[len(wanted) :]:
        panel.set_axis_off()
    return drawn

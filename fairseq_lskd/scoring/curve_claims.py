"""Curves of teachers and students, and what they say of the paper's claims: Shen et al. (ICLR 2021), Fig. 5 to 7."""

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

#: What goes into the table of points, where a log has it: subset, metric.
POINTS = (
    *(("train", metric) for metric in ("loss", "nll_loss", "kd_loss")),
    *(("valid", metric) for metric in ("loss", "nll_loss", "kd_loss", "accuracy", "entropy", "ece", "bleu")),
)


@dataclass(frozen=True)
class Question:
    """A claim about two curves: that of the smoothed teacher (or its student) minus that of the other."""

    claim: str
    role: str
    subset: str
    metric: str
    positive: bool  #: whether the claim is that the difference is above 0


QUESTIONS = (
    Question("a smoothed teacher has the worse validation perplexity", "teacher", "valid", "nll_loss", True),
    Question("a smoothed teacher has the better validation BLEU", "teacher", "valid", "bleu", True),
    Question(
        "a smoothed teacher's student has the higher training distillation loss", "student", "train", "kd_loss", True
    ),
    Question(
        "a smoothed teacher's student has the better validation perplexity", "student", "valid", "nll_loss", False
    ),
    Question("a smoothed teacher's student has the better validation accuracy", "student", "valid", "accuracy", True),
    Question("a smoothed teacher's student has the better validation BLEU", "student", "valid", "bleu", True),
)
#: Panels of the picture, in their order: title, role (None: any), subset, metric, its unit.
PANELS = (
    ("Teachers, validation", "teacher", "valid", "nll_loss", "negative log-likelihood, bits a token"),
    ("Teachers, validation", "teacher", "valid", "bleu", "BLEU"),
    ("Students, training", "student", "train", "kd_loss", "distillation loss, bits a token"),
    ("Students, validation", "student", "valid", "nll_loss", "negative log-likelihood, bits a token"),
    ("Students, validation", "student", "valid", "accuracy", "accuracy, %"),
    ("Students, validation", "student", "valid", "bleu", "BLEU"),
    ("Training", None, "train", "nll_loss", "negative log-likelihood, bits a token"),
    ("Validation", None, "valid", "nll_loss", "negative log-likelihood, bits a token"),
)


@dataclass(frozen=True)
class Claim:
    """What the runs say of a question: for one method and temperature, one smoothing against none."""

    question: Question
    group: str
    difference: Interval  #: of the means over the last third of training
    basis: str  #: what the interval is over
    verdict: str


def answer(runs: Sequence[Run]) -> list[Claim]:
    """Every question that the runs can be asked, answered.

    A pair of runs differs in the smoothing of the teacher only; its seed is the same. With pairs of several seeds the
    interval is over seeds (Student's t); with one, it is over the points of the curves, a bootstrap in blocks, and says
    nothing about other seeds.
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
                difference, basis = series_interval(gaps[0]), f"one pair of runs, {len(gaps[0])} point(s) of its curves"
            found.append(Claim(question, group, difference, basis, verdict(difference, question.positive)))
    return found


#: Options that tell which teacher a run has, and where it is; the rest of two commands must be the same.
_OWN = ("--save-dir", "--teacher-path", "--teacher-cache", "--sequence-weights", "--seed")


def _pairs(runs: Sequence[Run]) -> dict[str, list[tuple[Run, Run]]]:
    """Pairs (smoothed, not) that differ in the teacher's smoothing alone, by a name of what they have in common."""
    settings: dict[tuple[Any, ...], dict[float, dict[Any, Run]]] = {}
    for run in runs:
        smoothing = run.labels["teacher_smoothing"]
        if smoothing is None:
            continue
        labels = tuple(run.labels[name] for name in ("method", "temperature"))
        seeds = settings.setdefault((*labels, _setting(run)), {}).setdefault(float(smoothing), {})
        # Of several with the same seed (and teachers of different seeds) the first is taken.
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
            # Settings may differ in something that no label tells, the data for example.
            found[name if len(alike) == 1 else f"{name}, {pairs[0][0].folder}"] = pairs
    return found


def _setting(run: Run) -> tuple[str, ...]:
    """The command, without what differs between runs that are to be compared."""
    # A student's own smoothing is not its teacher's.
    own = (*_OWN, "--label-smoothing") if run.labels["role"] == "teacher" else _OWN
    command = list(run.command)
    program = trains(command)
    # Students of the teacher's translations have data of their own: the first word that the program is given.
    if program is not None and run.labels["method"] in ("sequence", "both"):
        data = command[program + 1 : program + 2]
        del command[program : program + 1 + (bool(data) and not data[0].startswith("-"))]
    return tuple(without(command, own))


def _gap(smoothed: Run, plain: Run, question: Question) -> list[float]:
    """The difference of two curves at the updates that both have, in the last third of training."""
    first, second = (run.curve(question.subset, question.metric) for run in (smoothed, plain))
    if first is None or second is None:
        return []
    values = dict(zip(second.updates, second.values, strict=True))
    common = [(u, value - values[u]) for u, value in zip(first.updates, first.values, strict=True) if u in values]
    return [gap for update, gap in common if update > common[-1][0] * 2 / 3]


def section(runs: Sequence[Path]) -> Section:
    """The curves of these trainings, in pictures and numbers, and what they say.

    Args:
        runs: folders of runs (of `lskd run`; see `logs.find_runs`), or logs of fairseq-train alone, which have no
            label, so that nothing is claimed of them.

    Raises:
        UserError: for every one that is not, all at once.
    """
    read, problems = [], []
    for path in runs:
        try:
            read.append(read_run(path))
        except UserError as error:
            problems.append(str(error))
    if problems or not read:
        raise UserError("\n  ".join(problems) or "no run was named, of which to show the curves")
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
    columns = ["claim", "of", "difference", "95 % from", "to", "interval over", "verdict"]
    caption = "Smoothed minus not smoothed, mean of the last third of training (losses in bits a token, accuracy in %)."
    return Section(
        "Training and validation curves",
        list(_words(claims)),
        [
            Table("curve_claims", caption, columns, said),
            Table("curves", "Every point of the curves.", ["run", "subset", "metric", "update", "value"], points),
        ],
        [Picture("curves", "Curves of training and validation.", _draw(read), "curves")],
    )


def _words(claims: Sequence[Claim]) -> Iterator[str]:
    if not claims:
        yield (
            "No two of these runs differ in their teacher's label smoothing alone (as far as their run.json tells), so "
            "the curves are shown without a claim."
        )
        return
    for claim in claims:
        yield (
            f"{claim.question.claim[0].upper()}{claim.question.claim[1:]}: {claim.verdict} ({claim.group}; difference "
            f"{claim.difference.shown(3, sign=True)}, over {claim.basis})."
        )
    if any(claim.question.metric == "kd_loss" for claim in claims):
        yield (
            "The distillation loss is a divergence, 0 where student and teacher agree. Where it is a cross-entropy, as "
            "in other programs, the teacher's own entropy is on top, which smoothing raises."
        )


@styled
def _draw(runs: Sequence[Run]) -> Any:
    wanted = []
    for title, role, subset, metric, unit in PANELS:
        members = [run for run in runs if role in (None, run.labels["role"]) and run.curve(subset, metric)]
        # Of runs that are known as teachers and students there are better panels than of all.
        if role is None:
            members = [run for run in members if run.labels["role"] is None]
        if members:
            wanted.append((title, members, subset, metric, unit))
    if not wanted:
        raise UserError("the logs have no curve to draw: neither nll_loss nor kd_loss, which the criterions here log")
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
        # The first points of a training are far above all that follows.
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

#!/usr/bin/env python
"""Report whether label smoothing hurts with more classes: Shen et al. (ICLR 2021), App. A, for vocabulary sizes.

The report compares teachers with and without smoothing at several vocabulary sizes, scored on the same test set. It has
the F1 of output words (as in `fairseq_lskd.analysis.tail`), its change by smoothing, and how this effect changes as the
vocabulary doubles. All intervals use the same resampled sentences. train.sh, beside this file, trains the teachers and
calls this script:

  python examples/vocabulary_sizes/size_report.py runs/vocabulary-generated \\
      --references data/generated-v200/raw/test.yy --out report
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fairseq_lskd.analysis.bootstrap import DRAWS, Interval, interval
from fairseq_lskd.analysis.document import Picture, Section, Table
from fairseq_lskd.analysis.intervals import verdict
from fairseq_lskd.analysis.saving import save
from fairseq_lskd.analysis.style import COLOURS, figure, styled
from fairseq_lskd.analysis.tail import Buckets, Matches, match_words, split_words
from fairseq_lskd.errors import UserError, exit_on_user_error
from fairseq_lskd.files import find
from fairseq_lskd.lines import read_lines
from fairseq_lskd.scoring.quality import read_records

#: Minimum BLEU of a teacher for a verdict.
LEAST_BLEU = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, metavar="DIR", help="folder with the scored runs of all teachers")
    parser.add_argument(
        "--references", type=Path, required=True, metavar="FILE", help="references of the test set, detokenised"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    args = parser.parse_args()
    with exit_on_user_error("size_report.py"):
        page = save(section(args.runs, args.references), args.out)
        print(page.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Pair:
    """Two teachers with the same vocabulary that differ only in label smoothing."""

    types: int
    plain: Matches
    smoothed: Matches
    bleu: tuple[float, float]  #: plain, smoothed


@dataclass(frozen=True)
class Trend:
    """The change of F1 by smoothing in points for each size, and the slope of a least-squares line per doubling."""

    sizes: Sequence[int]
    changes: Sequence[Interval]
    per_doubling: Interval


def trend(pairs: Sequence[Pair], draws: int = DRAWS) -> Trend:
    """Fit the change by smoothing of the F1 of all output words to the size of the vocabulary.

    Raises:
        UserError: if there are fewer than two sizes.
    """
    sizes = [pair.types for pair in pairs]
    if len(set(sizes)) < 2:
        raise UserError(f"found {len(set(sizes))} vocabulary size, expected at least two to compare")
    values, drawn = [], []
    for pair in pairs:
        plain, smoothed = pair.plain.pooled(1), pair.smoothed.pooled(1)
        values.append(100 * (smoothed.f1() - plain.f1())[-1])
        drawn.append(100 * (smoothed.resampled_f1(draws) - plain.resampled_f1(draws))[:, -1])
    doublings = torch.tensor(sizes, dtype=torch.float64).log2()
    weights = doublings - doublings.mean()
    weights = weights / weights.square().sum()  # the least-squares slope is linear in the values
    slope = interval((weights @ torch.stack(values)).item(), torch.stack(drawn, dim=1) @ weights)
    return Trend(sizes, [interval(v.item(), d) for v, d in zip(values, drawn, strict=True)], slope)


def read_pairs(runs: Path, references: Path) -> list[Pair]:
    """Read the teachers in a folder of runs, by vocabulary size. Of several smoothed teachers take the smoothest.

    Args:
        runs: folder of runs of scripts/train_teacher.sh and scripts/score.sh, each with result.json, dict.TARGET.txt
            and test/hypotheses.TARGET.
        references: references of the test set, detokenised.

    Raises:
        UserError: if files are missing, or no size has teachers with and without smoothing.
    """
    wanted = [split_words(line) for line in read_lines(references)]
    nothing = Buckets({})
    found: dict[int, dict[float, tuple[Matches, float]]] = {}
    for path in find(runs, "result.json"):
        (record,) = read_records(path)
        if record.get("role") != "teacher" or record.get("teacher_smoothing") is None:
            continue
        hypotheses = _one(path.parent / "test", "hypotheses.*")
        types = sum(1 for _ in read_lines(_one(path.parent, f"dict{hypotheses.suffix}.txt"))) + 4  # special symbols
        try:
            matches = match_words([split_words(line) for line in read_lines(hypotheses)], wanted, nothing)
        except UserError as error:
            raise UserError(f"{hypotheses}: {error} in {references}") from None
        found.setdefault(types, {})[float(record["teacher_smoothing"])] = (matches, record["bleu"])
    pairs = []
    for types, teachers in sorted(found.items()):
        most = max(teachers)
        if 0.0 in teachers and most > 0:
            (plain, before), (smoothed, after) = teachers[0.0], teachers[most]
            pairs.append(Pair(types, plain, smoothed, (before, after)))
    if not pairs:
        raise UserError(
            f"{runs}: found no vocabulary size with teachers with and without label smoothing; train them with "
            "examples/vocabulary_sizes/train.sh"
        )
    return pairs


def _one(folder: Path, pattern: str) -> Path:
    found = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    if len(found) != 1:
        raise UserError(f"{folder}: expected one file {pattern}, found {len(found)}; score the run (scripts/score.sh)")
    return found[0]


def section(runs: Path, references: Path) -> Section:
    """Return the section on the effect of smoothing by vocabulary size; raise as `read_pairs` and `trend`."""
    pairs = read_pairs(runs, references)
    found = trend(pairs)
    rows = []
    for pair, gap in zip(pairs, found.changes, strict=True):
        f1 = [round(100 * m.pooled(1).f1()[-1].item(), 2) for m in (pair.plain, pair.smoothed)]
        ends = [round(end, 3) for end in (gap.value, gap.low, gap.high)]
        rows.append((pair.types, *pair.bleu, *f1, *ends))
    header = ["types", "BLEU, not smoothed", "BLEU, smoothed", "F1, not smoothed (%)", "F1, smoothed (%)"]
    header += ["difference of F1", "95 % from", "to"]
    per = found.per_doubling
    slope = ("F1 points as the vocabulary doubles", per.value, per.low, per.high, _verdict(found, pairs))
    caption = "Teachers by vocabulary size. Intervals are over sentences."
    claimed = "Change of the effect of smoothing with the vocabulary size. The claim is that it is negative."
    columns = ["change", "value", "95 % from", "to", "smoothing hurts more with more classes"]
    seen = "Change of F1 by smoothing, by vocabulary size. The dashed line is a least-squares fit."
    return Section(
        "The number of classes",
        list(_words(found, pairs)),
        [
            Table("vocabulary", caption, header, rows),
            Table("vocabulary_trend", claimed, columns, [slope]),
        ],
        [Picture("vocabulary", seen, _draw(found), "vocabulary")],
    )


def _weak(pairs: Sequence[Pair]) -> list[Pair]:
    return [pair for pair in pairs if min(pair.bleu) < LEAST_BLEU]


def _verdict(found: Trend, pairs: Sequence[Pair]) -> str:
    return "undecided" if _weak(pairs) else verdict(found.per_doubling, positive=False)


def _words(found: Trend, pairs: Sequence[Pair]) -> Iterator[str]:
    per = found.per_doubling
    yield (
        f"Label smoothing hurts more with more classes: {_verdict(found, pairs)}. Its effect on the F1 of output words "
        f"changes by {per.shown(sign=True)} points per doubling of the vocabulary."
    )
    for pair, gap in zip(pairs, found.changes, strict=True):
        yield (
            f"With {pair.types:,} types, smoothing changes F1 by {gap.shown(sign=True)} points and BLEU by "
            f"{pair.bleu[1] - pair.bleu[0]:+.1f} ({pair.bleu[0]:.1f} to {pair.bleu[1]:.1f})."
        )
    if weak := _weak(pairs):
        sizes = ", ".join(f"{pair.types:,}" for pair in weak)
        yield (
            f"Undecided, because teachers with {sizes} types are below {LEAST_BLEU} BLEU and have learnt too little: "
            "train longer."
        )
    yield "Each teacher has one seed. The intervals are over test sentences and do not cover the variation over seeds."


@styled
def _draw(found: Trend) -> Any:
    drawn = figure(5.0, 3.2)
    panel = drawn.subplots()
    values = [gap.value for gap in found.changes]
    ends = [[gap.value - gap.low for gap in found.changes], [gap.high - gap.value for gap in found.changes]]
    panel.errorbar(found.sizes, values, yerr=ends, marker="o", linestyle="none", capsize=3, color=COLOURS[0])
    middle = math.fsum(map(math.log2, found.sizes)) / len(found.sizes)
    mean = math.fsum(values) / len(values)
    line = [mean + found.per_doubling.value * (math.log2(size) - middle) for size in found.sizes]
    panel.plot(found.sizes, line, linestyle="--", color=COLOURS[0], linewidth=1)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_xscale("log", base=2)
    panel.set_xticks(found.sizes, [f"{size:,}" for size in found.sizes])
    panel.minorticks_off()
    panel.set_xlabel("types in the vocabulary")
    panel.set_ylabel("change of F1 by smoothing, points")
    return drawn


if __name__ == "__main__":
    main()

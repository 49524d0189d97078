"""Make sequence-level training data: the teacher's translations, and the references if wanted, with weights."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from ..data.bitext import read_lines
from ..errors import UserError
from ..files import write_beside
from ..sequences import SequenceWeights

EXAMPLES = """examples:
  lskd mix -s de -t en --source train.de --translations train.translated.en --out data/mine/seq
  lskd mix -s de -t en --source train.de --translations train.translated.en --references train.en --out data/mine/mixed
then binarise data/mine/mixed/train.{de,en} with the student's dictionaries and train with
  --criterion seq_kd --sequence-weights data/mine/mixed/train.weights.npz --reference-weight 0.3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-s", "--source-lang", required=True, metavar="LANG")
    parser.add_argument("-t", "--target-lang", required=True, metavar="LANG")
    parser.add_argument("--source", type=Path, required=True, metavar="FILE", help="source sentences in pieces")
    parser.add_argument("--translations", type=Path, required=True, metavar="FILE", help="the teacher's, in pieces")
    parser.add_argument("--references", type=Path, metavar="FILE", help="add the source once more with these targets")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="a number a line: the weight of each translation (1)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="gets train.SRC, train.TGT, train.weights.npz"
    )


def _aligned(path: Path, flag: str, lines: int) -> list[str]:
    found = list(read_lines(path))
    if len(found) != lines:
        raise UserError(f"{flag} {path} has {len(found):,} lines, --source has {lines:,}")
    return found


def _sentences(path: Path, flag: str, lines: int) -> list[str]:
    found = _aligned(path, flag, lines)
    for number, text in enumerate(found, 1):
        if not text.strip():
            raise UserError(f"{flag} {path}, line {number} is empty; `lskd harvest --fallback` fills such lines")
    return found


def _weights(path: Path, lines: int) -> np.ndarray:
    weights = []
    for number, text in enumerate(_aligned(path, "--weights", lines), 1):
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not 0 <= weight <= float(np.finfo(np.float32).max):
            raise UserError(f"--weights {path}, line {number}: expected a number of 0 or more, found {text[:40]!r}")
        weights.append(weight)
    if not any(weights):
        raise UserError(f"--weights {path}: every weight is 0")
    return np.array(weights, dtype=np.float32)


def run(args: argparse.Namespace) -> int:
    source = list(read_lines(args.source))
    if not source:
        raise UserError(f"--source {args.source} is empty")
    count = len(source)
    target = _sentences(args.translations, "--translations", count)
    weight = _weights(args.weights, count) if args.weights else np.ones(count, np.float32)
    reference = np.zeros(count, bool)
    if args.references:
        target += _sentences(args.references, "--references", count)
        source += source
        weight = np.concatenate([weight, np.ones(count, np.float32)])
        reference = np.concatenate([reference, np.ones(count, bool)])
    for language, lines in ((args.source_lang, source), (args.target_lang, target)):
        with (
            write_beside(args.out / f"train.{language}") as part,
            part.open("w", encoding="utf-8", newline="\n") as out,
        ):
            out.writelines(f"{line}\n" for line in lines)
    # Last, so that a folder with weights is a whole one.
    SequenceWeights(weight, reference).save(args.out / "train.weights.npz")
    print(f"{len(source):,} sentence pairs in {args.out}, {int(reference.sum()):,} of them references", file=sys.stderr)
    return 0

"""Does a smoothed teacher still teach? Measure what label smoothing did to your teachers, and read the answer.

OUT gets report.html (one file, pictures inside), numbers.json, tables/*.csv and pictures/*.svg, *.png. The report
answers in words first, and judges each of the paper's claims by an interval; docs/analysis.md explains every number.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from ..analysis.measurement import Measurement
    from ..analysis.sections import Findings

MANIFEST = "analysis.json"
EXAMPLES = """examples:
  lskd analyze --teacher runs/mine/teacher-0.0/checkpoint_average.pt \\
      --teacher runs/mine/teacher-0.1/checkpoint_average.pt --data data/multi30k/bin --out runs/mine/analysis
with students, which settle which teacher is the better one, and of several temperatures, how far to raise it:
  lskd analyze --teacher a.pt --teacher b.pt --student of-a/checkpoint_best.pt --student of-b/checkpoint_best.pt \\
      --data data/mine/bin --out analysis
three types of your own for the picture of the penultimate layer:
  lskd analyze --teacher a.pt --teacher b.pt --data data/mine/bin --out analysis --types ▁a,▁the,▁dog
two processes; the last to end writes the report:
  for i in 0 1; do lskd analyze ... --out analysis --shard-id $i --num-shards 2 & done; wait
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd analyze`."""
    parser.add_argument(
        "--teacher", action="append", required=True, metavar="FILES", help="checkpoint(s) of one, joined by ':'; repeat"
    )
    parser.add_argument("--student", action="append", default=[], metavar="FILES", help="a student's; repeat")
    parser.add_argument("--data", required=True, metavar="DIR", help="one folder of binarised data")
    parser.add_argument("--split", default="valid", metavar="NAME", help="what is analysed (%(default)s)")
    parser.add_argument("--train-split", default="train", metavar="NAME", help="for the pictures; 'none' (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--names", metavar="A,B", help="of the teachers (default: their label smoothing)")
    parser.add_argument("--student-names", metavar="A,B", help="of the students (default: their folders)")
    parser.add_argument("--teacher-data", metavar="DIR", help="folder with the teachers' dict.*.txt, to compare")
    parser.add_argument("-s", "--source-lang", metavar="LANG", help="default: inferred from the data")
    parser.add_argument("-t", "--target-lang", metavar="LANG", help="default: inferred from the data")
    for side in ("source", "target"):
        parser.add_argument(
            f"--max-{side}-positions", type=int, default=1024, metavar="N", help="longer is skipped (%(default)s)"
        )
    what = parser.add_argument_group("the types")
    what.add_argument(
        "--min-count", type=int, default=5, metavar="N", help="occurrences that a type needs (%(default)s)"
    )
    what.add_argument("--types", metavar="A,B,C", help="for the projection: two similar ones and another")
    what.add_argument(
        "--similar-by",
        choices=("confusion", "embedding"),
        default="confusion",
        help="what makes types similar: being predicted for each other, or the output embeddings (%(default)s)",
    )
    work = parser.add_argument_group("the work")
    work.add_argument("--max-tokens", type=int, default=8000, metavar="N", help="of a batch (%(default)s)")
    work.add_argument(
        "--memory", type=float, default=1.0, metavar="GIB", help="for sums over classes, of all models (%(default)s)"
    )
    work.add_argument("--shard-id", type=int, default=0, metavar="I", help="this process's part, from 0 (%(default)s)")
    work.add_argument("--num-shards", type=int, default=1, metavar="N", help="number of processes (%(default)s)")
    work.add_argument("--cpu", action="store_true", help="leave a GPU alone")


def run(args: argparse.Namespace) -> int:
    """Measure, and write the report."""
    _check(args)
    _require_report()
    for name in ("fairseq", "fairseq_lskd"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")

    from ..data.outputs import Manifest
    from ..measuring.study import Request, Study

    request = Request(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Request)})
    study = Study(request)
    manifest = Manifest(MANIFEST, request.options(), study.inputs, ("torch", "fairseq", "matplotlib", "numpy"))
    if manifest.is_up_to_date(args.out):
        print(f"{args.out}: up to date", file=sys.stderr)
        return 0
    study.load()
    print(study, file=sys.stderr)
    measured = study.measure(args.shard_id, args.num_shards)
    if args.num_shards > 1:
        key = {"options": request.options(), "inputs": study.inputs, "shards": args.num_shards}
        measured = _shared(measured, key, args)
        if not measured or manifest.is_up_to_date(args.out):  # another shard was faster
            return 0
    found = study.findings(measured)
    with manifest.written(args.out) as (folder, facts):
        facts["command"] = ["lskd", *sys.argv[1:]]
        _write(folder, found)
    print(found.advice.headline)
    print(args.out / "report.html")
    return 0


def _check(args: argparse.Namespace) -> None:
    problems = [
        f"--{name} {value}: expected 1 or more"
        for name in ("min-count", "max-tokens", "num-shards")
        if (value := getattr(args, name.replace("-", "_"))) < 1
    ]
    if not 0 <= args.shard_id < max(args.num_shards, 1):
        problems.append(f"--shard-id {args.shard_id}: expected 0 to {max(args.num_shards, 1) - 1}, --num-shards less 1")
    if not 0 < args.memory < math.inf:
        problems.append(f"--memory {args.memory}: expected a number above 0")
    if args.types and len(set(args.types.split(","))) != 3:
        problems.append(f"--types {args.types}: expected three different types, joined by commas")
    for kind, flag in (("teacher", "names"), ("student", "student_names")):
        given, count = getattr(args, flag), len(getattr(args, kind))
        if given and not len(set(given.split(","))) == len(given.split(",")) == count:
            problems.append(f"--{flag.replace('_', '-')} {given}: expected {count} different names, joined by commas")
    for model, times in ((model, args.teacher.count(model)) for model in dict.fromkeys(args.teacher)):
        if times > 1:
            problems.append(f"--teacher {model}: given {times} times")
    if problems:
        raise UserError("; ".join(problems))


def _require_report() -> None:
    """Before the long work: are the packages that write the report there?"""
    import importlib.util

    if missing := [name for name in ("matplotlib", "jinja2") if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"lskd analyze needs {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not installed. "
            f"Get it with: {sys.executable} -m pip install {' '.join(missing)}"
        )


def _shared(measured: list[Measurement], key: dict[str, Any], args: argparse.Namespace) -> list[Measurement]:
    """Write this shard's measurements; if all shards are there, their sums, else nothing."""
    import torch

    from ..files import write_beside
    from ..sequences.shards import shard_path

    paths = [shard_path(args.out, i, args.num_shards) for i in range(args.num_shards)]
    mine = paths[args.shard_id]
    with write_beside(mine) as part, part.open("wb") as stream:
        torch.save({"key": key, "models": [one.state() for one in measured]}, stream)
    if missing := [path.name for path in paths if not path.is_file()]:
        print(f"{mine}: written; still to come: {', '.join(missing)}", file=sys.stderr)
        return []
    return _merged(paths, key)


def _merged(paths: list[Path], key: dict[str, Any]) -> list[Measurement]:
    import torch

    from ..analysis.measurement import Measurement

    merged: list[Measurement] = []
    for path in paths:
        try:
            state = torch.load(path, weights_only=True)
            same = state["key"] == key
        except Exception:
            raise UserError(f"{path} is not a shard of this analysis: delete it, and run that shard again") from None
        if not same:
            raise UserError(
                f"{path} was measured with other options, models or data: delete it, and run that shard again"
            )
        found = [Measurement.from_state(one) for one in state["models"]]
        if not merged:
            merged = found
        else:
            for one, other in zip(merged, found, strict=True):
                one.merge(other)
    return merged


def _write(folder: Path, found: Findings) -> None:
    from ..analysis import sections
    from ..analysis.report import write_report

    parts = [
        sections.answer(found),
        sections.stability(found),
        sections.classes(found),
        sections.projection(found),
        sections.calibration(found),
    ]
    if found.students:
        parts.append(sections.students(found))
    parts.append(sections.method(found))
    write_report(folder, "What label smoothing did to these teachers", parts)

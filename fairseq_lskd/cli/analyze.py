"""Does a smoothed teacher still teach? Measure what label smoothing did to your teachers, and read the answer.

OUT gets report.html (one file, pictures inside), numbers.json, tables/*.csv and pictures/*.svg, *.png. The report
answers in words first, and judges each of the paper's claims by an interval; docs/analysis.md explains every number.
Models are fairseq's checkpoints (--teacher), or any classifier's saved outputs (--from-npz). Logs, result records and
translations add sections, with models or without.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..extras import require
from ..user_dir import add_user_dir

if TYPE_CHECKING:
    from ..analysis.measurement import Measurement
    from ..analysis.saved import Saved
    from ..measuring.study import Study
    from ..scoring.recorded import Recorded

MANIFEST = "analysis.json"
EXAMPLES = """examples:
  lskd analyze --teacher runs/mine/teacher-0.0/checkpoint_average.pt \\
      --teacher runs/mine/teacher-0.1/checkpoint_average.pt --data data/multi30k/bin --out runs/mine/analysis
with students, which settle which teacher is the better one, and of several temperatures, how far to raise it:
  lskd analyze --teacher a.pt --teacher b.pt --student of-a/checkpoint_best.pt --student of-b/checkpoint_best.pt \\
      --data data/mine/bin --out analysis
three types of your own for the picture of the penultimate layer:
  lskd analyze --teacher a.pt --teacher b.pt --data data/mine/bin --out analysis --types ▁a,▁the,▁dog
the outputs of any classifier, saved by numpy (docs/vision.md says what is in the files):
  lskd analyze --from-npz plain.npz --from-npz smoothed.npz --out analysis
curves and quality of all trainings in a folder; the words that smoothing costs, by their frequency:
  lskd analyze --runs runs/mine --out curves
  lskd analyze --hypotheses plain=teacher-0.0/test/hypotheses.en --hypotheses smoothed=teacher-0.1/test/hypotheses.en \\
      --references data/mine/raw/test.en --training data/mine/raw/train.en --out tail
a generated bitext, of which the truth is known:
  lskd analyze --teacher a.pt --teacher b.pt --data data/generated/bin --truth data/generated/raw --out analysis
two processes; the last to end writes the report:
  for i in 0 1; do lskd analyze ... --out analysis --shard-id $i --num-shards 2 & done; wait
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd analyze`."""
    models = parser.add_argument_group("the models")
    models.add_argument(
        "--teacher", action="append", default=[], metavar="FILES", help="checkpoint(s) of one, joined by ':'; repeat"
    )
    models.add_argument("--student", action="append", default=[], metavar="FILES", help="a student's; repeat")
    models.add_argument("--data", metavar="DIR", help="one folder of binarised data, for teachers and students")
    models.add_argument(
        "--from-npz", type=Path, action="append", default=[], metavar="FILE", help="instead: saved outputs; repeat"
    )
    models.add_argument("--split", default="valid", metavar="NAME", help="what is analysed (%(default)s)")
    models.add_argument("--train-split", default="train", metavar="NAME", help="for the pictures; 'none' (%(default)s)")
    models.add_argument("--names", metavar="A,B", help="of teachers or files (default: their label smoothing)")
    models.add_argument("--student-names", metavar="A,B", help="of the students (default: their folders)")
    models.add_argument("--teacher-data", metavar="DIR", help="folder with the teachers' dict.*.txt, to compare")
    models.add_argument("-s", "--source-lang", metavar="LANG", help="default: inferred from the data")
    models.add_argument("-t", "--target-lang", metavar="LANG", help="default: inferred from the data")
    for side in ("source", "target"):
        models.add_argument(
            f"--max-{side}-positions", type=int, default=1024, metavar="N", help="longer is skipped (%(default)s)"
        )
    add_user_dir(models)
    more = parser.add_argument_group("more sections")
    more.add_argument("--runs", type=Path, metavar="DIR", help="trainings: their curves, and quality where scored")
    more.add_argument(
        "--hypotheses", action="append", default=[], metavar="NAME=FILE", help="translations of a system; repeat"
    )
    more.add_argument("--references", type=Path, metavar="FILE", help="of these translations")
    more.add_argument("--training", type=Path, metavar="FILE", help="target side of the training text, to count words")
    more.add_argument("--truth", type=Path, metavar="RAW", help="raw/ of a generated bitext, with truth.SPLIT.tsv")
    what = parser.add_argument_group("the types (of saved outputs: the classes)")
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
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
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
    require("lskd analyze", "matplotlib", "jinja2")  # what writes the report
    from ..data.outputs import Manifest
    from ..scoring.recorded import Recorded

    recorded: Recorded = _of(Recorded, args)
    if problems := [*_problems(args), *recorded.problems()]:
        raise UserError("\n  ".join(problems))
    options, inputs = recorded.options(), recorded.inputs
    study = _study(args)
    if study is not None:
        options, inputs = study.request.options() | options, study.inputs | inputs
    libraries = ("torch", "matplotlib", "numpy", *(["fairseq"] if args.teacher else []))
    manifest = Manifest(MANIFEST, options, inputs, libraries)
    if manifest.is_up_to_date(args.out):
        print(f"{args.out}: up to date", file=sys.stderr)
        return 0
    sections, said = list(recorded.sections()), []
    if study is not None:
        study.load()
        print(study, file=sys.stderr)
        measured = _measured(study, {"options": options, "inputs": inputs}, args)
        if not measured or manifest.is_up_to_date(args.out):  # another shard was faster
            return 0
        from ..analysis.sections import sections_of

        found = study.findings(measured)
        sections, said = list(sections_of(found, sections)), [found.advice.headline]

    from ..analysis.report import write_report

    with manifest.written(args.out) as (folder, facts):
        facts["command"] = ["lskd", *sys.argv[1:]]
        title = "What label smoothing did" if study is None else "What label smoothing did to these teachers"
        write_report(folder, title, sections)
    print(*said, args.out / "report.html", sep="\n")
    return 0


def _of(kind: Any, args: argparse.Namespace) -> Any:
    """A dataclass of the options that it has fields for."""
    return kind(**{field.name: getattr(args, field.name) for field in dataclasses.fields(kind)})


def _study(args: argparse.Namespace) -> Study | Saved | None:
    """Models or saved outputs, found and read; None if there are none."""
    if args.from_npz:
        from ..analysis import saved

        return saved.Saved(_of(saved.Request, args))
    if not args.teacher:
        return None
    for name in ("fairseq", "fairseq_lskd"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    from ..measuring import study

    return study.Study(_of(study.Request, args))


def _measured(study: Study | Saved, key: dict[str, Any], args: argparse.Namespace) -> list[Measurement]:
    """Of all examples; nothing if other shards are still at work."""
    measured = study.measure(args.shard_id, args.num_shards)
    if args.num_shards == 1:
        return measured
    from ..measuring.shards import shared

    return shared(measured, key, args.out, args.shard_id, args.num_shards)


def _problems(args: argparse.Namespace) -> Iterator[str]:
    """What is wrong with the options of models, a line each, before anything is read."""
    if not (args.teacher or args.from_npz or args.runs or args.hypotheses or args.references or args.training):
        yield "nothing to analyse: give --teacher (with --data), --from-npz, --runs or --hypotheses"
    of_models = [f"--{name}" for name in ("teacher", "data", "student") if getattr(args, name)]
    if args.from_npz and of_models:
        yield f"--from-npz and {', '.join(of_models)}: saved outputs and fairseq's models need an analysis each"
    elif of_models and not (args.teacher and args.data):
        lacking = [flag for flag in ("--teacher", "--data") if flag not in of_models]
        yield f"{' and '.join(of_models)}: needs {' and '.join(lacking)} too"
    if args.truth and not args.teacher:
        yield "--truth: needs --teacher and --data, whose distance from it is measured"
    elif args.truth and not (file := args.truth / f"truth.{args.split}.tsv").is_file():
        yield f"--truth {args.truth}: no {file.name} there; expected the raw/ folder of what `lskd generate` wrote"
    if args.num_shards > 1 and not args.teacher:
        yield f"--num-shards {args.num_shards}: only the work on --teacher can be shared"
    for name in ("min-count", "max-tokens", "num-shards"):
        if (value := getattr(args, name.replace("-", "_"))) < 1:
            yield f"--{name} {value}: expected 1 or more"
    if not 0 <= args.shard_id < max(args.num_shards, 1):
        yield f"--shard-id {args.shard_id}: expected 0 to {max(args.num_shards, 1) - 1}, --num-shards less 1"
    if not 0 < args.memory < math.inf:
        yield f"--memory {args.memory}: expected a number above 0"
    if args.types and len(set(args.types.split(","))) != 3:
        yield f"--types {args.types}: expected three different types, joined by commas"
    models = [("teacher", args.teacher), ("student", args.student), ("from-npz", [str(path) for path in args.from_npz])]
    for flag, count in (("names", len(args.teacher) + len(args.from_npz)), ("student-names", len(args.student))):
        given = (getattr(args, flag.replace("-", "_")) or "").split(",")
        if given != [""] and not len(set(given)) == len(given) == count:
            yield f"--{flag} {','.join(given)}: expected {count} different names, joined by commas"
    for flag, paths in models:
        for path in dict.fromkeys(paths):
            if paths.count(path) > 1:
                yield f"--{flag} {path}: given {paths.count(path)} times"
            for part in path.split(":") if flag != "from-npz" else [path]:
                if not Path(part).is_file():
                    yield f"--{flag} {part}: {'a folder, expected a file' if Path(part).is_dir() else 'no such file'}"

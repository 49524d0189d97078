"""Measure what label smoothing did to your teachers, and report which of them to distil from.

The output folder contains report.html (a single file, with all figures), numbers.json, tables/*.csv, pictures/*.svg and
pictures/*.png. The report begins with the answer in words, and tests each claim of the paper with a confidence
interval. docs/analysis.md explains every number. The models are fairseq checkpoints (--teacher) or saved outputs of any
classifier (--from-npz). Logs, result records and translations add sections, and also work without models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..extras import require
from ..user_dir import add_user_dir
from ._options import add_options, add_out, add_task, add_work, filled

if TYPE_CHECKING:
    from ..analysis.measurement import Measurement
    from ..analysis.saved import Saved
    from ..measuring.study import Study

MANIFEST = "analysis.json"
EXAMPLES = """examples:
  lskd analyze --teacher runs/mine/teacher-0.0/checkpoint_average.pt \\
      --teacher runs/mine/teacher-0.1/checkpoint_average.pt --data data/multi30k/bin --out runs/mine/analysis
with students, which show which teacher is better, and with several temperatures, which one is best:
  lskd analyze --teacher a.pt --teacher b.pt --student of-a/checkpoint_best.pt --student of-b/checkpoint_best.pt \\
      --data data/mine/bin --out analysis
with three types of your choice in the figure of the penultimate layer:
  lskd analyze --teacher a.pt --teacher b.pt --data data/mine/bin --out analysis --types ▁a,▁the,▁dog
outputs of any classifier, saved with NumPy (docs/vision.md describes the files):
  lskd analyze --from-npz plain.npz --from-npz smoothed.npz --out analysis
curves and quality of all trainings in a folder:
  lskd analyze --runs runs/mine --out curves
translation quality by word frequency:
  lskd analyze --hypotheses plain=teacher-0.0/test/hypotheses.en --hypotheses smoothed=teacher-0.1/test/hypotheses.en \\
      --references data/mine/raw/test.en --training data/mine/raw/train.en --out tail
a generated bitext, where the true distribution is known:
  lskd analyze --teacher a.pt --teacher b.pt --data data/generated/bin --truth data/generated/raw --out analysis
two processes (the last one to end writes the report):
  for i in 0 1; do lskd analyze ... --out analysis --shard-id $i --num-shards 2 & done; wait
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd analyze`."""
    models = parser.add_argument_group("models")
    models.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="FILES",
        help="checkpoint of a teacher, or checkpoints of an ensemble joined by ':' (repeatable)",
    )
    models.add_argument(
        "--student",
        action="append",
        default=[],
        metavar="FILES",
        help="checkpoint of a student of one of the teachers (repeatable)",
    )
    models.add_argument("--data", metavar="DIR", help="folder of binarised data, for all teachers and students")
    models.add_argument(
        "--from-npz",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="saved outputs of a classifier, instead of --teacher (repeatable)",
    )
    add_options(
        models,
        ("--split", str, "NAME", "split to analyse", "valid"),
        ("--train-split", str, "NAME", "training split, shown in the projections beside --split, or none", "train"),
        ("--names", str, "A,B", "names of the teachers or files (default: their label smoothing)"),
        ("--student-names", str, "A,B", "names of the students (default: their folders)"),
    )
    add_task(models)
    add_user_dir(models)
    more = parser.add_argument_group("additional sections")
    more.add_argument(
        "--hypotheses",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="translations of a system: adds their quality by word frequency (repeatable)",
    )
    add_options(
        more,
        ("--runs", Path, "DIR", "folder of trainings: adds their curves, and the quality of scored runs"),
        ("--references", Path, "FILE", "references of --hypotheses"),
        ("--training", Path, "FILE", "target side of the training text, to count word frequencies"),
        ("--truth", Path, "RAW", "raw/ folder of a generated bitext, with truth.SPLIT.tsv"),
    )
    what = parser.add_argument_group("token types (with --from-npz: classes)")
    add_options(
        what,
        ("--min-count", int, "N", "analyse types that occur at least N times", 5),
        ("--types", str, "A,B,C", "types in the projection: two similar ones and a third (default: chosen)"),
    )
    what.add_argument(
        "--similar-by",
        choices=("confusion", "embedding"),
        default="confusion",
        help="measure of similarity between types: how often one is predicted for the other, or the distance of output "
        "embeddings (default: %(default)s)",
    )
    add_out(parser)
    memory = "memory for the sums over classes of all models, in GiB"
    add_options(add_work(parser), ("--memory", float, "GIB", memory, 1.0))


def run(args: argparse.Namespace) -> int:
    """Measure, and write the report."""
    require("lskd analyze", "matplotlib", "jinja2")
    from ..data.outputs import Manifest
    from ..scoring.recorded import Recorded

    recorded = filled(Recorded, args)
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
        measured = _measure(study, {"options": options, "inputs": inputs}, args)
        if not measured or manifest.is_up_to_date(args.out):  # another shard was faster
            return 0
        from ..analysis.sections import sections_of

        found = study.findings(measured)
        sections, said = list(sections_of(found, sections)), [found.advice.headline]
        if len(found.teachers) > 1:  # names may only differ in a number: LS 0.1, LS 0.1 (2)
            said += [f"{teacher.name}: {teacher.path}" for teacher in found.teachers]

    from ..analysis.report import write_report

    with manifest.written(args.out) as (folder, facts):
        facts["command"] = ["lskd", *sys.argv[1:]]
        title = "What label smoothing did" if study is None else "What label smoothing did to these teachers"
        write_report(folder, title, sections)
    print(*said, args.out / "report.html", sep="\n")
    return 0


def _study(args: argparse.Namespace) -> Study | Saved | None:
    """Return the study of the models or saved outputs that the options name; None if they name none."""
    if args.from_npz:
        from ..analysis import saved

        return saved.Saved(filled(saved.Request, args))
    if not args.teacher:
        return None
    from ..measuring import study

    return study.Study(filled(study.Request, args))


def _measure(study: Study | Saved, key: dict[str, Any], args: argparse.Namespace) -> list[Measurement]:
    """Return the measurements of all examples; an empty list if other shards have not ended."""
    measured = study.measure(args.shard_id, args.num_shards)
    if args.num_shards == 1:
        return measured
    from ..measuring.shards import shared

    return shared(measured, key, args.out, args.shard_id, args.num_shards)


def _problems(args: argparse.Namespace) -> Iterator[str]:
    """Yield each problem with the options of models, before any file is read."""
    if not (args.teacher or args.from_npz or args.runs or args.hypotheses or args.references or args.training):
        yield "there is nothing to analyse: give --teacher (with --data), --from-npz, --runs or --hypotheses"
    model_flags = [f"--{name}" for name in ("teacher", "data", "student") if getattr(args, name)]
    if args.from_npz and model_flags:
        yield (
            f"--from-npz and {', '.join(model_flags)} cannot be combined: analyse saved outputs and fairseq models "
            "separately"
        )
    elif model_flags and not (args.teacher and args.data):
        lacking = [flag for flag in ("--teacher", "--data") if flag not in model_flags]
        yield f"{' and '.join(model_flags)}: {' and '.join(lacking)} required too"
    if args.truth and not args.teacher:
        yield "--truth: --teacher and --data required too, to measure their distance from the truth"
    elif args.truth and not (file := args.truth / f"truth.{args.split}.tsv").is_file():
        yield f"--truth {args.truth}: it has no {file.name}; expected the raw/ folder that `lskd generate` wrote"
    if args.num_shards > 1 and not args.teacher:
        yield f"--num-shards {args.num_shards}: only --teacher can be measured in shards; leave out --num-shards"
    if not 0 <= args.shard_id < args.num_shards:
        yield f"--shard-id {args.shard_id}: expected 0 to {args.num_shards - 1} (--num-shards - 1)"
    if args.types and len(set(args.types.split(","))) != 3:
        yield f"--types {args.types}: expected 3 different types, joined by commas"
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
                    problem = "expected a file, found a folder" if Path(part).is_dir() else "no such file"
                    yield f"--{flag} {part}: {problem}"

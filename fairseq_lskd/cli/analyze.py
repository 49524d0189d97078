"""Does a smoothed teacher still teach? Measure what label smoothing did to your teachers, and read the answer.

OUT gets report.html (one file, pictures inside), numbers.json, tables/*.csv and pictures/*.svg, *.png. The report
answers in words first, and judges each of the paper's claims by an interval; docs/analysis.md explains every number.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from ..analysis.measurement import Measurement, Plan
    from ..analysis.sections import Findings
    from ..measuring import Model, Origin

MANIFEST = "analysis.json"
#: Points of a type in the projection, and occurrences under draws of dropout for the mutual information.
POINTS, OCCURRENCES, LOOKS = 300, 150, 8
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

    import torch

    from ..data.outputs import Manifest
    from ..files import write_beside
    from ..measuring import Model, origin
    from ..sequences.shards import shard_path

    work = _Work(args)
    manifest = Manifest(MANIFEST, work.options(), work.inputs(), ("torch", "fairseq", "matplotlib", "numpy"))
    if manifest.is_up_to_date(args.out):
        print(f"{args.out}: up to date", file=sys.stderr)
        return 0
    origins = [origin(paths) for paths in (*args.teacher, *args.student)]
    names = _names(args, origins)
    models = [
        Model(paths, name, work.task, args.teacher_data, work.like, args.max_tokens)
        for paths, name in zip((*args.teacher, *args.student), names, strict=True)
    ]
    ids, plan, counts = work.plan(models)
    triple = work.chosen(counts)
    print(
        f"{len(ids):,} sentences, {int(counts.sum()):,} tokens, {len(plan.types):,} types with at least "
        f"{args.min_count} occurrences, {len(plan.sketched):,} of them sketched; {len(models)} models",
        file=sys.stderr,
    )
    key = {"options": work.options(), "inputs": work.inputs(), "shards": args.num_shards}
    measured = work.measure(models, ids[args.shard_id :: args.num_shards], plan)
    if args.num_shards > 1:
        mine = shard_path(args.out, args.shard_id, args.num_shards)
        with write_beside(mine) as part, part.open("wb") as stream:
            torch.save({"key": key, "models": [one.state() for one in measured]}, stream)
        paths = [shard_path(args.out, i, args.num_shards) for i in range(args.num_shards)]
        if missing := [path.name for path in paths if not path.is_file()]:
            print(f"{mine}: written; still to come: {', '.join(missing)}", file=sys.stderr)
            return 0
        measured = _merged(paths, key)
    found = work.findings(models, origins, measured, triple)
    if args.num_shards > 1 and manifest.is_up_to_date(args.out):  # another shard was faster
        return 0
    with manifest.written(args.out) as (folder, facts):
        facts["command"] = ["lskd", *sys.argv[1:]]
        _write(folder, found)
    print(found.advice.headline)
    print(f"{args.out / 'report.html'}")
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


def _names(args: argparse.Namespace, origins: list[Origin]) -> list[str]:
    """What models are called: as given, else teachers by their smoothing and students by their folder."""
    if args.names:
        teachers = args.names.split(",")
    else:
        known = origins[: len(args.teacher)]
        teachers = [
            Path(paths.split(":")[0]).parent.name or paths if o.smoothing is None else f"LS {o.smoothing:g}"
            for paths, o in zip(args.teacher, known, strict=True)
        ]
    students = (
        args.student_names.split(",")
        if args.student_names
        else [Path(paths.split(":")[0]).resolve().parent.name for paths in args.student]
    )
    names: list[str] = []
    for name in (*teachers, *students):
        same = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return names


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


class _Work:
    """The data and what is asked of it."""

    def __init__(self, args: argparse.Namespace):
        import torch

        from ..measuring import load_split
        from ..teachers.task import translation_task

        self.args = args
        self.device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
        self.like = torch.empty(0, device=self.device)
        self.task = translation_task(
            args.data,
            args.source_lang,
            args.target_lang,
            max_source_positions=args.max_source_positions,
            max_target_positions=args.max_target_positions,
        )
        self.dictionary = self.task.target_dictionary
        self.dataset = load_split(self.task, args.split)
        self.train = None
        if args.train_split not in ("none", args.split):
            with contextlib.suppress(UserError):  # only a picture's second row depends on it
                self.train = load_split(self.task, args.train_split)

    def options(self) -> dict[str, Any]:
        """What the report depends on, by flag."""
        names = ["split", "train_split", "names", "student_names", "min_count", "types", "similar_by", "memory"]
        names += ["max_source_positions", "max_target_positions"]
        found = {name.replace("_", "-"): getattr(self.args, name) for name in names}
        return found | {"teacher": len(self.args.teacher), "student": len(self.args.student)}

    def inputs(self) -> dict[str, str]:
        """Digests of the models and the data."""
        from ..files import sha256

        found = {}
        for kind in ("teacher", "student"):
            for i, paths in enumerate(getattr(self.args, kind), start=1):
                for path in paths.split(":"):
                    if not Path(path).is_file():
                        raise UserError(f"--{kind} {path}: no such file")
                    found[f"{kind} {i}: {Path(path).name}"] = sha256(path)
        source, target = self.task.cfg.source_lang, self.task.cfg.target_lang
        for language in (source, target):
            found[f"dict.{language}.txt"] = sha256(Path(self.args.data, f"dict.{language}.txt"))
            name = f"{self.args.split}.{source}-{target}.{language}.bin"
            found[name] = sha256(Path(self.args.data, name))
        return found

    def plan(self, models: list[Model]) -> tuple[np.ndarray, Plan, Any]:
        """The sentences that all models can read, what is kept of which type, and how often each occurs.

        Raises:
            UserError: if no type occurs often enough, or the memory is too small.
        """
        import numpy as np

        from ..analysis.measurement import Plan
        from ..measuring import count_types

        ids = np.arange(len(self.dataset))
        for model in models:
            ids = self.dataset.filter_indices_by_size(ids, model.forcing(self.dataset).limits)[0]
        ids = np.sort(ids)
        counts = count_types(self.dataset, ids, len(self.dictionary), self.dictionary.pad())
        most = int(counts.max()) if len(counts) else 0
        if most < self.args.min_count:
            raise UserError(
                f"--min-count {self.args.min_count}: no target token type occurs that often in {self.args.split} of "
                f"{self.args.data} (the most frequent {most} times); lower it, or analyse a larger split"
            )
        try:
            return ids, Plan.make(counts, self.args.min_count, self.args.memory * 2**30 / len(models)), counts
        except ValueError as error:
            raise UserError(f"--memory {self.args.memory:g}: {error} a model; raise it, or raise --min-count") from None

    def chosen(self, counts: Any) -> tuple[int, int, int] | None:
        """The types of --types.

        Raises:
            UserError: naming those that are not in the dictionary or occur too rarely.
        """
        if not self.args.types:
            return None
        problems, found = [], []
        for symbol in self.args.types.split(","):
            index = self.dictionary.index(symbol)
            if index == self.dictionary.unk() and symbol != self.dictionary.unk_word:
                problems.append(f"{symbol!r} is not in {self.args.data}/dict.{self.task.cfg.target_lang}.txt")
            elif counts[index] < self.args.min_count:
                problems.append(
                    f"{symbol!r} occurs {int(counts[index])} times in {self.args.split}, fewer than "
                    f"--min-count {self.args.min_count}"
                )
            found.append(index)
        if problems:
            raise UserError(f"--types {self.args.types}: {'; '.join(problems)}")
        return found[0], found[1], found[2]

    def measure(self, models: list[Model], ids: np.ndarray, plan: Plan) -> list[Measurement]:
        """One pass of each model."""
        from tqdm import tqdm

        total = int(self.dataset.tgt_sizes[ids].sum()) * len(models)
        found = []
        with tqdm(total=total, unit="token", unit_scale=True, mininterval=0.5 if sys.stderr.isatty() else 30) as bar:
            for model in models:
                bar.set_description(model.name)
                found.append(model.measure(self.dataset, ids, plan, bar.update))
        return found

    def findings(
        self,
        models: list[Model],
        origins: list[Origin],
        measured: list[Measurement],
        triple: tuple[int, int, int] | None,
    ) -> Findings:
        """Everything that the sections draw on."""
        from ..analysis.classes import pair_up
        from ..analysis.sections import Findings
        from ..analysis.system import System

        count = len(self.args.teacher)
        exact = measured[0].exact
        if len(exact.types) < 3:
            raise UserError(
                f"--min-count {self.args.min_count}: only {len(exact.types)} target token types occur that often in "
                f"{self.args.split}, and comparing types takes three; lower it, or analyse a larger split"
            )
        similarity = self._similarity(models[:count], measured[:count])
        why = None
        if triple is None:
            triple, why = self._propose(similarity, exact)
        systems = [
            System(model.name, one, o.smoothing, model.why_no_points, extra=self._extra(model, o))
            for model, one, o in zip(models, measured, origins, strict=True)
        ]
        teachers = [self._pictured(s, m, triple) for s, m in zip(systems[:count], models[:count], strict=True)]
        students = [self._taught(s, o, teachers) for s, o in zip(systems[count:], origins[count:], strict=True)]
        order = sorted(range(count), key=lambda i: (teachers[i].smoothing is None, teachers[i].smoothing or 0.0))
        return Findings(
            teachers=[teachers[i] for i in order],
            students=students,
            symbols=self.dictionary.symbols,
            split=self.args.split,
            pairs=pair_up(similarity),
            similarity=self.args.similar_by,
            triple=triple,
            why_no_triple=why,
            facts=self._facts(measured[0]),
        )

    def _similarity(self, models: list[Model], measured: list[Measurement]) -> Any:
        from ..analysis.classes import confusion, cosines, relation

        if self.args.similar_by == "confusion":
            return confusion([relation(one.exact) for one in measured])
        outputs = [model.output for model in models]
        if any(output is None for output in outputs):
            why = next(model.why_no_points for model in models if model.why_no_points)
            raise UserError(f"--similar-by embedding: a teacher has no output embeddings ({why}); take confusion")
        return cosines([output[measured[0].exact.types] for output in outputs if output is not None])

    def _propose(self, similarity: Any, exact: Any) -> tuple[tuple[int, int, int] | None, str | None]:
        """Three types that occur ten times and more, marks aside: two similar ones and another."""
        import torch

        from ..analysis.projection import propose

        marks = torch.tensor(sorted({self.dictionary.eos(), self.dictionary.unk(), self.dictionary.bos()}))
        eligible = ~torch.isin(exact.types, marks)
        for least in (30, 10, 2):
            enough = eligible & (exact.counts.cpu() >= least)
            if int(enough.sum()) >= 3:
                a, b, c = (int(exact.types[row]) for row in propose(similarity, enough))
                return (a, b, c), None
        return None, "fewer than three types occur often enough"

    def _pictured(self, system: Any, model: Model, triple: tuple[int, int, int] | None) -> Any:
        """A teacher with its clouds and its looks under dropout."""
        import dataclasses

        import torch

        from ..analysis.system import Cloud
        from ..measuring import holding

        if triple is None:
            return system
        types = torch.tensor(triple)
        clouds = []
        splits = [(self.args.train_split, self.train), (self.args.split, self.dataset)]
        if model.output is not None:
            for name, dataset in splits:
                if dataset is not None:
                    found = model.cloud(dataset, holding(dataset, list(triple), POINTS), types, POINTS)
                    if len(found[1].unique()) == len(triple):
                        clouds.append(Cloud(name, *found))
        dataset = self.dataset if self.train is None else self.train
        at = holding(dataset, list(triple[:2]), OCCURRENCES)
        return dataclasses.replace(
            system,
            templates=None if model.output is None else model.output[types],
            clouds=tuple(clouds),
            looks=model.looks(dataset, at, types[:2], OCCURRENCES, LOOKS),
        )

    def _taught(self, student: Any, o: Origin, teachers: list[Any]) -> Any:
        """A student with its teacher's name: by the teacher's path, else by its smoothing if that is one teacher's."""
        import dataclasses

        from ..measuring import same_file

        names = [
            teacher.name
            for teacher, paths in zip(teachers, self.args.teacher, strict=True)
            if o.teacher_path is not None and same_file(o.teacher_path, paths)
        ]
        if not names and o.teacher_smoothing is not None:
            names = [teacher.name for teacher in teachers if teacher.smoothing == o.teacher_smoothing]
        if len(names) != 1:
            print(
                f"{student.name}: none of the teachers is known to be its own (by the --teacher-path of its training, "
                "or the teacher_smoothing of its run.json); it is listed, and compared with none",
                file=sys.stderr,
            )
        return dataclasses.replace(student, taught_by=names[0] if len(names) == 1 else None, temperature=o.temperature)

    @staticmethod
    def _extra(model: Model, o: Origin) -> dict[str, str]:
        from ..files import sha256

        first = model.paths.split(":")[0]
        parameters = sum(p.numel() for one in model.teacher.models for p in one.parameters())
        found = {"checkpoint": Path(first).name, "SHA-256": sha256(first)[:12], "parameters": f"{parameters:,}"}
        return found | ({} if o.temperature is None else {"temperature": f"{o.temperature:g}"})

    def _facts(self, one: Measurement) -> dict[str, str]:
        tokens = one.tokens
        pair = f"{self.task.cfg.source_lang}-{self.task.cfg.target_lang}"
        return {
            "data": f"{self.args.split}, {pair}",
            "sentences": f"{len(tokens.unit.unique()):,}",
            "target tokens": f"{len(tokens):,}",
            "target vocabulary": f"{len(self.dictionary):,} types",
            "types with enough occurrences": f"{len(one.exact.types) + len(one.sketched.types):,}",
            "of which sketched": f"{len(one.sketched.types):,}",
            "minimum n_c": str(one.min_count),
        }

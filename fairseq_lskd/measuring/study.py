"""A study of teachers and students on one split: from checkpoints to findings."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..analysis.classes import confusion, cosines, pair_up, relation
from ..analysis.measurement import Measurement, Plan
from ..analysis.projection import propose
from ..analysis.sections import Findings
from ..analysis.system import Cloud, System
from ..errors import UserError
from ..files import sha256
from ..teachers.task import translation_task
from .model import Model
from .origin import Origin, origin, same_file
from .splits import count_types, holding, load_split

#: Points of a type in the projection; occurrences of a type, and draws of dropout, for the mutual information.
POINTS, OCCURRENCES, LOOKS = 300, 150, 8


@dataclass(frozen=True)
class Request:
    """What is asked for; `lskd analyze --help` says what each is."""

    teacher: list[str]
    student: list[str]
    data: str
    split: str = "valid"
    train_split: str = "train"
    names: str | None = None
    student_names: str | None = None
    min_count: int = 5
    types: str | None = None
    similar_by: str = "confusion"
    memory: float = 1.0
    max_source_positions: int = 1024
    max_target_positions: int = 1024
    # What the numbers do not depend on, but for the order in which they are added.
    teacher_data: str | None = field(default=None, metadata={"how": True})
    source_lang: str | None = field(default=None, metadata={"how": True})
    target_lang: str | None = field(default=None, metadata={"how": True})
    max_tokens: int = field(default=8000, metadata={"how": True})
    cpu: bool = field(default=False, metadata={"how": True})

    def options(self) -> dict[str, Any]:
        """What the numbers depend on, by flag; models and data aside."""
        paths = {"teacher": len(self.teacher), "student": len(self.student)}
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata}
        del found["data"]
        return {name.replace("_", "-"): value for name, value in (found | paths).items()}

    def model_names(self, origins: list[Origin]) -> list[str]:
        """What models are called: as given, else teachers by their smoothing and students by their folder."""
        folders = [Path(paths.split(":")[0]).resolve().parent.name for paths in (*self.teacher, *self.student)]
        count = len(self.teacher)
        own = [
            folder if o.smoothing is None else f"LS {o.smoothing:g}"
            for folder, o in zip(folders[:count], origins, strict=False)
        ]
        wanted = self.names.split(",") if self.names else own
        wanted += self.student_names.split(",") if self.student_names else folders[count:]
        return [
            f"{name} ({wanted[:i].count(name) + 1})" if name in wanted[:i] else name for i, name in enumerate(wanted)
        ]


class Study:
    """Models and data, checked and ready; the least smoothed teacher is the base."""

    def __init__(self, request: Request):
        """Load the data.

        Raises:
            UserError: if the data, the split or a model's file is not there.
        """
        self.request = request
        self.device = "cuda" if torch.cuda.is_available() and not request.cpu else "cpu"
        self.task = translation_task(
            request.data,
            request.source_lang,
            request.target_lang,
            max_source_positions=request.max_source_positions,
            max_target_positions=request.max_target_positions,
        )
        self.dictionary = self.task.target_dictionary
        self.dataset = load_split(self.task, request.split)
        self.train = None
        if request.train_split not in ("none", request.split):
            with contextlib.suppress(UserError):  # only pictures depend on it
                self.train = load_split(self.task, request.train_split)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Digests of the models and the data.

        Raises:
            UserError: naming every model that is not there.
        """
        found, missing = {}, []
        for kind in ("teacher", "student"):
            for i, paths in enumerate(getattr(self.request, kind), start=1):
                for path in paths.split(":"):
                    if not Path(path).is_file():
                        missing.append(f"--{kind} {path}: no such file")
                    else:
                        found[f"{kind} {i}: {Path(path).name}"] = sha256(path)
        if missing:
            raise UserError("; ".join(missing))
        source, target = self.task.cfg.source_lang, self.task.cfg.target_lang
        for language in (source, target):
            for name in (f"dict.{language}.txt", f"{self.request.split}.{source}-{target}.{language}.bin"):
                found[name] = sha256(Path(self.request.data, name))
        return found

    def load(self) -> None:
        """Load the models, and plan what is measured: all that can go wrong goes wrong here.

        Raises:
            UserError: if a model cannot be read, has no numbers for weights or does not fit the data, if too few types
                occur often enough, or the memory is too small.
        """
        request = self.request
        paths, count = [*request.teacher, *request.student], len(request.teacher)
        self.origins = [origin(each) for each in paths]
        like = torch.empty(0, device=self.device)
        self.models = [
            Model(each, name, self.task, request.teacher_data, like, request.max_tokens)
            for each, name in zip(paths, request.model_names(self.origins), strict=True)
        ]
        if request.similar_by == "embedding":
            for model in self.models[:count]:
                if model.why_no_points:
                    raise UserError(
                        f"--similar-by embedding: {model.name} has no output embeddings ({model.why_no_points}); "
                        "take confusion"
                    )
        ids = np.arange(len(self.dataset))
        for model in self.models:
            ids = self.dataset.filter_indices_by_size(ids, model.forcing(self.dataset).limits)[0]
        self.ids = np.sort(ids)
        self.counts = count_types(self.dataset, self.ids, len(self.dictionary), self.dictionary.pad())
        self.plan = self._plan()
        self.chosen = self._chosen()

    def _plan(self) -> Plan:
        request, enough = self.request, int((self.counts >= self.request.min_count).sum())
        if enough < 3:
            raise UserError(
                f"--min-count {request.min_count}: {enough or 'no'} target token type{'s' * (enough > 1)} occur"
                f"{'s' * (enough < 2)} that often in {request.split} of {request.data} (the most frequent "
                f"{int(self.counts.max())} times), and comparing types takes three; lower it, or analyse a larger split"
            )
        try:
            return Plan.make(self.counts, request.min_count, request.memory * 2**30 / len(self.models))
        except ValueError as error:
            raise UserError(f"--memory {request.memory:g}: {error} a model; raise it, or raise --min-count") from None

    def _chosen(self) -> tuple[int, int, int] | None:
        """The types of --types."""
        request = self.request
        if not request.types:
            return None
        problems, found = [], []
        for symbol in request.types.split(","):
            index = self.dictionary.index(symbol)
            if index == self.dictionary.unk() and symbol != self.dictionary.unk_word:
                problems.append(f"{symbol!r} is not in {request.data}/dict.{self.task.cfg.target_lang}.txt")
            elif self.counts[index] < request.min_count:
                problems.append(
                    f"{symbol!r} occurs {int(self.counts[index])} times in {request.split}, fewer than "
                    f"--min-count {request.min_count}"
                )
            found.append(index)
        if problems:
            raise UserError(f"--types {request.types}: {'; '.join(problems)}")
        return found[0], found[1], found[2]

    def __str__(self) -> str:
        sketched = f", {len(self.plan.sketched):,} of them sketched" if len(self.plan.sketched) else ""
        return (
            f"{len(self.ids):,} sentences, {int(self.counts.sum()):,} target tokens, {len(self.plan.types):,} types "
            f"with at least {self.request.min_count} occurrences{sketched}"
        )

    def measure(self, shard: int = 0, of: int = 1) -> list[Measurement]:
        """One pass of each model over a shard of the sentences."""
        ids = self.ids[shard::of]
        total = int(self.dataset.tgt_sizes[ids].sum()) * len(self.models)
        found = []
        with tqdm(total=total, unit="token", unit_scale=True, mininterval=0.5 if sys.stderr.isatty() else 30) as bar:
            for model in self.models:
                bar.set_description(model.name)
                found.append(model.measure(self.dataset, ids, self.plan, bar.update))
        return found

    def findings(self, measured: list[Measurement]) -> Findings:
        """Everything that the sections of a report draw on."""
        count = len(self.request.teacher)
        similarity = self._similarity(measured[:count])
        triple, why = (self.chosen, None) if self.chosen else self._propose(similarity, measured[0].exact)
        systems = [
            System(model.name, one, o.smoothing, model.why_no_points, extra=_facts_of(model, o))
            for model, one, o in zip(self.models, measured, self.origins, strict=True)
        ]
        teachers = []
        for system, model in tqdm(
            list(zip(systems[:count], self.models[:count], strict=True)),
            desc="activations",
            disable=not sys.stderr.isatty(),
        ):
            teachers.append(self._pictured(system, model, triple))
        students = [self._taught(s, o, teachers) for s, o in zip(systems[count:], self.origins[count:], strict=True)]
        return Findings(
            teachers=sorted(teachers, key=lambda system: (system.smoothing is None, system.smoothing or 0.0)),
            students=students,
            symbols=self.dictionary.symbols,
            split=self.request.split,
            pairs=pair_up(similarity),
            similarity=self.request.similar_by,
            triple=triple,
            why_no_triple=why,
            facts=self._facts(measured[0]),
        )

    def _similarity(self, measured: list[Measurement]) -> Tensor:
        if self.request.similar_by == "confusion":
            return confusion([relation(one.exact) for one in measured])
        outputs = [model.output for model in self.models[: len(measured)]]
        return cosines([output[measured[0].exact.types] for output in outputs if output is not None])

    def _propose(self, similarity: Tensor, exact: Any) -> tuple[tuple[int, int, int] | None, str | None]:
        """Three types, marks aside: two similar ones and another; the more occurrences they have, the better."""
        marks = torch.tensor(sorted({self.dictionary.eos(), self.dictionary.unk(), self.dictionary.bos()}))
        eligible = ~torch.isin(exact.types, marks)
        for least in (30, 10, 2):
            enough = eligible & (exact.counts.cpu() >= least)
            if int(enough.sum()) >= 3:
                a, b, c = (int(exact.types[row]) for row in propose(similarity, enough))
                return (a, b, c), None
        return None, "fewer than three types occur often enough"

    def _pictured(self, system: System, model: Model, triple: tuple[int, int, int] | None) -> System:
        """A teacher with its clouds, and its looks under dropout."""
        if triple is None:
            return system
        types = torch.tensor(triple)
        clouds = []
        if model.output is not None:
            for name, dataset in ((self.request.train_split, self.train), (self.request.split, self.dataset)):
                if dataset is not None:
                    points, member = model.cloud(dataset, holding(dataset, list(triple), POINTS), types, POINTS)
                    if len(member.unique()) == len(triple):
                        clouds.append(Cloud(name, points, member))
        dataset = self.dataset if self.train is None else self.train
        at = holding(dataset, list(triple[:2]), OCCURRENCES)
        return dataclasses.replace(
            system,
            templates=None if model.output is None else model.output[types],
            clouds=tuple(clouds),
            looks=model.looks(dataset, at, types[:2], OCCURRENCES, LOOKS),
        )

    def _taught(self, student: System, o: Origin, teachers: list[System]) -> System:
        """A student with its teacher's name: by the teacher's path, else by its smoothing if that is one teacher's."""
        names = [
            teacher.name
            for teacher, paths in zip(teachers, self.request.teacher, strict=True)
            if o.teacher_path is not None and same_file(o.teacher_path, paths)
        ]
        if not names and o.teacher_smoothing is not None:
            names = [teacher.name for teacher in teachers if teacher.smoothing == o.teacher_smoothing]
        if len(names) != 1:
            print(
                f"{student.name}: none of the teachers is known to be its own (by the --teacher-path of its training, "
                "or the teacher_smoothing in its run.json); it is listed, and compared with none",
                file=sys.stderr,
            )
        return dataclasses.replace(student, taught_by=names[0] if len(names) == 1 else None, temperature=o.temperature)

    def _facts(self, one: Measurement) -> dict[str, str]:
        return {
            "data": f"{self.request.split}, {self.task.cfg.source_lang}-{self.task.cfg.target_lang}",
            "sentences": f"{len(one.tokens.unit.unique()):,}",
            "target tokens": f"{len(one.tokens):,}",
            "target vocabulary": f"{len(self.dictionary):,} types",
            "types with enough occurrences": f"{len(self.plan.types):,}",
            "of which sketched": f"{len(self.plan.sketched):,}",
            "minimum n_c": str(one.min_count),
        }


def _facts_of(model: Model, o: Origin) -> dict[str, str]:
    first = model.paths.split(":")[0]
    parameters = sum(p.numel() for one in model.teacher.models for p in one.parameters())
    found = {"checkpoint": Path(first).name, "SHA-256": sha256(first)[:12], "parameters": f"{parameters:,}"}
    return found | ({} if o.temperature is None else {"temperature": f"{o.temperature:g}"})

"""A study of teachers and students on one split: from checkpoints to findings."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..analysis.choice import Choice, distinct, propose_three
from ..analysis.classes import pair_up
from ..analysis.measurement import Measurement
from ..analysis.sections import Findings
from ..analysis.system import POINTS, Seen, System, least_smoothed_first, pictured, unlike
from ..analysis.terms import TRANSLATION
from ..analysis.truth import read_log_probs, truth_path
from ..commands import number
from ..errors import UserError
from ..files import sha256
from ..losses import count_types
from ..records.derive import training_of
from ..records.training import Training, same
from ..teachers.cache import data_files
from ..teachers.checkpoint import parameters, read_archive
from ..teachers.soundness import check_weights
from ..teachers.task import translation_task
from .model import Model
from .splits import holding, load_split

#: Maximum number of occurrences per type, and number of draws of dropout, for the mutual information.
OCCURRENCES, LOOKS = 150, 8


@dataclass(frozen=True, kw_only=True)
class Request(Choice):
    """Options, as described by `lskd analyze --help`."""

    # Inputs; the manifest has their digests.
    teacher: list[str] = field(metadata={"path": True})
    student: list[str] = field(metadata={"path": True})
    data: str = field(metadata={"path": True})
    truth: Path | None = field(default=None, metadata={"path": True})
    student_names: str | None = None
    max_source_positions: int = 1024
    max_target_positions: int = 1024
    # Options that change the numbers only by the order of summation.
    teacher_data: str | None = field(default=None, metadata={"how": True})
    source_lang: str | None = field(default=None, metadata={"how": True})
    target_lang: str | None = field(default=None, metadata={"how": True})
    max_tokens: int = field(default=8000, metadata={"how": True})
    cpu: bool = field(default=False, metadata={"how": True})

    def options(self) -> dict[str, Any]:
        """Return the options that the numbers depend on; of the models only their number."""
        return {**super().options(), "teacher": len(self.teacher), "student": len(self.student)}

    def model_names(self, trainings: list[Training]) -> list[str]:
        """Return the given names of the models, or else the label smoothing of teachers and the folder of students."""
        folders = [Path(paths.split(":")[0]).resolve().parent.name for paths in (*self.teacher, *self.student)]
        count = len(self.teacher)
        own = [
            folder if each.label_smoothing is None else f"LS {each.label_smoothing:g}"
            for folder, each in zip(folders[:count], trainings, strict=False)
        ]
        return distinct(
            [*self.called(own), *(self.student_names.split(",") if self.student_names else folders[count:])]
        )


class Study:
    """Models and data of a study. The teacher with the least label smoothing is the base of comparisons."""

    def __init__(self, request: Request):
        """Load the data.

        Raises:
            UserError: if the data, the split or the file of a model does not exist.
        """
        self.request = request
        self.device = "cuda" if torch.cuda.is_available() and not request.cpu else "cpu"
        self.task = translation_task(
            request.data,
            request.source_lang,
            request.target_lang,
            max_source_positions=request.max_source_positions,
            max_target_positions=request.max_target_positions,
            like=request.teacher[0],
        )
        self.dictionary = self.task.target_dictionary
        self.dataset = load_split(self.task, request.split)
        self.train = None
        if request.train_split not in ("none", request.split):
            with contextlib.suppress(UserError):  # the training split is optional: only plots need it
                self.train = load_split(self.task, request.train_split)
        self.truth = None if request.truth is None else self._truth(request.truth)

    def _truth(self, folder: Path) -> Tensor:
        """Read the true log-probability of every sentence of the split, `[N]`."""
        found = read_log_probs(folder, self.request.split)
        if len(found) != len(self.dataset):
            raise UserError(
                f"--truth {folder}: found {len(found):,} sentences of {self.request.split}, expected "
                f"{len(self.dataset):,} as in {self.request.data}. Give --data that was binarised from this folder"
            )
        return found

    @cached_property
    def inputs(self) -> dict[str, str]:
        found = {
            f"{kind} {i}: {Path(path).name}": sha256(path)
            for kind in ("teacher", "student")
            for i, paths in enumerate(getattr(self.request, kind), start=1)
            for path in paths.split(":")
        }
        cfg = self.task.cfg
        files = [Path(self.request.data, f"dict.{side}.txt") for side in (cfg.source_lang, cfg.target_lang)]
        files += data_files(cfg, self.request.split)[:4:2]  # both sides of the split without train1, train2, ...
        found |= {path.name: sha256(path) for path in files}
        if self.request.truth is not None:
            truth = truth_path(self.request.truth, self.request.split)
            found[truth.name] = sha256(truth)
        return found

    def load(self) -> None:
        """Load the models and plan the measurement, so that all errors come before the long work.

        Raises:
            UserError: if a model cannot be read, has NaN in its weights or does not fit the data, if too few types are
                frequent enough, or the memory is too small.
        """
        request = self.request
        paths, count = [*request.teacher, *request.student], len(request.teacher)
        self.trainings = [_training_of(each) for each in paths]
        like = torch.empty(0, device=self.device)
        self.models = [
            Model(each, name, self.task, request.teacher_data, like, request.max_tokens)
            for each, name in zip(paths, request.model_names(self.trainings), strict=True)
        ]
        self.trained = [_trained(*each) for each in zip(self.models, self.trainings, strict=True)]
        for model, trained in zip(self.models[1:count], self.trained[1:count], strict=True):
            if differs := unlike(self.trained[0], trained):
                print(
                    f"warning: the teachers {self.models[0].name} and {model.name} differ in more than label "
                    f"smoothing: {differs}. The report cannot show what smoothing does",
                    file=sys.stderr,
                )
        request.check_outputs([(model.name, why) for model in self.models[:count] if (why := model.why_no_points)])
        ids = np.arange(len(self.dataset))
        for model in self.models:
            ids = self.dataset.filter_indices_by_size(ids, model.forcing(self.dataset).limits)[0]
        self.ids = np.sort(ids)
        self.counts = count_types(self.dataset.tgt, self.ids, len(self.dictionary), self.dictionary.pad())
        where = f"{request.split} of {request.data}"
        self.plan = request.plan(self.counts, len(self.models), where, TRANSLATION)
        unknown = f"is not in {request.data}/dict.{self.task.cfg.target_lang}.txt"
        self.chosen = request.three(self._find, self.counts, unknown)

    def _find(self, symbol: str) -> int | None:
        """Return the number of a type, or None if it is not in the dictionary."""
        index = self.dictionary.index(symbol)
        return None if index == self.dictionary.unk() and symbol != self.dictionary.unk_word else index

    def __str__(self) -> str:
        sketched = f" ({len(self.plan.sketched):,} sketched)" if len(self.plan.sketched) else ""
        return (
            f"{len(self.ids):,} sentences, {int(self.counts.sum()):,} target tokens, {len(self.plan.types):,} types "
            f"with at least {self.request.min_count} occurrences{sketched}"
        )

    def measure(self, shard: int = 0, of: int = 1) -> list[Measurement]:
        ids = self.ids[shard::of]
        total = int(self.dataset.tgt_sizes[ids].sum()) * len(self.models)
        found = []
        with tqdm(total=total, unit="token", unit_scale=True, mininterval=0.5 if sys.stderr.isatty() else 30) as bar:
            for model in self.models:
                bar.set_description(model.name)
                found.append(model.measure(self.dataset, ids, self.plan, bar.update))
        return found

    def findings(self, measured: list[Measurement]) -> Findings:
        """Return the findings for the sections of a report."""
        count = len(self.request.teacher)
        outputs = [model.output for model in self.models[:count]]
        similarity = self.request.similarity(measured[:count], outputs)
        marks = self.dictionary.eos(), self.dictionary.unk(), self.dictionary.bos()
        triple = self.chosen or propose_three(similarity, measured[0].exact, left_out=marks)
        systems = [
            System(
                model.name,
                one,
                how.label_smoothing,
                model.why_no_points,
                trained=trained,
                extra=_facts_of(model, how, trained["parameters"]),
                path=model.paths,
            )
            for model, one, how, trained in zip(self.models, measured, self.trainings, self.trained, strict=True)
        ]
        teachers = []
        for system, model in tqdm(
            list(zip(systems[:count], self.models[:count], strict=True)),
            desc="activations",
            disable=not sys.stderr.isatty(),
        ):
            teachers.append(self._pictured(system, model, triple))
        taught = zip(systems[count:], self.trainings[count:], strict=True)
        students = [self._taught(system, how, teachers) for system, how in taught]
        return Findings(
            teachers=least_smoothed_first(teachers),
            students=students,
            symbols=self.dictionary.symbols,
            split=self.request.split,
            pairs=pair_up(similarity),
            similarity=self.request.similar_by,
            triple=triple,
            facts=self._facts(measured[0]),
            truth=self.truth,
        )

    def _pictured(self, system: System, model: Model, three: tuple[int, int, int] | None) -> System:
        """Return a teacher with clouds for the projection, and logit differences under dropout."""
        if three is None:
            return system
        types = torch.tensor(three)
        if model.output is not None:
            seen = [
                Seen(name, *found)
                for name, dataset in ((self.request.train_split, self.train), (self.request.split, self.dataset))
                if dataset is not None and len(at := holding(dataset, list(three), POINTS))
                if (found := model.activations(dataset, at, types)) is not None
            ]
            system = pictured(system, model.output, three, seen)
        dataset = self.dataset if self.train is None else self.train
        at = holding(dataset, list(three[:2]), OCCURRENCES)
        return dataclasses.replace(system, looks=model.looks(dataset, at, types[:2], OCCURRENCES, LOOKS))

    @cached_property
    def _digests(self) -> list[tuple[str, ...]]:
        return [tuple(sorted(map(sha256, paths.split(":")))) for paths in self.request.teacher]

    def _taught(self, student: System, how: Training, teachers: list[System]) -> System:
        """Return a student with the name of its teacher, which is found by the digests of its checkpoints.

        If no digest is known, it is the only teacher with the label smoothing in the student's labels.
        """
        facts = how.described()
        if digests := tuple(each.sha256 for each in how.teachers):
            names = [teacher.name for teacher, own in zip(teachers, self._digests, strict=True) if own == digests]
        else:
            names = [
                t.name for t in teachers if t.smoothing is not None and same(facts["teacher_smoothing"], t.smoothing)
            ]
        if len(names) != 1:
            print(
                f"{student.name}: its teacher is not among the given teachers, according to the digests of its "
                "training or the label teacher_smoothing in its run.json. The student is listed but not compared",
                file=sys.stderr,
            )
        taught_by = names[0] if len(names) == 1 else None
        return dataclasses.replace(
            student,
            taught_by=taught_by,
            temperature=number(facts["temperature"]),
            setting=how.setting,
            seed=facts.get("seed"),
        )

    def _facts(self, one: Measurement) -> dict[str, str]:
        return {
            "data": f"{self.request.split}, {self.task.cfg.source_lang}-{self.task.cfg.target_lang}",
            "sentences": f"{len(one.tokens.unit.unique()):,}",
            "target tokens": f"{len(one.tokens):,}",
            "target vocabulary": f"{len(self.dictionary):,} types",
            "types with enough occurrences": f"{len(self.plan.types):,}",
            "sketched types": f"{len(self.plan.sketched):,}",
            "minimum occurrences per type": str(one.min_count),
        }


def _training_of(paths: str) -> Training:
    """Check the weights of all checkpoints, joined by `:`, and return how the first one was trained.

    An ensemble has label smoothing if all of its members have the same.
    """
    found = []
    for path in paths.split(":"):
        state = read_archive(path)
        check_weights(path, state["model"])
        found.append(training_of(path, state=state))
    smoothings = {each.label_smoothing for each in found}
    return found[0] if len(smoothings) == 1 else dataclasses.replace(found[0], label_smoothing=None)


def _trained(model: Model, how: Training) -> dict[str, str]:
    """Return what teachers should have in common, as far as it is known."""
    updates = None if how.budget is None else how.budget.max_updates
    digest = hashlib.sha256("".join(sorted(how.data.values())).encode()).hexdigest()
    found = {
        "architecture": how.arch,
        "parameters": f"{sum(map(parameters, model.teacher.models)):,}",
        "method": how.method,
        "updates at most": updates and f"{updates:,}",
        "training data": digest[:8] if how.data else None,
    }
    return {name: value for name, value in found.items() if value}


def _facts_of(model: Model, how: Training, size: str) -> dict[str, str]:
    first = model.paths.split(":")[0]
    found = {"checkpoint": Path(first).name, "SHA-256": sha256(first)[:12], "parameters": size}
    temperature = number(how.described()["temperature"])
    return found | ({} if temperature is None else {"temperature": f"{temperature:g}"})

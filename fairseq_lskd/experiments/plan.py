"""Plan an experiment: its systems, the caches and translations that they share, and the command of every step."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compat.versions import OPTIONAL
from ..errors import UserError
from ..extras import is_installed
from . import settings
from .settings import Settings

SCRIPTS = {
    "word": "distill_word.sh",
    "sequence": "distill_seq.sh",
    "both": "distill_seq.sh",
    "none": "train_teacher.sh",
}
_SHORT = {"sequence": "seq", "none": "student"}
NBEST = 5  #: translations per source sentence, from which every strategy selects
TOP_K = 16  # as in teachers.caching, which loads torch
EXPORTED_AS = "int8"


@dataclass(frozen=True)
class System:
    """A model to train. `called` is the name that it shares with other seeds."""

    called: str
    seed: int
    script: str
    options: tuple[str, ...]
    teacher: str | None = None  #: name of a system
    online: bool = False  #: whether the teacher runs while the student is trained
    cache: str | None = None
    translations: str | None = None
    backward: str | None = None  #: the system of the other direction that filters the translations
    train: tuple[str, ...] = ()  #: more options of fairseq-train

    @property
    def name(self) -> str:
        """The name of the system's folder."""
        return f"{self.called}-s{self.seed}"


@dataclass(frozen=True)
class Cache:
    """A teacher's probabilities at a temperature. `keep` is the option of `lskd cache` that sets its size."""

    teacher: str
    temperature: float
    keep: tuple[str, str]


@dataclass(frozen=True)
class Translations:
    """A teacher's translations of the training set: the best of a beam, or samples."""

    teacher: str
    samples: int | None = None


@dataclass
class Plan:
    """Every job of an experiment. Paths are relative to the folder in which it runs."""

    settings: Settings
    runs: str
    scripts: str = "scripts"
    raw: str | None = None  #: --raw of prepare.sh, the folder with the corpus's files
    exports: bool = True  #: whether exported models (`lskd export`) are measured too
    systems: dict[str, System] = field(default_factory=dict)
    backward: dict[str, System] = field(default_factory=dict)  #: models of the other direction, which are not scored
    caches: dict[str, Cache] = field(default_factory=dict)
    translations: dict[str, Translations] = field(default_factory=dict)
    leads: dict[str, list[str]] = field(default_factory=dict)  #: teacher -> students with its seed that have no teacher

    @classmethod
    def read(
        cls,
        experiment: str,
        scale: str,
        folder: Path,
        name: str | None = None,
        recipe: str | None = None,
        **more: Any,
    ) -> Plan:
        """Read the plan of an experiment's YAML file.

        Args:
            folder: the folder with scales.yaml and the experiments that can be called by name.
            recipe: replaces the scale's recipe.
            name: the runs go to runs/NAME. Experiments with the same name share the runs that they have in common.

        Raises:
            UserError: with every problem in the file.
        """
        found = settings.read(experiment, scale, folder, recipe)
        where = name or (f"{found.data}-{found.name}" if found.apart else found.data)
        plan = cls(found, f"runs/{where}", **more)
        for seed in found.seeds:
            teachers = [plan._teacher(teacher, seed) for teacher in found.teachers]
            untaught: list[str] = []
            plan.leads |= {teacher: untaught for teacher, _ in teachers}
            for student in found.students:
                if student["method"] == "none":
                    untaught.append(plan._student(student, None, (), seed))
                else:
                    for teacher, labels in teachers:
                        plan._student(student, teacher, labels, seed)
        return plan

    @staticmethod
    def scripts_in(root: Path) -> str:
        """Return the folder of scripts as commands name it: relative if they run in `root`, the checkout."""
        return "scripts" if Path.cwd() == root else f"{root}/scripts"

    @property
    def data(self) -> str:
        return f"data/{self.settings.data}"

    def recipe_file(self, folder: Path) -> Path:
        """Return the file of the recipe. `folder` holds the recipes that can be called by name."""
        return settings.recipe_file(self.settings.recipe, folder)

    @property
    def results(self) -> str:
        return f"{self.runs}/results/{self.settings.name}"

    def _add(self, system: System) -> None:
        there = self.systems.setdefault(system.name, system)
        if there != system:
            raise UserError(f"two systems are called {system.name}: one has {there.options}, one has {system.options}")

    def _teacher(self, teacher: dict[str, Any], seed: int) -> tuple[str, tuple[str, ...]]:
        """Add a teacher. Return its name and the options that describe it to its students' scripts."""
        size, smoothing = teacher.get("size", "teacher"), float(teacher["label_smoothing"])
        options = ("--size", size, "--label-smoothing", str(smoothing), "--seed", str(seed))
        system = System(f"{size.replace('_', '-')}-{smoothing}", seed, "train_teacher.sh", options)
        self._add(system)
        return system.name, ("--teacher-smoothing", str(smoothing), "--teacher-size", size)

    def _student(self, student: dict[str, Any], teacher: str | None, labels: tuple[str, ...], seed: int) -> str:
        method, size = student["method"], student.get("size", "student")
        temperature = float(student.get("temperature", 1))
        parts = [_SHORT.get(method, method)]
        options = ["--size", size, "--seed", str(seed)]
        cache = translations = None
        # Always spelt out, so that experiments that share a run have the same command for it.
        if method in ("word", "both"):
            options += ["--kd-temperature", str(temperature)]
        if method in ("sequence", "both"):
            options += ["--strategy", student.get("strategy", "1-best")]
        for key in _MARKS:
            if key in student:
                options += [f"--{key.replace('_', '-')}", str(float(student[key]))]
        top_k, size_in_bytes = student.get("cache_top_k", TOP_K), student.get("cache_bytes")
        if student.get("cached") or size_in_bytes or "cache_top_k" in student:
            mark = f"{size_in_bytes}B" if size_in_bytes else f"k{top_k}" if top_k != TOP_K else ""
            parts += ["cached", mark] if mark else ["cached"]
            if method == "both":  # the student's script writes a cache of the data selected for it
                options += ["--cache-bytes", str(size_in_bytes)] if size_in_bytes else ["--cache-top-k", str(top_k)]
            else:
                keep = ("--bytes-per-token", str(size_in_bytes)) if size_in_bytes else ("--top-k", str(top_k))
                cache = "-".join(filter(None, ["cache", mark, f"T{temperature:g}", teacher]))
                self.caches[cache] = Cache(str(teacher), temperature, keep)
        if method in ("sequence", "both"):
            samples = student.get("samples")
            translations = f"samples{samples}-{teacher}" if samples else f"translations-{teacher}"
            self.translations[translations] = Translations(str(teacher), samples)
            if student.get("strategy", "1-best") != "1-best":
                parts.append(student["strategy"])
            parts += [f"samples{samples}"] if samples else []
        backward = self._backward(seed) if "filter_worst" in student else None
        train = shlex.split(student.get("options", ""))
        if size != "student":
            parts.append(size.removeprefix("student_").replace("_", "-"))
        if teacher is not None:
            of = self.systems[teacher].called.removeprefix("teacher-").split("-")
            parts += [of[-1], *(["of", *of[:-1]] if of[:-1] else [])]
            options += labels
        parts += [f"T{temperature:g}"] if temperature != 1 else []
        parts += [f"{short}{student[key]:g}" for key, short in _MARKS.items() if key in student]
        parts += [re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(train)).strip("-")] if train else []
        online = method in ("word", "both") and not cache
        called = "-".join(parts)
        system = System(
            called, seed, SCRIPTS[method], tuple(options), teacher, online, cache, translations, backward, tuple(train)
        )
        self._add(system)
        return system.name

    def _backward(self, seed: int) -> str:
        """Add a model of the other direction. Return its name."""
        direction = "-".join(reversed(self.settings.languages))
        options = ("--size", "student", "--seed", str(seed), "--direction", direction)
        system = System("backward", seed, SCRIPTS["none"], options)
        self.backward[system.name] = system
        return system.name

    @property
    def trained(self) -> dict[str, System]:
        """All models to train, with those that are not scored."""
        return self.systems | self.backward

    # Files and commands of every step.

    def checkpoint(self, system: str) -> str:
        return f"{self.runs}/{system}/checkpoint_average.pt"

    def made_from(self, system: str) -> list[str]:
        """Return the files that a training needs."""
        job = self.trained[system]
        files = [f"{self.data}/prepared"]
        files += [f"{self.runs}/{folder}/done" for folder in (job.cache, job.translations) if folder]
        files += [self.checkpoint(job.backward)] if job.backward else []
        return [*files, self.checkpoint(job.teacher)] if job.teacher and job.online else files

    def compared_before(self, system: str) -> list[str]:
        """Return the files that show that a student's teacher was compared with students without a teacher.

        They are the same in experiments without such students: Snakemake would train again if the files differed.
        """
        teacher = self.trained[system].teacher
        return [f"{self.runs}/leads/{teacher}"] if teacher else []

    def prepare_command(self) -> str:
        words = ["--corpus", self.settings.corpus, "--data", self.data]
        if self.settings.corpus != "generated":  # the languages of the generated bitext are fixed
            words += ["-s", self.settings.languages[0], "-t", self.settings.languages[1]]
        for name, known in self.settings.tests.items():
            words += ["--test-set", f"{name}={known}" if known else name]
        raw = ["--raw", self.raw] if self.raw else []
        return self._call("prepare.sh", *words, *self.settings.prepare, *raw)

    def train_command(self, system: str) -> str:
        job = self.trained[system]
        words = ["--recipe", self.settings.recipe, "--data", self.data, *job.options]
        if job.translations:
            words += ["--translations", f"{self.runs}/{job.translations}/nbest.jsonl"]
        if job.backward:
            words += ["--backward", self.checkpoint(job.backward)]
        if job.cache:
            words += ["--teacher-cache", f"{self.runs}/{job.cache}/top-k"]
        if job.teacher and job.online:
            words += ["--word-level" if job.translations else "--teacher", self.checkpoint(job.teacher)]
        train = [*self.settings.train, *job.train]
        more = ["--", *train] if train else []
        return self._call(job.script, *words, "--out", f"{self.runs}/{system}", *more)

    def cache_command(self, cache: str) -> str:
        made = self.caches[cache]
        return shlex.join(
            [
                *("lskd", "cache", f"{self.data}/bin", "--teacher-path", self.checkpoint(made.teacher)),
                *(*made.keep, "--kd-temperature", f"{made.temperature:g}"),
                *("--out", f"{self.runs}/{cache}/top-k"),
            ]
        )

    def translate_command(self, translations: str) -> str:
        # Fixed, because the defaults depend on the machine and change the result: int8 would be used if it is faster,
        # and the batch size changes the rounding, which decides between hypotheses with nearly the same score.
        made, out = self.translations[translations], f"{self.runs}/{translations}/nbest.jsonl"
        words = ["--data", self.data, "--teacher", self.checkpoint(made.teacher), "--out", out]
        words += ["--nbest", str(made.samples or NBEST)]
        fixed = ["--sampling", "--beam", str(made.samples)] if made.samples else []
        fixed += ["--compute-type", "float32", "--max-tokens", "2048"]
        return self._call("translate.sh", *words, "--", *fixed, *self.settings.translate)

    def score_command(self, system: str, before: str = "") -> str:
        """Return one call for the test set of the data and one for each further test set, each after `before`."""
        words = ["--data", self.data, "--recipe", self.settings.recipe, "--run", f"{self.runs}/{system}"]
        words += ["--export", EXPORTED_AS] if self.exports else []
        more = ["--", *self.settings.score] if self.settings.score else []
        further = (["--test-set", name] for name in self.settings.tests)
        return " && ".join(before + self._call("score.sh", *words, *test, *more) for test in ([], *further))

    def records(self, system: str) -> list[str]:
        """Return the records that scoring a system writes: one for each test set."""
        marks = ("", *(f"-{name}" for name in self.settings.tests))
        return [f"{self.runs}/{system}/result{mark}.json" for mark in marks]

    def compared(self, teacher: str) -> list[str]:
        """Return the records of a teacher and of the students that it should be better than."""
        return [f"{self.runs}/{system}/result.json" for system in (teacher, *self.leads[teacher])]

    def lead_command(self, teacher: str) -> str:
        """Return the command that prints these records as a table, with a warning if the teacher is no better."""
        return shlex.join(["lskd", "table", *self.compared(teacher)])

    def without_exports(self) -> str | None:
        """Return why exported models cannot be measured; None if they can."""
        if "moses-bpe" in self.settings.prepare:
            return "`lskd export` needs a SentencePiece model, which data with Moses tokenisation and BPE do not have"
        if not is_installed("ctranslate2"):
            return f"CTranslate2 is not installed. Install it with: {OPTIONAL['ctranslate2'].how_to_get}"
        return None

    def speed_command(self) -> str:
        """Return the command that measures decoding speed, in as many rounds as there are seeds.

        Other seeds than the first have models of the same size, and are not measured. Decoding is on one core, even for
        models that were trained on a GPU, because models in production usually run on one core.
        """
        runs = [f"{self.runs}/{name}" for name, system in self.systems.items() if system.seed == self.settings.seeds[0]]
        words = ["--data", self.data, "--recipe", self.settings.recipe, "--out", f"{self.results}/speed.json"]
        words += ["--threads", "1", "--rounds", str(len(self.settings.seeds))]
        return self._call("speed.sh", *words, *runs)

    def report_command(self) -> str:
        records = [f"{self.runs}/{system}/result.json" for system in self.in_order()]
        return shlex.join(
            [
                *("lskd", "table", *records, "--over-seeds", "--speed", f"{self.results}/speed.json"),
                *("--out", f"{self.results}/results.json", "--csv", f"{self.results}/results.csv"),
                *("--write", f"{self.results}/table.md", f"{self.results}/table.tex"),
                *("--plot", f"{self.results}/quality.svg", "--title", self.settings.title),
            ]
        )

    def differences_command(self) -> str:
        words = ["lskd", "table", f"{self.results}/results.json", "--differences"]
        return shlex.join([*words, "--write", f"{self.results}/differences.md"])

    def tests_commands(self) -> list[str]:
        """Return the commands for the tables of the further test sets, each in its own folder."""
        commands = []
        for number, name in enumerate(self.settings.tests, start=1):
            folder = f"{self.results}/tests/{name}"
            records = [self.records(system)[number] for system in self.in_order()]
            words = ["lskd", "table", *records, "--over-seeds", "--speed", f"{self.results}/speed.json"]
            commands.append([*words, "--out", f"{folder}/results.json", "--write", f"{folder}/table.md"])
            words = ["lskd", "table", f"{folder}/results.json", "--differences"]
            commands.append([*words, "--write", f"{folder}/differences.md"])
        return [shlex.join(words) for words in commands]

    def curves_command(self) -> str:
        runs = [f"{self.runs}/{system}" for system in self.in_order()]
        return shlex.join(
            ["lskd", "curves", *runs, "--csv", f"{self.results}/curves.csv", "--plot", f"{self.results}/curves.svg"]
        )

    def analysed(self) -> tuple[list[str], list[str]]:
        """Return the teachers and students to analyse: those of the first seed."""
        first = [system for system in self.in_order() if self.systems[system].seed == self.settings.seeds[0]]
        return [s for s in first if s in self.leads], [s for s in first if self.systems[s].teacher]

    def analyse_command(self) -> str:
        words = ["lskd", "analyze", "--data", f"{self.data}/bin", "--out", f"{self.results}/analysis"]
        if self.settings.corpus == "generated":
            words += ["--truth", f"{self.data}/raw"]
        for kind, systems in zip(("teacher", "student"), self.analysed(), strict=True):
            for system in systems:
                words += [f"--{kind}", self.checkpoint(system)]
            if systems:
                names = ",".join(self.systems[system].called for system in systems)
                words += ["--names" if kind == "teacher" else "--student-names", names]
        return shlex.join(words)

    def in_order(self) -> list[str]:
        """Return the systems, with those that only differ in their seed next to each other."""
        called = list(dict.fromkeys(system.called for system in self.systems.values()))
        return sorted(self.systems, key=lambda name: called.index(self.systems[name].called))

    def _call(self, script: str, *words: str) -> str:
        return shlex.join([f"{self.scripts}/{script}", *words])


#: Other options that distinguish students, and their abbreviations in names.
_MARKS = {"kd_weight": "w", "score_temperature": "st", "reference_weight": "ref", "filter_worst": "filter"}

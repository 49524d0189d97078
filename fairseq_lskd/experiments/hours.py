"""Estimate how long an experiment takes on this machine, from one job of each kind on an excerpt of its data.

The jobs run the experiment's commands in a separate folder, as many at once as in the experiment: each kind of training
for 45 seconds (240 on a busy machine), and caches and translations of the excerpt. Teachers are untrained, which does
not change the speed. The estimate leaves out scoring, the analysis and the measurement of decoding speed.

    python -m fairseq_lskd.experiments.hours methods small --jobs 2 --threads 1
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError, exit_on_user_error
from ..files import sha256, write_json
from ..machine import cores
from ..reading import NUMBER, parse_json, read_json
from ..runs import read_record
from .excerpt import train_tokens, write_excerpt
from .plan import Plan, System

SECONDS = (45, 240)  #: duration of a measured training; the second if the first is too short, on a busy machine
WARM_UP = 1  #: logged updates to ignore; fairseq does not log the first
BUSY = 0.6  #: share of the cores' time below which the report mentions other programs
FOLDER = ".hours"  #: folder for the measurement
#: Appended to the recipe's options, which they override.
_TRAIN = (
    *("--max-update", "300", "--log-interval", "1", "--disable-validation", "--patience", "-1"),
    *("--no-epoch-checkpoints", "--save-interval", "1000000", "--save-interval-updates", "0"),
)
#: Limits of the length, because an untrained teacher does not generate </s>.
_TRANSLATE = ("--max-len-a", "1", "--max-len-b", "0")
#: The speed in the output of `lskd cache`.
_CACHE_SPEED = re.compile(r" at ([\d,]+) tokens/s")


@dataclass(frozen=True)
class Job:
    """A training, a cache or translations, and the names of the jobs that it needs."""

    name: str
    kind: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rate:
    """The cost of a kind of job: `seconds` per unit, the number of `units`, and the seconds `before` the first unit.

    `share` is the share of its cores' time, from 0 to 1, that the job got while it was measured.
    """

    seconds: float
    units: float
    unit: str
    before: float = 0.0
    share: float = 1.0

    def hours(self, done: float = 0.0) -> float:
        """Return the hours left for a job with `done` units."""
        return (self.seconds * max(0.0, self.units - done) + self.before * (done == 0)) / 3600


def kind_of(plan: Plan, system: System) -> str:
    """Return a label that trainings of the same speed share. It omits seeds, smoothing and numbers in the loss."""
    method = {"train_teacher.sh": "", "distill_word.sh": "word", "distill_seq.sh": "sequence"}[system.script]
    cached = system.cache is not None or not {"--cache-top-k", "--cache-bytes"}.isdisjoint(system.options)
    parts = [_size(system), "both" if method == "sequence" and system.online else method, "cached" * cached]
    if system.online and system.teacher:
        parts.append(f"of {_size(plan.systems[system.teacher])}")
    parts.append("with references" * ("--reference-weight" in system.options))
    return " ".join(filter(None, parts))


def _size(system: System) -> str:
    return dict(itertools.pairwise(system.options))["--size"].replace("_", " ")


def jobs_of(plan: Plan) -> dict[str, Job]:
    """Return every job of an experiment by its name."""
    jobs = []
    for name, system in plan.trained.items():
        needs = [folder for folder in (system.cache, system.translations, system.backward) if folder]
        needs += [system.teacher] if system.teacher and system.online else []
        # A student waits until its teacher was compared with these.
        needs += plan.leads[system.teacher] if system.teacher else []
        jobs.append(Job(name, kind_of(plan, system), tuple(needs)))
    jobs += [Job(n, f"cache by {_size(plan.systems[c.teacher])}", (c.teacher,)) for n, c in plan.caches.items()]
    for name, made in plan.translations.items():
        what = "samples" if made.samples else "translations"
        jobs.append(Job(name, f"{what} by {_size(plan.systems[made.teacher])}", (made.teacher,)))
    return {job.name: job for job in jobs}


def longest_chain(jobs: Mapping[str, Job], hours: Callable[[Job], float]) -> float:
    """Return the hours of the longest chain of jobs that wait for each other."""

    @functools.cache
    def end(name: str) -> float:
        return hours(jobs[name]) + max(map(end, jobs[name].needs), default=0.0)

    return max(map(end, jobs), default=0.0)


def seconds_an_update(log: str) -> float:
    """Return the median seconds per update in a log of fairseq-train (`--log-interval 1`), without the first `WARM_UP`.

    A mean would include the pauses between the excerpt's short epochs.

    Raises:
        UserError: if the log has too few updates.
    """
    stats = [parse_json(line[line.index("{") :]) for line in log.splitlines() if "| train_inner | {" in line]
    # Words per batch over words per second, because fairseq rounds the time itself to whole seconds.
    seconds = [float(each["wpb"]) / float(each["wps"]) for each in stats[WARM_UP:] if float(each["wps"]) > 0]
    if not seconds:
        raise UserError(f"{len(stats)} updates were logged, expected more than {WARM_UP}")
    return statistics.median(seconds)


def updates_of(command: Sequence[str]) -> int:
    """Return the recipe's `--max-update`. The last one in the command is that of the measurement."""
    return int([value for option, value in itertools.pairwise(command) if option == "--max-update"][-2])


class Measurement:
    """Measures each kind of job of a plan in `FOLDER`, with `jobs` at once, as in the experiment."""

    def __init__(self, plan: Plan, jobs: int, threads: int, before: str = "") -> None:
        train, translate = [*plan.settings.train, *_TRAIN], [*plan.settings.translate, *_TRANSLATE]
        self.plan = replace(plan, settings=replace(plan.settings, train=train, translate=translate))
        self.jobs, self.threads, self.before, self.folder = jobs, threads, before, Path(FOLDER)
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def rates(self) -> dict[str, Rate]:
        """Return the cost of each kind of job.

        Raises:
            UserError: if the data are not prepared, or a command fails.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.tokens = train_tokens(Path(self.plan.data))
        try:
            self.excerpt = write_excerpt(Path(self.plan.data), self.folder / self.plan.data)
            found: dict[str, Rate] = {}
            for stage in stages(jobs_of(self.plan)):
                with ThreadPoolExecutor(self.jobs) as pool:
                    for job, rate in zip(stage, pool.map(self._measured, stage), strict=True):
                        found.setdefault(job.kind, rate)
            return found
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _measured(self, job: Job) -> Rate:
        print(f"measuring: {job.kind}\n", end="", flush=True)  # one string, because several threads print
        if job.name in self.plan.caches:
            said, share = self._run(self.plan.cache_command(job.name), job)
            return Rate(1 / self._cache_speed(said, job), self.tokens, "token", share=share)
        if job.name in self.plan.translations:
            return self._translations(job)
        return self._training(job)

    def _training(self, job: Job) -> Rate:
        run = self.folder / self.plan.runs / job.name
        command = self.plan.train_command(job.name)
        for seconds in SECONDS:
            shutil.rmtree(run, ignore_errors=True)
            said, share = self._run(f"{command} --stop-time-hours {seconds / 3600:.5f}", job)
            try:
                found = seconds_an_update((run / "log.txt").read_text(encoding="utf-8", errors="replace"))
                break
            except UserError as error:
                if seconds == SECONDS[-1]:
                    raise UserError(f"{job.name} could not be measured in {seconds} s: {error}") from None
        made = read_record(run, whole=False)
        before = self.tokens / self._cache_speed(said, job) if "--cache-" in command else 0.0
        return Rate(found, updates_of(made["command"]), "update", before, share)

    def _translations(self, job: Job) -> Rate:
        """Measure seconds per generated token. An untrained teacher's translations differ from text in length."""
        _, share = self._run(self.plan.translate_command(job.name), job)
        out = self.folder / self.plan.runs / job.name / "nbest.jsonl"
        seconds = read_json(out.with_name(f"{out.name}.manifest.json"), {"seconds": NUMBER})["seconds"]
        with out.open(encoding="utf-8") as lines:
            texts = ([each["text"] for each in json.loads(line)["hypotheses"]] for line in lines)
            # The hypotheses of a sentence are searched together, until the longest ends.
            generated = sum(max((len(text.split()) + 1 for text in each), default=0) for each in texts)
        return Rate(seconds / max(generated, 1), self.tokens, "token", share=share)

    def _cache_speed(self, said: str, job: Job) -> float:
        found = _CACHE_SPEED.findall(said)
        if not found:
            raise UserError(
                f"{job.name} could not be measured: it printed no speed. The end of its output:\n{_end_of(said)}"
            )
        return float(found[-1].replace(",", "")) or 1.0

    def _run(self, command: str, job: Job) -> tuple[str, float]:
        """Run a command. Return its output and the share of its cores' time that it got."""
        words = [*shlex.split(self.before), *shlex.split(command)]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            start = time.monotonic()
            process = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=said, stderr=said)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - start
            said.seek(0)
            output = said.read()
        if process.returncode != 0:
            raise UserError(f"{job.name} could not be measured: it failed:\n{_end_of(output)}")
        return output, min(1.0, (used.ru_utime + used.ru_stime) / (seconds * self.threads))


def stages(jobs: Mapping[str, Job]) -> list[list[Job]]:
    """Return the first job of each kind and the jobs that it needs, in stages that only need earlier stages."""
    firsts: dict[str, Job] = {}
    for job in jobs.values():
        firsts.setdefault(job.kind, job)
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = max((1 + depth(other) for other in jobs[name].needs), default=0)
        return depths[name]

    for job in firsts.values():
        depth(job.name)
    return [[jobs[name] for name in depths if depths[name] == at] for at in range(max(depths.values(), default=-1) + 1)]


def _end_of(said: str) -> str:
    return "\n".join(f"  {line}" for line in said.splitlines()[-8:])


def done_of(plan: Plan, job: Job) -> float:
    """Return the units of a job that are done in the experiment's folder; infinite if the job is finished."""
    if job.name not in plan.trained:
        return float("inf") if Path(plan.runs, job.name, "done").exists() else 0.0
    if Path(plan.checkpoint(job.name)).exists():
        return float("inf")
    log = Path(plan.runs, job.name, "log.txt")
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    logged = re.findall(r'"num_updates": "(\d+)"', text)
    return float(logged[-1]) if logged else 0.0


def table(
    jobs: Mapping[str, Job], rates: Mapping[str, Rate], done: Mapping[str, float], at_once: int, gpu: bool = False
) -> str:
    """Return a table of each kind of job, its speed and hours, and the total time with `at_once` jobs at once.

    With `gpu` it does not mention busy cores, because jobs on a GPU hardly use theirs.
    """
    from tabulate import tabulate

    rows = []
    for kind, rate in rates.items():
        ours = [job for job in jobs.values() if job.kind == kind]
        finished = sum(done[job.name] == float("inf") for job in ours)
        left = sum(rate.hours(done[job.name]) for job in ours)
        speed = f"{rate.seconds:.3g} s per update" if rate.unit == "update" else f"{1 / rate.seconds:,.0f} tokens/s"
        each = f"{rate.units:,.0f} {rate.unit}s"
        rows.append([kind, len(ours), finished or "", speed, each, f"{rate.hours():.2f}", f"{left:.2f}"])
    heads = ["job", "count", "finished", "speed", "size", "hours each", "hours left"]

    def hours(job: Job) -> float:
        return rates[job.kind].hours(done[job.name])

    total, chain = sum(map(hours, jobs.values())), longest_chain(jobs, hours)
    aligned = ["left", *["right"] * (len(heads) - 1)]
    lines = [
        tabulate(rows, headers=heads, colalign=aligned, disable_numparse=True),
        "",
        f"Estimate: about {max(total / at_once, chain):.1f} hours with {at_once} job{'s' * (at_once > 1)} at once "
        f"({total:.1f} hours for all jobs; the longest chain of jobs that wait for each other takes {chain:.1f}).",
    ]
    # No estimate of how much faster it would be: starting up and reading files also lower the share.
    if not gpu and (share := statistics.mean(rate.share for rate in rates.values())) < BUSY:
        lines.append(
            f"The jobs got {share:.0%} of their cores' time. If other programs were running, the experiment takes less "
            "time without them; delete hours.json to measure again."
        )
    lines.append(
        "Early stopping reduces the time. Validation, scoring, the analysis and the measurement of decoding speed add "
        "to it."
    )
    return "\n".join(lines)


def estimate(plan: Plan, recipe: Path, jobs: int, threads: int, before: str = "", gpu: bool = False) -> str:
    """Return the table of an experiment with prepared data. Rates in hours.json are used again if nothing changed.

    Raises:
        UserError: if the data are not prepared, or a command fails.
    """
    every = jobs_of(plan)
    commands = [plan.train_command(name) for name in plan.trained]
    made_from = {"commands": commands, "recipe": sha256(recipe), "tokens": train_tokens(Path(plan.data))}
    made_from |= {"jobs": jobs, "threads": threads, "cores": cores(), "gpu": gpu}
    kept = Path(plan.results, "hours.json")
    found = _kept(kept, made_from)
    if found is None:
        found = Measurement(plan, jobs, threads, before).rates()
        write_json(kept, {"made_from": made_from, "rates": {kind: asdict(rate) for kind, rate in found.items()}})
    return table(every, found, {name: done_of(plan, job) for name, job in every.items()}, jobs, gpu)


def _kept(path: Path, made_from: dict[str, Any]) -> dict[str, Rate] | None:
    numbers = dict.fromkeys(("seconds", "units", "before", "share"), NUMBER)
    shape = {"made_from": dict, "rates": {str: {"unit": str, **numbers}}}
    if not path.is_file():
        return None
    record = read_json(path, shape, "the measurements of --hours", "Delete it")
    if record["made_from"] != made_from:
        return None
    return {kind: Rate(**rate) for kind, rate in record["rates"].items()}


def main(words: Sequence[str] | None = None) -> None:
    """Print the estimate of an experiment. The current folder is the one in which the experiment runs."""
    parser = argparse.ArgumentParser(prog="python -m fairseq_lskd.experiments.hours", description=__doc__)
    parser.add_argument("experiment", help="name of an experiment, or a YAML file")
    parser.add_argument("scale", help="a scale of scales.yaml or of the experiment")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="checkout (default: %(default)s)")
    parser.add_argument("--name", help="name of the experiment's folder in runs/")
    parser.add_argument("--recipe", help="recipe to use instead of the scale's")
    parser.add_argument("--jobs", type=int, default=1, help="number of jobs at once (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per job (default: %(default)s)")
    parser.add_argument("--before", default="", help="words before each command, quoted for a shell (default: none)")
    parser.add_argument("--gpu", action="store_true", help="the jobs run on a GPU")
    args = parser.parse_args(words)
    # scripts/experiment.sh says that Ctrl-C ended it.
    with contextlib.suppress(KeyboardInterrupt), exit_on_user_error("hours"):
        root = args.root.resolve()
        plan = Plan.read(
            args.experiment, args.scale, root / "experiments", args.name, args.recipe, scripts=f"{root}/scripts"
        )
        recipe = plan.recipe_file(root / "scripts/recipes")
        print(estimate(plan, recipe, args.jobs, args.threads, args.before, args.gpu))


if __name__ == "__main__":
    main()

"""How long an experiment will take on this machine: one job of each kind is measured on an excerpt of its data.

The commands are the experiment's own, in a folder of their own: every kind of training for `SECONDS`, by an untrained
teacher, which is as fast as a trained one; a cache and translations of the excerpt. As many run at once as in the
experiment. Scoring, the analysis and the measurement of speed are not in it.

    python -m fairseq_lskd.experiments.hours methods small --jobs 2 --threads 1
"""

from __future__ import annotations

import argparse
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

SECONDS = (45, 240)  #: that a training is measured for; the second, where the first are not enough on a busy machine
WARM_UP = 1  #: logged updates that are not counted; fairseq does not log the first
BUSY = 0.6  #: a share of the cores' time below which other programs are mentioned
FOLDER = ".hours"  #: where it is measured
#: They come after the recipe's own, and so count.
_TRAIN = (
    *("--max-update", "300", "--log-interval", "1", "--disable-validation", "--patience", "-1"),
    *("--no-epoch-checkpoints", "--save-interval", "1000000", "--save-interval-updates", "0"),
)
#: An untrained teacher ends no translation by itself.
_TRANSLATE = ("--max-len-a", "1", "--max-len-b", "0")
#: What `lskd cache` says of its speed.
_CACHE_SPEED = re.compile(r" at ([\d,]+) tokens/s")


@dataclass(frozen=True)
class Job:
    """Something that an experiment runs, a training, a cache or translations, and the jobs that it waits for."""

    name: str
    kind: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rate:
    """What a kind of job costs: `seconds` a unit, so many `units`, and `before`, the seconds until the first unit.

    `share` is the part of its cores' time that the job got while it was measured, from 0 to 1.
    """

    seconds: float
    units: float
    unit: str
    before: float = 0.0
    share: float = 1.0

    def hours(self, done: float = 0.0) -> float:
        """Of a job that has `done` so many units."""
        return (self.seconds * max(0.0, self.units - done) + self.before * (done == 0)) / 3600


def kind_of(plan: Plan, system: System) -> str:
    """What trainings of one speed have in common: all but seeds, smoothing, and numbers in the loss."""
    method = {"train_teacher.sh": "", "distill_word.sh": "word", "distill_seq.sh": "sequence"}[system.script]
    cached = system.cache is not None or "--cache-top-k" in system.options
    parts = [_size(system), "both" if method == "sequence" and system.online else method, "cached" * cached]
    if system.online and system.teacher:
        parts.append(f"of {_size(plan.systems[system.teacher])}")
    parts.append("with references" * ("--reference-weight" in system.options))
    return " ".join(filter(None, parts))


def _size(system: System) -> str:
    return dict(itertools.pairwise(system.options))["--size"].replace("_", " ")


def jobs_of(plan: Plan) -> dict[str, Job]:
    """Every job of an experiment by its name."""
    jobs = []
    for name, system in plan.systems.items():
        needs = [folder for folder in (system.cache, system.translations) if folder]
        needs += [system.teacher] if system.teacher and system.online else []
        # They are compared with its teacher first.
        needs += plan.leads[system.teacher] if system.teacher else []
        jobs.append(Job(name, kind_of(plan, system), tuple(needs)))
    jobs += [Job(n, f"cache by {_size(plan.systems[c.teacher])}", (c.teacher,)) for n, c in plan.caches.items()]
    jobs += [Job(n, f"translations by {_size(plan.systems[of])}", (of,)) for n, of in plan.translations.items()]
    return {job.name: job for job in jobs}


def longest_chain(jobs: Mapping[str, Job], hours: Callable[[Job], float]) -> float:
    """The hours of jobs that wait for each other, and so cannot run side by side: the largest such sum."""
    ends: dict[str, float] = {}

    def end(name: str) -> float:
        if name not in ends:
            ends[name] = hours(jobs[name]) + max((end(other) for other in jobs[name].needs), default=0.0)
        return ends[name]

    return max(map(end, jobs), default=0.0)


def seconds_an_update(log: str) -> float:
    """The median of what fairseq-train logged of every update (`--log-interval 1`), the first `WARM_UP` left out.

    Of the median, since the excerpt's epochs are short, and each begins with a pause.

    Raises:
        UserError: if there are too few.
    """
    stats = [parse_json(line[line.index("{") :]) for line in log.splitlines() if "| train_inner | {" in line]
    # fairseq rounds the time itself to whole seconds.
    seconds = [float(each["wpb"]) / float(each["wps"]) for each in stats[WARM_UP:] if float(each["wps"]) > 0]
    if not seconds:
        raise UserError(f"{len(stats)} updates were logged, expected more than {WARM_UP}")
    return statistics.median(seconds)


def updates_of(command: Sequence[str]) -> int:
    """The updates that a measured training would have but for our own `--max-update`, which is the last."""
    return int([value for option, value in itertools.pairwise(command) if option == "--max-update"][-2])


class Measurement:
    """Measures a plan's kinds of jobs in `FOLDER`, `jobs` at once, as the experiment would run them."""

    def __init__(self, plan: Plan, jobs: int, threads: int, before: str = "") -> None:
        train, translate = [*plan.settings.train, *_TRAIN], [*plan.settings.translate, *_TRANSLATE]
        self.plan = replace(plan, settings=replace(plan.settings, train=train, translate=translate))
        self.jobs, self.threads, self.before, self.folder = jobs, threads, before, Path(FOLDER)
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def rates(self) -> dict[str, Rate]:
        """Kind -> what a job of it costs.

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
        print(f"measuring: {job.kind}\n", end="", flush=True)  # in one piece: two may say it at once
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
        before = self.tokens / self._cache_speed(said, job) if "--cache-top-k" in command else 0.0
        return Rate(found, updates_of(made["command"]), "update", before, share)

    def _translations(self, job: Job) -> Rate:
        """Seconds a token that is generated: an untrained teacher's translations are of other lengths than text."""
        _, share = self._run(self.plan.translate_command(job.name), job)
        out = self.folder / self.plan.runs / job.name / "nbest.jsonl"
        seconds = read_json(out.with_name(f"{out.name}.manifest.json"), {"seconds": NUMBER})["seconds"]
        with out.open(encoding="utf-8") as lines:
            texts = ([each["text"] for each in json.loads(line)["hypotheses"]] for line in lines)
            # Those of a sentence are searched for side by side, until the longest ends.
            generated = sum(max((len(text.split()) + 1 for text in each), default=0) for each in texts)
        return Rate(seconds / max(generated, 1), self.tokens, "token", share=share)

    def _cache_speed(self, said: str, job: Job) -> float:
        found = _CACHE_SPEED.findall(said)
        if not found:
            raise UserError(f"{job.name} could not be measured. It said:\n{_end_of(said)}")
        return float(found[-1].replace(",", "")) or 1.0

    def _run(self, command: str, job: Job) -> tuple[str, float]:
        """What a command said, and the share of its cores' time that it got."""
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
            raise UserError(f"{job.name} could not be measured. It said:\n{_end_of(output)}")
        return output, min(1.0, (used.ru_utime + used.ru_stime) / (seconds * self.threads))


def stages(jobs: Mapping[str, Job]) -> list[list[Job]]:
    """The first job of each kind, and what these need: lists of jobs, each of which needs those of lists before."""
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
    """Units that are done already in the folder that the experiment works in; infinite where the job is finished."""
    if job.name not in plan.systems:
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
    """What, how many, how fast, and the hours; below it the time that all takes with so many jobs at once.

    On a GPU a job needs little of its cores, so that their share says nothing.
    """
    from tabulate import tabulate

    rows = []
    for kind, rate in rates.items():
        ours = [job for job in jobs.values() if job.kind == kind]
        finished = sum(done[job.name] == float("inf") for job in ours)
        left = sum(rate.hours(done[job.name]) for job in ours)
        speed = f"{rate.seconds:.3g} s an update" if rate.unit == "update" else f"{1 / rate.seconds:,.0f} tokens/s"
        each = f"{rate.units:,.0f} {rate.unit}s"
        rows.append([kind, len(ours), finished or "", speed, each, f"{rate.hours():.2f}", f"{left:.2f}"])
    heads = ["what", "jobs", "finished", "speed", "each", "hours each", "hours left"]

    def hours(job: Job) -> float:
        return rates[job.kind].hours(done[job.name])

    total, chain = sum(map(hours, jobs.values())), longest_chain(jobs, hours)
    aligned = ["left", *["right"] * (len(heads) - 1)]
    lines = [
        tabulate(rows, headers=heads, colalign=aligned, disable_numparse=True),
        "",
        f"An estimate: about {max(total / at_once, chain):.1f} hours with {at_once} job{'s' * (at_once > 1)} at once "
        f"({total:.1f} hours of jobs; those that wait for each other take {chain:.1f}).",
    ]
    # Starting and reading take some of the time, too: what is missing is no measure of how much faster it would be.
    if not gpu and (share := statistics.mean(rate.share for rate in rates.values())) < BUSY:
        lines.append(
            f"The jobs got {share:.0%} of their cores' time: if other programs ran, it will take fewer hours without "
            "them. Delete hours.json to measure again."
        )
    lines.append(
        "Trainings that stop early take less; validation, scoring, the analysis and the measurement of speed come on "
        "top."
    )
    return "\n".join(lines)


def estimate(plan: Plan, recipe: Path, jobs: int, threads: int, before: str = "", gpu: bool = False) -> str:
    """The table of an experiment whose data are prepared; rates that were measured for the same before are taken again.

    Raises:
        UserError: if the data are not prepared, or a command fails.
    """
    every = jobs_of(plan)
    commands = [plan.train_command(name) for name in plan.systems]
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
    record = read_json(path, shape, "what --hours measured", "Delete it")
    if record["made_from"] != made_from:
        return None
    return {kind: Rate(**rate) for kind, rate in record["rates"].items()}


def main(words: Sequence[str] | None = None) -> None:
    """Print the estimate of an experiment, in the folder that it works in."""
    parser = argparse.ArgumentParser(prog="python -m fairseq_lskd.experiments.hours", description=__doc__)
    parser.add_argument("experiment")
    parser.add_argument("scale")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="the checkout (%(default)s)")
    parser.add_argument("--name", help="of the folder in runs/")
    parser.add_argument("--recipe", help="in place of the scale's")
    parser.add_argument("--jobs", type=int, default=1, help="at once (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each (%(default)s)")
    parser.add_argument("--before", default="", help="words before each command")
    parser.add_argument("--gpu", action="store_true", help="trainings are on a GPU")
    args = parser.parse_args(words)
    with exit_on_user_error("hours"):
        root = args.root.resolve()
        plan = Plan.read(
            args.experiment, args.scale, root / "experiments", args.name, args.recipe, scripts=f"{root}/scripts"
        )
        recipe = plan.recipe_file(root / "scripts/recipes")
        print(estimate(plan, recipe, args.jobs, args.threads, args.before, args.gpu))


if __name__ == "__main__":
    main()

"""Run as much of the Multi30k experiment as time allows, through the users' workflow, with parallel trainings.

The workflow is stopped when its time is up or all systems are scored. There is one row per scored system, and one about
the workflow.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .packed import ROOT, manifest
from .stage import Run, stage

#: Number of parallel trainings. The models are small, and one does not keep a GPU busy.
JOBS = 8
#: Seconds to stop the workflow and collect the rows.
RESERVE = 12
#: Minimum number of seconds for three seeds and the recipe's full number of updates.
WHOLE = 330
EXPERIMENT = """\
title: Multi30k on one GPU
seeds: {seeds}
teachers:
  - label_smoothing: [0.0, 0.1]
students:
  - method: none
  - method: word
train: [--max-update, {updates}]
scales:
  here: {{corpus: multi30k, languages: [de, en], recipe: multi30k}}
"""
#: The experiment without Multi30k, and in a rehearsal.
GENERATED = """\
title: A generated bitext on one GPU
seeds: [1]
teachers:
  - label_smoothing: 0.1
students:
  - method: none
train: [--max-update, {updates}, --save-interval-updates, {half}]
scales:
  here:
    corpus: generated
    languages: [xx, yy]
    recipe: smoke
    prepare: [--pairs, 300, --valid, 30, --test, 50, --references, 2, --vocab-size, 300]
"""


def measure(run: Run) -> None:
    packed = manifest(run.pack)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, run.part(part="workflow"):
        text = packed is not None and packed["corpora"]["experiment"] == "multi30k" and not run.rehearse
        whole = run.left > WHOLE
        facts: dict[str, Any] = {"seeds": [1, 2, 3] if whole and text else [1], "updates": 1200 if whole else 800}
        if run.rehearse:
            facts["updates"] = 4
        path = Path(folder, "gpu.yaml")
        path.write_text(
            (EXPERIMENT if text else GENERATED).format(**facts, half=facts["updates"] // 2), encoding="utf-8"
        )
        words = [ROOT / "scripts" / "experiment.sh", path, "--scale", "here", "--directory", folder]
        words += ["--jobs", 2 if run.rehearse else JOBS, *(["--raw", run.pack / "raw" / "multi30k"] if text else [])]
        begun = time.time()
        # Two teachers, one student of each, and one without a teacher. A rehearsal needs only one system.
        systems = 5 * len(facts["seeds"]) if text else 1 if run.rehearse else 2
        runs = Path(folder, "runs")

        records: dict[str, Any] = {}

        def enough() -> bool:
            # Read records at once, because a stopped workflow removes the output of running jobs.
            for path in sorted(runs.glob("*/*/result.json")):
                if path.parent.name not in records:
                    records[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
            return len(records) >= systems

        status = follow([str(word) for word in words], run.left - RESERVE, run.rehearse, enough)
        enough()
        ended = "whole" if status == 0 or len(records) >= systems else f"failed with {status}" if status else "stopped"
        run.write(
            part="workflow",
            ended=ended,
            seconds=round(time.time() - begun, 1),
            scored=len(records),
            trained=len(list(runs.glob("*/*/checkpoint_average.pt"))),
            jobs=JOBS,
            ok=not status,
            **facts,
        )
        for name, record in records.items():
            run.write(part="system", name=name, record=record)
        if status:
            raise RuntimeError(f"the workflow ended with status {status}")
        if run.rehearse and not records:
            raise RuntimeError("the workflow scored no system")


def follow(words: list[str], seconds: float, rehearse: bool, enough: Callable[[], bool]) -> int | None:
    """Run a command. Return its exit status, or None if it was stopped after `seconds` or when `enough` was true."""
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} if rehearse else {})}
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    end = time.time() + seconds

    def stop(*_: object) -> None:
        os.killpg(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, lambda *_: (stop(), sys.exit(1)))
    while process.poll() is None and time.time() < end and not enough():
        time.sleep(0.5)
    if process.returncode is not None:
        return process.returncode
    stop()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(RESERVE / 2)
    # Kill its children too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return None


if __name__ == "__main__":
    sys.exit(stage("experiment", measure))

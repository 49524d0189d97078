"""As much of the Multi30k experiment as fits, through the workflow that users have, several trainings on one GPU.

The workflow is stopped when time is up. A row a system that was scored, and one that says how far it came.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .packed import ROOT, manifest
from .stage import Run, stage

#: Trainings at once: the models are small, and one does not keep a GPU busy.
JOBS = 8
#: Seconds to stop and to collect the rows.
RESERVE = 12
#: With so many seconds there are three seeds, and the recipe's whole training.
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
#: Without the text, and in a rehearsal.
GENERATED = """\
title: A generated bitext on one GPU
seeds: [1]
teachers:
  - label_smoothing: 0.1
students:
  - method: none
train: [--max-update, {updates}, --save-interval-updates, 1]
scales:
  here: {{corpus: generated, languages: [xx, yy], recipe: smoke, prepare: [--pairs, 300, --vocab-size, 300]}}
"""


def measure(run: Run) -> None:
    packed = manifest(run.pack)
    with tempfile.TemporaryDirectory() as folder, run.part(part="workflow"):
        text = packed is not None and packed["corpora"]["experiment"] == "multi30k" and not run.rehearse
        whole = run.left > WHOLE
        facts: dict[str, Any] = {"seeds": [1, 2, 3] if whole else [1], "updates": 1200 if whole else 800}
        if run.rehearse:
            facts["updates"] = 4
        path = Path(folder, "gpu.yaml")
        path.write_text((EXPERIMENT if text else GENERATED).format(**facts), encoding="utf-8")
        words = [ROOT / "scripts" / "experiment.sh", path, "--scale", "here", "--directory", folder]
        words += ["--jobs", 2 if run.rehearse else JOBS, *(["--raw", run.pack / "raw" / "multi30k"] if text else [])]
        begun = time.time()
        status = follow([str(word) for word in words], run.left - RESERVE, run.rehearse)
        records = sorted(Path(folder, "runs").glob("*/*/result.json"))
        run.write(
            part="workflow",
            ended="whole" if status == 0 else "stopped" if status is None else f"failed with {status}",
            seconds=round(time.time() - begun, 1),
            scored=len(records),
            trained=len(list(Path(folder, "runs").glob("*/*/checkpoint_average.pt"))),
            jobs=JOBS,
            ok=not status,
            **facts,
        )
        for record in records:
            run.write(part="system", name=record.parent.name, record=json.loads(record.read_text(encoding="utf-8")))
        if status:
            raise RuntimeError(f"the workflow ended with {status}")
        if run.rehearse and not records:
            raise RuntimeError("the workflow scored no system")


def follow(words: list[str], seconds: float, rehearse: bool) -> int | None:
    """The exit status of a command, or None if it was stopped because its time was up."""
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} if rehearse else {})}
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    stopped = False

    def stop(*_: object) -> None:
        os.killpg(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, lambda *_: (stop(), sys.exit(1)))
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        stopped = True
        stop()
        try:
            process.wait(RESERVE / 2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return None if stopped else process.returncode


if __name__ == "__main__":
    sys.exit(stage("experiment", measure))

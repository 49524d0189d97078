"""Run the stages, each in a process and with a time limit of its own, and print what came out. run.sh calls this."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _common import versions

from fairseq_lskd.files import write_json
from fairseq_lskd.machine import machine

from . import tables
from .stages import REHEARSAL, STAGES, TOTAL, Stage, options, too_large

#: Seconds that a stage has to end by itself after it was asked to, and that the summary takes.
GRACE, RESERVE = 5, 10
#: Bytes of the log that are kept: what is larger than a file that comes back is lost altogether.
LOG = 8 * 2**20
#: Lines of it that are shown of a stage that failed.
SHOWN = 60


def main(argv: Sequence[str] | None = None) -> int:
    args = options(argv)
    end = float(os.environ.get("LSKD_GPU_BEGUN", time.time())) + (REHEARSAL if args.rehearse else TOTAL) - RESERVE
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "log.txt"
    log.write_text("", encoding="utf-8")
    free = None if args.rehearse else torch.cuda.mem_get_info()[0]
    found: dict[str, dict[str, Any]] = {}
    for name in args.stages:
        stage, rows = STAGES[name], args.out / f"{name}.json"
        # Rows of another call are not this one's.
        rows.unlink(missing_ok=True)
        limit = min(stage.seconds, end - time.time())
        if why := too_large(stage, free):
            found[name] = {"status": "left out", "why": why, "seconds": 0.0}
        elif limit < 5:
            found[name] = {"status": "left out", "why": "no time was left", "seconds": 0.0}
        else:
            found[name] = run(stage, args.out, args.pack, args.rehearse, limit, log)
        found[name]["rows"] = len(read(rows))
        said = found[name]
        print(
            f"{name:<11} {said['status']}{': ' + said['why'] if said['why'] else ''}, {said['seconds']:.0f} s",
            flush=True,
        )
        if said["status"] == "failed":
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            print("\n".join(f"    {line}" for line in lines[-SHOWN:]), flush=True)
        facts = {"machine": machine(), "versions": versions(), "rehearsal": args.rehearse, "stages": found}
        write_json(args.out / "run.json", facts)
    summary = "\n\n".join(text for name in args.stages if (text := tables.table(name, read(args.out / f"{name}.json"))))
    with log.open("r+b") as stream:
        size = stream.seek(0, 2)
        if size > LOG:
            stream.seek(size - LOG)
            kept = stream.read()
            stream.seek(0)
            stream.truncate()
            stream.write(kept)
        stream.write(f"\n{summary}\n".encode())
    print(f"\n{summary}\n\n{args.out}: {', '.join(sorted(path.name for path in args.out.iterdir()))}")
    bad = [name for name, facts in found.items() if facts["status"] not in ("done", "left out")]
    # A stage that ran out of time did what it could; in a rehearsal it is one that would not fit.
    return 1 if any(found[name]["status"] == "failed" or args.rehearse for name in bad) else 0


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a stage; none if it wrote none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def run(stage: Stage, out: Path, pack: Path, rehearse: bool, limit: float, log: Path) -> dict[str, Any]:
    """One stage: how it ended, why, and after how many seconds."""
    command = [sys.executable, "-m", f"gpu.{stage.name}", "--out", str(out), "--pack", str(pack)]
    command += ["--seconds", f"{limit:.0f}", *(["--rehearse"] if rehearse else [])]
    begun = time.time()
    with log.open("ab") as stream:
        stream.write(f"\n== {stage.name}: {' '.join(command)}\n".encode())
        stream.flush()
        # A session of its own, so that what it starts ends with it.
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            status = process.wait(limit)
            why = "" if status == 0 else f"exit status {status}, see log.txt"
            ended = "done" if status == 0 else "failed"
        except subprocess.TimeoutExpired:
            ended, why = "out of time", f"stopped after {limit:.0f} s"
        finally:
            end(process)
    return {"status": ended, "why": why, "seconds": round(time.time() - begun, 1)}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            if number == signal.SIGTERM:
                time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())

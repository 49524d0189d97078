"""Run the stages, each in its own process and with its own time limit, and print a summary. run.sh calls this."""

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

#: Seconds between SIGTERM and SIGKILL for a stage, and seconds reserved for the summary.
GRACE, RESERVE = 5, 10
#: Maximum size of the log in bytes. Larger files may not come back from the machine.
LOG = 8 * 2**20
#: Number of lines of the log that are printed for a failed stage.
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
        # Remove the rows of an earlier call.
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
    # Running out of time is an error only in a rehearsal.
    return 1 if any(found[name]["status"] == "failed" or args.rehearse for name in bad) else 0


def read(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a stage; [] if it wrote none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def run(stage: Stage, out: Path, pack: Path, rehearse: bool, limit: float, log: Path) -> dict[str, Any]:
    """Run a stage. Return its status, the reason, and its seconds."""
    command = [sys.executable, "-m", f"gpu.{stage.name}", "--out", str(out), "--pack", str(pack)]
    command += ["--seconds", f"{limit:.0f}", *(["--rehearse"] if rehearse else [])]
    begun = time.time()
    with log.open("ab") as stream:
        stream.write(f"\n== {stage.name}: {' '.join(command)}\n".encode())
        stream.flush()
        # A new session, so that its children can be killed with it.
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
    """Kill a process and all its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            if number == signal.SIGTERM:
                time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())

"""Shared code of the stages: options, rows and time limit."""

from __future__ import annotations

import argparse
import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from _common import versions, write_rows

from fairseq_lskd.machine import machine


class Run:
    """A running stage."""

    def __init__(self, name: str, argv: Sequence[str] | None = None):
        self._begun = time.time()
        parser = argparse.ArgumentParser(prog=f"gpu.{name}")
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--pack", type=Path, required=True)
        parser.add_argument("--seconds", type=float, required=True)
        parser.add_argument("--rehearse", action="store_true")
        args = parser.parse_args(argv)
        self.name, self.out, self.pack, self.rehearse = name, args.out, args.pack, args.rehearse
        self.device = torch.device("cpu" if args.rehearse else "cuda")
        self.rows: list[dict[str, Any]] = []
        self._seconds = args.seconds
        self._story = {
            "machine": machine(),
            "versions": versions(),
            "command": f"benchmarks/gpu/run.sh OUT --stages {name}",
        }
        self.failures = 0
        # fairseq logs a lot.
        logging.getLogger("fairseq").setLevel(logging.WARNING)

    @property
    def left(self) -> float:
        """The remaining seconds."""
        return self._seconds - (time.time() - self._begun)

    def write(self, **row: Any) -> None:
        """Add a row and write it to disk at once."""
        self.rows.append({**row, **self._story})
        write_rows(self.out / f"{self.name}.json", self.rows)
        print(row, flush=True)

    @contextlib.contextmanager
    def part(self, **what: Any) -> Iterator[None]:
        """Run a part of the stage. If it fails, write a row about the failure and continue with the next part."""
        begun = time.time()
        try:
            yield
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            self.failures += 1
            self.write(**what, ok=False, failed=f"{type(error).__name__}: {error}"[:500])
        finally:
            print(f"{what}: {time.time() - begun:.1f} s, {self.left:.0f} left", flush=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def end(self) -> int:
        """Return the exit status."""
        return 1 if self.failures else 0


def stage(name: str, measure: Callable[[Run], None], argv: Sequence[str] | None = None) -> int:
    """Run a stage. Return its exit status."""
    run = Run(name, argv)
    measure(run)
    return run.end()

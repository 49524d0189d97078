#!/usr/bin/env python
"""Kill `lskd translate` with SIGKILL at random points, resume it, and compare its output with an uninterrupted run.

Words after -- are passed to `lskd translate`. The uninterrupted run uses the settings that the killed run chose by
measurement. The exit status is 1 if the outputs differ.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import command, versions, write_rows
from tabulate import tabulate

from fairseq_lskd.files import sha256
from fairseq_lskd.machine import machine
from fairseq_lskd.sequences.resumable import manifest_path

EXAMPLES = """examples:
  python benchmarks/translate_kills.py --kills 10 --json kills.json -- \\
      train.en.gz --limit 20000 --teacher-path runs/ep/checkpoint_average.pt --sentencepiece spm.model
"""
LSKD = Path(sysconfig.get_path("scripts"), "lskd")


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        out, whole = Path(folder, "killed.jsonl"), Path(folder, "whole.jsonl")
        kills = [kill(args.words, out, chance, args.seconds) for _ in range(args.kills)]
        run(args.words, out)
        manifest = json.loads(manifest_path(out).read_text(encoding="utf-8"))
        names = ("compute_type", "workers", "max_tokens")
        chosen = [f"--{name.replace('_', '-')}={manifest['settings'][name]}" for name in names]
        run([*args.words, *chosen], whole)
        identical = out.read_bytes() == whole.read_bytes()
        row = {
            "sentences": manifest["lines"],
            "kills": kills,
            "identical": identical,
            "sha256": sha256(out),
            "engine": manifest["run"]["engine"],
            "settings": manifest["settings"],
            "counts": manifest["counts"],
            "machine": machine(),
            "versions": versions(),
            "command": command(),
        }
    if args.json:
        write_rows(args.json, [row])
    print(f"{len(kills)} kills, {row['sentences']:,} sentences: {'identical' if identical else 'DIFFERENT'}")
    return 0 if identical else 1


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table."""
    shown = [
        [
            f"{row['sentences']:,}",
            len(row["kills"]),
            ", ".join(f"{kill['seconds']:.1f}" for kill in row["kills"]),
            f"{row['kills'][-1]['written']:,}",
            "yes" if row["identical"] else "NO",
        ]
        for row in rows
    ]
    headers = ("sentences", "kills", "seconds until each", "written at the last", "identical in the end")
    return tabulate(shown, headers, tablefmt="github", disable_numparse=True)


def kill(words: Sequence[str], out: Path, chance: random.Random, seconds: float) -> dict[str, Any]:
    """Start or resume a run and kill it, in 80 % of cases while it translates. Return the time and lines written."""
    begun = time.monotonic()
    process = subprocess.Popen([LSKD, "translate", *words, "--out", out], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    if chance.random() < 0.8:
        # The line with the settings is the last one before the translations.
        next((line for line in process.stderr if "batches of" in line), None)
    time.sleep(chance.uniform(0, seconds))
    if process.poll() is not None:
        sys.exit(
            f"lskd translate ended before it was killed: {process.stderr.read()}Give more sentences or fewer --seconds"
        )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    journal = out.with_name(f"{out.name}.journal.json")
    lines = json.loads(journal.read_text(encoding="utf-8"))["lines"] if journal.exists() else 0
    after = time.monotonic() - begun
    print(f"killed after {after:.1f} s, {lines:,} sentences written", file=sys.stderr)
    return {"seconds": round(after, 2), "written": lines}


def run(words: Sequence[str], out: Path) -> None:
    done = subprocess.run([LSKD, "translate", *words, "--out", out])
    if done.returncode:
        sys.exit(done.returncode)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="number of kills (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="maximum time before a kill (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="random seed of the kills (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="output file for the row")
    parser.add_argument("words", nargs="+", metavar="-- WORDS", help="arguments of lskd translate, without --out")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())

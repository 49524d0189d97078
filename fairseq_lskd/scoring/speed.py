"""How fast models decode, by fairseq-generate's own count."""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from ..machine import threads
from ..runs import with_own_commands

_RATE = re.compile(r"Translated ([\d,]+) sentences \([\d,]+ tokens\) in ([\d.]+)s \(([\d.]+) sentences/s")


def rate_of(output: str) -> tuple[int, float]:
    """Sentences, and sentences a second, in what fairseq-generate printed.

    Raises:
        ValueError: if it did not come to its end.
    """
    found = _RATE.findall(output)
    if not found:
        raise ValueError("no line says how many sentences were translated")
    sentences, _, rate = found[-1]
    return int(sentences.replace(",", "")), float(rate)


def measure(data: Path, models: Mapping[str, Path], subset: str, rounds: int, options: Sequence[str]) -> dict[str, Any]:
    """Decode `subset` with every model, `rounds` times in turn.

    Args:
        data: binarised.
        models: checkpoints by name.
        options: of fairseq-generate.

    Returns:
        Options, threads, sentences, and for each name the rates of all rounds and their median, in sentences a second.

    Raises:
        UserError: if fairseq-generate fails.
    """
    rates: dict[str, list[float]] = {name: [] for name in models}
    sentences = 0
    turns = [(i, k) for i in range(rounds) for k in range(len(models))]
    names = list(models)
    for i, k in tqdm(turns, "decoding speed", unit=" runs", delay=2, disable=None):
        name = names[(i + k) % len(names)]
        command = ["fairseq-generate", str(data), "--gen-subset", subset, "--path", str(models[name]), *options]
        try:
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", env=with_own_commands()
            )
        except OSError as error:
            raise UserError(f"fairseq-generate cannot be run: {error.strerror}") from None
        try:
            sentences, rate = rate_of(done.stdout + done.stderr)
        except ValueError:
            said = "\n  ".join((done.stdout + done.stderr).splitlines()[-6:])
            raise UserError(
                f"fairseq-generate of {models[name]} ended with status {done.returncode}:\n  {said}"
            ) from None
        rates[name].append(rate)
    systems = {
        name: {"sentences_per_second": round(statistics.median(found), 1), "rounds": found}
        for name, found in rates.items()
    }
    return {"options": list(options), "threads": threads(), "sentences": sentences, "systems": systems}

"""Measure decoding speed, of fairseq (as fairseq-generate reports it) and other engines in turns."""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..busy import Others
from ..errors import UserError
from ..runs import with_own_commands

#: Decodes a test set once. Returns the number of sentences, and sentences per second of search, without loading.
Turn = Callable[[], tuple[int, float]]
Key = tuple[str, str]  #: names of the system and the engine

_RATE = re.compile(r"Translated ([\d,]+) sentences \([\d,]+ tokens\) in ([\d.]+)s \(([\d.]+) sentences/s")


def rate_of(output: str) -> tuple[int, float]:
    """Return the number of sentences and sentences per second from the output of fairseq-generate.

    Raises:
        ValueError: if the output has no line with them, because fairseq-generate did not finish.
    """
    found = _RATE.findall(output)
    if not found:
        raise ValueError("found no line with the number of translated sentences")
    sentences, _, rate = found[-1]
    return int(sentences.replace(",", "")), float(rate)


def fairseq_turn(data: Path, checkpoint: Path, subset: str, options: Sequence[str], threads: int) -> Turn:
    """Return a turn that runs fairseq-generate in a new process.

    Args:
        data: folder of binarised data.
        options: further options of fairseq-generate.

    Raises (the turn):
        UserError: if fairseq-generate fails.
    """
    command = ["fairseq-generate", str(data), "--gen-subset", subset, "--path", str(checkpoint), *options]

    def turn() -> tuple[int, float]:
        environment = {**with_own_commands(), "OMP_NUM_THREADS": str(threads)}
        try:
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=environment)
        except OSError as error:
            raise UserError(f"fairseq-generate cannot be run: {error.strerror}") from None
        try:
            return rate_of(done.stdout + done.stderr)
        except ValueError:
            said = "\n  ".join((done.stdout + done.stderr).splitlines()[-6:])
            raise UserError(
                f"fairseq-generate with {checkpoint} did not finish (exit status {done.returncode}):\n  {said}"
            ) from None

    return turn


def measure(turns: Mapping[Key, Turn], rounds: int) -> tuple[int, dict[Key, dict[str, Any]]]:
    """Run all turns `rounds` times. The order rotates by one in each round.

    Returns:
        The number of sentences; and for each key the rates of all rounds and their median in sentences per second, and
        the largest number of cores that other programs kept busy in a round (None without psutil).

    Raises:
        UserError: if turns translate different numbers of sentences.
    """
    rates: dict[Key, list[float]] = {key: [] for key in turns}
    busy: dict[Key, list[float]] = {key: [] for key in turns}
    sentences: dict[Key, int] = {}
    keys = list(turns)
    order = [keys[(i + k) % len(keys)] for i in range(rounds) for k in range(len(keys))]
    for key in tqdm(order, "decoding speed", unit=" runs", delay=2, disable=None):
        others = Others()
        sentences[key], rate = turns[key]()
        rates[key].append(rate)
        if (cores := others.cores()) is not None:
            busy[key].append(cores)
    if len(set(sentences.values())) > 1:
        found = ", ".join(f"{' '.join(key)}: {count:,}" for key, count in sentences.items())
        raise UserError(
            f"the models translated different numbers of sentences, so speeds are not comparable: {found}. Use models "
            "of the same test set and length limits"
        )
    return max(sentences.values()), {
        key: {
            "sentences_per_second": round(statistics.median(rounds_of), 1),
            "rounds": rounds_of,
            "others_cores": max(busy[key], default=None),
        }
        for key, rounds_of in rates.items()
    }

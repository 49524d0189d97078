"""How fast models decode: fairseq by fairseq-generate's own count, and others that take turns with it."""

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

#: Decodes a test set once; sentences, and sentences a second of searching, without loading.
Turn = Callable[[], tuple[int, float]]
Key = tuple[str, str]  #: a system's name, and what decodes it

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


def fairseq_turn(data: Path, checkpoint: Path, subset: str, options: Sequence[str], threads: int) -> Turn:
    """A turn of plain fairseq-generate, in a process of its own.

    Args:
        data: binarised.
        options: of fairseq-generate.

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
                f"fairseq-generate of {checkpoint} ended with status {done.returncode}:\n  {said}"
            ) from None

    return turn


def measure(turns: Mapping[Key, Turn], rounds: int) -> tuple[int, dict[Key, dict[str, Any]]]:
    """Have all take turns, `rounds` times, in an order that is turned by one each time.

    Returns:
        Sentences; and for each its rates of all rounds, their median, in sentences a second, and how many cores other
        programs kept busy meanwhile, the most of any round (None where psutil is not installed).

    Raises:
        UserError: if they translate different numbers of sentences: their times would not compare.
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
        raise UserError(f"the models translated different numbers of sentences, so speeds do not compare: {found}")
    return max(sentences.values()), {
        key: {
            "sentences_per_second": round(statistics.median(rounds_of), 1),
            "rounds": rounds_of,
            "others_cores": max(busy[key], default=None),
        }
        for key, rounds_of in rates.items()
    }

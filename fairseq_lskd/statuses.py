"""What a running fairseq command says of its progress: its output becomes short status lines."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from .commands import number, option
from .reading import parse_json

#: fairseq's log line for loaded data: "... data/bin train de-en 29000 examples".
_EXAMPLES = re.compile(r" (\d+) examples$")
#: "... Loaded checkpoint runs/mine/checkpoint_last.pt (epoch 4 @ 78 updates)", with the updates.
_RESUMED = re.compile(r"Loaded checkpoint .* \(epoch \d+ @ ([1-9]\d*) updates\)$")

#: Statistics of `--log-format simple`: "loss=9.1, num_updates=100" in an epoch, "| loss 5.1 | ppl 9" after it.
_TRAINED = re.compile(r"(\w+)=([^\s,]+)(?=,|$)")
_VALIDATED = re.compile(r"\| (\w+) ([^\s|]+)(?= \||$)")

#: "... early stop since valid performance hasn't improved for last 3 runs"
_STOPPED = re.compile(r"early stop since valid performance hasn't improved for last (\d+) runs$")

#: What compat's patches log if the checkpoint of a resumed training has reached its end.
_NOTHING_LEFT = re.compile(r"nothing is left to train: .*")


def _early_stop(command: Sequence[str], update: str, patience: str) -> str:
    """Return that --patience has ended a training, and at which update."""
    planned = number(option(command, "--max-update"))
    metric = option(command, "--best-checkpoint-metric") or "loss"
    return (
        f"stopped at update {update}{f' of {planned:.0f}' if planned else ''}: no better validation "
        f"{'BLEU' if metric == 'bleu' else metric} in {patience} validation{'s' * (patience != '1')} "
        f"(--patience {patience})"
    )


def statuses(lines: Iterator[str], command: Sequence[str], every: float = 10.0) -> Iterator[str]:
    """Yield status lines from the output of a fairseq command, at most one per `every` seconds.

    It understands fairseq-train (the remaining time needs --max-update) and fairseq-generate. Without a terminal, the
    default of fairseq-train is `--log-format simple`.
    """
    updates = number(option(command, "--max-update"))
    timing = _Timing()
    start, wanted, hypotheses, last = 0.0, 0, 0, 0.0
    validated = None
    for line in lines:
        now = time.monotonic()
        if "| valid | " in line and "num_updates" in line:
            validated = (_stats(line, "valid_num_updates") or {}).get("valid_num_updates", validated)
            if stats := _stats(line, "valid_num_updates", "valid_ppl"):
                timing.validated(number(stats["valid_num_updates"]) or 0.0)
                bleu = f" | valid BLEU {stats['valid_bleu']}" if "valid_bleu" in stats else ""
                yield f"update {stats['valid_num_updates']} | valid ppl {stats['valid_ppl']}{bleu}"
        elif "| train_inner | " in line:
            if not (stats := _stats(line, "num_updates", "loss", "wps")):
                continue
            done = int(stats["num_updates"])
            timing.trained(done, now)
            seconds = timing.left(updates) if updates else None
            if updates and seconds is not None and now - last >= every:
                last = now
                left = tqdm.format_interval(seconds)
                yield f"update {done}/{updates:.0f} | loss {stats['loss']} | {stats['wps']} tokens/s | {left} left"
        elif validated is not None and (found := _STOPPED.search(line)):
            if number(validated) != updates:
                yield _early_stop(command, validated, found[1])
        elif found := _NOTHING_LEFT.search(line):
            yield found[0]
        elif found := _RESUMED.search(line):
            timing.start = int(found[1])
            yield f"continues at update {found[1]}{f' of {updates:.0f}' if updates else ''}"
        elif found := _EXAMPLES.search(line):
            wanted = int(found[1]) * int(number(option(command, "--nbest")) or 1)
        elif line.startswith("H-"):
            hypotheses += 1
            if hypotheses == 1:
                start = last = now
            elif now - last >= every:
                last = now
                rate = hypotheses / (now - start)
                left = f" | {tqdm.format_interval((wanted - hypotheses) / rate)} left" if wanted else ""
                yield f"{hypotheses:,} hypotheses | {rate:.0f} per second{left}"


class _Timing:
    """How long updates and validations take: a validation with BLEU can take as long as hundreds of updates."""

    def __init__(self) -> None:
        self.start = 0  #: the update at which the training was started or continued
        self._last: tuple[int, float] | None = None
        # Between log lines without a validation in between, and with one.
        self._updates, self._seconds = [0, 0], [0.0, 0.0]
        self._pauses = 0  # validations that were timed
        self._validations, self._validated = 0, 0.0  # all of them, and the update of the last
        self._validates = False

    def validated(self, update: float) -> None:
        self._validations, self._validated = self._validations + 1, update
        self._validates = self._last is not None

    def trained(self, update: int, now: float) -> None:
        if self._last:
            self._updates[self._validates] += update - self._last[0]
            self._seconds[self._validates] += now - self._last[1]
            self._pauses += self._validates
        self._last, self._validates = (update, now), False

    def left(self, updates: float) -> float | None:
        """Return the seconds until so many updates; None if nothing has been measured yet."""
        kind = 0 if self._updates[0] else 1
        if not self._last or not self._updates[kind]:
            return None
        each = self._seconds[kind] / self._updates[kind]
        left = each * (updates - self._last[0])
        if self._pauses:
            pause = (self._seconds[1] - each * self._updates[1]) / self._pauses
            between = max(1.0, (self._validated - self.start) / self._validations)
            left += max(0.0, pause) * max(0, math.ceil((updates - self._validated) / between))
        return left


def _stats(line: str, *names: str) -> dict[str, Any] | None:
    """Return the statistics in a log line; None if the line is damaged, which must not end a training."""
    if "| valid | epoch " in line:
        stats = {f"valid_{name}": value for name, value in _VALIDATED.findall(line)}
    elif "| train_inner | epoch " in line:
        stats = dict(_TRAINED.findall(line))
    else:
        try:
            stats = parse_json(line[line.index("{") :])
        except ValueError:
            return None
    return stats if all(name in stats for name in names) else None

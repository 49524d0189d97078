"""Progress lines of long commands, which are as useful in a log as in a terminal."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm


class Progress:
    """Prints progress on stderr every `every` seconds: what is done, speed, time left."""

    def __init__(self, title: str, done: int, total: int, every: float = 10.0, unit: str = "sentences"):
        self.title, self.done, self.total, self.every, self.unit = title, done, total, every, unit
        self.first, self.begun = done, time.monotonic()
        self.last = self.begun

    def __call__(self, count: int) -> None:
        """Add a number of units that are done."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            rate = (self.done - self.first) / (now - self.begun)
            left = tqdm.format_interval((self.total - self.done) / rate) if rate else "?"
            print(
                f"{self.title} | {self.done:,} of {self.total:,} {self.unit} | {rate:,.0f} per second | {left} left",
                file=sys.stderr,
                flush=True,
            )

"""A corpus in windows of sentences: sorted and batched by length within, written in the corpus's order."""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from .corpus import Corpus
from .decoding import Batch, Engine, Hypothesis, Settings, make_batches
from .nbest import EMPTY, TOO_LONG
from .pieces import has_unknown
from .segmentation import Join, Split
from .shards import Shard

#: Sentences that settings are measured on, at most.
SAMPLE = 4096

#: What `count` calls hypotheses that have `<unk>`, and the sentences that they are of.
UNKNOWN, UNKNOWN_SENTENCES = "hypotheses with <unk>", "sentences with <unk>"


@dataclass
class Translator:
    """A corpus on its way through an engine."""

    corpus: Corpus
    engine: Engine
    split: Split
    join: Join
    window: int
    extra: int = 1  #: tokens that are added to a source: its end mark, and marks of languages
    merge: bool = False  #: whether equal hypotheses of a sentence are written once, with their count

    def skipped(self, pieces: Sequence[str]) -> str | None:
        """Why a sentence is not translated."""
        if not pieces:
            return EMPTY
        return TOO_LONG if len(pieces) + self.extra > self.engine.max_source_positions else None

    def sample(self, shard: Shard) -> list[list[str]]:
        """Sentences of the shard in pieces, in random order: the same at every call."""
        chosen = random.Random(1).sample(range(shard.stop - shard.start), min(SAMPLE, shard.stop - shard.start))
        places = set(chosen)
        lines = {i: line for i, line in enumerate(self.corpus.read(shard.start, shard.stop)) if i in places}
        return [pieces for pieces in self.split([lines[i] for i in chosen]) if not self.skipped(pieces)]

    def survey(self, shard: Shard) -> Counter[str]:
        """How many pieces the shard has, and how many sentences are skipped for which reason."""
        counts: Counter[str] = Counter()
        for window in self._read(shard.start, shard.stop):
            counts.update(window.skipped.values())
            counts["pieces"] += sum(map(len, window.pieces))
        return counts

    def translate(
        self, settings: Settings, start: int, stop: int, progress: Callable[[int], None] = lambda sentences: None
    ) -> Iterator[list[dict[str, Any]]]:
        """The records of sentences `start` to `stop` (see `nbest`), window by window.

        The engine goes on with the next window while one waits for its last batch. `start` is that of a window, so
        that batches are made up of the same sentences wherever a run begins.
        """
        windows: deque[_Window] = deque()
        owners: deque[tuple[_Window, list[int]]] = deque()

        def batches() -> Iterator[Batch]:
            for window in self._read(start, stop):
                windows.append(window)
                rows = [i for i in range(len(window.lines)) if i not in window.skipped]
                lengths = [len(window.pieces[i]) for i in rows]
                for batch in make_batches(lengths, settings.max_tokens, settings.batch_size):
                    chosen = [rows[i] for i in batch]
                    owners.append((window, chosen))
                    sources = [window.pieces[i] for i in chosen]
                    yield Batch(sources, window.start // self.window, window.start + chosen[0])

        for found in self.engine.translate(batches()):
            window, chosen = owners.popleft()
            window.hypotheses.update(zip(chosen, found, strict=True))
            progress(len(chosen))
            while windows and windows[0].complete:
                yield self._records(windows.popleft())
        # Those of which every sentence was skipped.
        for window in windows:
            yield self._records(window)

    def _read(self, start: int, stop: int) -> Iterator[_Window]:
        lines = self.corpus.read(start, stop)
        for first in range(start, stop, self.window):
            wanted = min(self.window, stop - first)
            chunk = list(itertools.islice(lines, wanted))
            if len(chunk) < wanted:
                raise UserError(
                    f"CORPUS {self.corpus.path} changed while it was read: it had {self.corpus.sentences:,} sentences, "
                    f"and has {first + len(chunk):,}. Restore it and call this again, or begin again with another --out"
                )
            window = _Window(first, chunk, self.split(chunk))
            window.skipped = {i: why for i, pieces in enumerate(window.pieces) if (why := self.skipped(pieces))}
            yield window

    def _records(self, window: _Window) -> list[dict[str, Any]]:
        return [self._record(window, i) for i in range(len(window.lines))]

    def _record(self, window: _Window, row: int) -> dict[str, Any]:
        record: dict[str, Any] = {"id": window.start + row, "source": window.lines[row], "hypotheses": []}
        if row in window.skipped:
            return record | {"skipped": window.skipped[row]}
        hypotheses = window.hypotheses[row]
        counts = Counter(tuple(hypothesis.tokens) for hypothesis in hypotheses)
        for hypothesis in hypotheses:
            times = counts.pop(tuple(hypothesis.tokens), 0) if self.merge else 1
            if not times:
                continue
            found: dict[str, Any] = {
                "tokens": " ".join(hypothesis.tokens),
                "text": self.join(hypothesis.tokens),
                "score": round(hypothesis.score, 6),
                "length": hypothesis.length,
            }
            if hypothesis.token_scores is not None:
                found["token_scores"] = [round(score, 6) for score in hypothesis.token_scores]
            if times > 1:
                found["count"] = times
            record["hypotheses"].append(found)
        return record


@dataclass
class _Window:
    start: int
    lines: list[str]
    pieces: list[list[str]]
    skipped: dict[int, str] = field(default_factory=dict)
    hypotheses: dict[int, list[Hypothesis]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.skipped) + len(self.hypotheses) == len(self.lines)


def count(records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """What is to be known of records that were written: hypotheses, those with `<unk>`, tokens, what was skipped."""
    counts = Counter(record["skipped"] for record in records if "skipped" in record)
    for record in records:
        counts["hypotheses"] += len(record["hypotheses"])
        if unknown := sum(has_unknown(hypothesis["tokens"]) for hypothesis in record["hypotheses"]):
            counts.update({UNKNOWN: unknown, UNKNOWN_SENTENCES: 1})
        counts["tokens"] += sum(hypothesis["length"] for hypothesis in record["hypotheses"])
    return dict(counts)


class Progress:
    """Lines on stderr, `every` seconds apart at most: how many sentences, how fast, how long to go."""

    def __init__(self, title: str, done: int, total: int, every: float = 10.0):
        self.title, self.done, self.total, self.every = title, done, total, every
        self.first, self.begun = done, time.monotonic()
        self.last = self.begun

    def __call__(self, sentences: int) -> None:
        self.done += sentences
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            rate = (self.done - self.first) / (now - self.begun)
            left = tqdm.format_interval((self.total - self.done) / rate)
            print(
                f"{self.title} | {self.done:,} of {self.total:,} sentences | {rate:,.0f} a second | {left} left",
                file=sys.stderr,
                flush=True,
            )

"""Translate a corpus in windows of sentences, which are batched by length and returned in corpus order."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UserError
from .corpus import Corpus
from .decoding import Batch, Engine, Hypothesis, Settings, make_batches
from .nbest import EMPTY, TOO_LONG
from .pieces import has_unknown
from .segmentation import Join, Split
from .shards import Shard

#: Maximum number of sentences for measuring settings.
SAMPLE = 4096

#: Keys of `count` for hypotheses with `<unk>`, and for sentences with such hypotheses.
UNKNOWN, UNKNOWN_SENTENCES = "hypotheses with <unk>", "sentences with <unk>"


@dataclass
class Translator:
    """Translates a corpus with an engine."""

    corpus: Corpus
    engine: Engine
    split: Split
    join: Join
    window: int
    extra: int = 1  #: tokens that are added to a source: end-of-sentence and language tokens
    merge: bool = False  #: whether equal hypotheses of a sentence are written once, with their count
    unspoken: frozenset[str] = frozenset()  #: language tokens, which are left out of hypotheses

    def skipped(self, pieces: Sequence[str]) -> str | None:
        """Return why a sentence is skipped, or None if it is translated."""
        if not pieces:
            return EMPTY
        return TOO_LONG if len(pieces) + self.extra > self.engine.max_source_positions else None

    def sample(self, shard: Shard) -> list[list[str]]:
        """Return up to `SAMPLE` sentences of the shard, in pieces, in a random order that is the same in every call."""
        chosen = random.Random(1).sample(range(shard.stop - shard.start), min(SAMPLE, shard.stop - shard.start))
        places = set(chosen)
        lines = {i: line for i, line in enumerate(self.corpus.read(shard.start, shard.stop)) if i in places}
        return [pieces for pieces in self.split([lines[i] for i in chosen]) if not self.skipped(pieces)]

    def survey(self, shard: Shard) -> Counter[str]:
        """Count the pieces of the shard ("pieces"), and its skipped sentences by reason."""
        counts: Counter[str] = Counter()
        for window in self._read(shard.start, shard.stop):
            counts.update(window.skipped.values())
            counts["pieces"] += sum(map(len, window.pieces))
        return counts

    def translate(
        self, settings: Settings, start: int, stop: int, progress: Callable[[int], None] = lambda sentences: None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the records of sentences `start` to `stop` (see `nbest`), window by window.

        The engine starts on the next window before the last batch of a window is done. `start` must be the start of a
        window, so that a resumed run has the same batches.
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
        # Windows at the end whose sentences were all skipped.
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
                    f"and has {first + len(chunk):,}. Restore it and run the command again, or name another --out"
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
        hypotheses = [without(hypothesis, self.unspoken) for hypothesis in window.hypotheses[row]]
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


def without(hypothesis: Hypothesis, unspoken: frozenset[str]) -> Hypothesis:
    """Return a hypothesis without tokens that a model should not generate. Score and length are the model's."""
    tokens = hypothesis.tokens
    if unspoken.isdisjoint(tokens):
        return hypothesis
    kept = [place for place, token in enumerate(tokens) if token not in unspoken]
    scores = hypothesis.token_scores
    if scores is not None:
        scores = [scores[place] for place in (*kept, len(tokens))]
    return hypothesis._replace(tokens=[tokens[place] for place in kept], token_scores=scores)


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
    """Count hypotheses, hypotheses with `<unk>`, tokens, and skipped sentences by reason."""
    counts = Counter(record["skipped"] for record in records if "skipped" in record)
    for record in records:
        counts["hypotheses"] += len(record["hypotheses"])
        if unknown := sum(has_unknown(hypothesis["tokens"]) for hypothesis in record["hypotheses"]):
            counts.update({UNKNOWN: unknown, UNKNOWN_SENTENCES: 1})
        counts["tokens"] += sum(hypothesis["length"] for hypothesis in record["hypotheses"])
    return dict(counts)

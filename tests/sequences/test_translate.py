"""Translating a corpus in windows, with an engine that needs no model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.sequences.corpus import open_corpus
from fairseq_lskd.sequences.decoding import Batch, Hypothesis, Settings
from fairseq_lskd.sequences.shards import Shard
from fairseq_lskd.sequences.translate import Translator, count

SETTINGS = Settings("cpu", "float32", 1, 1, max_tokens=12)


class Shouting:
    """Translates into capitals. It reads `ahead` further batches before it yields the first."""

    name, max_source_positions = "shouting 1.0", 6

    def __init__(self, ahead: int = 0):
        self.ahead, self.seen = ahead, list[Batch]()

    def translate(self, batches: Iterable[Batch]) -> Iterator[list[list[Hypothesis]]]:
        waiting = []
        for batch in batches:
            self.seen.append(batch)
            waiting.append([self.hypotheses(pieces) for pieces in batch.sources])
            if len(waiting) > self.ahead:
                yield waiting.pop(0)
        yield from waiting

    def hypotheses(self, pieces: list[str]) -> list[Hypothesis]:
        tokens = [piece.upper() for piece in pieces]
        return [Hypothesis(tokens, -0.1234567, len(tokens) + 1), Hypothesis(tokens[:1], -1.0, 2, [-1.5, -0.5])]


@pytest.fixture
def lines() -> list[str]:
    chance = random.Random(1)
    return [" ".join(chance.choices("abc", k=n % 8)) for n in chance.sample(range(100), 40)]


@pytest.fixture
def make(tmp_path: Path, lines: list[str]) -> Any:
    (tmp_path / "corpus").write_text("".join(f"{line}\n" for line in lines))

    def make(ahead: int = 0, window: int = 7, extra: int = 1) -> Translator:
        split = lambda texts: [text.split() for text in texts]  # noqa: E731  like the result of `splitter`
        return Translator(open_corpus(tmp_path / "corpus"), Shouting(ahead), split, "".join, window, extra)  # type: ignore[arg-type]  # an engine in part

    return make


@pytest.mark.parametrize("ahead", [0, 3, 100])
@pytest.mark.parametrize("window", [1, 7, 40, 1000])
def test_records_are_in_corpus_order(make: Any, lines: list[str], ahead: int, window: int) -> None:
    windows = list(make(ahead, window).translate(SETTINGS, 0, 40))
    assert [len(records) for records in windows[:-1]] == [window] * (len(windows) - 1)
    records = [record for records in windows for record in records]
    assert [record["id"] for record in records] == list(range(40))
    for line, record in zip(lines, records, strict=True):
        assert record["source"] == line
        pieces = line.split()
        if 0 < len(pieces) < 6:
            assert "skipped" not in record
            assert record["hypotheses"] == [
                {
                    "tokens": line.upper(),
                    "text": line.upper().replace(" ", ""),
                    "score": -0.123457,
                    "length": len(pieces) + 1,
                },
                {
                    "tokens": line.upper()[0],
                    "text": line.upper()[0],
                    "score": -1.0,
                    "length": 2,
                    "token_scores": [-1.5, -0.5],
                },
            ]
        else:
            assert record["skipped"] == ("too long" if pieces else "empty") and record["hypotheses"] == []


def test_a_resumed_run_has_the_same_batches(make: Any) -> None:
    whole, rest = make(), make()
    records = [record for window in whole.translate(SETTINGS, 0, 40) for record in window]
    assert [record for window in rest.translate(SETTINGS, 14, 40) for record in window] == records[14:]
    begun = next(i for i, batch in enumerate(whole.engine.seen) if batch.window == 2)
    assert rest.engine.seen == whole.engine.seen[begun:]
    assert len({batch.first for batch in whole.engine.seen}) == len(whole.engine.seen)


def test_a_range_of_sentences(make: Any) -> None:
    windows = list(make().translate(SETTINGS, 7, 16))
    assert [[record["id"] for record in records] for records in windows] == [list(range(7, 14)), [14, 15]]


def test_windows_may_consist_of_skipped_sentences(make: Any, tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("\n" * 10 + "a\n" + "\n" * 10)
    windows = list(make(window=3).translate(SETTINGS, 0, 21))
    assert [record["id"] for records in windows for record in records] == list(range(21))
    assert [record["id"] for records in windows for record in records if record["hypotheses"]] == [10]


def test_extra_tokens_count_towards_the_length(make: Any, lines: list[str]) -> None:
    skipped = [
        record["id"]
        for records in make(extra=3).translate(SETTINGS, 0, 40)
        for record in records
        if "skipped" in record
    ]
    assert skipped == [i for i, line in enumerate(lines) if not 0 < len(line.split()) < 4]


def test_survey_and_count(make: Any, lines: list[str]) -> None:
    lengths = [len(line.split()) for line in lines]
    counts = make().survey(Shard(0, 40))
    assert counts["empty"] == lengths.count(0) and counts["too long"] == sum(n > 5 for n in lengths)
    assert counts["pieces"] == sum(lengths)
    done = count([record for records in make().translate(SETTINGS, 0, 40) for record in records])
    good = [n for n in lengths if 0 < n < 6]
    assert done == {
        "empty": counts["empty"],
        "too long": counts["too long"],
        "hypotheses": 2 * len(good),
        "tokens": sum(good) + 3 * len(good),
    }


def test_a_sample_comes_from_the_shard_and_is_reproducible(make: Any, lines: list[str]) -> None:
    sample = make().sample(Shard(10, 30))
    assert sample == make().sample(Shard(10, 30))
    assert sorted(sample) == sorted(line.split() for line in lines[10:30] if 0 < len(line.split()) < 6)

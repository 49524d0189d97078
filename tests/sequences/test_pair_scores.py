"""Windows of pairs, scored by an engine that needs no model."""

from __future__ import annotations

from typing import Any

import pytest

from fairseq_lskd.sequences.decoding import Settings
from fairseq_lskd.sequences.pair_scores import UNSCORED, OtherSources, PairScorer, Sides
from fairseq_lskd.sequences.segmentation import splitter

SETTINGS = Settings("cpu", "float32", 1, 1, max_tokens=12)


class Counting:
    """Gives each target token the log-probability minus the number of source tokens, and the end mark -0.5."""

    max_source_positions, max_target_positions = 6, 5

    def __init__(self) -> None:
        self.seen: list[tuple[list[str], list[str]]] = []

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        self.seen += zip(sources, targets, strict=True)
        assert len(sources) * (1 + max(map(len, [*sources, *targets]))) <= 12 or len(sources) == 1
        return [[*[-float(len(source))] * len(target), -0.5] for source, target in zip(sources, targets, strict=True)]


def make(engine: Counting, sides: Sides | None = None, **options: Any) -> PairScorer:
    words = splitter(None)
    return PairScorer(engine, sides or Sides(words, words), SETTINGS, **options)  # type: ignore[arg-type]  # an engine in part


def record(index: int, source: str, *hypotheses: str, **more: Any) -> dict[str, Any]:
    found = [{"tokens": text, "text": text.replace(" ", "")} for text in hypotheses]
    return {"id": index, "source": source, "hypotheses": found, **more}


RECORDS = [record(0, "a b", "x", "x y z"), record(1, "c"), record(2, "d e f", "u v")]


def test_scores_are_log_probabilities_per_token_or_summed() -> None:
    per_token = [[-1.25, round(-6.5 / 4, 6)], [], [round(-6.5 / 3, 6)]]
    assert make(Counting()).score(RECORDS) == (per_token, {"pairs": 3, "tokens": 9})
    assert make(Counting(), total=True).score(RECORDS)[0] == [[-2.5, -6.5], [], [-6.5]]


def test_a_backward_model_reads_the_hypothesis() -> None:
    words = splitter(None)
    scorer = make(Counting(), Sides(words, words, backward=True), total=True)
    # The source is the target now: its tokens cost the length of the hypothesis.
    assert scorer.score(RECORDS)[0] == [[-2.5, -6.5], [], [-6.5]]
    assert (["x", "y", "z"], ["a", "b"]) in scorer.engine.seen  # type: ignore[attr-defined]


@pytest.mark.parametrize("backward", [False, True])
def test_each_side_is_split_from_text_or_read_in_pieces(backward: bool) -> None:
    engine = Counting()
    letters = lambda texts: [list(text) for text in texts]  # noqa: E731  splits a text into its letters
    sides = Sides(letters, splitter(None), source_is_text=True, backward=backward)
    make(engine, sides).score([record(0, "\u2581ab \u2581c", "x y")])
    # The model's source side is text: that of the hypothesis, or of the source without its pieces' marks.
    wanted = (["x", "y"], ["\u2581ab", "\u2581c"]) if backward else (["a", "b", " ", "c"], ["x", "y"])
    assert engine.seen == [wanted]


def test_what_the_model_cannot_read_is_counted_and_scores_worst() -> None:
    records = [
        record(0, "a", "x", "", "x x x x", "x x x x x"),  # 4 tokens and an end mark fit
        record(1, "a b c d e f", "x"),
        record(2, "a b c d e", "x"),
        record(3, "a", "y", given=3),  # of a list whose first and last translation are empty
        record(4, "", given=1),
    ]
    records[3]["hypotheses"][0]["place"] = 1
    found, counts = make(Counting(), total=True).score(records)
    assert found == [
        [-1.5, UNSCORED, -4.5, UNSCORED], [UNSCORED], [-5.5], [UNSCORED, -1.5, UNSCORED], [UNSCORED],
    ]  # fmt: skip
    assert counts == {"pairs": 10, "tokens": 11, "empty": 4, "too long": 2}


def test_prefixes_of_the_source_count_towards_its_length() -> None:
    found, counts = make(Counting(), extra=3).score([record(0, "a b c", "x"), record(1, "a b c d", "x")])
    assert found[1] == [UNSCORED] and counts["too long"] == 1


def test_equal_pairs_are_forced_once() -> None:
    engine = Counting()
    found, _ = make(engine, total=True).score([record(0, "a", "x", "x"), record(1, "a", "x")])
    assert found == [[-1.5, -1.5], [-1.5]] and len(engine.seen) == 1


def test_the_number_of_workers_changes_nothing() -> None:
    records = [record(i, "a " * (i % 4 + 1), "x " * (i % 3 + 1)) for i in range(50)]
    many = PairScorer(Counting(), make(Counting()).sides, Settings("cpu", "float32", 4, 1, 12))  # type: ignore[arg-type]  # an engine in part
    assert many.score(records) == make(Counting()).score(records)


def test_a_contrast_subtracts_the_score_with_another_source() -> None:
    others = OtherSources([("a",), ("a", "b", "c")])
    engine = Counting()
    found, counts = make(engine, total=True, other_sources=others).score(
        [record(0, "a", "x x"), record(1, "a b c", "x")]
    )
    assert found == [[(-2.5) - (-6.5)], [(-3.5) - (-1.5)]]
    assert counts == {"pairs": 2, "tokens": 5} and len(engine.seen) == 4


def test_another_source_is_never_the_same_and_about_as_long() -> None:
    sources = [tuple(f"w{i}" for i in range(n)) for n in range(1, 60)] + [("other",) * n for n in range(1, 60)]
    others = OtherSources(sources)
    for sentence, source in enumerate(sources):
        found = others(source, sentence)
        assert found != source and abs(len(found) - len(source)) <= 16
        assert found == others(source, sentence)
    assert len({others(("w0",), sentence) for sentence in range(100)}) == 16
    # Few sentences to choose from.
    assert OtherSources([("a",), ("b",), ("a",), ()])(("a",), 5) == ("b",)

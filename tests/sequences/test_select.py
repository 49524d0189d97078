"""The selection: strategies, weights, filters, references, and the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from sacrebleu.metrics import BLEU, CHRF

from fairseq_lskd.data import writing_systems
from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences import select as module
from fairseq_lskd.sequences.filters import LengthRatio, Repeats
from fairseq_lskd.sequences.report import EXAMPLES, Report
from fairseq_lskd.sequences.select import Outcome, Pair, SelectionOptions, Selector, least_score, select, softmax


def record(*hypotheses: tuple[str, float], index: int = 0, source: str = "▁ein ▁Hund", **more: Any) -> dict[str, Any]:
    """A record with these translations. Each word is a piece."""
    found = [
        {"tokens": " ".join(f"▁{word}" for word in text.split()), "text": text, "score": score, "length": 1}
        for text, score in hypotheses
    ]
    return {"id": index, "source": source, "hypotheses": found, **more}


DOGS = record(("the cat sits", -0.5), ("the dog", -0.75), ("a dog runs", -1.0))


def chosen(given: dict[str, Any], reference: str | None = None, **options: Any) -> list[tuple[str, float]]:
    """Return the selected targets and their weights."""
    outcome = Selector(SelectionOptions(**options))(given, reference)
    return [(pair.target, pair.weight) for pair in outcome.pairs]


class TestStrategies:
    def test_1_best_takes_the_highest_score_at_any_position(self) -> None:
        assert chosen(DOGS) == [("▁the ▁cat ▁sits", 1.0)]
        assert chosen(record(("b", -1.0), ("a", -0.5), ("c", -0.5))) == [("▁a", 1.0)]

    @pytest.mark.parametrize(("metric", "scorer"), [("sentence-bleu", BLEU(effective_order=True)), ("chrf", CHRF())])
    def test_nearest_takes_the_hypothesis_most_similar_to_the_reference(self, metric: str, scorer: Any) -> None:
        outcome = Selector(SelectionOptions(strategy="nearest", metric=metric))(DOGS, "▁a ▁dog ▁ran")
        assert [(pair.target, pair.weight) for pair in outcome.pairs] == [("▁a ▁dog ▁runs", 1.0)]
        similar = [scorer.sentence_score(text, ["a dog ran"]).score for text in ("the cat sits", "a dog runs")]
        assert outcome.similarity == tuple(similar)

    def test_nearest_takes_the_higher_score_of_equally_near_hypotheses(self) -> None:
        given = record(("x", -2.0), ("y", -1.0), ("z", -3.0))
        assert chosen(given, "a dog", strategy="nearest") == [("▁y", 1.0)]

    @pytest.mark.parametrize("reference", [None, "", " "])
    def test_nearest_takes_the_highest_score_without_a_reference(self, reference: str | None) -> None:
        assert chosen(DOGS, reference, strategy="nearest") == [("▁the ▁cat ▁sits", 1.0)]

    @pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 4.0])
    def test_n_best_weights_are_the_softmax_of_scores(self, temperature: float) -> None:
        powers = [math.exp(score / temperature) for score in (-0.5, -0.75, -1.0)]
        found = chosen(DOGS, strategy="n-best", score_temperature=temperature)
        assert [target for target, _ in found] == ["▁the ▁cat ▁sits", "▁the ▁dog", "▁a ▁dog ▁runs"]
        assert [weight for _, weight in found] == pytest.approx([power / sum(powers) for power in powers], rel=1e-14)
        assert math.fsum(weight for _, weight in found) == pytest.approx(1, rel=1e-15)

    def test_softmax_of_large_numbers_stays_finite(self) -> None:
        assert softmax([-1000.0, -1001.0], 0.001).tolist() == [1.0, 0.0]
        assert softmax([3.0], 1e9).dtype == np.float64 and softmax([3.0], 1e9).tolist() == [1.0]

    def test_n_best_weights_by_hand(self) -> None:
        # softmax([0, -ln 3]) = [3/4, 1/4].
        given = record(("a", -1.0), ("b", -1.0 - math.log(3)))
        assert [weight for _, weight in chosen(given, strategy="n-best")] == pytest.approx([0.75, 0.25])

    def test_max_hypotheses_takes_the_best(self) -> None:
        found = chosen(DOGS, strategy="n-best", max_hypotheses=2)
        assert [target for target, _ in found] == ["▁the ▁cat ▁sits", "▁the ▁dog"]
        assert sum(weight for _, weight in found) == pytest.approx(1)
        assert chosen(DOGS, "a dog runs", strategy="nearest", max_hypotheses=2) == [("▁the ▁dog", 1.0)]


class TestMinimumBayesRisk:
    #: The hypothesis with the highest score is unlike the others. Two of these are equal.
    GIVEN = record(
        ("the cat sits", -0.5), ("a dog ran", -0.75), ("a dog runs", -1.0), ("a dog runs", -1.5), ("a dog", -2.0)
    )

    @pytest.mark.parametrize("options", [{}, {"mbr_aggregate": True}, {"metric": "sentence-bleu"}, {"dedup": True}])
    def test_mbr_takes_the_hypothesis_most_similar_to_the_others(self, options: dict[str, Any]) -> None:
        assert chosen(self.GIVEN, strategy="mbr", **options) == [("▁a ▁dog ▁runs", 1.0)]

    def test_dropped_hypotheses_are_not_used_as_references(self) -> None:
        outcome = Selector(SelectionOptions(strategy="mbr", max_hypotheses=4, filters=(Repeats(1, 2),)))(
            record(("the cat sits", -0.5), ("a a a", -0.6), ("a dog ran", -0.75), ("a dog runs", -1.0), ("a dog", -2.0))
        )
        texts = ["the cat sits", "a dog ran", "a dog runs", "a dog"]
        wanted = {a: np.mean([CHRF().sentence_score(a, [b]).score for b in texts]) for a in texts}
        best = max(wanted, key=lambda text: wanted[text])
        assert [pair.target for pair in outcome.pairs] == [" ".join(f"▁{word}" for word in best.split())]
        assert outcome.utility == pytest.approx((wanted["the cat sits"], wanted[best]))

    def test_mbr_n_takes_distinct_hypotheses_with_equal_weights(self) -> None:
        found = chosen(self.GIVEN, strategy="mbr-n", mbr_best=3)
        assert [weight for _, weight in found] == pytest.approx([1 / 3] * 3)
        assert next(target for target, _ in found) == "▁a ▁dog ▁runs" and len({target for target, _ in found}) == 3
        # Two of the five hypotheses have the same text.
        assert len(chosen(self.GIVEN, strategy="mbr-n")) == 4
        assert len(chosen(self.GIVEN, strategy="mbr-n", mbr_best=1)) == 1

    def test_evidence_scores_weight_the_references(self) -> None:
        """At a low temperature only the highest score counts as a reference, and it is most similar to itself."""
        options = {"strategy": "mbr", "mbr_evidence": "scores", "score_temperature": 0.01}
        assert chosen(self.GIVEN, **options) == [("▁the ▁cat ▁sits", 1.0)]

    def test_the_report_has_the_gain_in_expected_utility(self) -> None:
        selector = Selector(SelectionOptions(strategy="mbr"))
        report = Report(selector.signature)
        for given in (self.GIVEN, record(("a", -1), index=1), record(skipped="empty", index=2)):
            report.add(selector(given))
        found = report.to_json()["expected utility"]
        assert found["signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
        assert found["chosen"] > found["best"] and found["chosen is not the best"] == 0.5
        assert f"{found['chosen']:.2f}" in report.tables() and "50.0%" in report.tables()

    def test_equal_weights_of_mbr_n_cause_no_warning(self) -> None:
        selector = Selector(SelectionOptions(strategy="mbr-n"))
        report = Report(selector.signature)
        report.add(selector(self.GIVEN))
        assert report.to_json()["effective hypotheses"] == 4 and "--score-temperature" not in report.tables()


class TestReferences:
    def test_an_added_reference_shares_the_weight_of_its_source(self) -> None:
        outcome = Selector(SelectionOptions(add_references=0.25))(DOGS, "▁a  ▁dog ")
        assert outcome.pairs == [
            Pair("▁ein ▁Hund", "▁the ▁cat ▁sits", 0.75, False),
            Pair("▁ein ▁Hund", "▁a ▁dog", 0.25, True),
        ]
        found = chosen(DOGS, "▁a ▁dog", strategy="n-best", add_references=0.25)
        assert math.fsum(weight for _, weight in found) == pytest.approx(1) and found[-1] == ("▁a ▁dog", 0.25)

    def test_an_empty_reference_is_not_added(self) -> None:
        assert chosen(DOGS, "  ", add_references=0.25) == [("▁the ▁cat ▁sits", 1.0)]

    def test_references_replace_the_translations_of_a_share_of_the_sources(self) -> None:
        selector = Selector(SelectionOptions(replace_by_references=0.3, strategy="n-best"))
        outcomes = [selector(record(("a", -1), ("b", -2), index=i), "▁r") for i in range(2000)]
        replaced = [outcome for outcome in outcomes if outcome.replaced]
        assert len(replaced) / 2000 == pytest.approx(0.3, abs=0.03)
        assert all(outcome.pairs == [Pair("▁ein ▁Hund", "▁r", 1.0, True)] for outcome in replaced)
        assert all(len(outcome.pairs) == 2 for outcome in outcomes if not outcome.replaced)

    def test_only_seed_and_index_decide_which_translations_are_replaced(self) -> None:
        def replaced(seed: int, indices: range, share: float = 0.5) -> set[int]:
            selector = Selector(SelectionOptions(replace_by_references=share, seed=seed))
            return {i for i in indices if selector(record(("a", -1), index=i), "▁r").replaced}

        assert replaced(1, range(100)) == replaced(1, range(50)) | replaced(1, range(50, 100))
        assert replaced(1, range(100)) != replaced(2, range(100))
        assert replaced(1, range(100), 0.2) < replaced(1, range(100))
        assert replaced(1, range(100), 1.0) == set(range(100))

    @pytest.mark.parametrize("given", [record(skipped="too long"), record(("", -1.0)), record(("a " * 90, -1.0))])
    def test_on_empty_reference_uses_the_reference_if_no_hypothesis_is_left(self, given: dict[str, Any]) -> None:
        only = {"filters": (LengthRatio(3),)}
        assert chosen(given, "▁a ▁dog", **only) == []
        assert chosen(given, "▁a ▁dog", add_references=0.5, **only) == []
        assert chosen(given, "▁a ▁dog", on_empty="reference", **only) == [("▁a ▁dog", 1.0)]
        assert chosen(given, "▁a ▁dog", on_empty="reference", add_references=0.5, **only) == [("▁a ▁dog", 1.0)]
        assert chosen(given, "", on_empty="reference", **only) == []

    def test_an_empty_source_is_never_trained_on(self) -> None:
        empty = record(source=" ", skipped="empty")
        for options in ({"on_empty": "reference"}, {"replace_by_references": 1.0}):
            assert chosen(empty, "▁a ▁dog", **options) == []

    def test_a_reference_in_text_is_refused_if_translations_are_in_pieces(self) -> None:
        with pytest.raises(UserError, match=r"--references, line 1\b.*--sentencepiece-target"):
            chosen(DOGS, "a dog", add_references=0.5)
        assert chosen(DOGS, "a dog runs", strategy="nearest") == [("▁a ▁dog ▁runs", 1.0)]  # only compared


class TestFilters:
    def test_the_highest_score_that_passes_is_chosen_and_drops_have_reasons(self) -> None:
        outcome = Selector(SelectionOptions(filters=(LengthRatio(3), Repeats(1, 2))))(
            record(("", -0.1), ("a " * 90, -0.2), ("a a a", -0.3), ("a dog", -0.4), ("b", -0.5)), None
        )
        assert [pair.target for pair in outcome.pairs] == ["▁a ▁dog"]
        assert [(drop.reason, drop.score) for drop in outcome.drops] == [
            ("empty", -0.1),
            ("length ratio", -0.2),
            ("repeated n-gram", -0.3),
            ("length ratio", -0.5),
        ]

    def test_dedup_keeps_the_higher_score_of_equal_texts(self) -> None:
        given = record(("a dog", -1.0), ("a cat", -2.0), ("a dog", -0.5))
        given["hypotheses"][0]["tokens"] = "▁a ▁d og"
        found = chosen(given, strategy="n-best", dedup=True)
        assert [target for target, _ in found] == ["▁a ▁dog", "▁a ▁cat"]
        assert len(chosen(given, strategy="n-best")) == 3

    @pytest.mark.parametrize(("quantile", "dropped"), [(0.001, 0), (0.1, 1), (0.19, 1), (0.5, 5), (0.999, 9)])
    def test_the_score_quantile_drops_a_share_of_the_sentences(self, quantile: float, dropped: int) -> None:
        records = [record(("a", -i), ("b", -50.0), index=i) for i in (3, 9, 0, 7, 1, 4, 8, 2, 6, 5)]
        least = least_score([*records, record(skipped="empty")], quantile)
        selector = Selector(SelectionOptions(strategy="n-best", least_score=least))
        outcomes = {outcome.id: outcome for outcome in map(selector, records)}
        for i, outcome in outcomes.items():
            assert len(outcome.pairs) == (0 if i >= 10 - dropped else 2)
            assert [drop.reason for drop in outcome.drops] == ["teacher score"] * (2 - len(outcome.pairs))

    def test_the_score_quantile_without_scores_is_minus_infinity(self) -> None:
        assert least_score([record(skipped="empty")], 0.5) == -math.inf

    def test_a_score_that_is_not_finite_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"sentence 0 .*\[nan\].*finite"):
            chosen(record(("a", math.nan)))


class TestForm:
    @pytest.fixture
    def models(self, tmp_path: Path) -> tuple[Path, Path]:
        """SentencePiece models with a piece per character."""
        for name, lines in (("source", ["ein Hund", "eine Katze"]), ("target", ["a dog", "the cat sits"])):
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_prefix=str(tmp_path / name), model_type="char", minloglevel=2
            )
        return tmp_path / "source.model", tmp_path / "target.model"

    def test_pieces_are_unchanged_by_default(self) -> None:
        assert chosen(DOGS)[0][0] == "▁the ▁cat ▁sits"

    def test_white_space_becomes_one_space(self) -> None:
        # fairseq-preprocess would read some of it as the end of a line.
        given = record(("x", -1.0), source="▁ein\r▁Hund\u2028▁da ")
        given["hypotheses"][0]["tokens"] = " ▁a\x0b▁dog\x85▁b"
        (pair,) = Selector(SelectionOptions(add_references=0.0))(given).pairs
        assert (pair.source, pair.target) == ("▁ein ▁Hund ▁da", "▁a ▁dog ▁b")

    def test_text_is_encoded_in_the_pieces_of_the_student(self, models: tuple[Path, Path]) -> None:
        options = SelectionOptions(sentencepiece_source=models[0], sentencepiece_target=models[1], add_references=0.5)
        for reference in ("a dog", "▁a ▁do g"):
            pairs = Selector(options)(DOGS, reference).pairs
            assert {pair.source for pair in pairs} == {"▁ e i n ▁ H u n d"}
            assert [pair.target for pair in pairs] == ["▁ t h e ▁ c a t ▁ s i t s", "▁ a ▁ d o g"]

    @pytest.mark.parametrize("side", ["source", "target"])
    def test_a_file_that_is_not_a_model_is_refused(self, side: str, tmp_path: Path) -> None:
        (tmp_path / "spm").write_text("text")
        with pytest.raises(UserError, match=rf"--sentencepiece-{side} .*spm is not a SentenceP"):
            Selector(SelectionOptions(**{f"sentencepiece_{side}": tmp_path / "spm"}))


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"strategy": "best"}, ["--strategy best: expected 1-best, nearest, n-best, mbr, mbr-n"]),
        ({"metric": "bleu"}, ["--metric bleu: expected sentence-bleu, chrf"]),
        ({"score_temperature": 0.0}, ["--score-temperature 0: expected "]),
        ({"score_temperature": math.nan}, ["--score-temperature nan: expected "]),
        ({"max_hypotheses": 0}, ["--max-hypotheses 0: expected "]),
        ({"mbr_best": 0}, ["--mbr-best 0: expected "]),
        ({"mbr_evidence": "all"}, ["--mbr-evidence all: expected counts, scores"]),
        ({"add_references": 1.0}, ["--add-references 1: expected "]),
        ({"replace_by_references": 1.5}, ["--replace-by-references 1.5: expected "]),
        (
            {"add_references": 0.5, "replace_by_references": 0.5, "seed": 2, "max_hypotheses": 0},
            ["--max-hypotheses 0: expected ", "--add-references and --replace-by-references: "],
        ),
    ],
)
def test_invalid_options_are_all_named(options: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        SelectionOptions(**options)
    found = str(caught.value).split("; ")
    assert len(found) == len(messages)
    assert all(text.startswith(message) for text, message in zip(found, messages, strict=True))


def test_japanese_is_tokenised_into_characters_without_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_systems.importlib.util, "find_spec", lambda name: None)
    assert "tok:char" in str(Selector(SelectionOptions(strategy="nearest", target_lang="ja")).signature)


def test_chinese_is_tokenised_into_characters() -> None:
    assert "tok:zh" in str(Selector(SelectionOptions(strategy="nearest", target_lang="zh")).signature)
    assert "tok:13a" in str(Selector(SelectionOptions(strategy="nearest", target_lang="en")).signature)
    assert Selector(SelectionOptions()).signature is None


def many(count: int) -> list[tuple[dict[str, Any], str]]:
    return [
        (record((f"a {i}", -1.0), (f"a dog {i % 7}", -1.1), ("a " * (i % 20), -1.2), index=i), f"▁a ▁dog ▁{i % 5}")
        for i in range(count)
    ]


@pytest.mark.parametrize("strategy", ["nearest", "mbr-n"])
def test_several_workers_yield_the_result_of_one(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 7)
    more = {"filters": (LengthRatio(3),), "replace_by_references": 0.2}
    options = SelectionOptions(strategy=strategy, **more)
    assert list(select(many(100), options, workers=2)) == list(select(many(100), options))


def test_items_are_read_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    read = []

    def items() -> Iterator[tuple[dict[str, Any], str]]:
        for item in many(1000):
            read.append(item[0]["id"])
            yield item

    outcomes = select(items(), SelectionOptions(), workers=2)
    assert next(outcomes).id == 0
    assert len(read) <= 5 * (2 * 2 + 1)
    outcomes.close()  # type: ignore[attr-defined]


def test_a_user_error_in_a_worker_is_raised() -> None:
    with pytest.raises(UserError, match=r"sentence 1 .*scores"):
        list(select([(DOGS, None), (record(("a", math.inf), index=1), None)], SelectionOptions(), workers=2))


class TestReport:
    def report(self, **options: Any) -> Report:
        selector = Selector(SelectionOptions(**options))
        report = Report(selector.signature)
        for item in many(100):
            report.add(selector(*item))
        for given in (record(skipped="empty", source="", index=100), record(skipped="too long", index=101)):
            report.add(selector(given, "▁ref"))
        return report

    def test_counts_add_up(self) -> None:
        report = self.report(filters=(LengthRatio(3),), strategy="n-best", replace_by_references=0.2, dedup=True)
        found = report.to_json()
        assert found["sentences"]["read"] == 102
        assert sum(found["sentences"].values()) == 2 * 102
        assert found["not translated"] == {"empty": 1, "too long": 1}
        replaced = found["sentences"]["replaced"]
        assert found["hypotheses"]["read"] == 300
        assert sum(dropped["hypotheses"] for dropped in found["dropped"].values()) == found["hypotheses"]["dropped"]
        assert found["hypotheses"]["dropped"] + found["hypotheses"]["written"] == 300 - 3 * replaced
        assert found["pairs"] == {"translations": found["hypotheses"]["written"], "references": replaced}
        assert set(found["dropped"]) == {"empty", "length ratio"}

    def test_examples_are_drawn_from_all_dropped_hypotheses(self) -> None:
        found = self.report(filters=(LengthRatio(3),)).to_json()["dropped"]["length ratio"]
        assert len(found["examples"]) == EXAMPLES < found["hypotheses"]
        assert max(example["line"] for example in found["examples"]) > 50
        assert found["examples"][0].keys() == {"line", "score", "source", "hypothesis"}
        assert self.report(filters=(LengthRatio(3),)).examples() == self.report(filters=(LengthRatio(3),)).examples()

    def test_tables_show_counts_and_examples(self) -> None:
        report = self.report(filters=(LengthRatio(3),), on_empty="reference")
        said = report.tables() + report.examples()
        rows = {
            cells[1].strip(): [cell.strip() for cell in cells[2:4]]
            for cells in (line.split("|") for line in said.splitlines() if line.startswith("|"))
        }
        assert rows["read"] == ["102", "300"]
        assert rows["not translated: empty"] == rows["not translated: too long"] == ["1", ""]
        assert rows["written: translations"] == ["100", "100"]
        assert rows["written: the reference, as no translation is left"] == ["1", ""]
        assert rows["not written"] == ["1", ""]
        assert "written: the reference, in place of translations" not in rows
        assert "\n## Dropped: length ratio\n" in said and "    source:     ein Hund\n" in said

    def test_nearest_reports_similarity_and_signature(self) -> None:
        found = self.report(strategy="nearest").to_json()["similarity"]
        assert found["signature"].startswith("nrefs:1|case:mixed|eff:yes|tok:13a|smooth:exp|version:")
        assert found["nearest"] > found["best"] and 0 < found["nearest is not the best"] <= 1

    def test_effective_hypotheses_are_the_exponential_of_the_entropy(self) -> None:
        report = Report()
        selector = Selector(SelectionOptions(strategy="n-best"))
        for scores in ((-1.0, -1.0, -1.0, -1.0), (-1.0, -2000.0, -2000.0, -2000.0)):
            report.add(selector(record(*((f"{i}", score) for i, score in enumerate(scores)))))
        assert report.to_json()["effective hypotheses"] == pytest.approx(2.5)
        assert "2.50 of 4.00" in report.tables()
        assert "--score-temperature" not in report.tables()

    @pytest.mark.parametrize(("temperature", "uniform"), [(1.0, True), (0.05, False)])
    def test_nearly_uniform_weights_are_reported(self, temperature: float, uniform: bool) -> None:
        """Scores are per token. In 20 tokens, the best of these five is e^8 times as probable as the worst."""
        weights = softmax([-0.5, -0.6, -0.7, -0.8, -0.9], temperature)
        report = Report()
        report.add(Outcome(0, "a", [-0.5] * 5, pairs=[Pair("a", "b", weight, False) for weight in weights.tolist()]))
        assert ("--score-temperature" in report.tables()) is uniform

    def test_quantiles_of_best_scores(self) -> None:
        report = Report()
        for i in range(101):
            report.add(Selector(SelectionOptions())(record(("a", -i / 100), ("b", -9.0), index=i)))
        assert report.to_json()["best scores"] == {
            "0%": -1.0,
            "1%": -0.99,
            "5%": -0.95,
            "25%": -0.75,
            "50%": -0.5,
            "75%": -0.25,
            "95%": -0.05,
            "100%": 0.0,
        }

    def test_drops_are_counted_by_sentence_and_by_hypothesis(self) -> None:
        report = Report()
        selector = Selector(SelectionOptions(filters=(Repeats(1, 2),)))
        for index in range(2):
            report.add(selector(record(("a a a", -1), ("b b b", -2), ("c", -3), index=index)))
        (dropped,) = report.to_json()["dropped"].values()
        assert (dropped["sentences"], dropped["hypotheses"]) == (2, 4)
        assert Counter(example["line"] for example in dropped["examples"]) == {1: 2, 2: 2}


@pytest.mark.parametrize(("temperature", "weights"), [(1e-320, [1, 0, 0]), (1e300, [1 / 3, 1 / 3, 1 / 3])])
def test_weights_are_finite_at_any_temperature(temperature: float, weights: list[float]) -> None:
    assert softmax([-1.0, -2.0, -700.0], temperature).tolist() == pytest.approx(weights)

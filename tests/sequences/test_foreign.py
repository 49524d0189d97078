"""Translations of other toolkits, read as records."""

from __future__ import annotations

import math
from pathlib import Path

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.candidates import Candidates
from fairseq_lskd.sequences.foreign import read_fairseq, read_moses, read_text, to_records
from fairseq_lskd.sequences.outside_scores import read_scores


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("source", "eins", "zwei", "drei")


def write(name: str, *lines: str) -> Path:
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Path(name)


def read(*words: str, **options: object) -> list[list[tuple[str, float]]]:
    """Read the translations of each sentence and their scores."""
    candidates = Candidates(Path("nbest"), source=Path("source"), **options)  # type: ignore[arg-type]
    assert [record["source"] for record in candidates.read()] == ["eins", "zwei", "drei"]
    return [[(h["tokens"], h["score"]) for h in record["hypotheses"]] for record in candidates.read()]


def refused(**options: object) -> str:
    with pytest.raises(UserError) as caught:
        read(**options)
    return str(caught.value)


def test_text_has_one_translation_per_line() -> None:
    write("nbest", "one", "two", "three")
    assert read(format="text") == [[("one", 0.0)], [("two", 0.0)], [("three", 0.0)]]


def test_text_with_n_lines_per_sentence_and_scores() -> None:
    write("nbest", "one", "1", "two", "", "three", "3")
    write("scores", "-0.5", "-1", "-0.25", "0", "-3e-1", "-2")
    assert read(format="text", nbest=2, scores=Path("scores")) == [
        [("one", -0.5), ("1", -1.0)],
        [("two", -0.25)],
        [("three", -0.3), ("3", -2.0)],
    ]


@pytest.mark.parametrize("bad", ["", "good", "nan", "-inf", "1 2"])
def test_an_invalid_score_is_refused_with_its_line(bad: str) -> None:
    write("nbest", "one", "two", "three")
    write("scores", "-0.5", bad, "-1")
    said = refused(format="text", scores=Path("scores"))
    assert said == f"--scores scores, line 2: expected a finite number, found {bad!r}"


def test_all_files_of_the_wrong_length_are_named() -> None:
    for name in ("nbest", "scores", "references"):
        write(name, "-1", "-1")
    assert refused(format="text", nbest=2, scores=Path("scores"), references=Path("references")) == (
        "source has 3 source sentences: NBEST nbest has 2 lines, expected 6; --scores scores has 2 lines, expected 6; "
        "--references references has 2 lines, expected 3"
    )


def test_a_moses_list() -> None:
    write(
        "nbest",
        "0 ||| one  ||| LM0= -1.5 TM0= 2 ||| -0.5",
        "0 ||| 1 ||| LM0= -1.5 ||| -1",
        "2 ||| three ||| ||| -0.25 ||| 0-0 ||| 0=0",
    )
    assert read(format="moses") == [[("one", -0.5), ("1", -1.0)], [], [("three", -0.25)]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("one", "found 'one'"),
        ("1 ||| two ||| -0.5", "found '1 ||| two ||| -0.5'"),
        ("x ||| two ||| ||| 1", "found 'x ||| two ||| ||| 1'"),
        ("1 ||| two ||| ||| nan", "found '1 ||| two ||| ||| nan'"),
        ("0 ||| one ||| ||| -1", "found the ID 0, expected 1 or more"),
        ("3 ||| four ||| ||| -1", "found the ID 3, expected 0 to 2 "),
        ("-1 ||| four ||| ||| -1", "found the ID -1, expected 0 to 2 "),
    ],
)
def test_a_line_that_is_not_in_moses_format_is_refused(line: str, problem: str) -> None:
    write("nbest", "1 ||| two ||| ||| -0.5", line)
    said = refused(format="moses")
    assert said.startswith("nbest, line 2: ") and problem in said
    assert ("ID ||| TEXT ||| FEATURES ||| SCORE" in said) == ("the ID" not in said)


def test_scores_of_fairseq_generate_become_natural_logarithms() -> None:
    write("nbest", "H-2\t-2.0\tthree", "H-0\t-1.0\tone", "H-0\t-3.0\t1", "Generate test with beam=5: BLEU4 = 1.00")
    found = read(format="fairseq")
    assert [[text for text, _ in block] for block in found] == [["one", "1"], [], ["three"]]
    assert math.exp(found[2][0][1]) == pytest.approx(0.25)


def test_records_are_as_lskd_translate_writes_them() -> None:
    write("source", "▁eins", "", "▁drei")
    (one, empty, missing) = to_records(
        Path("source"), read_text(write("nbest", "▁o ne ▁x", "two", " ")), "sentencepiece"
    )
    hypothesis = {"tokens": "▁o ne ▁x", "text": "one x", "score": 0.0, "length": 4, "place": 0}
    assert one == {"id": 0, "source": "▁eins", "hypotheses": [hypothesis], "given": 1}
    assert empty["skipped"] == "empty"
    assert missing == {"id": 2, "source": "▁drei", "hypotheses": [], "given": 1}


def test_an_empty_source_has_no_translations() -> None:
    write("source", "▁eins", " ")
    _, empty = to_records(Path("source"), read_text(write("nbest", "one", "a hallucination")), "sentencepiece")
    assert empty == {"id": 1, "source": " ", "hypotheses": [], "skipped": "empty", "given": 1}


@pytest.mark.parametrize(
    ("line", "scheme", "text"),
    [
        ("▁a ▁do g", "sentencepiece", "a dog"),
        ("A dog.", "sentencepiece", "A dog."),
        ("a d@@ o@@ g", "subword_nmt", "a dog"),
        ("A dog.", "subword_nmt", "A dog."),
    ],
)
def test_pieces_become_text(line: str, scheme: str, text: str) -> None:
    (record, *_) = to_records(Path("source"), iter([[(line, 0.0)]]), scheme)
    assert (record["hypotheses"][0]["tokens"], record["hypotheses"][0]["text"]) == (line, text)


def test_sentences_that_the_list_lacks_have_no_translations() -> None:
    assert list(read_moses(write("nbest", "1 ||| two ||| ||| 0"), 4)) == [[], [("two", 0.0)], [], []]
    write("log", "H-1\t-1.0\ttwo", "Generate test")
    source = write("four", "1", "2", "3", "4")
    assert [len(block) for block in read_fairseq(Path("log"), source)] == [0, 1, 0, 0]


def test_output_of_fairseq_generate_for_another_text_is_refused() -> None:
    source = write("text", "One dog sleeps", "Two cats eat fish")
    log = write(
        "log", "S-1\t\u2581Two \u2581cats \u2581eat \u2581fish", "H-1\t-1.0\tzwei", "H-0\t-1.0\teins", "Generate test"
    )
    assert [len(block) for block in read_fairseq(log, source)] == [1, 1]
    with pytest.raises(UserError, match="log: sentence 1 is not line 2 of --source text"):
        list(read_fairseq(log, write("text", "One dog sleeps", "Nobody is here today")))


@pytest.mark.parametrize("score", ["nan", "-inf", "1e999", "1" * 400])
def test_scores_of_fairseq_generate_must_be_finite(score: str) -> None:
    with pytest.raises(UserError, match="log, line 2: the score is"):
        list(
            read_fairseq(write("log", "H-0\t-1.0\tone", f"H-1\t{score}\ttwo", "Generate test"), write("two", "1", "2"))
        )


MOSES = "0 ||| ein Hund ||| lm= -1 tm= 2 ||| -0.5\n0 ||| Hund ||| 0 ||| -1.5\n2 ||| drei ||| 0 ||| -2e0\n"
LOG = "S-0\tone\nH-0\t-0.5\tein Hund\nH-2\t-1.5\tdrei\nGenerate test with beam=5: BLEU4 = 3\n"
NUMBERS = ("nan", "-inf", "1e999", "9" * 400, "9" * 5000, "-1", "", " ", "0x1", "\N{ARABIC-INDIC DIGIT TWO}", "1_0")


@hostile.few
@given(st.sampled_from((MOSES, LOG, "-0.5\n1\n2\n")), st.data())
def test_any_content_is_read_or_refused(text: str, draw: st.DataObject) -> None:
    content = draw.draw(
        hostile.mutated(text.encode())
        | st.tuples(st.sampled_from(("0", "-0.5", "2")), st.sampled_from(NUMBERS)).map(
            lambda pair: text.replace(*pair, 1).encode()
        )
    )
    path, source = Path("fuzzed"), write("three", "one", "two", "three")
    path.write_bytes(content)
    for read in (
        lambda: read_moses(path, 3),
        lambda: read_fairseq(path, source),
        lambda: read_text(path, 1),
        lambda: read_text(path, 1),
        lambda: ([("", score) for score in each] for each in read_scores(path, [1, 2])),
    ):
        for block in hostile.read_or_refuse(lambda read=read: list(read()), path) or ():  # type: ignore[misc]
            assert all(math.isfinite(score) and "\n" not in text for text, score in block)

"""Reading the output of fairseq-generate in corpus order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences import Hypothesis, harvest

# The output of fairseq 0.12.2 with --nbest 2.
LOG = "2024-05-01 10:00:00 | INFO | fairseq_cli.generate | "
CLOSING = (
    f"{LOG}NOTE: hypothesis and token scores are output in base 2\n"
    f"{LOG}Translated 3 sentences (18 tokens) in 0.1s (30.00 sentences/s, 180.00 tokens/s)\n"
    "Generate test with beam=5: BLEU4 = 1.00, 2.0/1.0/0.5/0.2 (BP=1.000, ratio=1.000, syslen=15, reflen=15)\n"
)


SOURCE = ("▁ein s", "▁zwe i", "▁drei", "▁vier")


def found(sentence: int, *texts: str) -> str:
    """Return the printed lines of a sentence whose hypotheses have the scores -0.5, -1.0, ..."""
    lines = [f"S-{sentence}\t{SOURCE[sentence % 4]}", f"T-{sentence}\t▁H-7 ▁reference"]
    for rank, text in enumerate(texts, 1):
        score = -0.5 * rank
        lines += [f"H-{sentence}\t{score}\t{text}", f"D-{sentence}\t{score}\t{text}", f"P-{sentence}\t-0.1 -0.9"]
    return "".join(f"{line}\n" for line in lines)


def write(path: Path, *parts: str, closing: str = CLOSING) -> Path:
    path.write_bytes((f"{LOG}loading model(s) from a.pt\n" + "".join(parts) + closing).encode())
    return path


def lines(path: Path) -> list[str]:
    *whole, rest = path.read_bytes().decode().split("\n")
    assert rest == ""
    return whole


def test_hypotheses_are_in_corpus_order_best_first(tmp_path: Path) -> None:
    path = write(tmp_path / "log", found(2, "c c", "c"), found(0, "a a", "a"), found(1, "b b", "b"))
    assert harvest(path, 3) == [
        [Hypothesis(-0.5, "a a"), Hypothesis(-1.0, "a")],
        [Hypothesis(-0.5, "b b"), Hypothesis(-1.0, "b")],
        [Hypothesis(-0.5, "c c"), Hypothesis(-1.0, "c")],
    ]


def test_a_sentence_that_was_skipped_has_no_hypothesis(tmp_path: Path) -> None:
    path = write(tmp_path / "log", found(2, "c"), found(0, "a"))
    assert harvest(path, 4) == [[Hypothesis(-0.5, "a")], [], [Hypothesis(-0.5, "c")], []]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a\tb",
        "a\u2028b\u2029c",
        "a\u0085b",
        "a\x0bb\x0cc\x1cd\x1de\x1ef",
        "H-1\t-3.0\tno",
        "Generate ",
        "▁straße ▁日本 🐕",
    ],
)
def test_a_hypothesis_may_be_any_text_of_one_line(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log", found(1, "b"), found(0, text))
    assert harvest(path, 2) == [[Hypothesis(-0.5, text)], [Hypothesis(-0.5, "b")]]


@pytest.mark.parametrize("closing", [CLOSING.splitlines(True)[1], CLOSING.splitlines(True)[2]])
def test_either_closing_line_is_accepted(closing: str, tmp_path: Path) -> None:
    # A source without targets has no "Generate" line; generate-test.txt of --results-path has no log lines.
    assert harvest(write(tmp_path / "log", found(0, "a"), closing=closing), 1) == [[Hypothesis(-0.5, "a")]]


def test_incomplete_output_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log", found(0, "Generate | Translated"), closing="")
    with pytest.raises(UserError, match=r"log is incomplete.*fairseq-generate"):
        harvest(path, 1)


def test_output_of_another_corpus_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log", found(0, "a"), found(1234, "b"))
    with pytest.raises(UserError, match=r"log, line 9: .*sentence 1234.* 1,234 lines"):
        harvest(path, 1234)


@pytest.mark.parametrize(
    "line", ["H-1", "H-1\t-0.5", "H-1\tgood\ttext", "H-one\t-0.5\ttext", "H-\t-0.5\ttext", "H--1\t-0.5\ttext"]
)
def test_a_garbled_hypothesis_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log", found(0, "a"), f"{line}\n")
    with pytest.raises(UserError) as caught:
        harvest(path, 3)
    assert str(caught.value) == f"{path}, line 7: expected 'H-ID<tab>SCORE<tab>TEXT', found {line!r}"


def test_output_without_a_hypothesis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"log: .*'H-'.*fairseq-generate"):
        harvest(write(tmp_path / "log", "S-0\ta\n"), 1)


def test_a_file_that_is_missing_or_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"log: .*No such file"):
        harvest(tmp_path / "log", 1)
    (tmp_path / "log").write_bytes(b"H-0\t-0.5\tgr\xfcn\n")
    with pytest.raises(UserError, match="log: line 1 is not UTF-8: byte 0xfc"):
        harvest(tmp_path / "log", 1)


class TestCommand:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("source").write_text("eins\nzwei\ndrei\n")
        write(Path("log"), found(2, "c\u2028c ", "not the best"), found(0, "a"), found(1, "b"))
        write(Path("gaps"), found(2, "c"), found(0, ""))

    def refused(self, log: str, *words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["harvest", log, "--source", "source", "--out", "out", *words])
        assert not list(Path().glob("*out*")) and not list(Path().glob(".*"))
        return str(caught.value.code)

    def test_writes_the_best_of_each_sentence(self) -> None:
        assert main(["harvest", "log", "--source", "source", "--out", "new/out"]) == 0
        assert lines(Path("new/out")) == ["a", "b", "c\u2028c"]

    def test_keeps_an_empty_translation(self) -> None:
        write(Path("log"), found(2, "c"), found(0, ""), found(1, "b"))
        assert main(["harvest", "log", "--source", "source", "--out", "out"]) == 0
        assert lines(Path("out")) == ["", "b", "c"]

    def test_refuses_a_missing_translation_with_its_line_and_a_way_out(self) -> None:
        said = self.refused("gaps")
        assert said.startswith("lskd harvest: error: gaps: 1 of 3 sentences") and "line 2." in said
        assert "Raise --max-source-positions" in said and "lskd select --format fairseq" in said

    def test_asks_whether_the_source_is_another_where_all_that_is_missing_is_its_end(self) -> None:
        with Path("source").open("a") as stream:
            stream.write("vier\nfünf\n")
        said = self.refused("log")
        for fact in (
            "log: 2 of 5 sentences",
            "line 4.",
            "check that source is the translated file",
            "--max-source-pos",
        ):
            assert fact in said
        # Line 2 is missing too: sentences that are too long can be anywhere.
        assert "the translated file" not in self.refused("gaps")

    def test_writes_the_text_of_lists_of_lskd_translate(self) -> None:
        def record(number: int, *texts: str, **more: str) -> str:
            found = [{"tokens": f"\u2581{text}", "text": text, "score": -1.0, "length": 2} for text in texts]
            return json.dumps({"id": number, "source": sources[number], "hypotheses": found, **more})

        sources = ["▁eins", "", "<unk>"]
        Path("source").write_text("eins\n\ndrei\n")
        records = [record(0, "a", "worse"), record(1, skipped="empty"), record(2, "c")]
        Path("list").write_text("\n".join(records) + "\n")
        assert main(["harvest", "list", "--source", "source", "--out", "new"]) == 0
        assert lines(Path("new")) == ["a", "", "c"]
        Path("list").write_text("\n".join([*records[:2], record(2, skipped="too long")]) + "\n")
        assert "1 of 3 sentences have no translation" in (said := self.refused("list"))
        assert "--max-source-positions of lskd translate" in said and "--format fairseq" not in said
        Path("list").write_text("\n".join(records[:2]) + "\n")
        assert "list has 2 sentences, expected 3" in self.refused("list")

    def test_refuses_translations_of_another_text_with_the_first_line_that_differs(self) -> None:
        Path("source").write_text(f"eins\ndrei {'und ' * 30}\nzwei\n")
        said = self.refused("log")
        assert "log: sentence 1 is not line 2 of --source source. It translates 'zwei'" in said
        assert "the line is 'drei und und" in said and "..." in said and len(said) < 350
        assert "Give the text that was translated" in said and "give the file that was binarised" in said
        records = [
            {"id": i, "source": text, "hypotheses": [{"tokens": "a", "text": "a", "score": -1.0, "length": 2}]}
            for i, text in enumerate(["▁eins", "▁zwei", "▁drei"])
        ]
        Path("list").write_text("".join(f"{json.dumps(record)}\n" for record in records))
        assert "list: sentence 1 is not line 2 of --source source" in self.refused("list")

    @pytest.mark.parametrize("name", ["log", "source"])
    def test_names_a_file_that_is_not_there(self, name: str) -> None:
        Path(name).unlink()
        assert self.refused("log").startswith(f"lskd harvest: error: {name}: cannot be read")

    def test_leaves_the_old_translations_after_an_error(self) -> None:
        Path("out").write_text("old\n")
        with pytest.raises(SystemExit):
            main(["harvest", "gaps", "--source", "source", "--out", "out"])
        assert Path("out").read_text() == "old\n"


@pytest.mark.parametrize("score", ["nan", "-inf", "inf"])
def test_scores_that_are_not_finite_are_refused(tmp_path: Path, score: str) -> None:
    path = tmp_path / "out"
    path.write_text(f"H-0\t-0.5\ta\nH-1\t{score}\tb\nGenerate test with beam=5\n")
    with pytest.raises(UserError, match=rf"out, line 2: the score is {score}\b"):
        harvest(path, 2)

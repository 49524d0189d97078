"""An added test set has the same pieces and ids as the data's own test set."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from prepared import prepare

from fairseq_lskd.cli import main
from fairseq_lskd.data.binarise import binarise
from fairseq_lskd.data.test_sets import add
from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring import testsets


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Prepared data, and its test set under another name in text/."""
    prepare(tmp_path)
    binarise(tmp_path / "pieces", tmp_path / "ours")
    (tmp_path / "text").mkdir()
    for language in ("de", "en"):
        text = (tmp_path / f"raw/test.{language}").read_bytes()
        (tmp_path / f"text/news.{language}.gz").write_bytes(gzip.compress(text))
    return tmp_path


def test_the_same_text_gives_the_same_bytes(data: Path) -> None:
    assert add(data, "news", data / "text") and not add(data, "news", data / "text")
    made = data / "tests/news"
    for language in ("de", "en"):
        for kind in ("bin", "idx"):
            name = f"test.de-en.{language}.{kind}"
            assert (made / name).read_bytes() == (data / "ours" / name).read_bytes()
        assert (made / f"dict.{language}.txt").read_bytes() == (data / f"pieces/dict.{language}.txt").read_bytes()
        kept = gzip.decompress((made / f"raw/test.{language}.gz").read_bytes())
        assert kept == (data / f"raw/test.{language}").read_bytes()


def test_a_test_set_of_sacrebleu(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    asked = []

    def load(name: str, pair: str) -> testsets.TestSet:
        asked.append((name, pair))
        return testsets.TestSet(["a b", "c"], [["B A.", "C."], ["other", "other"]])

    monkeypatch.setattr(testsets, "load", load)
    assert main(["data", "test", "news", "--data", str(data), "--sacrebleu", "wmt99"]) == 0
    assert asked == [("wmt99", "de-en")] and "tests/news: written" in capsys.readouterr().out
    assert (data / "tests/news/raw/test.en").read_text() == "B A.\nC.\n"


def test_test_sets_that_cannot_be_added(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other\.de: not found"):
        add(data, "other", data / "text")
    with pytest.raises(UserError, match=r"test set '\.\./x'"):
        add(data, "../x", data / "text")
    with pytest.raises(UserError, match=r"no prepared data there"):
        add(data / "text", "news", data / "text")
    with pytest.raises(SystemExit, match="give --raw, or --sacrebleu"):
        main(["data", "test", "news", "--data", str(data)])
    (data / "text/news.de.gz").write_bytes(gzip.compress(b"a\n"))
    with pytest.raises(UserError, match="1 line"):
        add(data, "news", data / "text")
    assert not (data / "tests").exists()


def test_a_test_set_out_of_step_is_refused(data: Path, capsys: pytest.CaptureFixture) -> None:
    words = [
        " ".join("abc"[: 1 + number % 3] * (1 + number % 11) for _ in range(1 + number % 7)) for number in range(200)
    ]
    for language, lines in (("de", words), ("en", [*words[:100], *words[101:], "a"])):
        (data / f"text/moved.{language}").write_text("".join(f"{line.upper()}\n" for line in lines))
    with pytest.raises(UserError, match=r"out of step(.|\n)*--allow-shifted"):
        add(data, "moved", data / "text")
    assert not (data / "tests").exists()
    arguments = ["data", "test", "moved", "--data", str(data), "--raw", str(data / "text"), "--allow-shifted"]
    assert main(arguments) == 0 and "1 line was probably lost" in capsys.readouterr().err

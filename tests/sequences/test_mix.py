"""`lskd mix`: training data of translations and references."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.files import sha256
from fairseq_lskd.sequences import SequenceWeights


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("source").write_text("▁ein s\n▁zwei\u2028x\n▁drei\n", encoding="utf-8")
    Path("translations").write_text("▁one\n▁two\n▁three\n", encoding="utf-8")
    Path("references").write_text("▁1\n▁2\n▁3\n", encoding="utf-8")


def mix(*words: str) -> int:
    return main(
        ["mix", "-s", "de", "-t", "en", "--source", "source", "--translations", "translations", "--out", "out", *words]
    )


def refused(*words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        mix(*words)
    assert not Path("out").exists()
    prefix = "lskd mix: error: "
    assert str(caught.value.code).startswith(prefix)
    return str(caught.value.code).removeprefix(prefix)


def text(language: str) -> list[str]:
    return (Path("out") / f"train.{language}").read_bytes().decode().split("\n")


def written() -> SequenceWeights:
    assert sorted(path.name for path in Path("out").iterdir()) == ["train.de", "train.en", "train.weights.npz"]
    return SequenceWeights.load("out/train.weights.npz")


def test_translations_alone_weigh_1(capsys: pytest.CaptureFixture) -> None:
    assert mix() == 0
    assert text("de") == ["▁ein s", "▁zwei\u2028x", "▁drei", ""]
    assert text("en") == ["▁one", "▁two", "▁three", ""]
    assert written().weight.tolist() == [1, 1, 1] and not written().reference.any()
    assert capsys.readouterr().err == "3 sentence pairs in out, 0 of them references\n"


def test_references_follow_with_the_source_once_more(capsys: pytest.CaptureFixture) -> None:
    assert mix("--references", "references") == 0
    assert text("de") == ["▁ein s", "▁zwei\u2028x", "▁drei", "▁ein s", "▁zwei\u2028x", "▁drei", ""]
    assert text("en") == ["▁one", "▁two", "▁three", "▁1", "▁2", "▁3", ""]
    assert written().weight.tolist() == [1] * 6
    assert written().reference.tolist() == [False] * 3 + [True] * 3
    assert capsys.readouterr().err == "6 sentence pairs in out, 3 of them references\n"


def test_weights_are_those_of_the_translations() -> None:
    Path("weights").write_text("0.5\n0\n 2e0 \n")
    assert mix("--references", "references", "--weights", "weights") == 0
    assert written().weight.tolist() == [0.5, 0, 2, 1, 1, 1]


def test_the_same_call_writes_the_same_bytes() -> None:
    def digests() -> dict[str, str]:
        assert mix("--references", "references") == 0
        return {path.name: sha256(path) for path in Path("out").iterdir()}

    assert digests() == digests()


@pytest.mark.parametrize("bad", ["one", "-1", "nan", "inf", "1e39", "", "1 2"])
def test_a_weight_that_is_none_is_refused_with_its_line(bad: str) -> None:
    Path("weights").write_text(f"1\n{bad}\n1\n")
    assert refused("--weights", "weights") == (
        f"--weights weights, line 2: expected a number of 0 or more, found {bad!r}"
    )


def test_weights_that_are_all_zero_are_refused() -> None:
    Path("weights").write_text("0\n0\n0\n")
    assert refused("--weights", "weights") == "--weights weights: every weight is 0"


@pytest.mark.parametrize("name", ["translations", "references", "weights"])
def test_a_file_of_another_length_is_refused(name: str) -> None:
    Path("weights").write_text("1\n1\n1\n")
    Path(name).write_text("1\n1\n1\n1\n")
    said = refused("--references", "references", "--weights", "weights")
    assert said == f"--{name} {name} has 4 lines, --source has 3"


@pytest.mark.parametrize("name", ["translations", "references"])
def test_an_empty_target_is_refused_with_its_line_and_a_way_out(name: str) -> None:
    Path(name).write_text("a\nb\n \n")
    said = refused("--references", "references")
    assert said == f"--{name} {name}, line 3 is empty; `lskd harvest --fallback` fills such lines"


def test_an_empty_source_is_refused() -> None:
    Path("source").write_text("")
    assert refused() == "--source source is empty"


@pytest.mark.parametrize("name", ["source", "translations", "references", "weights"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    Path("weights").write_text("1\n1\n1\n")
    Path(name).unlink()
    assert refused("--references", "references", "--weights", "weights").startswith(f"{name}: cannot be read")


def test_a_file_in_place_of_the_folder_is_named() -> None:
    Path("out").write_text("text")
    with pytest.raises(SystemExit, match=r"^lskd mix: error: out"):
        mix()
    assert Path("out").read_text() == "text"

"""What an experiment's YAML file says about its data is checked before they are prepared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_lskd.data import corpora
from fairseq_lskd.errors import UserError
from fairseq_lskd.experiments.plan import Plan
from fairseq_lskd.experiments.preparation import options_of, wrong_corpus, wrong_values, wrong_words

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/prepare.sh"
ENCODES = "ptions of lskd encode go after --"
MINE = """
title: Mine
seeds: [1]
teachers:
  - label_smoothing: 0.1
students:
  - method: word
scales:
  mine: {corpus: CORPUS, languages: [de, en], prepare: [PREPARE], recipe: smoke, data: mine}
"""


@pytest.mark.parametrize("name", corpora.names())
def test_every_corpus_has_its_languages_in_both_directions(name: str) -> None:
    has = corpora.languages_of(name) or ["a", "b"]
    assert wrong_corpus(name, has, []) == wrong_corpus(name, has[::-1], []) == []
    wrong = wrong_corpus(name, [has[0], "qq"], [])
    assert bool(wrong) == (name != "own")
    assert not wrong or f"[{has[0]}, qq]: the corpus {name} has [{', '.join(has)}]" in wrong[0]


def test_the_languages_of_the_generated_bitext() -> None:
    assert wrong_corpus("generated", ["xx", "yy"], []) == []
    assert wrong_corpus("generated", ["ww", "yy"], ["--dialect", "1"]) == []
    for pair, prepare, has in ((["yy", "xx"], [], "xx"), (["xx", "yy"], ["--dialect", "2"], "zz")):
        assert wrong_corpus("generated", pair, prepare) == [
            f"languages: [{', '.join(pair)}]: the corpus generated has [{has}, yy]"
        ]
    assert wrong_corpus("generated", ["xx", "yy"], ["--dialect", "3"]) == [
        "prepare: --dialect 3: expected a number from 0 to 2"
    ]


def test_a_misspelt_corpus() -> None:
    for name, meant in (("owm", "own"), ("generatd", "generated"), ("multi3k", "multi30k")):
        (said,) = wrong_corpus(name, ["de", "en"], [])
        assert said.startswith(f"corpus: {name}: did you mean {meant}? Expected one of generated, europarl-en-fr,")
    (said,) = wrong_corpus("qqqqqq", ["de", "en"], [])
    assert said.startswith("corpus: qqqqqq: expected one of generated,") and said.endswith("or a corpus file (.toml)")
    # Files are read later, and names that lead out of a folder are refused elsewhere.
    assert wrong_corpus("my/none.toml", ["de", "en"], []) == wrong_corpus("../x", ["de", "en"], []) == []


def test_the_options_of_the_script() -> None:
    known = options_of(SCRIPT)
    assert known["--vocab-size"] is False and known["-s"] is False and known["--pairs"] and known["--dialect"]
    said = subprocess.run(["bash", str(SCRIPT), "--help"], capture_output=True, text=True, timeout=30).stdout
    assert all(name in said for name in known if name not in ("--source-lang", "--target-lang"))
    assert {"--recipe", "--test-set", "--free-order", "--ambiguous", "--valid"} <= set(known)


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ("--vocab-size 1000 --recipe moses-bpe -- --separate --sample all", []),
        (
            "--vocab-sze 1000",
            ["--vocab-sze is no option of scripts/prepare.sh; did you mean --vocab-size? O" + ENCODES],
        ),
        ("--separate --vocab-size 9", ["--separate is no option of scripts/prepare.sh; o" + ENCODES]),
        ("--vocab-size", ["--vocab-size needs a value"]),
        ("--vocab-size --recipe moses-bpe", ["--vocab-size needs a value"]),
        ("--vocab-size 1000 2000", ["'2000': expected an option before it"]),
        ("--pairs 1000", ["--pairs is only allowed with corpus: generated"]),
    ],
)
def test_options_that_the_script_refuses(words: str, problems: list[str]) -> None:
    assert wrong_words(words.split(), "own", SCRIPT) == [f"prepare: {each}" for each in problems]


def test_options_of_the_generated_bitext(tmp_path: Path) -> None:
    assert wrong_words(["--pairs", "1000", "--test", "9"], "generated", SCRIPT) == []
    assert wrong_words(["--pairs"], "generated", tmp_path / "none") == []


def test_values_that_lskd_encode_refuses() -> None:
    def values(words: str) -> list[str]:
        return wrong_values("own", ("de", "en"), words.split())

    assert values("") == values("--vocab-size 1000 -- --separate --sample all") == []
    assert values("--vocab-size big") == ["prepare: argument --vocab-size: invalid int value: 'big'"]
    assert values("--recipe moses-bpe -- --seperate") == ["prepare: unrecognized arguments: --seperate"]


def test_a_corpus_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('like = "own"\n[clean]\nunicod = "NFC"\n')
    (said,) = wrong_values(f"{tmp_path}/mine.toml", ("de", "en"), [])
    assert said.startswith(f"corpus: {tmp_path}/mine.toml:") and "did you mean unicode?" in said
    (said,) = wrong_values(f"{tmp_path}/none.toml", ("de", "en"), [])
    assert "none.toml: cannot be read" in said
    (tmp_path / "mine.toml").write_text('like = "own"\n')
    assert wrong_values(f"{tmp_path}/mine.toml", ("de", "en"), []) == []


def test_all_mistakes_are_in_the_message_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE.replace("CORPUS", "owm").replace("PREPARE", "--vocab-sze, 1000"))
    with pytest.raises(UserError) as caught:
        Plan.read(str(path), "mine", ROOT / "experiments")
    said = str(caught.value).splitlines()
    assert said[0] == f"{path} has mistakes:" and "scale mine: corpus: owm: did you mean own?" in said[1]
    assert said[2:] == [
        "  scale mine: prepare: --vocab-sze is no option of scripts/prepare.sh; did you mean --vocab-size? O" + ENCODES
    ]
    path.write_text(MINE.replace("CORPUS", "own").replace("PREPARE", "--vocab-size, big"))
    words = [str(path), "mine", str(ROOT / "experiments"), "", "", ""]
    done = subprocess.run(
        [sys.executable, "-m", "fairseq_lskd.experiments", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stderr.splitlines() == [
        f"experiment.sh: error: {path} has mistakes:",
        "  prepare: argument --vocab-size: invalid int value: 'big'",
    ]

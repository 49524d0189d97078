"""Exported folders of students whose sources begin with tags in the text, as IndicTrans2's do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fairseq import options
from fairseq_cli import preprocess
from trained import trained_teacher

from fairseq_lskd.cli import main

pytest.importorskip("ctranslate2")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "translate_raw.py"
TAGS = ("deu_Latn eng_Latn", "deu_Latn fra_Latn")


@pytest.fixture(scope="module")
def tagged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the sentences have other tags, and a target that begins with another piece."""
    folder = tmp_path_factory.mktemp("tagged")
    for split in ("train", "valid", "test"):
        both = [(data / "pieces" / f"{split}.{side}").read_text().splitlines() for side in ("de", "en")]
        rows = [
            (f"{TAGS[i % 2]} {one}", other if i % 2 else f"▁J ▁J {other}")
            for i, (one, other) in enumerate(zip(*both, strict=True))
        ]
        for place, side in enumerate(("de", "en")):
            lines = [row[place] for row in rows]
            (folder / f"{split}.{side}").write_text("".join(f"{line}\n" for line in lines))
    words = ["-s", "de", "-t", "en", "--destdir", f"{folder}/bin", "--workers", "1"]
    words += [word for split in ("train", "valid") for word in (f"--{split}pref", f"{folder}/{split}")]
    preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return folder


@pytest.fixture(scope="module")
def words(data: Path, tagged: Path) -> list[str]:
    student = trained_teacher(tagged / "bin", updates=200)
    return ["export", str(student), "--sentencepiece", f"{data}/pieces/spm.model", "--compute-type", "float32"]


def refused(*words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*words])
    return str(caught.value.code)


def texts(out: Path, *words: str | Path) -> list[str]:
    flags = ["--workers", "1", "--threads", "1", "--max-len-b", "14"]
    assert main(["translate", *map(str, words), "--out", str(out), *flags]) == 0
    return [json.loads(line)["hypotheses"][0]["text"] for line in out.read_text().splitlines()]


def test_raw_text_gets_the_tags(data: Path, tagged: Path, words: list[str], tmp_path: Path) -> None:
    raw, found = data / "raw/test.de", []
    (tmp_path / "raw.de").write_text("".join(raw.read_text().splitlines(keepends=True)[0::2]))
    for place, tags in enumerate(TAGS):
        folder = tmp_path / f"exported{place}"
        assert main([*words, "--out", str(folder), "--source-prefix", tags]) == 0
        record = json.loads((folder / "export.json").read_text())
        assert record["pairs"] == {"de-en": {"source_prefix": tags, "source_suffix": "", "target_prefix": ""}}
        assert record["options"]["source-prefix"] == tags and record["max_positions"] == [1022, 1024]
        model = ["--model", folder, "--sentencepiece", f"{data}/pieces/spm.model", "--compute-type", "float32"]
        found.append(texts(tmp_path / f"{place}.jsonl", tmp_path / "raw.de", *model))
        done = subprocess.run(
            [sys.executable, EXAMPLE, folder], input=(tmp_path / "raw.de").read_text(), capture_output=True, text=True
        )
        assert done.stdout.splitlines() == found[place]
    assert found[0] != found[1]
    # The pieces of the training data's form, in fairseq.
    lines = (tagged / "test.de").read_text().splitlines(keepends=True)[0::2]
    (tmp_path / "pieces.de").write_text("".join(lines))
    teacher = ["--teacher-path", words[1], "--engine", "fairseq", "--sentencepiece-target", f"{data}/pieces/spm.model"]
    assert texts(tmp_path / "fairseq.jsonl", tmp_path / "pieces.de", *teacher) == found[0]
    said = refused(*words, "--out", str(folder), "--source-prefix", TAGS[0])
    assert "--source-prefix: deu_Latn fra_Latn" in said and TAGS[0] in said


def test_mistakes_with_tags(words: list[str], tmp_path: Path) -> None:
    said = refused(*words, "--out", str(tmp_path / "out"), "--source-prefix", "deu_Latn hin_Deva")
    assert "dict.de.txt has no hin_Deva; expected the tags" in said
    said = refused(*words, "--out", str(tmp_path / "out"), "--source-prefix", "deu_Latn", "--compare", "a", "b")
    assert "--source-prefix 'deu_Latn' works with neither --generate nor --compare" in said
    assert not list(tmp_path.iterdir())

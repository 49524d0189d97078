"""`lskd data verify` on folders that are intact or changed, or whose inputs changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.data.binarise import binarise
from fairseq_lskd.data.encoding import encode_bitext
from fairseq_lskd.data.outputs import Manifest
from fairseq_lskd.data.vocabulary import VocabularyOptions
from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256, write_json

from .test_prepare import bitext, own, write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """raw/, its pieces/, their bin/, and a run on the pieces."""
    for split, count in (("train", 60), ("valid", 9), ("test", 9)):
        write(tmp_path / "mine", split, bitext(count, count))
    own(tmp_path / "mine", tmp_path / "data")
    data = tmp_path / "data"
    encode_bitext(data / "raw", data / "pieces", "en", "de", VocabularyOptions(vocab_size=60))
    binarise(data / "pieces", data / "bin")
    (data / "run").mkdir()
    inputs = {"data/pieces/encode.json": sha256(data / "pieces" / "encode.json")}
    write_json(data / "run" / "run.json", {"command": ["x"], "inputs": inputs, "finished": "2026-01-01"})
    return data


def verify(data: Path, capsys) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["data", "verify", str(data)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_intact_folders(data: Path, capsys) -> None:
    status, out, err = verify(data, capsys)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{data}/bin: unchanged (binarise.json, 14 files)",
        f"{data}/pieces: unchanged (encode.json, 10 files)",
        f"{data}/raw: unchanged (prepare.json, 8 files)",
        f"{data}/run: unchanged (run.json, 0 files)",
    ]
    assert verify(data / "raw", capsys)[0] == 0


def test_several_vocabularies_and_selected_data_side_by_side(data: Path, capsys) -> None:
    """A second vocabulary, and data selected from translations, beside raw, pieces and bin, as in docs/select.md."""
    encode_bitext(data / "raw", data / "pieces-50", "en", "de", VocabularyOptions(vocab_size=50))
    binarise(data / "pieces-50", data / "bin-50")
    lines = (data / "pieces" / "train.en").read_text().splitlines()
    best = [{"tokens": "▁a", "text": "a", "score": -0.1, "length": 2}]
    records = [{"id": i, "source": line, "hypotheses": best} for i, line in enumerate(lines)]
    nbest = data / "train.nbest.jsonl"
    nbest.write_text("".join(json.dumps(record) + "\n" for record in records))
    for size in ("", "-50"):
        words = ["select", str(nbest), "-s", "en", "-t", "de", "--student-data", str(data / f"bin{size}")]
        if size:  # its pieces differ from those of the translations
            model = str(data / f"pieces{size}" / "spm.model")
            words += ["--sentencepiece-source", model, "--sentencepiece-target", model]
        assert main([*words, "--out", str(data / f"1-best{size}")]) == 0
    assert verify(data, capsys)[::2] == (0, "")
    # A stale folder is still found: one vocabulary is replaced, but not the data that depend on it.
    (data / "pieces-50").rename(data / ".old")
    encode_bitext(data / "raw", data / "pieces-50", "en", "de", VocabularyOptions(vocab_size=40))
    status, _, err = verify(data, capsys)
    assert status == 1 and err.count("\n") == 1
    assert f"{data}/bin-50: was made from a different encode.json" in err
    assert f"{data}/pieces or {data}/pieces-50" in err


def test_every_change_is_found(data: Path, capsys) -> None:
    raw = data / "raw"
    (raw / "test.en").unlink()
    text = (raw / "train.de").read_text()
    (raw / "train.de").write_text(text.partition("\n")[2])
    (raw / "valid.en").write_text((raw / "valid.en").read_text().swapcase())
    (raw / "notes.txt").write_text("x")
    status, out, err = verify(data, capsys)
    assert status == 1 and f"{raw}: 4 problems (prepare.json, 8 files)" in out
    lines = [line.strip() for line in err.splitlines()]
    assert lines[0] == f"{raw}/test.en: missing"
    assert lines[1].startswith(f"{raw}/train.de: changed: ") and lines[1].endswith("; 59 lines, were 60")
    assert lines[2].startswith(f"{raw}/valid.en: changed: same size") and lines[2].endswith(
        "(SHA-256); 9 lines, as before"
    )
    assert lines[3].startswith(f"{raw}/notes.txt: not listed in prepare.json")


def test_folders_made_from_another_text_are_found(data: Path, tmp_path: Path, capsys) -> None:
    write(tmp_path / "mine", "valid", bitext(9, 77))
    (data / "raw").rename(tmp_path / "old")
    own(tmp_path / "mine", data)
    record = json.loads((data / "pieces" / "encode.json").read_text())
    record["versions"]["python"] = "4"
    write_json(data / "pieces" / "encode.json", record)
    status, _, err = verify(data, capsys)
    assert status == 1
    assert [line.strip() for line in err.splitlines()] == [
        f"{data}/bin: was made from a different encode.json than the one in {data}/pieces",
        f"{data}/pieces: was made from a different valid.en than the one in {data}/raw",
        f"{data}/pieces: was made from a different valid.de than the one in {data}/raw",
        f"{data}/run: was made from a different version of {data}/pieces/encode.json",
    ]


def test_an_unfinished_run(data: Path, capsys) -> None:
    write_json(data / "run" / "run.json", {"command": ["x"], "inputs": {}, "finished": None})
    status, _, err = verify(data, capsys)
    assert status == 1 and "run: its command failed or was interrupted" in err


def test_nothing_to_verify(tmp_path: Path) -> None:
    for folder, message in ((tmp_path, "found no prepared data"), (tmp_path / "none", "no such folder")):
        with pytest.raises(SystemExit, match=message):
            main(["data", "verify", str(folder)])


def test_folders_of_older_manifests_are_checked_by_size(tmp_path: Path, capsys) -> None:
    with Manifest("x.json", {}).written(tmp_path / "a") as (folder, _):
        (folder / "text").write_text("abc")
    record = json.loads((tmp_path / "a" / "x.json").read_text())
    del record["digests"]
    write_json(tmp_path / "a" / "x.json", record)
    assert verify(tmp_path, capsys)[0] == 0
    (tmp_path / "a" / "text").write_text("abcd")
    assert "text: changed: 4 bytes, was 3" in verify(tmp_path, capsys)[2]


@pytest.mark.parametrize("name", ["../../victim", "/etc/passwd"])
def test_outputs_outside_the_folder(data: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = data / "pieces/encode.json"
    record = json.loads(path.read_text())
    record["outputs"][name] = 1
    write_json(path, record)
    assert main(["data", "verify", str(data)]) == 1
    assert f"lists '{name}', expected a relative path" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"encode\.json.*expected a relative path"):
        binarise(data / "pieces", data / "other")


def test_languages_in_a_manifest_must_be_plain_names(data: Path) -> None:
    path = data / "pieces/encode.json"
    record = json.loads(path.read_text())
    record["options"]["source-lang"] = "x/../../../victim"
    write_json(path, record)
    with pytest.raises(UserError, match=r"encode\.json: options\.source-lang is .*expected a plain name"):
        binarise(data / "pieces", data / "other")


def test_raw_text_without_a_manifest_is_compared_with_what_was_encoded(data: Path, tmp_path: Path, capsys) -> None:
    """As in scripts/prepare.sh --raw DIR, where DATA/raw is a link."""
    (data / "raw").rename(tmp_path / "text")
    (tmp_path / "text" / "prepare.json").unlink()
    (data / "raw").symlink_to(tmp_path / "text")
    assert verify(data, capsys)[::2] == (0, "")
    changed = tmp_path / "text" / "train.de"
    changed.write_text(changed.read_text().partition("\n")[2])
    status, _, err = verify(data, capsys)
    assert status == 1 and err.count("\n") == 1
    assert f"{data}/raw/train.de" in err and "59 lines, were 60" in err
    (tmp_path / "text").rename(tmp_path / "elsewhere")
    status, out, err = verify(data, capsys)
    assert (status, err) == (0, "") and f"not checked: {data}/raw lacks " in out and "train.de" in out

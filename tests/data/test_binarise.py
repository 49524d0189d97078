"""`lskd binarise`: the bytes of fairseq-preprocess, with any number of workers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from fairseq import options
from fairseq.data import Dictionary, data_utils
from fairseq_cli import preprocess

from fairseq_lskd import cli
from fairseq_lskd.data import binarise, chunks
from fairseq_lskd.data.dictionary import read_dictionary
from fairseq_lskd.data.encoding import encode_bitext, encode_classically
from fairseq_lskd.data.vocabulary import VocabularyOptions
from fairseq_lskd.errors import UserError

SPLITS = {"train": 300, "valid": 20, "test": 20}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short words, some with a hyphen, an apostrophe or a comma. The test set has letters that train lacks."""
    folder = tmp_path_factory.mktemp("bitext")
    chance = random.Random(1)
    for split, lines in SPLITS.items():
        letters = "abcdefgh" + ("ψ" if split == "test" else "")
        for language in ("de", "en"):
            with (folder / f"{split}.{language}").open("w") as out:
                for _ in range(lines):
                    words = ["".join(chance.choices(letters, k=chance.randint(1, 6))) for _ in range(9)]
                    print(*words[:4], f"{words[4]}-{words[5]}", f"{words[6]}, {words[7]}'{words[8]}.", file=out)
    return folder


@pytest.fixture(scope="module")
def pieces(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoded") / "pieces"
    encode_bitext(raw, out, "de", "en", VocabularyOptions(vocab_size=120))
    return out


def fairseq_preprocess(pieces: Path, out: Path, *more: str) -> Path:
    words = ["-s", "de", "-t", "en", "--destdir", str(out), "--workers", "1", *more]
    for split in SPLITS:
        words += [f"--{split}pref", str(pieces / split)]
    preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return out


def dictionaries(pieces: Path) -> list[str]:
    return ["--srcdict", str(pieces / "dict.de.txt"), "--tgtdict", str(pieces / "dict.en.txt")]


def files(folder: Path, leave_out: tuple[str, ...] = ("preprocess.log", "binarise.json")) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in leave_out}


def test_the_bytes_are_those_of_fairseq_preprocess(pieces: Path, tmp_path: Path) -> None:
    assert binarise.binarise(pieces, tmp_path / "ours")
    theirs = files(fairseq_preprocess(pieces, tmp_path / "theirs", *dictionaries(pieces)))
    assert len(theirs) == 14 and files(tmp_path / "ours") == theirs


@pytest.mark.parametrize("separate", [False, True])
def test_the_classical_recipe_is_that_of_fairseq_preprocess(raw: Path, tmp_path: Path, separate: bool) -> None:
    """This includes the dictionaries, which fairseq-preprocess builds itself here."""
    pieces = tmp_path / "pieces"
    encode_classically(raw, pieces, "de", "en", VocabularyOptions(vocab_size=60, separate=separate))
    binarise.binarise(pieces, tmp_path / "ours")
    theirs = fairseq_preprocess(pieces, tmp_path / "theirs", *([] if separate else ["--joined-dictionary"]))
    assert files(tmp_path / "ours") == files(theirs)


def test_chunks_and_workers_change_nothing(pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binarise.binarise(pieces, tmp_path / "one")
    monkeypatch.setattr(chunks, "SIZE", 5_000)
    binarise.binarise(pieces, tmp_path / "two", workers=2)
    assert files(tmp_path / "two", ()) == files(tmp_path / "one", ())


def test_a_large_dictionary_has_wider_ids(pieces: Path, tmp_path: Path) -> None:
    """fairseq changes the type at 65,500 symbols."""
    for size, kind in ((65_499, np.uint16), (65_500, np.uint32)):
        large = tmp_path / f"{size}.txt"
        rows = [f"word{i} 1\n" for i in range(size - 4)]
        large.write_text("".join(rows))
        text = tmp_path / "train.de"
        text.write_text(f"word0 word{size - 5}\nnone\n")
        found = binarise.binarise_file(text, read_dictionary(large), tmp_path / f"ours-{size}")
        assert (found.lines, found.tokens, found.unknown) == (2, 5, 1)
        dictionary = Dictionary.load(str(large))
        data = data_utils.load_indexed_dataset(str(tmp_path / f"ours-{size}"), dictionary)
        assert data._index.dtype == kind
        assert [row.tolist() for row in data] == [[4, size - 1, 2], [3, 2]]
        words = ["--only-source", "-s", "de", "-t", "en", "--trainpref", str(tmp_path / "train"), "--workers", "1"]
        words += ["--srcdict", str(large), "--destdir", str(tmp_path / f"theirs-{size}")]
        preprocess.main(options.get_preprocessing_parser().parse_args(words))
        for end in ("bin", "idx"):
            theirs = tmp_path / f"theirs-{size}" / f"train.de-en.de.{end}"
            assert (tmp_path / f"ours-{size}.{end}").read_bytes() == theirs.read_bytes()


def test_the_command_writes_once(pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "bin"
    assert cli.main(["binarise", str(pieces), "--out", str(out), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"{out}: written" in said and "train.de " in said
    assert json.loads((out / "binarise.json").read_text())["counts"]["train.de"]["lines"] == 300
    assert cli.main(["binarise", str(pieces), "--out", str(out)]) == 0
    assert f"{out}: up to date" in capsys.readouterr().out


def test_a_folder_without_pieces_is_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"found no encode\.json there; expected a folder that `lskd encode` wrote"):
        cli.main(["binarise", str(raw), "--out", str(tmp_path / "bin")])


def test_text_in_one_language_is_refused(pieces: Path, tmp_path: Path) -> None:
    mono = shutil.copytree(pieces, tmp_path / "mono")
    record = json.loads((mono / "encode.json").read_text())
    del record["options"]["target-lang"]
    (mono / "encode.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit, match=f"{mono} has text in one language only .*expected a bitext.*lskd translate"):
        cli.main(["binarise", str(mono), "--out", str(tmp_path / "bin")])


def test_changed_pieces_are_refused(pieces: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pieces"
    copy.mkdir()
    for path in pieces.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with (copy / "train.de").open("a") as out:
        out.write("more\n")
    (copy / "dict.en.txt").unlink()
    with pytest.raises(SystemExit, match=r"dict\.en\.txt, train\.de: missing or changed since `lskd encode`"):
        cli.main(["binarise", str(copy), "--out", str(tmp_path / "bin")])
    assert list(tmp_path.iterdir()) == [copy]


def test_a_manifest_with_another_number_of_lines_is_refused(pieces: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pieces"
    shutil.copytree(pieces, copy)
    record = json.loads((copy / "encode.json").read_text())
    record["counts"]["valid.en"]["lines"] = 8000
    (copy / "encode.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"valid\.en has 20 lines, encode\.json expects 8,000"):
        binarise.binarise(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""Translating with an exported folder, with the batches and the search of fairseq-generate."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError

pytest.importorskip("ctranslate2")

from fairseq_lskd.export.generation import Exported, Generation
from fairseq_lskd.sequences.decoding import DecodingOptions

SEARCH = ["--beam", "3", "--max-tokens", "40", "--max-len-a", "1.5", "--max-len-b", "4", "--lenpen", "0.6"]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def in_fairseq(data: Path, checkpoint: Path, *options: str) -> dict[int, str]:
    """Run fairseq-generate. Return its hypotheses by index in the split."""
    command = ["fairseq-generate", str(data / "bin"), "--gen-subset", "valid", "--path", str(checkpoint), "--cpu"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, check=True)
    return {int(n): text for n, text in re.findall(r"^H-(\d+)\t\S+\t(.*)$", done.stdout, flags=re.MULTILINE)}


def test_search_and_batches_are_those_of_fairseq(data: Path) -> None:
    found = Generation.read(data / "bin", "valid", SEARCH)
    search = found.search
    assert (search.beam, search.max_len_a, search.max_len_b, search.lenpen) == (3, 1.5, 4, 0.6)
    assert found.sentences == 9 and len(found.batches) > 1
    source = lines(data / "pieces/valid.de")
    for places, sources in found.batches:
        assert sources == [source[place].split() for place in places]
        # fairseq counts the end-of-sentence token, and pads to the longest sentence.
        assert len(sources) * (max(map(len, sources)) + 1) <= 40


def test_shards_of_fairseq_generate_are_supported(data: Path) -> None:
    whole = Generation.read(data / "bin", "valid", SEARCH)
    half = Generation.read(data / "bin", "valid", [*SEARCH, "--distributed-world-size", "2"])
    assert half.batches == whole.batches[::2]


@pytest.mark.slow
def test_float32_translates_as_fairseq_generate_does(data: Path, checkpoint: Path, folders: dict[str, Path]) -> None:
    wanted = in_fairseq(data, checkpoint, *SEARCH)
    generation = Generation.read(data / "bin", "valid", SEARCH)
    found, seconds = Exported(folders["float32"], generation.search, 1).translate(generation)
    assert [" ".join(pieces) for pieces in found] == [wanted[place] for place in range(9)]
    assert seconds > 0 and len(set(wanted.values())) == 9


def test_text_is_in_the_order_of_the_split(
    data: Path, checkpoint: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    words = ["--data", f"{data}/bin", "--subset", "valid", "--generate", str(tmp_path / "hyp"), "--search=--beam 2"]
    assert main(["export", str(checkpoint), "--out", str(folders["int8"]), *words]) == 0
    found, references = lines(tmp_path / "hyp"), lines(data / "raw/valid.en")
    # The student has learnt the lengths and the endings.
    assert len(found) == 9 and all(line.endswith(".") for line in found)
    assert all(abs(len(a) - len(b)) <= 8 for a, b in zip(found, references, strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sampling", "--sampling-topk", "5"], "--sampling, --sampling-topk: CTranslate2 "),
        (["--prefix-size", "2"], "--prefix-size: "),
        (["--unkpen", "2"], "--unkpen: "),
        (["--no-such-option"], "--no-such-option: fairseq-generate "),
    ],
)
def test_unsupported_options_and_missing_splits_are_refused(data: Path, options: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Generation.read(data / "bin", "valid", options)
    with pytest.raises(UserError, match=r"bin .*no split 'nothing'"):
        Generation.read(data / "bin", "nothing", [])


def test_data_that_are_cut_short_are_refused(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data / "bin", tmp_path / "bin"))
    (path := folder / "valid.de-en.en.bin").write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"valid\.de-en\.en\.bin: found .* cut short"):
        Generation.read(folder, "valid", [])


@pytest.mark.slow
def test_lskd_speed_measures_checkpoint_and_exported_folder(
    data: Path, checkpoint: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    words = ["--data", f"{data}/bin", "--subset", "valid", "--model", f"a={checkpoint}", "--threads", "1"]
    words += ["--exported", f"a={folders['int8']}", "--rounds", "2", "--out", str(tmp_path / "s.json")]
    assert main(["speed", *words, "--", *SEARCH]) == 0
    found = json.loads((tmp_path / "s.json").read_text())
    assert (found["sentences"], found["threads"], found["device"]) == (9, 1, "cpu")
    exported = found["systems"]["a"]["exported"]
    assert exported["compute_type"].startswith("int8") and len(exported["rounds"]) == 2
    # A folder of another checkpoint must not be measured under this name.
    other = tmp_path / "other.pt"
    other.write_bytes(b"")
    words[words.index(f"a={checkpoint}")] = f"a={other}"
    with pytest.raises(SystemExit, match=r"another checkpoint than .*other\.pt"):
        main(["speed", *words, "--", *SEARCH])
    assert exported["sentences_per_second"] > 0 and found["systems"]["a"]["sentences_per_second"] > 0


@pytest.mark.parametrize("installed", [True, False])
def test_if_possible_turns_errors_into_warnings(
    data: Path,
    checkpoint: Path,
    tmp_path: Path,
    installed: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = ["export", str(checkpoint), "--out", str(tmp_path / "out"), "--data", f"{data}/bin", "--subset", "valid"]
    call += ["--generate", str(tmp_path / "hyp"), "--search=--prefix-size 2"]
    if not installed:
        monkeypatch.setattr("fairseq_lskd.extras.is_installed", lambda module: module != "ctranslate2")
    with pytest.raises(SystemExit):
        main(call)
    capsys.readouterr()
    assert main([*call, "--if-possible"]) == 0
    said = "--prefix-size" if installed else "lskd export .*CTranslate2"
    assert re.search(f"warning: {said}", capsys.readouterr().err)
    assert not (tmp_path / "hyp").exists()


def test_a_damaged_folder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folders["int8"], broken)
    (broken / "model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"broken.*CTranslate2 cannot load"):
        Exported(broken, DecodingOptions(), 1)

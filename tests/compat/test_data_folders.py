"""fairseq's commands name a data folder that does not exist, has no binarised data, or has other languages."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fairseq_lskd.compat import data_folders
from fairseq_lskd.compat.data_folders import problem

from .conftest import TRAIN, fairseq


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder of prepared data: text in raw/, and binarised data in bin/, of which only the names count here."""
    for name in ("raw/train.en", "raw/train.fr", "bin/dict.en.txt", "bin/dict.fr.txt"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    for split in ("train", "valid"):
        for side in ("en", "fr"):
            (tmp_path / f"data/bin/{split}.en-fr.{side}.idx").touch()
    return tmp_path / "data"


def test_right_folders_have_no_problem(prepared: Path) -> None:
    folder = str(prepared / "bin")
    for languages in ((None, None), ("en", "fr"), ("fr", "en"), ("en", None)):
        assert problem(folder, *languages) is None
    assert problem(f"{folder}:{folder}", None, None) is None
    # fairseq-interactive needs dictionaries only.
    for index in (prepared / "bin").glob("*.idx"):
        index.unlink()
    assert problem(folder, "en", "fr") is None
    assert problem("manifold://data|other", None, None) is None


def test_a_folder_that_does_not_exist(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared.parent)
    assert problem("data/bn", "en", "fr") == "data/bn: no such folder. Did you mean data/bin?"
    assert problem("dat/bin", None, None) == "dat/bin: no such folder (dat does not exist). Did you mean data/bin?"
    assert problem("data/bin:data/bn", None, None) == "data/bn: no such folder. Did you mean data/bin?"
    said = problem("1-best/data-bin", None, None)
    assert said and said.startswith(
        "1-best/data-bin: no such folder (1-best does not exist). Give the folder of binari"
    )
    said = problem("data/raw/train.en", None, None)
    assert said and "expected a folder, found a file. Give the folder of binarised data" in said


def test_hydra_needs_an_absolute_path(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folders, "running_command", lambda: "fairseq-hydra-train")
    assert (said := problem("data/bin", None, None)) and said.endswith("because Hydra changes the working folder")
    assert problem(str(prepared / "bin"), None, None) is None


def test_a_folder_of_text(prepared: Path) -> None:
    said = problem(str(prepared / "raw"), None, None)
    assert said and said.endswith(f"it has no file such as train.de-en.de.idx. Give {prepared / 'bin'}")
    raw = Path(shutil.copytree(prepared / "raw", prepared.parent / "text"))
    assert problem(str(raw), None, None) == (
        f"{raw} is not binarised data: it has no file such as train.de-en.de.idx. Binarise the text with "
        "scripts/prepare.sh or lskd binarise"
    )
    said = problem(str(raw), "en", "fr")
    assert said and f"{raw} is not binarised data: it has no dict.en.txt and no dict.fr.txt. Binarise" in said
    said = problem(str(prepared), None, None)
    assert said and said.endswith(f"Give {prepared / 'bin'}")


def test_other_languages(prepared: Path) -> None:
    folder = prepared / "bin"
    assert problem(str(folder), "en", "de") == (
        f"-s en -t de: {folder} has no dict.de.txt. Its languages are en-fr: give -s en -t fr"
    )
    (folder / "train.de-fr.de.idx").touch()
    said = problem(str(folder), "xx", "yy")
    assert said and said.endswith("Its languages are de-fr, en-fr: give -s de -t fr or -s en -t fr")


def test_both_tasks_check_the_folder_in_commands_only(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bilingual:
        @classmethod
        def setup_task(cls, cfg: Any) -> tuple[type, str]:
            return cls, cfg.data

    class Multilingual(Bilingual):
        @classmethod
        def setup_task(cls, cfg: Any) -> tuple[type, str]:
            return cls, cfg.data

    class Own(Bilingual):
        """A task of a user."""

    for (module, name), task in zip(data_folders.TASKS.items(), (Bilingual, Multilingual), strict=True):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: task}))
    for _ in range(2):
        data_folders.apply()
    wrong, text = SimpleNamespace(data=str(prepared / "bn")), SimpleNamespace(data=str(prepared / "raw"))
    assert Own.setup_task(wrong) == (Own, wrong.data)
    monkeypatch.setattr(data_folders, "is_command", lambda: True)
    for task in (Bilingual, Multilingual, Own):
        with pytest.raises(SystemExit, match=r"fairseq_lskd: error: .*/bn: no such folder\. Did you mean .*/bin\?"):
            task.setup_task(wrong)
    # The dictionaries of a multilingual task may be in other places.
    assert Multilingual.setup_task(text) == (Multilingual, text.data)
    with pytest.raises(SystemExit, match="is not binarised data"):
        Own.setup_task(text)


def test_fairseq_train_ends_with_the_message(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "bin"))
    for words, message in (
        ([tmp_path / "bn"], f"{tmp_path}/bn: no such folder. Did you mean {folder}?"),
        ([folder, "-s", "en", "-t", "fr"], "has no dict.fr.txt. Its languages are de-en: give -s de -t en"),
    ):
        done = fairseq("train", *words, *TRAIN, "--max-update", 1, "--save-dir", tmp_path / "run")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("fairseq_lskd: error: ") and last.endswith(message)

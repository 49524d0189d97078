"""fairseq's commands say in one line why a --user-dir cannot be imported, below its own traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fairseq_lskd.compat import user_dirs

from .conftest import CHECKOUT, fairseq

DUPLICATE = 'from fairseq.models import register_model_architecture as r\nr("transformer", "transformer")(print)\n'


def lines(tmp_path: Path, name: str, text: str | None = None) -> list[str]:
    """Write a folder with this __init__.py, if any. Return what fairseq-train says of it."""
    if text is not None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    done = fairseq("train", "data", "--user-dir", name, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"fairseq_lskd: error: --user-dir {name}")
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nowhere", None, "no such folder"),
        ("fairseq_lskd", None, f"no such folder. Give --user-dir {CHECKOUT / 'fairseq_lskd'}"),
        ("json", "", "rename the folder"),
        ("argparse", "", "rename the folder"),
    ],
)
def test_a_wrong_folder_is_one_line(name: str, text: str | None, said: str, tmp_path: Path) -> None:
    assert "Traceback" not in "".join(found := lines(tmp_path, name, text)) and found[-1].endswith(said)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "one.py").touch()
    assert "found a file" in lines(tmp_path, "one.py")[-1]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\nimport nobody_has_this\n", 2, "ModuleNotFoundError: No module named 'nobody_has_this'"),
        (DUPLICATE, 2, "two modules register the same name; give yours another name"),
        ("def x(:", 1, "SyntaxError: invalid syntax (__init__.py, line 1)"),
    ],
)
def test_the_traceback_begins_in_the_folder(text: str, line: int, said: str, tmp_path: Path) -> None:
    found = lines(tmp_path, "mine", text)
    assert found[-1].endswith(f"--user-dir mine cannot be imported: {said}")
    frames = [each for each in found if each.startswith("  File ")]
    assert f'mine/__init__.py", line {line}' in frames[0]
    assert not any("fairseq_lskd/compat" in each for each in frames)


def test_hydra_s_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (user_dirs.option(), user_dirs.option("mine")) == ("--user-dir DIR", "--user-dir mine")
    monkeypatch.setattr(sys, "argv", ["bin/fairseq-hydra-train"])
    assert (user_dirs.option(), user_dirs.option("/mine")) == (
        "common.user_dir=/absolute/path",
        "common.user_dir=/mine",
    )
    import fairseq.utils  # noqa: F401  find() looks beside it

    assert "absolute path" in str(user_dirs.problem("mine"))

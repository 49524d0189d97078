"""LSKD_REPLACE: what was made otherwise is made anew; what is of another hand never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.data.outputs import Manifest
from fairseq_lskd.errors import UserError
from fairseq_lskd.runs import run
from fairseq_lskd.sequences.resumable import ResumableFile, manifest_path


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSKD_REPLACE", "1")


def write(out: Path, text: str) -> None:
    run(["sh", "-c", f"echo {text} > {out}/made"], out)


@pytest.mark.parametrize("value", ["", "0"])
def test_it_is_off_where_it_is_not_asked_for(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSKD_REPLACE", value)
    write(tmp_path / "run", "a")
    with pytest.raises(UserError, match="holds another run"):
        write(tmp_path / "run", "b")


def test_a_run_with_another_command_begins_anew(tmp_path: Path, replace: None, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    write(out, "a")
    (out / "test").mkdir()
    (out / "test" / "old").touch()
    write(out, "b")
    assert (out / "made").read_text() == "b\n" and not (out / "test").exists()
    assert "made anew (LSKD_REPLACE): its command has" in capsys.readouterr().err


def test_the_same_run_is_left_alone(tmp_path: Path, replace: None) -> None:
    write(tmp_path / "run", "a")
    (tmp_path / "run" / "more").touch()
    before = json.loads((tmp_path / "run" / "run.json").read_text())
    write(tmp_path / "run", "a")
    assert (tmp_path / "run" / "more").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == before


def test_a_changed_input_counts(tmp_path: Path, replace: None) -> None:
    (tmp_path / "input").write_text("1")
    command = ["sh", "-c", f"cat {tmp_path}/input > {tmp_path}/run/made"]
    for text in ("1", "2"):
        (tmp_path / "input").write_text(text)
        run(command, tmp_path / "run", inputs=[tmp_path / "input"])
        assert (tmp_path / "run" / "made").read_text() == text


def test_a_folder_of_another_hand_is_never_removed(tmp_path: Path, replace: None) -> None:
    for name in ("run", "manifest"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").touch()
    with pytest.raises(UserError, match="is not empty"):
        write(tmp_path / "run", "a")
    with pytest.raises(UserError, match=r"has no m\.json"):
        Manifest("m.json", {}).is_up_to_date(tmp_path / "manifest")
    assert (tmp_path / "run" / "thesis").exists() and (tmp_path / "manifest" / "thesis").exists()


def test_a_manifest_of_other_options(tmp_path: Path, replace: None) -> None:
    for size in (1, 2):
        manifest = Manifest("m.json", {"size": size})
        assert not manifest.is_up_to_date(tmp_path / "out")
        with manifest.written(tmp_path / "out") as (folder, _):
            (folder / "text").write_text("x" * size)
        assert manifest.is_up_to_date(tmp_path / "out")


@pytest.mark.parametrize("finished", [True, False])
def test_translations_of_another_run(finished: bool, tmp_path: Path, replace: None) -> None:
    out = tmp_path / "out"
    first = ResumableFile(out, {"beam": 1}, zipped=False)
    first.append(["a"], {})
    if finished:
        first.finish({})
    else:
        first._stream.close()
    second = ResumableFile(out, {"beam": 2}, zipped=False)
    assert not second.finished and second.done == 0
    second.append(["b", "c"], {})
    second.finish({})
    assert out.read_text() == "b\nc\n" and json.loads(manifest_path(out).read_text())["run"] == {"beam": 2}

"""LSKD_REPLACE: outputs of other options are replaced, and files of others are kept."""

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
def test_it_is_off_by_default(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSKD_REPLACE", value)
    write(tmp_path / "run", "a")
    with pytest.raises(UserError, match="contains another run"):
        write(tmp_path / "run", "b")


def test_a_run_with_another_command_is_replaced(tmp_path: Path, replace: None, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    write(out, "a")
    # Later steps of this package write to the folder too.
    run(["sh", "-c", f"echo a > {out}/test/old"], out / "test")
    for name in ("result.json", "checkpoint_average.pt", "test/hypotheses.en"):
        (out / name).touch()
    write(out, "b")
    assert (out / "made").read_text() == "b\n"
    assert sorted(path.name for path in out.iterdir()) == ["log.txt", "made", "run.json"]
    assert list(tmp_path.iterdir()) == [out]
    assert "replaced (LSKD_REPLACE): its command has" in capsys.readouterr().err


def test_foreign_files_in_a_run_are_kept(tmp_path: Path, replace: None, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    write(out, "a")
    run(["true"], out / "test")
    for name in ("notes.txt", "test/notes.txt"):
        (out / name).write_text("mine")
    write(out, "b")
    assert (out / "notes.txt").read_text() == (out / "test.kept" / "notes.txt").read_text() == "mine"
    assert not (out / "test").exists() and list(tmp_path.iterdir()) == [out]
    assert "kept files of others: notes.txt, test.kept/notes.txt" in capsys.readouterr().err


def test_a_run_that_cannot_start_puts_the_old_one_back(tmp_path: Path, replace: None) -> None:
    out = tmp_path / "run"
    write(out, "a")
    (out / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for command in (["false"], [str(tmp_path / "none")]):
        with pytest.raises(UserError, match="was put back"):
            run(command, out)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        assert list(tmp_path.iterdir()) == [out]


def test_the_old_run_is_kept_until_the_new_has_ended(tmp_path: Path, replace: None) -> None:
    out, go = tmp_path / "run", tmp_path / "go"
    write(out, "a")
    (out / "notes.txt").write_text("mine")
    command = ["sh", "-c", f"touch {out}/checkpoint_last.pt; test -e {go}"]
    with pytest.raises(UserError, match=r"\.run\..*old"):
        run(command, out)
    (old,) = tmp_path.glob(".run.*.old")
    assert (old / "made").read_text() == "a\n" and not (out / "made").exists()
    go.touch()
    run(command, out)
    assert (out / "notes.txt").exists() and not old.exists() and not (out / "made").exists()


def test_a_linked_folder_of_a_run(tmp_path: Path, replace: None) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for text in ("a", "b"):
        write(tmp_path / "link", text)
        assert (tmp_path / "target" / "made").read_text() == f"{text}\n" and (tmp_path / "link").is_symlink()


def test_the_same_run_is_left_alone(tmp_path: Path, replace: None) -> None:
    write(tmp_path / "run", "a")
    (tmp_path / "run" / "more").touch()
    before = json.loads((tmp_path / "run" / "run.json").read_text())
    write(tmp_path / "run", "a")
    assert (tmp_path / "run" / "more").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == before


def test_a_changed_input_replaces_the_run(tmp_path: Path, replace: None) -> None:
    (tmp_path / "input").write_text("1")
    command = ["sh", "-c", f"cat {tmp_path}/input > {tmp_path}/run/made"]
    for text in ("1", "2"):
        (tmp_path / "input").write_text(text)
        run(command, tmp_path / "run", inputs=[tmp_path / "input"])
        assert (tmp_path / "run" / "made").read_text() == text


def test_a_foreign_folder_is_never_removed(tmp_path: Path, replace: None) -> None:
    for name in ("run", "manifest"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").touch()
    with pytest.raises(UserError, match="is not empty"):
        write(tmp_path / "run", "a")
    with pytest.raises(UserError, match=r"has no m\.json"):
        Manifest("m.json", {}).is_up_to_date(tmp_path / "manifest")
    assert (tmp_path / "run" / "thesis").exists() and (tmp_path / "manifest" / "thesis").exists()


def made(out: Path, size: int, *names: str, fail: type[BaseException] | None = None) -> None:
    """Write a folder with a manifest, and files of `size` letters."""
    manifest = Manifest("m.json", {"size": size})
    assert not manifest.is_up_to_date(out)
    with manifest.written(out) as (folder, _):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("x" * size)
        if fail:
            raise fail


def shown(folder: Path) -> dict[str, str]:
    """Return the contents of all files in a folder, including hidden ones, except the manifest."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "m.json")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("fail", [UserError, KeyboardInterrupt])
def test_the_old_folder_stays_if_the_new_one_fails(fail: type[BaseException], tmp_path: Path, replace: None) -> None:
    out = tmp_path / "out"
    made(out, 1, "text", "bin/a")
    (out / "notes.txt").write_text("mine")
    before = shown(tmp_path)
    with pytest.raises(fail):
        made(out, 2, "text", fail=fail)
    assert shown(tmp_path) == before == {"out/text": "x", "out/bin/a": "x", "out/notes.txt": "mine"}
    assert Manifest("m.json", {"size": 1}).is_up_to_date(out)


def test_foreign_files_move_to_the_new_folder(tmp_path: Path, replace: None, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    made(out, 1, "text", "gone", "bin/a")
    (out / "more").mkdir()
    for name in ("notes.txt", "bin/b", "more/a", ".gitignore"):
        (out / name).write_text("mine")
    made(out, 2, "text", "bin/a")
    mine = dict.fromkeys(("out/notes.txt", "out/bin/b", "out/more/a", "out/.gitignore"), "mine")
    assert shown(tmp_path) == {"out/text": "xx", "out/bin/a": "xx", **mine}
    said = capsys.readouterr().err
    assert "size: 1, now 2" in said and "notes.txt" in said and "more" in said


def test_foreign_files_are_not_overwritten(tmp_path: Path, replace: None) -> None:
    out = tmp_path / "out"
    made(out, 1, "text")
    (out / "notes").write_text("mine")
    with pytest.raises(UserError, match="this command did not write notes"):
        made(out, 2, "text", "notes")
    assert shown(tmp_path) == {"out/text": "x", "out/notes": "mine"}


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
def test_a_kill_at_any_rename_loses_nothing(
    step: int, tmp_path: Path, replace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renames: the manifest, the old folder aside, the new folder into place, the notes, the old rest."""
    out = tmp_path / "out"
    made(out, 1, "text")
    (out / "notes").write_text("mine")
    left, real = step, {name: getattr(Path, name) for name in ("rename", "replace")}

    def killed(name: str):
        def renamed(self: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise SystemExit  # also from renames that clean up after an error
            return real[name](self, target)

        return renamed

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        for name in real:
            patch.setattr(Path, name, killed(name))
        made(out, 2, "text")
    manifest = Manifest("m.json", {"size": 2})
    if step < 3:  # the old folder was put back, and is now replaced
        made(out, 2, "text")
    assert manifest.is_up_to_date(out)
    assert {name: text for name, text in shown(tmp_path).items() if not name.startswith(".")} == {
        "out/text": "xx",
        "out/notes": "mine",
    }


def test_folders_are_written_through_links(tmp_path: Path, replace: None) -> None:
    out, target = tmp_path / "link", tmp_path / "elsewhere" / "target"
    out.symlink_to(target)
    made(out, 1, "text")
    (target / "notes").write_text("mine")
    made(out, 2, "text")
    assert out.is_symlink() and shown(target) == {"text": "xx", "notes": "mine"}


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match=f"{tmp_path}/a"):
        made(tmp_path / "a", 1)


def test_temporary_files_do_not_fill_a_folder(tmp_path: Path) -> None:
    for part in (tmp_path / ".m.json.0123abcd.part", tmp_path / ".text.0123abcd.partial"):
        part.touch()
    made(tmp_path, 1, "text")
    assert shown(tmp_path) == {"text": "x"}


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
        first.close()
    second = ResumableFile(out, {"beam": 2}, zipped=False)
    assert not second.finished and second.done == 0
    second.append(["b", "c"], {})
    second.finish({})
    assert out.read_text() == "b\nc\n" and json.loads(manifest_path(out).read_text())["run"] == {"beam": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.manifest.json"]


def test_translations_are_kept_until_the_new_ones_are_complete(tmp_path: Path, replace: None) -> None:
    out = tmp_path / "out"
    first = ResumableFile(out, {"beam": 1}, zipped=False)
    first.append(["a"], {})
    first.finish({})
    # A run with other options that writes nothing.
    ResumableFile(out, {"beam": 2}, zipped=False).close()
    assert ResumableFile(out, {"beam": 1}, zipped=False).finished and out.read_text() == "a\n"
    # A run that is killed and resumed.
    second = ResumableFile(out, {"beam": 2}, zipped=False)
    second.append(["b"], {})
    second.close()
    assert [path.read_text() for path in tmp_path.glob(".out.????????.old")] == ["a\n"]
    third = ResumableFile(out, {"beam": 2}, zipped=False)
    assert third.done == 1
    third.finish({})
    assert out.read_text() == "b\n" and not list(tmp_path.glob(".*"))

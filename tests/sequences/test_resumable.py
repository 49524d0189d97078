"""Resumable output files: a process may be killed at any point."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.reading import POSITIVE
from fairseq_lskd.sequences import resumable
from fairseq_lskd.sequences.resumable import ResumableFile, manifest_path

RUN = {"beam": 5, "teacher": ["0" * 64]}
WINDOWS = [["a", "b"], ["c"], ["d", "e"]]


class Killed(BaseException):
    """Simulates SIGKILL: no code catches it."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out"


def make(out: Path, **changes: Any) -> ResumableFile:
    return ResumableFile(out, RUN | changes, out.suffix == ".gz", {"workers?": POSITIVE})


def resume(out: Path) -> None:
    """Write the remaining windows and finish the file, as a resumed run does."""
    file = make(out)
    if file.finished:
        return
    starts = [0, 2, 3, 5]
    for window in WINDOWS[starts.index(file.done) :]:
        file.append(window, {"last": window[-1]})
    file.finish({"counts": {}})


def test_the_file_gets_its_name_when_it_is_finished(out: Path) -> None:
    file = make(out)
    file.append(["a"], {})
    assert not out.exists() and sorted(path.name for path in out.parent.iterdir()) == [
        "out.journal.json",
        "out.partial",
    ]
    file.finish({"counts": {"x": 1}})
    assert out.read_text() == "a\n"
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "out.manifest.json"]
    assert json.loads(manifest_path(out).read_text()) == {"run": RUN, "lines": 1, "bytes": 2, "counts": {"x": 1}}
    assert make(out).finished


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("place", ["write_beside", "write_json", "fsync", "rename", "unlink"])
def test_a_kill_at_any_point_loses_duplicates_and_reorders_nothing(
    out: Path, place: str, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = out.with_suffix(".gz") if zipped else out
    kills = 0

    def killing(real: Any, after: int, late: bool) -> Any:
        calls = 0

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after and not late:
                raise Killed
            found = real(*args, **kwargs)
            if calls > after:
                raise Killed
            return found

        return call

    owner = {"fsync": resumable.os, "rename": Path, "unlink": Path}.get(place, resumable)
    for late in (False, True):
        for after in range(8):
            with monkeypatch.context() as patch:
                patch.setattr(owner, place, killing(getattr(owner, place), after, late))
                try:
                    resume(out)
                except Killed:
                    kills += 1
            # Leftovers of a kill in the middle of a write.
            (out.parent / f".{out.name}.journal.json.0123abcd.part").write_text("{")
            partial = out.with_name(f"{out.name}.partial")
            if partial.exists():
                partial.write_bytes(partial.read_bytes() + b'{"id": 5, "sou')
    resume(out)
    text = gzip.decompress(out.read_bytes()) if zipped else out.read_bytes()
    assert text == b"a\nb\nc\nd\ne\n" and kills
    assert json.loads(manifest_path(out).read_text())["lines"] == 5
    assert sorted(path.name for path in out.parent.iterdir() if "part" not in path.name) == [
        out.name,
        f"{out.name}.manifest.json",
    ]


def test_the_state_of_the_caller_is_restored(out: Path) -> None:
    file = make(out)
    file.append([], {"settings": 1})
    file.close()
    file = make(out)
    assert (file.done, file.state) == (0, {"settings": 1})
    file.append(["a", "b"], {"settings": 2})
    file.close()
    assert (make(out).done, make(out).state) == (2, {"settings": 2})


@pytest.mark.parametrize("finished", [False, True])
def test_another_run_is_refused_with_the_differences(out: Path, finished: bool) -> None:
    file = make(out)
    file.append(["a"], {})
    if finished:
        file.finish({})
    file.close()
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    with pytest.raises(UserError) as caught:
        make(out, beam=4, teacher=["1" * 64], seed=2)
    said = str(caught.value)
    assert said.startswith(f"--out {out} ")
    for name, old, new in (("beam", "5", "4"), ("teacher", "0" * 12, "1" * 12), ("seed", "none", "2")):
        assert re.search(rf"{name}: .*\b{old}\b.*\b{new}\b", said)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


def test_only_one_process_writes_at_a_time(out: Path) -> None:
    file = make(out)
    with pytest.raises(UserError, match="another process"):
        make(out)
    file.append(["a"], {})
    file.finish({})
    assert make(out).finished


def test_a_file_that_could_not_be_opened_is_not_locked(out: Path) -> None:
    file = make(out)
    file.append(["a"], {})
    file.close()
    text = file.partial.read_text()
    file.partial.write_text("")
    with pytest.raises(UserError, match="has 0 bytes") as caught:
        make(out)
    file.partial.write_text(text)
    assert make(out).done == 1 and caught  # the traceback of `caught` refers to the second file


def test_a_file_that_another_process_is_finishing_keeps_its_name(out: Path) -> None:
    """The other process holds the lock between the renaming and the manifest."""
    file = make(out)
    file.append(["a"], {})
    file.partial.rename(out)
    with pytest.raises(UserError, match="another process"):
        make(out)
    assert out.read_text() == "a\n" and not file.partial.exists()


@pytest.mark.parametrize("renamed", [False, True], ids=["after", "before"])
def test_a_file_that_another_process_finishes_meanwhile_is_finished(
    out: Path, renamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process renames the file before or after we look for it, and finishes before we have the lock."""
    other = make(out)
    other.append(["a"], {})
    if renamed:
        other.partial.rename(out)
    flock = resumable.fcntl.flock

    def late(*args: Any) -> None:
        if not other._stream.closed:
            if renamed:
                out.rename(other.partial)
            other.finish({})
        flock(*args)

    monkeypatch.setattr(resumable.fcntl, "flock", late)
    assert make(out).finished
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "out.manifest.json"]
    assert out.read_text() == "a\n"


#: Invalid values in a journal.
WRONG: tuple[dict[str, Any], ...] = (
    *({"run": None}, {"run": [1]}, {"lines": "1"}, {"lines": -1}, {"lines": 1.5}, {"bytes": True}, {"bytes": 10**30}),
    *({"state": None}, {"state": "a"}, {"state": {"workers": 0}}),
)


def test_inconsistent_files_are_refused(out: Path) -> None:
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(UserError, match=r"exists.*not written by this command"):
        make(out)
    assert out.read_text() == "mine"
    out.unlink()
    file = make(out)
    file.append(["a"], {})
    file.close()
    file.partial.write_text("")
    with pytest.raises(UserError, match=r"out\.partial has 0 bytes.* out\.journal\.json says 2\b"):
        make(out)
    file.partial.write_text("a\n")
    whole = json.loads(file.journal.read_text())
    for broken in ("[]", "", '{"run": ', *(json.dumps(whole | wrong) for wrong in WRONG)):
        file.journal.write_text(broken)
        with pytest.raises(UserError, match=r"out\.journal\.json: .*lskd translate.* Delete it"):
            make(out)
    file.journal.write_text(json.dumps(whole | {"lines": 800}))
    with pytest.raises(UserError, match=r"out\.partial has 1 lines.* out\.journal\.json says 800\b"):
        make(out)
    file.journal.unlink()
    resume(out)
    manifest = manifest_path(out).read_text()
    manifest_path(out).write_text(manifest.replace('"lines": 5', '"lines": 8000'))
    with pytest.raises(UserError, match=r"out has 5 lines.* out\.manifest\.json says 8,000"):
        make(out)
    manifest_path(out).write_text(manifest)
    with pytest.raises(UserError, match=r"out\.manifest\.json .*5 lines, expected 6"):
        ResumableFile(out, RUN, zipped=False, lines=6)
    out.write_text("edited")
    with pytest.raises(UserError, match=r"10 bytes that out\.manifest\.json says"):
        make(out)


@pytest.mark.parametrize("name", ["out", "out.gz"])
def test_a_file_with_too_few_lines_is_not_finished(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    file = ResumableFile(out, RUN, zipped=out.suffix == ".gz", lines=3)
    file.append(["a", "b"], {})
    with pytest.raises(UserError, match=r"journal\.json .*2 lines, expected 3"):
        file.finish({})
    assert not out.exists() and not manifest_path(out).exists()
    file.close()
    file = ResumableFile(out, RUN, zipped=out.suffix == ".gz", lines=3)
    file.append(["c"], {})
    file.finish({})
    assert resumable.count_lines(out) == 3
    if out.suffix == ".gz":
        out.write_bytes(out.read_bytes()[:-3])
        with pytest.raises(UserError, match=r"out\.gz .*gzip"):
            resumable.count_lines(out)

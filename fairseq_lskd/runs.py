"""Recorded runs: a command with an output folder of its own, which is recorded, resumed, and not mixed with others."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from . import __version__
from .commands import number, option, shown, trains, without
from .differing import commands_differ
from .errors import UserError, meant
from .files import contents, is_leftover, sha256, sweep, write_json
from .reading import NUMBER, parse_json, read_json
from .replacing import Kind, beside, followed, put_in_place, replaces, restore, set_aside, settle
from .statuses import statuses

RECORD = "run.json"
AVERAGE = "checkpoint_average.pt"  #: the model of a training by the scripts
SHAPE = {
    **{"command": [str], "inputs": {str: str}, "seconds": NUMBER, "finished": (str, type(None)), "labels": dict},
    **{"files?": [str], "earlier?": [dict], "checkpoints?": [str]},
}
#: Files that this package's commands write to the folder of a run. Its record lists the others.
OURS = (RECORD, "log.txt", "log.txt.[0-9]*", "checkpoint*.pt", "result.json", "result-*.json", "hypotheses.*")


def _differences(old: dict[str, Any], command: Sequence[str], inputs: dict[str, str]) -> list[str]:
    """Describe the differences between a recorded run and the requested one, in words."""
    changes = commands_differ(old["command"], command)
    changes += [
        f"its input {path} had other contents"
        for path, digest in inputs.items()
        if old["inputs"].get(path, digest) != digest
    ]
    return changes


#: Options that only set when a training ends, and learning rate schedules that depend on the end.
_ENDS = ("--max-update", "--max-epoch", "--patience")
_DEPEND_ON_END = {"cosine", "tri_stage"}


def _without_ends(command: Sequence[str]) -> tuple[list[str], list[float]]:
    """Split a command into its words without the options of `_ENDS`, and their values (infinity if not given)."""
    return without(command, _ENDS), [_end(name, option(command, name)) for name in _ENDS]


def _end(name: str, given: str | None) -> float:
    # fairseq takes 0, and a negative patience, as no limit.
    end = 0.0 if given is None else number(given)
    if end is None:
        return math.nan  # neither earlier nor later than any number
    return math.inf if end == 0 or (name == "--patience" and end < 0) else end


def _ends_later(old: Sequence[str], new: Sequence[str]) -> bool:
    (before, ended), (now, ends) = _without_ends(old), _without_ends(new)
    return before == now and all(end >= old_end for end, old_end in zip(ends, ended, strict=True)) and ends != ended


def trains_longer(old: Sequence[str], new: Sequence[str]) -> bool:
    """Return whether the new command is the old training with a later end, and the learning rate allows it."""
    return _ends_later(old, new) and not _DEPEND_ON_END.intersection(new)


def read_record(folder: Path, whole: bool = True) -> dict[str, Any]:
    """Read the record of the run in a folder.

    Args:
        whole: require all fields, to continue the run. Otherwise, missing fields get empty values.

    Raises:
        UserError: if there is no record, or it is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder} is not the folder of a run: it has no {RECORD}, which `lskd run` writes")
    shape = SHAPE if whole else {f"{name.removesuffix('?')}?": kind for name, kind in SHAPE.items()}
    empty: dict[str, Any] = {"command": [], "inputs": {}, "seconds": None, "finished": None, "labels": {}}
    return empty | read_json(path, shape, "a record of `lskd run`", "Delete the folder, or give another.")


def _left_something(out: Path, log: str) -> bool:
    """Return whether an unfinished run has written more than its record and its logs."""
    return any(path.name not in (RECORD, log) and not path.name.startswith(f"{log}.") for path in contents(out))


def _claim(out: Path, log: str, command: Sequence[str], inputs: dict[str, str]) -> tuple[dict[str, Any], bool]:
    """Return the record of a new or resumed run in `out`, and whether the run replaces another one.

    Raises:
        UserError: if the folder contains another run, or files that no recorded run wrote.
    """
    fresh = {"command": list(command), "inputs": inputs, "seconds": 0.0, "finished": None, "lskd": __version__}
    if (out / RECORD).exists():
        old = read_record(out)
        # A run that failed before it wrote anything may be replaced by a run with corrected options.
        if not (old["finished"] or _left_something(out, log)):
            return fresh, False
        if changes := _differences(old, command, inputs):
            if trains_longer(old["command"], command) and not _differences(old, old["command"], inputs):
                print(f"{out} | training longer: {'; '.join(changes)}", file=sys.stderr)
                earlier = {name: old[name] for name in ("command", "seconds", "finished")}
                more = {"command": list(command), "finished": None, "earlier": [*old.get("earlier", []), earlier]}
                return old | more, False
            if replaces(out, changes):
                return fresh, True
            if _ends_later(old["command"], command):
                schedule = option(command, "--lr-scheduler")
                raise UserError(
                    f"{out} is a training with another end: {'; '.join(changes)}. With --lr-scheduler {schedule} the "
                    "learning rate depends on the end, so it cannot be continued. Train in a new folder, or set "
                    "LSKD_REPLACE=1 to train this one again."
                )
            raise UserError(
                f"{out} contains another run: {'; '.join(changes)}. "
                "Delete the folder or set LSKD_REPLACE=1 to replace that run, or give another folder."
            )
        return old, False
    if contents(out):
        raise UserError(
            f"{out} is not empty and has no {RECORD}, so that `lskd run` did not write it. Give another folder."
        )
    return fresh, False


def _checkpoints(command: Sequence[str]) -> list[str]:
    """Return the names of the checkpoints in the folder that --save-dir names, which may be another than the run's."""
    saved = option(command, "--save-dir")
    return sorted(path.name for path in Path(saved).glob("*.pt")) if saved else []


def _is_finished(out: Path) -> bool:
    return (out / RECORD).is_file() and bool(read_record(out)["finished"])


def _written(out: Path) -> Iterator[str]:
    """Yield the relative names of the files of a run, and of the steps after it, some of which have subfolders."""
    for folder in (out, *(path.parent for path in out.glob(f"*/{RECORD}"))):
        found = [path.relative_to(folder).as_posix() for pattern in OURS for path in folder.glob(pattern)]
        with contextlib.suppress(UserError):
            found += read_record(folder).get("files", [])
        yield from ((folder.relative_to(out) / name).as_posix() for name in found)


_KIND = Kind(_is_finished, _written, steps=lambda folder: (folder / RECORD).is_file())


def _files(out: Path) -> set[str]:
    """Return the relative names of the files in a folder, without subfolders that are runs of their own."""
    found = (path for path in out.rglob("*") if path.is_file() and not is_leftover(path))
    names = (path.relative_to(out) for path in found)
    return {name.as_posix() for name in names if not (out / name.parts[0] / RECORD).is_file()}


@contextlib.contextmanager
def _replaced(out: Path, record: dict[str, Any]) -> Iterator[int]:
    """Set `out` aside, and put a new folder with this record in its place, locked as `_locked` does."""
    try:
        new = beside(out)
    except OSError as error:
        raise UserError(f"{out} cannot be replaced: {error.strerror}") from None
    write_json(new / RECORD, record)
    with _locked(new) as lock:
        try:
            put_in_place(new, out)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise UserError(f"{out} cannot be replaced ({error.strerror}): empty it, or give another folder") from None
        yield lock


def _put_back(out: Path, log: str) -> str:
    """Put back the folder that a failed run was to replace, if the run wrote nothing. Return a remark on it."""
    if not (old := set_aside(out)):
        return ""
    if _left_something(out, log):
        return f"\nThe former folder is kept in {old[-1]} until this run succeeds."
    for path in out.iterdir():
        path.unlink()
    restore(out)
    return "\nThe former folder was put back."


def _holder(folder: Path) -> int | None:
    """Return the first process of this machine that has a folder open; None if /proc does not say."""
    target, found = folder.resolve(), []
    for opened in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # another user's, or it has ended
            if any(link.readlink() == target for link in opened.iterdir()):
                found.append(int(opened.parent.name))
    return min(found, default=None)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[int]:
    """Create a folder if necessary, and lock it. The command inherits the lock, so that it survives `lskd run`.

    Raises:
        UserError: if the folder cannot be created, or another process runs in it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{out} cannot be the folder of a run: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        holder = f"process {pid}" if (pid := _holder(out)) else "another process"
        stop = f"stop it (kill {pid})" if pid else "stop it"
        raise UserError(f"{out}: {holder} is running in this folder. Wait for its end, or {stop}.") from None
    except OSError:
        pass  # the file system has no locks
    try:
        yield handle
    finally:
        os.close(handle)


def run(
    command: Sequence[str],
    out: Path,
    log: str = "log.txt",
    inputs: Sequence[Path] = (),
    title: str | None = None,
    labels: dict[str, Any] | None = None,
    describe: Callable[[Path, dict[str, Any]], None] | None = None,
) -> None:
    """Run a command with the output folder `out`. Do nothing if the same run has finished there.

    The run is recorded in `out/run.json`: the command line, the SHA-256 of the inputs, the seconds (summed over resumed
    calls), the time at which it finished, and its labels. The command's output goes to the log, and its progress to
    stderr. An unfinished run is started again, and fairseq-train continues from its last checkpoint. A training is also
    continued if its command has a larger `--max-update`, `--max-epoch` or `--patience`, and is the same otherwise. The
    record then lists the shorter commands as `earlier`. It is run again if no checkpoint is left in its --save-dir.

    Args:
        command: the program and its arguments.
        log: name of the log in `out`.
        inputs: files that the run depends on.
        title: name of the run in progress lines (default: the folder's name).
        labels: labels of the run in results.
        describe: `describe(out, record)` is called after a training, to add a description to the record. If it raises,
            the model and the rest of the record are kept.

    Raises:
        UserError: if an input is missing, if `out` contains another run, if a run in `out` has not ended, or if the
            command fails.
    """
    title = title or out.name
    if missing := [path for path in inputs if not path.is_file()]:
        if folders := [path for path in missing if path.is_dir()]:
            raise UserError(f"{title}: expected a file, found the folder {folders[0]}{_suggestion(folders[0])}")
        named = ", ".join(map(str, missing))
        usual = missing[0].with_name(AVERAGE)
        hint = f" Did you mean {usual}?" if missing[0].suffix == usual.suffix and usual.is_file() else ""
        raise UserError(f"{title} needs {named}: no such file. First run the step that writes it.{hint}")
    digests = {str(path): sha256(path) for path in inputs}
    place = followed(out)
    settle(place, _KIND)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_locked(out))
        sweep(out / RECORD, "part", seconds=-1)  # no other process writes the record of a locked folder
        record, replacing_another = _claim(out, log, command, digests)
        before = record.get("labels")
        record |= {"labels": labels or {}}
        if replacing_another:
            lock = stack.enter_context(_replaced(place, record))
        # New labels of a finished run are recorded without a training.
        elif (
            record.get("checkpoints")
            and (record["labels"] == before or not record["finished"])
            and not _checkpoints(command)
        ):
            saved = option(command, "--save-dir")
            print(f"{title} | trains again: the checkpoints in {saved} are gone", file=sys.stderr)
            record |= {"seconds": 0.0, "finished": None}
            record.pop("earlier", None)
        if not record["finished"]:
            record["seconds"] = round(record["seconds"] + _unrecorded_seconds(out / log, out / RECORD), 1)
            _keep_log(out / log)
        write_json(out / RECORD, record)
        if record["finished"]:
            print(f"{title} | up to date: {out}", file=sys.stderr)
            if "training" not in record or record["labels"] != before:
                _describe(out, record, describe)
            return
        _show(title, command)
        try:
            status = _run_recorded(command, out, log, title, record, lock)
            if status != 0:
                raise UserError(_failure(command[0], status, out / log))
        except UserError as error:
            raise UserError(f"{error}{_put_back(place, log)}") from None
        settle(place, _KIND)
        _describe(out, record, describe)


def _show(title: str, command: Sequence[str]) -> None:
    """Print a command: after the title, or in lines of its own that can be copied."""
    width = shutil.get_terminal_size((100, 24)).columns
    text = shown(command, width)
    together = f"{title} | {text}"
    print(together if "\n" not in text and len(together) <= width else f"{title} | command:\n{text}", file=sys.stderr)


def _describe(out: Path, record: dict[str, Any], describe: Callable[[Path, dict[str, Any]], None] | None) -> None:
    if describe is not None and trains(record["command"]) is not None:
        record.pop("training", None)
        try:
            describe(out, record)
        finally:
            write_json(out / RECORD, record)


def _run_recorded(command: Sequence[str], out: Path, log: str, title: str, record: dict[str, Any], lock: int) -> int:
    """Run the command, record how it ended, and return its exit status."""
    start, before = time.monotonic(), _files(out) - {RECORD}
    try:
        status = _stream(command, out / log, title, lock)
        if status == 0:
            record["finished"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            record |= {"checkpoints": saved} if (saved := _checkpoints(command)) else {}
    finally:
        record["seconds"] = round(record["seconds"] + time.monotonic() - start, 1)
        record["files"] = sorted((_files(out) - before).union(record.get("files", ())))
        write_json(out / RECORD, record)
    return status


def _keep_log(log: Path) -> None:
    """Rename the log of an unfinished call to log.1, log.2 and so on. A resumed run writes a new log."""
    if log.exists():
        kept = [int(path.suffix[1:]) for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdigit()]
        log.replace(log.with_name(f"{log.name}.{max(kept, default=0) + 1}"))


def _unrecorded_seconds(log: Path, record: Path) -> float:
    """Return the seconds that a killed call could not record: the age of its record when it last wrote its log."""
    if not (log.exists() and record.exists()):
        return 0.0
    return max(0.0, log.stat().st_mtime - record.stat().st_mtime)


#: Labels, and the options of fairseq-train that set them.
_LABELLED = {
    **{"temperature": "--kd-temperature", "kd_weight": "--kd-weight", "seed": "--seed"},
    **{"reference_weight": "--reference-weight"},
}

#: The values of the label `role` by which tables find teachers and students.
ROLES = ("teacher", "student")


def read_labels(given: Sequence[str]) -> dict[str, Any]:
    """Parse values of --label, `NAME=VALUE`, where VALUE may be a number or another JSON value.

    Raises:
        UserError: if one has no `=`, or a role is misspelt.
    """
    labels: dict[str, Any] = {}
    for label in given:
        name, equals, value = label.partition("=")
        if not equals:
            raise UserError(f"--label {label}: expected NAME=VALUE")
        try:
            labels[name] = parse_json(value)
        except ValueError:
            labels[name] = value
    role = str(labels.get("role"))
    if role not in ROLES and (near := meant(role, ROLES)):
        raise UserError(f"--label role={role}: did you mean {near}? Tables know the roles {' and '.join(ROLES)}")
    return labels


def labels_of(command: Sequence[str], labels: dict[str, Any]) -> dict[str, Any]:
    """Return the labels of a run. For a training, labels are added from the options of its command.

    Raises:
        UserError: if a label and the command have different values.
    """
    if not any(word.partition("=")[0] == "--criterion" for word in command):
        return labels
    options = _LABELLED | ({"teacher_smoothing": "--label-smoothing"} if labels.get("role") == "teacher" else {})
    found = {}
    for label, flag in options.items():
        if (value := number(option(command, flag))) is not None:
            found[label] = int(value) if label == "seed" else value
    wrong = [
        f"--label {label}={labels[label]}, but the command has {options[label]} {value:g}"
        for label, value in found.items()
        if label in labels and str(labels[label]) != str(value) and number(labels[label]) != value
    ]
    if wrong:
        raise UserError(f"{'; '.join(wrong)}. Leave out the label: it is set from the command")
    return {**found, **labels}


#: torch's message for embeddings of another vocabulary size.
_OTHER_VOCABULARY = re.compile(r"size mismatch for (en|de)coder\.embed_tokens\.weight")


def _failure(program: str, status: int, log: Path) -> str:
    """Return why a command failed: its error message, or else the end of its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [i for i, line in enumerate(lines) if ": error: " in line]
    tail = lines[said[-1] :][:10] if said else lines[-8:]
    if any(map(_OTHER_VOCABULARY.search, lines)):
        tail.append("The model has another vocabulary than the data. Use the data that it was trained on.")
    return "\n  ".join([f"{Path(program).name} ended with status {status}; {log} ends with:", *tail])


def _suggestion(folder: Path) -> str:
    """Return a suggestion of the checkpoint in a folder that was given by mistake."""
    usual = folder / AVERAGE
    return f". Did you mean {usual}?" if usual.is_file() else "; name a file in it"


def with_own_commands() -> dict[str, str]:
    """Return the environment with this Python's folder on PATH, so that a virtual environment need not be activated."""
    path = [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    return {**os.environ, "PATH": os.pathsep.join(path)}


def _stream(command: Sequence[str], log: Path, title: str, lock: int) -> int:
    """Run a command, log its output, show its progress, and return its exit status. Interrupts also end the command."""
    environment = {**with_own_commands(), "PYTHONUNBUFFERED": "1"}
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment,
            pass_fds=[lock],
        )
    except OSError as error:
        raise UserError(f"{command[0]} cannot be run: {error.strerror}") from None
    assert process.stdout is not None
    try:
        with log.open("w", encoding="utf-8") as copy:
            for status in statuses(_tee(process.stdout, copy), command):
                print(f"{title} | {status}", file=sys.stderr, flush=True)
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _tee(lines: Iterable[str], copy: TextIO) -> Iterator[str]:
    for line in lines:
        copy.write(line)
        copy.flush()
        yield line

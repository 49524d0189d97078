"""One output folder, one run: a command that is recorded, resumed, and never mixed with another."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from . import __version__
from .commands import option, trains, without
from .differing import commands_differ
from .errors import UserError
from .files import contents, is_leftover, sha256, sweep, write_json
from .reading import NUMBER, parse_json, read_json
from .replacing import Kind, beside, followed, put_in_place, replaces, restore, set_aside, settle

RECORD = "run.json"
SHAPE = {
    **{"command": [str], "inputs": {str: str}, "seconds": NUMBER, "finished": (str, type(None)), "labels": dict},
    **{"files?": [str], "earlier?": [dict]},
}
#: What our commands write to the folder of a run, beside what its record lists.
OURS = (RECORD, "log.txt", "log.txt.[0-9]*", "checkpoint*.pt", "result.json", "result-*.json", "hypotheses.*")


def _differences(old: dict[str, Any], command: Sequence[str], inputs: dict[str, str]) -> list[str]:
    """How a recorded run differs from the one that is asked for, in words."""
    changes = commands_differ(old["command"], command)
    changes += [
        f"its input {path} had other contents"
        for path, digest in inputs.items()
        if old["inputs"].get(path, digest) != digest
    ]
    return changes


#: Options that say when a training ends and nothing else; and learning rates whose whole course depends on them.
_ENDS = ("--max-update", "--max-epoch", "--patience")
_TO_THE_END = {"cosine", "tri_stage"}


def _split(command: Sequence[str]) -> tuple[list[str], list[float]]:
    """A command without the options that say when it ends, and their values: the last ones, infinite if not given."""
    return without(command, _ENDS), [_end(name, option(command, name)) for name in _ENDS]


def _end(name: str, given: str | None) -> float:
    # To fairseq, 0 is no end, and a patience below it none either.
    end = 0.0 if given is None else _number(given)
    if end is None:
        return math.nan  # neither earlier nor later than any other
    return math.inf if end == 0 or (name == "--patience" and end < 0) else end


def trains_longer(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether two commands are of one training, but for a later end of the new one."""
    (before, ended), (now, ends) = _split(old), _split(new)
    later = all(end >= old_end for end, old_end in zip(ends, ended, strict=True)) and ends != ended
    return before == now and later and not _TO_THE_END.intersection(now)


def read_record(folder: Path, whole: bool = True) -> dict[str, Any]:
    """What `run` recorded in a folder.

    Args:
        whole: whether it has to be all there, to be gone on with; else what it lacks is nothing.

    Raises:
        UserError: if there is no record, or it is broken.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder} is not the folder of a run: found no {RECORD} there, which `lskd run` writes")
    shape = SHAPE if whole else {f"{name.removesuffix('?')}?": kind for name, kind in SHAPE.items()}
    nothing: dict[str, Any] = {"command": [], "inputs": {}, "seconds": None, "finished": None, "labels": {}}
    return nothing | read_json(path, shape, "a record of `lskd run`", "Delete the folder, or name another.")


def _left_something(out: Path, log: str) -> bool:
    """Whether a run that has not ended left more than its record and its logs."""
    return any(path.name not in (RECORD, log) and not path.name.startswith(f"{log}.") for path in contents(out))


def _claim(out: Path, log: str, command: Sequence[str], inputs: dict[str, str]) -> tuple[dict[str, Any], bool]:
    """The record of the run in `out`, new or resumed, and whether it is to take the place of another one there.

    Raises:
        UserError: if the folder holds another run, or files that no recorded run wrote.
    """
    fresh = {"command": list(command), "inputs": inputs, "seconds": 0.0, "finished": None, "lskd": __version__}
    if (out / RECORD).exists():
        old = read_record(out)
        # A run that failed before it wrote anything may be replaced by one with better options.
        if not (old["finished"] or _left_something(out, log)):
            return fresh, False
        if changes := _differences(old, command, inputs):
            if trains_longer(old["command"], command) and not _differences(old, old["command"], inputs):
                print(f"{out} | trains longer: {'; '.join(changes)}", file=sys.stderr)
                earlier = {name: old[name] for name in ("command", "seconds", "finished")}
                more = {"command": list(command), "finished": None, "earlier": [*old.get("earlier", []), earlier]}
                return old | more, False
            if replaces(out, changes):
                return fresh, True
            raise UserError(
                f"{out} holds another run: {'; '.join(changes)}. "
                "Delete the folder to replace that run (LSKD_REPLACE=1 does), or name another."
            )
        return old, False
    if contents(out):
        raise UserError(
            f"{out} is not empty and has no {RECORD}: it was not written by this command. Name another folder."
        )
    return fresh, False


def _is_finished(out: Path) -> bool:
    return (out / RECORD).is_file() and bool(read_record(out)["finished"])


def _written(out: Path) -> Iterator[str]:
    """Relative names of what the run in a folder wrote, and our steps after it, some in folders of their own inside."""
    for folder in (out, *(path.parent for path in out.glob(f"*/{RECORD}"))):
        found = [path.relative_to(folder).as_posix() for pattern in OURS for path in folder.glob(pattern)]
        with contextlib.suppress(UserError):
            found += read_record(folder).get("files", [])
        yield from ((folder.relative_to(out) / name).as_posix() for name in found)


_KIND = Kind(_is_finished, _written, steps=lambda folder: (folder / RECORD).is_file())


def _files(out: Path) -> set[str]:
    """Relative names of the files in a folder, but of those in our steps' own."""
    found = (path for path in out.rglob("*") if path.is_file() and not is_leftover(path))
    names = (path.relative_to(out) for path in found)
    return {name.as_posix() for name in names if not (out / name.parts[0] / RECORD).is_file()}


@contextlib.contextmanager
def _begun_anew(out: Path, record: dict[str, Any]) -> Iterator[int]:
    """A new folder with this record, locked as `_locked` does, in the place of `out`, which is set aside."""
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
            raise UserError(f"{out} cannot be replaced ({error.strerror}): empty it, or name another folder") from None
        yield lock


def _give_back(out: Path, log: str) -> str:
    """Put back what a failed run was to replace, if it left nothing; what is to be said of that."""
    if not (old := set_aside(out)):
        return ""
    if _left_something(out, log):
        return f"\nWhat was there is kept until this run has ended well, in {old[-1]}."
    for path in out.iterdir():
        path.unlink()
    restore(out)
    return "\nWhat was there before is there again."


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[int]:
    """A lock on a folder, made if need be. The command inherits it: it holds even if only `lskd run` was killed.

    Raises:
        UserError: if the folder cannot be made, or a run is going on there.
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
        raise UserError(f"{out}: a run is going on there. Wait for its end, or stop it.") from None
    except OSError:
        pass  # a file system without locks
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
    """Run a command whose output folder is `out`; do nothing if that very run is finished there.

    The folder gets a `run.json`: command line, SHA-256 of `inputs`, seconds (summed over resumed
    calls), when it finished, and `labels`, what a person calls the run in results. The command's
    output goes to `out/log`, its progress to stderr. An unfinished run is started again, and
    fairseq-train goes on from its last checkpoint. So does a run, finished or not, whose command now has a larger
    `--max-update`, `--max-epoch` or `--patience` and is the same otherwise; `earlier` in the record has its shorter
    commands.

    Where a training has ended, `describe(out, record)` adds to the record what it was. The model and the rest of the
    record stay if that raises.

    Raises:
        UserError: if an input is missing, `out` holds another run or one that is going on, or the command fails.
    """
    title = title or out.name
    if missing := [path for path in inputs if not path.is_file()]:
        if folders := [path for path in missing if path.is_dir()]:
            raise UserError(f"{title} needs a file where {folders[0]} is a folder{_in(folders[0])}.")
        named = ", ".join(map(str, missing))
        raise UserError(f"{title} needs {named}: no such file. Run the step that makes it first.")
    digests = {str(path): sha256(path) for path in inputs}
    place = followed(out)
    settle(place, _KIND)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_locked(out))
        sweep(out / RECORD, "part", seconds=-1)  # nobody else writes it while it is locked
        record, anew = _claim(out, log, command, digests)
        before = record.get("labels")
        record |= {"labels": labels or {}}
        if anew:
            lock = stack.enter_context(_begun_anew(place, record))
        if not record["finished"]:
            record["seconds"] = round(record["seconds"] + _killed(out / log, out / RECORD), 1)
            _set_aside(out / log)
        write_json(out / RECORD, record)
        if record["finished"]:
            print(f"{title} | up to date: {out}", file=sys.stderr)
            if "training" not in record or record["labels"] != before:
                _describe(out, record, describe)
            return
        print(f"{title} | {shlex.join(command)}", file=sys.stderr)
        try:
            status = _recorded(command, out, log, title, record, lock)
            if status != 0:
                raise UserError(_failure(command[0], status, out / log))
        except UserError as error:
            raise UserError(f"{error}{_give_back(place, log)}") from None
        settle(place, _KIND)
        _describe(out, record, describe)


def _describe(out: Path, record: dict[str, Any], describe: Callable[[Path, dict[str, Any]], None] | None) -> None:
    if describe is not None and trains(record["command"]) is not None:
        record.pop("training", None)
        try:
            describe(out, record)
        finally:
            write_json(out / RECORD, record)


def _recorded(command: Sequence[str], out: Path, log: str, title: str, record: dict[str, Any], lock: int) -> int:
    """Run, and write to the record how it ended; the exit status."""
    start, before = time.monotonic(), _files(out) - {RECORD}
    try:
        status = _stream(command, out / log, title, lock)
        if status == 0:
            record["finished"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    finally:
        record["seconds"] = round(record["seconds"] + time.monotonic() - start, 1)
        record["files"] = sorted((_files(out) - before).union(record.get("files", ())))
        write_json(out / RECORD, record)
    return status


def _set_aside(log: Path) -> None:
    """Keep the log of an unfinished call, as log.1, log.2 and so on: a resumed training goes on in a new one."""
    if log.exists():
        kept = [int(path.suffix[1:]) for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdigit()]
        log.replace(log.with_name(f"{log.name}.{max(kept, default=0) + 1}"))


def _killed(log: Path, record: Path) -> float:
    """Seconds of a call that was killed before it could write them: its log is younger than its record."""
    if not (log.exists() and record.exists()):
        return 0.0
    return max(0.0, log.stat().st_mtime - record.stat().st_mtime)


#: Label -> the option of fairseq-train that says it.
_LABELLED = {
    **{"temperature": "--kd-temperature", "kd_weight": "--kd-weight", "seed": "--seed"},
    **{"reference_weight": "--reference-weight"},
}


def labels_of(command: Sequence[str], labels: dict[str, Any]) -> dict[str, Any]:
    """The labels of a run, with what the options of its command say, if it is a training.

    Raises:
        UserError: if a label says another value than the command.
    """
    if not any(word.partition("=")[0] == "--criterion" for word in command):
        return labels
    options = _LABELLED | ({"teacher_smoothing": "--label-smoothing"} if labels.get("role") == "teacher" else {})
    found = {}
    for label, flag in options.items():
        if (value := _number(option(command, flag))) is not None:
            found[label] = int(value) if label == "seed" else value
    wrong = [
        f"--label {label}={labels[label]}, the command has {options[label]} {value:g}"
        for label, value in found.items()
        if label in labels and str(labels[label]) != str(value) and _number(labels[label]) != value
    ]
    if wrong:
        raise UserError(f"{'; '.join(wrong)}: leave the label out, it is taken from the command")
    return {**found, **labels}


def _number(given: Any) -> float | None:
    try:
        return float(given)
    except (TypeError, ValueError):
        return None


#: How torch says that embeddings have another number of rows.
_OTHER_VOCABULARY = re.compile(r"size mismatch for (en|de)coder\.embed_tokens\.weight")


def _failure(program: str, status: int, log: Path) -> str:
    """Why a command failed: its own error message if it has one, else the end of its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [i for i, line in enumerate(lines) if ": error: " in line]
    tail = lines[said[-1] :][:10] if said else lines[-8:]
    if any(map(_OTHER_VOCABULARY.search, lines)):
        tail.append("The model is of another vocabulary than the data: give the data that it was trained on.")
    return "\n  ".join([f"{Path(program).name} ended with status {status}; {log} ends with:", *tail])


def _in(folder: Path) -> str:
    """The file in there that is most often meant."""
    usual = folder / "checkpoint_average.pt"
    return f", {usual} maybe" if usual.is_file() else ""


def with_own_commands() -> dict[str, str]:
    """The environment, where commands installed beside this Python are found even if it is not activated."""
    path = [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    return {**os.environ, "PATH": os.pathsep.join(path)}


def _stream(command: Sequence[str], log: Path, title: str, lock: int) -> int:
    """Run, log everything, show progress; the exit status. An interrupt reaches the command too."""
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
            for status in progress(_tee(process.stdout, copy), command):
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


#: fairseq on the data it loaded: "... data/bin train de-en 29000 examples".
_EXAMPLES = re.compile(r" (\d+) examples$")


def progress(lines: Iterator[str], command: Sequence[str], every: float = 10.0) -> Iterator[str]:
    """Status lines, `every` seconds apart at most, from the output of a fairseq command.

    Understood are fairseq-train's `--log-format json` (with --max-update, time left) and what
    fairseq-generate prints: the size of the corpus, and its hypotheses.
    """
    updates = _number(option(command, "--max-update"))
    start, first, wanted, hypotheses, last = time.monotonic(), None, 0, 0, 0.0
    for line in lines:
        now = time.monotonic()
        if "| valid | {" in line and "valid_num_updates" in line:
            if stats := _stats(line, "valid_num_updates", "valid_ppl"):
                bleu = f" | valid BLEU {stats['valid_bleu']}" if "valid_bleu" in stats else ""
                yield f"update {stats['valid_num_updates']} | valid ppl {stats['valid_ppl']}{bleu}"
        elif "| train_inner | {" in line:
            if not (stats := _stats(line, "num_updates", "loss", "wps")):
                continue
            done = int(stats["num_updates"])
            if first is None:
                first, start = done, now
            if updates and done > first and now - last >= every:
                last = now
                left = _clock((now - start) / (done - first) * (updates - done))
                yield f"update {done}/{updates:.0f} | loss {stats['loss']} | {stats['wps']} tokens/s | {left} left"
        elif found := _EXAMPLES.search(line):
            wanted = int(found[1]) * int(_number(option(command, "--nbest")) or 1)
        elif line.startswith("H-"):
            hypotheses += 1
            if hypotheses == 1:
                start = last = now
            elif now - last >= every:
                last = now
                rate = hypotheses / (now - start)
                left = f" | {_clock((wanted - hypotheses) / rate)} left" if wanted else ""
                yield f"{hypotheses:,} hypotheses | {rate:.0f} a second{left}"


def _stats(line: str, *names: str) -> dict[str, Any] | None:
    """The statistics in a line, if it is whole: a garbled one is no reason to end a training."""
    try:
        stats = parse_json(line[line.index("{") :])
    except ValueError:
        return None
    return stats if all(name in stats for name in names) else None


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

"""A file that grows window by window, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ..differing import what_differs
from ..errors import UserError
from ..files import write_beside, write_json
from ..lines import BROKEN, open_text
from ..reading import COUNT, read_json
from ..replacing import put_aside, replaces, restore, set_aside

#: A manifest; a journal has a "state" too.
FINISHED = {"run": dict, "lines": COUNT, "bytes": COUNT}


def manifest_path(out: Path) -> Path:
    """Where what is to be known of a finished file is."""
    return out.with_name(f"{out.name}.manifest.json")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's text, gzipped or not: what its first bytes say, since neither shards nor `.partial` end in `.gz`.

    Raises:
        UserError: if it is no whole gzip file.
    """
    try:
        with open_text(path, by_content=True) as text:
            yield text
    except BROKEN as error:
        raise UserError(f"{path} is not a whole gzip file ({error}): delete {path.name}* and make it again") from None


def count_lines(path: Path) -> int:
    """How many lines a file has; raises as `opened` does."""
    with opened(path) as text:
        return sum(block.count(b"\n") for block in iter(lambda: text.read(1 << 20), b""))


def read_record(path: Path, shape: Any = FINISHED, way_out: str = "Restore it, or delete it") -> dict[str, Any] | None:
    """A manifest or journal, of this shape at least; None if there is none.

    Raises:
        UserError: if it is anything else.
    """
    return read_json(path, shape, "what `lskd translate` writes", way_out) if path.is_file() else None


def read_manifest(out: Path, shape: Any = FINISHED, way_out: str = "Restore it, or delete it") -> dict[str, Any] | None:
    """What was recorded of a finished file, of which it is the size; None where nothing was.

    Raises:
        UserError: if that record is broken, or the file is not as it says.
    """
    path = manifest_path(out)
    record = read_record(path, shape, way_out)
    if record is not None and (size := out.stat().st_size if out.is_file() else 0) != record["bytes"]:
        raise UserError(
            f"{out} has {size:,} bytes, {path.name} says {record['bytes']:,}: it was changed. Restore it, or "
            "delete both and make it again"
        )
    return record


def check_lines(out: Path, found: int, record: Mapping[str, Any]) -> None:
    """Raise a `UserError` if a file has another number of lines than its manifest says."""
    if found != record["lines"]:
        raise UserError(
            f"{out} has {found:,} lines, {manifest_path(out).name} says {record['lines']:,}: delete both and make "
            "it again"
        )


class ResumableFile:
    """`OUT`, which is `OUT.partial` until it is finished; `OUT.journal.json` says how much of that is good.

    What is appended is on disk before the journal says so, and the journal is replaced as a whole, so after a kill the
    file is cut back to what the journal says. When all is there, `OUT.partial` is renamed to `OUT`, and last
    `OUT.manifest.json` is written. What it replaces is set aside until then, and put back where nothing was written.
    """

    def __init__(self, out: Path, run: Mapping[str, Any], zipped: bool, state: Any = dict, lines: int | None = None):
        """Open or reopen it.

        Args:
            out: the file to make.
            run: what tells this run from another: JSON values.
            zipped: whether to write gzip, a member an append.
            state: the shape of the state that a journal keeps, as `reading.misfit` has it.
            lines: how many it has when it is finished; None where that is not known.

        Raises:
            UserError: if `out` is of another run, another process writes it, or it has other lines or bytes than its
                journal or manifest says.
        """
        self.out, self.run, self.zipped, self.lines = out, dict(run), zipped, lines
        self._begun = FINISHED | {"state": state}
        self.partial = out.with_name(f"{out.name}.partial")
        self.journal = out.with_name(f"{out.name}.journal.json")
        self._opened = contextlib.ExitStack()
        self.done = 0  #: lines that are written for good
        self.state: dict[str, Any] = {}  #: what the caller wants to find again after a kill
        self._put_back()
        self.finished = self._is_finished()
        if not self.finished:
            with self._opened:  # closed here if the file cannot be used
                self._open()
                self._opened = self._opened.pop_all()

    def _put_back(self) -> None:
        """What was to be replaced by a call that wrote nothing."""
        begun = self.journal.exists() or (self.partial.exists() and self.partial.stat().st_size > 0)
        for path in (self.out, manifest_path(self.out)):
            if set_aside(path) and not (begun or path.exists()):
                restore(path)

    def _read(self, path: Path) -> dict[str, Any] | None:
        """A manifest or journal of this very run; None if there is none."""
        shape = FINISHED if path == manifest_path(self.out) else self._begun
        record = read_record(path, shape, "Delete it, or name another --out")
        if record is None:
            return None
        changes = what_differs(record["run"], self.run)
        if changes and replaces(self.out, changes):
            # What is partial is cut back to nothing, as there is no journal of it.
            self.journal.unlink(missing_ok=True)
            for old in (manifest_path(self.out), self.out):
                if old.exists():
                    put_aside(old)
            return None
        if changes:
            raise UserError(
                f"--out {self.out} was begun by another run: {'; '.join(changes)}. Call it as then to go on, name "
                f"another file, or delete {self.out.name}* to begin again."
            )
        return record

    def _is_finished(self) -> bool:
        manifest = self._read(manifest_path(self.out))
        if manifest is None:
            return False
        if not self.out.is_file() or self.out.stat().st_size != manifest["bytes"]:
            raise UserError(
                f"{self.out} is not the {manifest['bytes']:,} bytes that {manifest_path(self.out).name} says: delete "
                f"{self.out.name}* to begin again"
            )
        check_lines(self.out, count_lines(self.out), manifest)
        self._check_whole(manifest["lines"], manifest_path(self.out))
        # Still there if the process was killed at its very end.
        self._remove_rest()
        return True

    def _remove_rest(self) -> None:
        """Of a finished file: its journal, and what it replaced."""
        self.journal.unlink(missing_ok=True)
        for path in (self.out, manifest_path(self.out)):
            for old in set_aside(path):
                old.unlink(missing_ok=True)

    def _check_whole(self, lines: int, path: Path) -> None:
        if self.lines is not None and lines != self.lines:
            raise UserError(
                f"{self.out} has {lines:,} lines by {path.name}, expected {self.lines:,}: delete {self.out.name}* to "
                "begin again"
            )

    def _open(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        # OUT without a manifest: killed after the renaming; or another process is just there.
        path = self.out if self.out.exists() else self.partial
        if path == self.out and not (self.journal.exists() or manifest_path(self.out).exists()):
            raise UserError(f"--out {self.out} is there, and was not written by this command: name another file")
        if not self._lock(path):
            raise UserError(f"--out {self.out}: another process writes it. Wait for its end, or stop it.")
        # Who held the lock may just have finished.
        self.finished = self._is_finished()
        if self.finished:
            self.close()
            return
        if path == self.out:
            self.out.rename(self.partial)
        for path in (self.journal, manifest_path(self.out)):
            # A kill while one was written leaves what `write_beside` wrote to.
            for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                part.unlink()
        journal = self._read(self.journal) or {"lines": 0, "bytes": 0, "state": {}}
        self.done, self._bytes, self.state = journal["lines"], journal["bytes"], journal["state"]
        size = os.fstat(self._stream.fileno()).st_size
        if size < self._bytes:
            raise UserError(
                f"{self.partial} has {size:,} bytes, {self.journal.name} says {self._bytes:,}: delete both to begin "
                "again"
            )
        self._stream.truncate(self._bytes)
        self._stream.seek(self._bytes)
        if (found := count_lines(self.partial)) != self.done:
            raise UserError(
                f"{self.partial} has {found:,} lines, {self.journal.name} says {self.done:,}: delete both to begin "
                "again"
            )

    def _lock(self, path: Path) -> bool:
        """Open `path` and lock it; False if another process has it, or has just renamed it."""
        try:
            self._stream = self._opened.enter_context(path.open("ab" if path == self.partial else "r+b"))
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks
        if path == self.partial and self.out.exists():
            # Renamed since we looked: what is here was made by opening it.
            path.unlink(missing_ok=True)
            return manifest_path(self.out).exists()
        return path.exists() and os.path.samestat(path.stat(), os.fstat(self._stream.fileno()))

    def append(self, lines: Iterable[str], state: Mapping[str, Any]) -> None:
        """Write lines, without their ends, and `state`, for good."""
        lines = list(lines)
        data = "".join(f"{line}\n" for line in lines).encode()
        if self.zipped and lines:
            data = gzip.compress(data, mtime=0)
        try:
            self._stream.write(data)
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise UserError(
                f"{self.partial} cannot be written ({error.strerror}); what was written is good, so mend that and call "
                "this again"
            ) from None
        self.done += len(lines)
        self._bytes += len(data)
        self.state = dict(state)
        record = {"run": self.run, "lines": self.done, "bytes": self._bytes, "state": self.state}
        with write_beside(self.journal) as part, part.open("w", encoding="utf-8") as stream:
            json.dump(record, stream, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Give the file its name, and write what is to be known of it beside it.

        Raises:
            UserError: if it has not the lines that it was to have.
        """
        self._check_whole(self.done, self.journal)
        self.partial.rename(self.out)
        write_json(manifest_path(self.out), {"run": self.run, "lines": self.done, "bytes": self._bytes, **manifest})
        self._remove_rest()
        self.close()

    def close(self) -> None:
        """Release the lock. What was appended stays, and another `ResumableFile` can continue."""
        self._opened.close()

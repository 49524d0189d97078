"""An output file that is written in windows and can be resumed after the process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ..differing import what_differs
from ..errors import UserError
from ..files import sweep, write_beside, write_json
from ..lines import BROKEN, open_text
from ..reading import COUNT, read_json
from ..replacing import put_aside, replaces, restore, set_aside

#: The shape of a manifest. A journal also has a "state".
FINISHED = {"run": dict, "lines": COUNT, "bytes": COUNT}


def manifest_path(out: Path) -> Path:
    """Return the path of the manifest of a finished output file."""
    return out.with_name(f"{out.name}.manifest.json")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, gzipped or plain, to read its uncompressed bytes.

    The first bytes of the file tell whether it is gzipped, as the names of shards and `.partial` files do not end in
    `.gz`.

    Raises:
        UserError: if a gzip file is incomplete or damaged.
    """
    try:
        with open_text(path, by_content=True) as text:
            yield text
    except BROKEN as error:
        raise UserError(f"{path} is a damaged gzip file ({error}). Delete {path.name}* and create it again") from None


def count_lines(path: Path) -> int:
    """Count the lines of a file, gzipped or plain. Raises the errors of `opened`."""
    with opened(path) as text:
        return sum(block.count(b"\n") for block in iter(lambda: text.read(1 << 20), b""))


def read_record(path: Path, shape: Any = FINISHED, way_out: str = "Restore it, or delete it") -> dict[str, Any] | None:
    """Read a manifest or journal that has at least this shape. Return None if the file does not exist.

    Raises:
        UserError: if the file has another shape; `way_out` ends the message.
    """
    return read_json(path, shape, "the JSON that `lskd translate` writes", way_out) if path.is_file() else None


def read_manifest(out: Path, shape: Any = FINISHED, way_out: str = "Restore it, or delete it") -> dict[str, Any] | None:
    """Read the manifest of a finished output file and check its size. Return None if it has no manifest.

    Raises:
        UserError: if the manifest is damaged, or the file has another size than it says.
    """
    path = manifest_path(out)
    record = read_record(path, shape, way_out)
    if record is not None and (size := out.stat().st_size if out.is_file() else 0) != record["bytes"]:
        raise UserError(
            f"{out} has {size:,} bytes, but {path.name} says {record['bytes']:,}: the file was changed. Restore it, or "
            "delete both and create it again"
        )
    return record


def check_lines(out: Path, found: int, record: Mapping[str, Any]) -> None:
    """Raise a `UserError` if the number of lines `found` in a file is not that of its manifest."""
    if found != record["lines"]:
        raise UserError(
            f"{out} has {found:,} lines, but {manifest_path(out).name} says {record['lines']:,}. Delete both and "
            "create it again"
        )


class ResumableFile:
    """An output file `OUT` that is appended to in windows.

    Windows are appended to `OUT.partial`. `OUT.journal.json` then records its lines and bytes; the journal is replaced
    atomically, after the data is on disk. When the file is reopened after a kill, it is cut back to what the journal
    records. `finish` renames `OUT.partial` to `OUT` and writes `OUT.manifest.json` last. A file that will be replaced
    is set aside until then, and restored if nothing was written.
    """

    def __init__(self, out: Path, run: Mapping[str, Any], zipped: bool, state: Any = dict, lines: int | None = None):
        """Open the file, or reopen it to resume.

        Args:
            out: path of the output file.
            run: identity of the run (options and digests of inputs), as JSON values.
            zipped: whether to write gzip, with a member per append.
            state: shape of the state in the journal, for `reading.misfit`.
            lines: number of lines of the finished file, or None if unknown.

        Raises:
            UserError: if `out` belongs to another run, another process writes it, or its lines or bytes are not those
                of its journal or manifest.
        """
        self.out, self.run, self.zipped, self.lines = out, dict(run), zipped, lines
        self._begun = FINISHED | {"state": state}
        self.partial = out.with_name(f"{out.name}.partial")
        self.journal = out.with_name(f"{out.name}.journal.json")
        self._opened = contextlib.ExitStack()
        self.done = 0  #: lines that are safely on disk
        self.state: dict[str, Any] = {}  #: state of the caller, restored when the run resumes
        self._restore_set_aside()
        self.finished = self._is_finished()
        if not self.finished:
            with self._opened:  # closed here if the file cannot be used
                self._open()
                self._opened = self._opened.pop_all()

    def _restore_set_aside(self) -> None:
        """Restore the files that an earlier call set aside if it was killed before it wrote anything."""
        begun = self.journal.exists() or (self.partial.exists() and self.partial.stat().st_size > 0)
        for path in (self.out, manifest_path(self.out)):
            if set_aside(path) and not (begun or path.exists()):
                restore(path)

    def _read(self, path: Path) -> dict[str, Any] | None:
        """Read the manifest or journal of this run. Return None if there is none, or if it may be replaced."""
        shape = FINISHED if path == manifest_path(self.out) else self._begun
        record = read_record(path, shape, "Delete it, or name another --out")
        if record is None:
            return None
        changes = what_differs(record["run"], self.run)
        if changes and replaces(self.out, changes):
            # Without a journal, the partial file is cut back to nothing.
            self.journal.unlink(missing_ok=True)
            for old in (manifest_path(self.out), self.out):
                if old.exists():
                    put_aside(old)
            return None
        if changes:
            raise UserError(
                f"--out {self.out} was created with different options or inputs: {'; '.join(changes)}. Use the old "
                "ones to resume it, name another file, or run the same command with LSKD_REPLACE=1 to replace it"
            )
        return record

    def _is_finished(self) -> bool:
        manifest = self._read(manifest_path(self.out))
        if manifest is None:
            return False
        if not self.out.is_file() or self.out.stat().st_size != manifest["bytes"]:
            raise UserError(
                f"{self.out} does not have the {manifest['bytes']:,} bytes that {manifest_path(self.out).name} says. "
                f"Delete {self.out.name}* to start again"
            )
        check_lines(self.out, count_lines(self.out), manifest)
        self._check_length(manifest["lines"], manifest_path(self.out))
        # The journal is left over if the process was killed at the end of `finish`.
        self._remove_leftovers()
        return True

    def _remove_leftovers(self) -> None:
        """Remove the journal of the finished file, and the files that it replaced."""
        self.journal.unlink(missing_ok=True)
        for path in (self.out, manifest_path(self.out)):
            for old in set_aside(path):
                old.unlink(missing_ok=True)

    def _check_length(self, lines: int, path: Path) -> None:
        if self.lines is not None and lines != self.lines:
            raise UserError(
                f"{path.name} says that {self.out} has {lines:,} lines, expected {self.lines:,}. Delete "
                f"{self.out.name}* to start again"
            )

    def _open(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        # OUT without a manifest: a process was killed after it renamed the file, or is about to write the manifest.
        path = self.out if self.out.exists() else self.partial
        if path == self.out and not (self.journal.exists() or manifest_path(self.out).exists()):
            raise UserError(f"--out {self.out} exists, and was not written by this command. Name another file")
        if not self._lock(path):
            raise UserError(f"--out {self.out}: another process is writing it. Wait until it ends, or stop it.")
        # The process that held the lock may just have finished the file.
        self.finished = self._is_finished()
        if self.finished:
            self.close()
            return
        if path == self.out:
            self.out.rename(self.partial)
        for path in (self.journal, manifest_path(self.out)):
            sweep(path, "part", seconds=0)  # of processes that were killed, as this one holds the lock
        journal = self._read(self.journal) or {"lines": 0, "bytes": 0, "state": {}}
        self.done, self._bytes, self.state = journal["lines"], journal["bytes"], journal["state"]
        size = os.fstat(self._stream.fileno()).st_size
        if size < self._bytes:
            raise UserError(
                f"{self.partial} has {size:,} bytes, but {self.journal.name} says {self._bytes:,}. Delete both to "
                "start again"
            )
        self._stream.truncate(self._bytes)
        self._stream.seek(self._bytes)
        if (found := count_lines(self.partial)) != self.done:
            raise UserError(
                f"{self.partial} has {found:,} lines, but {self.journal.name} says {self.done:,}. Delete both to "
                "start again"
            )

    def _lock(self, path: Path) -> bool:
        """Open `path` and lock it. Return False if another process has locked it, or has just renamed it."""
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
            # Another process renamed the file in the meantime: `path` is the empty file that was opened above.
            path.unlink(missing_ok=True)
            return manifest_path(self.out).exists()
        return path.exists() and os.path.samestat(path.stat(), os.fstat(self._stream.fileno()))

    def append(self, lines: Iterable[str], state: Mapping[str, Any]) -> None:
        """Append `lines` (without line ends) and store `state`. Both are on disk when the call returns."""
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
                f"{self.partial} cannot be written ({error.strerror}). Fix this and run the command again: it resumes "
                "where it stopped"
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
        """Give the file its final name and write its manifest, which `manifest` adds to.

        Raises:
            UserError: if the file does not have the expected number of lines.
        """
        self._check_length(self.done, self.journal)
        self.partial.rename(self.out)
        write_json(manifest_path(self.out), {"run": self.run, "lines": self.done, "bytes": self._bytes, **manifest})
        self._remove_leftovers()
        self.close()

    def close(self) -> None:
        """Release the lock. Appended data stays, and another `ResumableFile` can continue."""
        self._opened.close()

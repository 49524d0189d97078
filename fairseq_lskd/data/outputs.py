"""Folders that are either finished or absent, and know from what they were made.

A command writes into a folder beside the one asked for and renames it at the end, with a manifest of
its options, its inputs and its outputs. The next run with the same options and inputs has nothing to do. Where a folder
made otherwise may be replaced, it stays until the new one is whole, and what others put in it is kept (`replacing`).
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..compat.versions import version_of
from ..differing import what_differs
from ..errors import UserError
from ..files import contents, errors_name, sha256, sweep, write_json
from ..names import within
from ..reading import COUNT, read_json
from ..replacing import Kind, asked, beside, followed, foreign, put_in_place, replaces, settle

FORMAT = 1
#: What a manifest has at least; the digests came later, and some are of other facts.
SHAPE = {"format": COUNT, "options": dict, "inputs": {str: str}, "outputs": {str: COUNT}, "digests?": {str: str}}


@dataclass
class Manifest:
    """What a folder was made from: options by their flag's name, inputs by file name -> SHA-256."""

    name: str
    options: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    _changes: list[str] = field(default_factory=list, init=False, repr=False)  # where an older folder is replaced

    def is_up_to_date(self, out: Path) -> bool:
        """Whether `out` is already what these options and inputs make; False if there is nothing yet.

        False, too, if it was made otherwise and may be replaced, which `written` does when the new is whole.
        Raises `UserError` if `out` is something else, or was damaged since.
        """
        settle(followed(out), self._kind)
        self._changes = []
        if not out.exists() or (out.is_dir() and not contents(out)):
            return False
        way_out = f"delete {out}, or give another --out"
        if not (out / self.name).exists():
            raise UserError(f"{out} exists, but has no {self.name} that says what it is; {way_out}")
        found = read_json(out / self.name, SHAPE, "a manifest of this program's", way_out)
        options, inputs, outputs, recorded_format = (found[key] for key in ("options", "inputs", "outputs", "format"))
        if recorded_format != FORMAT:
            raise UserError(f"{out / self.name} has format {recorded_format}, expected {FORMAT}; {way_out}")
        wanted = json.loads(json.dumps(dict(self.options)))
        differences = what_differs(options, wanted, "--{}") + what_differs(inputs, self.inputs, "input {}")
        if differences and asked():
            self._changes = differences
            return False
        if differences:
            lines = "\n  ".join(differences)
            raise UserError(f"{out} was made otherwise:\n  {lines}\n{way_out}")
        for name, size in outputs.items():
            path = within(out, name, f"{out / self.name}: output")
            if not path.is_file() or path.stat().st_size != size:
                found_size = f"{path.stat().st_size} bytes" if path.is_file() else "missing"
                raise UserError(f"{path} was changed: it is {found_size}, was {size} bytes; {way_out}")
        return True

    @contextlib.contextmanager
    def written(self, out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A folder to write in, and a dictionary of facts for the manifest; renamed to `out` at the end.

        If the block raises, whatever it wrote is removed, and `out` is as it was before.
        """
        out = followed(out)
        if self._changes:
            replaces(out, self._changes)
        try:
            partial = beside(out)
            sweep(out, "partial")
        except OSError as error:
            raise UserError(f"--out {out}: cannot write there ({error.strerror or error})") from error
        try:
            facts: dict[str, Any] = {}
            with errors_name(out, partial):
                yield partial, facts
            files = sorted(path for path in partial.rglob("*") if path.is_file())
            outputs = {path.relative_to(partial).as_posix(): path.stat().st_size for path in files}
            record = {
                "format": FORMAT,
                "options": dict(self.options),
                "inputs": dict(self.inputs),
                "outputs": outputs,
                "digests": {name: sha256(partial / name) for name in outputs},
                **facts,
                "versions": {
                    "fairseq_lskd": __version__,
                    "python": platform.python_version(),
                    **{library: version_of(library) for library in self.libraries},
                },
            }
            with errors_name(out, partial):
                write_json(partial / self.name, record)
            self._check_place(partial, out)
            try:
                put_in_place(partial, out)
            except OSError as error:
                raise UserError(
                    f"--out {out}: cannot be put in place ({error.strerror or error}); "
                    "if another run has just made it, run again"
                ) from error
            settle(out, self._kind)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @property
    def _kind(self) -> Kind:
        return Kind(whole=lambda folder: (folder / self.name).is_file(), written=self._written)

    def _written(self, folder: Path) -> list[str]:
        """The files of a folder that its manifest says to be ours."""
        try:
            return [self.name, *read_json(folder / self.name, {"outputs": dict})["outputs"]]
        except UserError:
            return []

    def _check_place(self, new: Path, out: Path) -> None:
        """Only a folder that was made otherwise is replaced, and no file in it that is another's."""
        if not (out.is_dir() and contents(out)):
            return
        if not self._changes:
            raise UserError(f"--out {out}: has been made by another run meanwhile; run again")
        if theirs := [name for name in foreign(out, self._kind) if (new / name).exists()]:
            raise UserError(
                f"--out {out}: {', '.join(theirs)} there was not written by this command, which now writes a file of "
                "that name; move it elsewhere, or give another --out"
            )

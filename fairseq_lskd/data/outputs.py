"""Output folders that are either complete or absent, and record what they were made from.

A command writes to a temporary folder beside the output folder and renames it at the end. A manifest records options,
inputs and outputs, so the next run with the same options and inputs has nothing to do. If an existing folder may be
replaced, it stays until the new one is complete, and files that others put into it are kept (see `replacing`).
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
from ..replacing import Kind, asked, beside, followed, foreign, instead, put_in_place, replaces, settle

FORMAT = 1
#: Manifests of the folders that scripts/prepare.sh writes, so that messages name its option too.
OF_PREPARE = ("prepare.json", "generate.json", "encode.json", "binarise.json")
#: The keys that a manifest must have. Manifests of earlier versions have no digests; most have more keys.
SHAPE = {"format": COUNT, "options": dict, "inputs": {str: str}, "outputs": {str: COUNT}, "digests?": {str: str}}


@dataclass
class Manifest:
    """What a folder is made from: options by the names of their flags, and the SHA-256 of inputs by file name."""

    name: str
    options: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)  #: how messages call options that are no flags
    implied: tuple[str, ...] = ()  #: options that follow from others, so that messages only name those
    _changes: list[str] = field(default_factory=list, init=False, repr=False)  # from the folder that is replaced

    def is_up_to_date(self, out: Path) -> bool:
        """Whether `out` was made from these options and inputs. False if it does not exist or is empty.

        Also False if it has other options or inputs but may be replaced, which `written` does when the new folder is
        complete. Raise `UserError` if `out` may not be replaced, or was changed after it was written.
        """
        settle(followed(out), self._kind)
        self._changes = []
        if not out.exists() or (out.is_dir() and not contents(out)):
            return False
        way_out = f"delete {out}, or give another --out"
        if not (out / self.name).exists():
            raise UserError(f"{out} exists, but has no {self.name}, so this command did not write it; {way_out}")
        found = read_json(out / self.name, SHAPE, "a manifest of fairseq_lskd", way_out)
        options, inputs, outputs, recorded_format = (found[key] for key in ("options", "inputs", "outputs", "format"))
        if recorded_format != FORMAT:
            raise UserError(f"{out / self.name} has format {recorded_format}, expected {FORMAT}; {way_out}")
        wanted = json.loads(json.dumps(dict(self.options)))
        differences = self._differences(options, wanted) + what_differs(inputs, self.inputs, "input {}")
        if differences and asked():
            self._changes = differences
            return False
        if differences:
            lines = "\n  ".join(differences)
            script = " (prepare.sh: --data)" if self.name in OF_PREPARE else ""
            raise UserError(
                f"{out} was created with different options or inputs:\n  {lines}\n" + instead(f"--out{script}")
            )
        for name, size in outputs.items():
            path = within(out, name, f"{out / self.name}: output")
            if not path.is_file() or path.stat().st_size != size:
                found_size = f"{path.stat().st_size} bytes" if path.is_file() else "missing"
                raise UserError(f"{path} was changed: it is {found_size}, expected {size} bytes; {way_out}")
        return True

    def _differences(self, there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
        """Describe options that differ."""
        lines = {
            name: line
            for name in dict.fromkeys([*asked, *there])
            for line in what_differs({name: there.get(name)}, {name: asked.get(name)}, self.flags.get(name, "--{}"))
        }
        return [line for name, line in lines.items() if name not in self.implied] or list(lines.values())

    @contextlib.contextmanager
    def written(self, out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a folder to write to and a dictionary of facts for the manifest. The folder becomes `out` at the end.

        If the block raises, the folder is removed, and `out` stays as it was.
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
                    f"--out {out}: cannot rename the finished folder to this name ({error.strerror or error}); "
                    "if another run has just created it, run again"
                ) from error
            settle(out, self._kind)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @property
    def _kind(self) -> Kind:
        return Kind(whole=lambda folder: (folder / self.name).is_file(), written=self._written)

    def _written(self, folder: Path) -> list[str]:
        """Return the files in a folder that this command wrote, according to its manifest."""
        try:
            return [self.name, *read_json(folder / self.name, {"outputs": dict})["outputs"]]
        except UserError:
            return []

    def _check_place(self, new: Path, out: Path) -> None:
        """Raise `UserError` if `out` appeared during the run, or if a new file would replace one of somebody else."""
        if not (out.is_dir() and contents(out)):
            return
        if not self._changes:
            raise UserError(f"--out {out}: another run created it in the meantime; run again")
        if theirs := [name for name in foreign(out, self._kind) if (new / name).exists()]:
            raise UserError(
                f"--out {out}: this command did not write {', '.join(theirs)} there, but would replace it; move it "
                "elsewhere, or give another --out"
            )

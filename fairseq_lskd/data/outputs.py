"""Folders that are either finished or absent, and know from what they were made.

A command writes into a folder beside the one asked for and renames it at the end, with a manifest of
its options, its inputs and its outputs. The next run with the same options and inputs has nothing to do.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UserError
from ..files import sha256, sweep, write_json
from ..reading import COUNT, read_json
from ..replacing import replaces

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

    def is_up_to_date(self, out: Path) -> bool:
        """Whether `out` is already what these options and inputs make; False if there is nothing yet.

        Raises `UserError` if `out` is something else, or was damaged since.
        """
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return False
        way_out = f"delete {out}, or give another --out"
        if not (out / self.name).exists():
            raise UserError(f"{out} exists, but has no {self.name} that says what it is; {way_out}")
        found = read_json(out / self.name, SHAPE, "a manifest of this program's", way_out)
        options, inputs, outputs, recorded_format = (found[key] for key in ("options", "inputs", "outputs", "format"))
        if recorded_format != FORMAT:
            raise UserError(f"{out / self.name} has format {recorded_format}, expected {FORMAT}; {way_out}")
        wanted = json.loads(json.dumps(dict(self.options)))
        differences = _differences(options, wanted, "--{}") + _differences(inputs, dict(self.inputs), "input {}")
        if differences and replaces(out, differences):
            shutil.rmtree(out)
            return False
        if differences:
            lines = "\n  ".join(differences)
            raise UserError(f"{out} was made otherwise:\n  {lines}\n{way_out}")
        for name, size in outputs.items():
            path = out / name
            if not path.is_file() or path.stat().st_size != size:
                found_size = f"{path.stat().st_size} bytes" if path.is_file() else "missing"
                raise UserError(f"{path} was changed: it is {found_size}, was {size} bytes; {way_out}")
        return True

    @contextlib.contextmanager
    def written(self, out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A folder to write in, and a dictionary of facts for the manifest; renamed to `out` at the end.

        If the block raises, whatever it wrote is removed, and `out` is as it was before.
        """
        out = out.resolve()
        partial = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
        try:
            partial.mkdir(parents=True)
            sweep(out, "partial")
        except OSError as error:
            raise UserError(f"--out {out}: cannot write there ({error.strerror or error})") from error
        try:
            facts: dict[str, Any] = {}
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
                    **{library: version(library) for library in self.libraries},
                },
            }
            write_json(partial / self.name, record)
            try:
                partial.rename(out)
            except OSError as error:
                raise UserError(
                    f"--out {out}: cannot be put in place ({error.strerror or error}); "
                    "if another run has just made it, run again"
                ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], label: str) -> list[str]:
    names = [*wanted, *(name for name in found if name not in wanted)]
    return [
        f"{label.format(name)}: {_shown(found.get(name))} there, {_shown(wanted.get(name))} now"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value)
    return f"SHA-256 {text[:12]}…" if len(text) == 64 else text

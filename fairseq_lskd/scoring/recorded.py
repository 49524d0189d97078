"""Sections of what is written already: the logs and result records of trainings, and translations."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..analysis import tail
from ..analysis.document import Section
from ..files import sha256
from ..records.logs import find_runs, logs_of
from ..runs import RECORD
from . import curve_claims, quality


@dataclass(frozen=True)
class Recorded:
    """What is to be read, as `lskd analyze --help` says; each part is optional."""

    runs: Path | None = None
    hypotheses: Sequence[str] = field(default_factory=tuple)  #: NAME=FILE; the first is what others are compared with
    references: Path | None = None
    training: Path | None = None

    def problems(self) -> list[str]:
        """What is wrong with the options, a line each, before anything is read."""
        found = []
        if self.runs is not None and not self.runs.is_dir():
            found.append(f"--runs {self.runs}: {'not a folder' if self.runs.exists() else 'no such folder'}")
        three = {"--hypotheses": self.hypotheses, "--references": self.references, "--training": self.training}
        given = [flag for flag, value in three.items() if value]
        if 0 < len(given) < len(three):
            lacking = " and ".join(flag for flag in three if flag not in given)
            found.append(f"{' and '.join(given)}: the long tail needs {lacking} too")
        names = []
        for word in self.hypotheses:
            name, _, path = word.partition("=")
            if not (name and path):
                found.append(f"--hypotheses {word}: expected NAME=FILE")
                continue
            names.append(name)
            if not Path(path).is_file():
                found.append(f"--hypotheses {word}: {path}: no such file")
        found += [f"--hypotheses {name}=...: given {names.count(name)} times" for name in _twice(names)]
        for flag in ("references", "training"):
            file = getattr(self, flag)
            if file is not None and not file.is_file():
                found.append(f"--{flag} {file}: no such file")
        return found

    @property
    def systems(self) -> dict[str, Path]:
        """Translations by the system's name."""
        return {name: Path(path) for name, _, path in (word.partition("=") for word in self.hypotheses)}

    def options(self) -> dict[str, Any]:
        """What the sections depend on, by flag, files aside."""
        return {"runs": self.runs is not None, "hypotheses": list(self.systems)}

    @cached_property
    def _trainings(self) -> list[Path]:
        return [] if self.runs is None else find_runs(self.runs)

    @cached_property
    def _results(self) -> list[Path]:
        return [] if self.runs is None else quality.find_records(self.runs)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Digests of all that is read.

        Raises:
            UserError: if there is no training in --runs.
        """
        found = {f"hypotheses {name}": sha256(path) for name, path in self.systems.items()}
        found |= {
            flag: sha256(path) for flag in ("references", "training") if (path := getattr(self, flag)) is not None
        }
        if self.runs is not None:
            read = [path for run in self._trainings for path in (run / RECORD, *logs_of(run))]
            found |= {f"runs: {path.relative_to(self.runs)}": sha256(path) for path in (*read, *self._results)}
        return found

    def sections(self) -> Iterator[Section]:
        """Curves, quality and the long tail, as far as they are asked for.

        Raises:
            UserError: as these sections do.
        """
        if self.runs is not None:
            yield curve_claims.section(self._trainings)
            if quality.has_pairs(self.runs):
                yield quality.section(self.runs)
            else:
                print(
                    f"--runs {self.runs}: no result.json of a student and of its teacher in there (`lskd score` writes "
                    "them): nothing is said of their quality",
                    file=sys.stderr,
                )
        if self.references is not None and self.training is not None:
            yield tail.section(self.systems, self.references, self.training)


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]

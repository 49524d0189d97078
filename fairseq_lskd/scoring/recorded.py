"""Sections of `lskd analyze` from existing files: logs, result records and translations."""

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
    """The files to read, as described by `lskd analyze --help`. All are optional."""

    runs: Path | None = None
    hypotheses: Sequence[str] = field(default_factory=tuple)  #: NAME=FILE; the first is the baseline
    references: Path | None = None
    training: Path | None = None

    def problems(self) -> list[str]:
        """Check the options without reading files. Return one line per problem."""
        found = []
        if self.runs is not None and not self.runs.is_dir():
            found.append(f"--runs {self.runs}: {'not a folder' if self.runs.exists() else 'no such folder'}")
        three = {"--hypotheses": self.hypotheses, "--references": self.references, "--training": self.training}
        given = [flag for flag, value in three.items() if value]
        if 0 < len(given) < len(three):
            lacking = " and ".join(flag for flag in three if flag not in given)
            found.append(f"{' and '.join(given)}: the section on the long tail also needs {lacking}")
        names = []
        for word in self.hypotheses:
            name, _, path = word.partition("=")
            if not (name and path):
                found.append(f"--hypotheses {word}: expected NAME=FILE")
                continue
            names.append(name)
            if not Path(path).is_file():
                found.append(f"--hypotheses {word}: {path}: no such file")
        found += [f"--hypotheses {name}=...: given {names.count(name)} times" for name in _duplicates(names)]
        for flag in ("references", "training"):
            file = getattr(self, flag)
            if file is not None and not file.is_file():
                found.append(f"--{flag} {file}: no such file")
        return found

    @property
    def systems(self) -> dict[str, Path]:
        return {name: Path(path) for name, _, path in (word.partition("=") for word in self.hypotheses)}

    def options(self) -> dict[str, Any]:
        """Return the options that the sections depend on, without files."""
        return {"runs": self.runs is not None, "hypotheses": list(self.systems)}

    @cached_property
    def _trainings(self) -> list[Path]:
        return [] if self.runs is None else find_runs(self.runs)

    @cached_property
    def _results(self) -> list[Path]:
        return [] if self.runs is None else quality.find_records(self.runs)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The digests of all files that are read.

        Raises:
            UserError: if --runs has no training run.
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
        """Yield the sections on curves, quality and the long tail, as far as their files were given."""
        if self.runs is not None:
            yield curve_claims.section(self._trainings)
            if quality.has_pairs(self.runs):
                yield quality.section(self.runs)
            else:
                print(
                    f"--runs {self.runs}: found no result.json of a student and its teacher, so the report has no "
                    "section on their quality. Write them with `lskd record` or scripts/score.sh",
                    file=sys.stderr,
                )
        if self.references is not None and self.training is not None:
            yield tail.section(self.systems, self.references, self.training)


def _duplicates(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]

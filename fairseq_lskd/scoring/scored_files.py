"""Score files of translations of one test set."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sacrebleu

from .. import __version__
from ..data.writing_systems import check_tokeniser
from ..files import sha256
from ..lines import read_lines
from . import testsets
from .comparison import Data, compare, over_seeds
from .metrics import NAMES
from .options import ScoringOptions, same_length, warn
from .systems import parse, read_translations


@dataclass(frozen=True, kw_only=True)
class Files(ScoringOptions):
    """Options, as described by `lskd score --help`."""

    systems: Sequence[str]  #: FILE or NAME=FILE
    test_set: str | None = None
    source: Path | None = None
    lowercase: bool = False
    comet_model: str | None = None
    baseline: str | None = None
    paired: str | None = None
    samples: int | None = None
    jobs: int = 1
    format: str = "auto"
    remove_bpe: str | None = None

    def problems(self) -> list[str]:
        """Check the options without reading files. Return one line per problem."""
        comet = "comet" in (self.metrics or ())
        found = [
            problem
            for wrong, problem in (
                (not self.systems, "expected files to score, found none (for a run, use lskd record)"),
                (bool(self.references) == bool(self.test_set), "give either --references or -t"),
                (self.paired is not None and not self.baseline, "--paired needs --baseline"),
                (self.samples is not None and not self.baseline, "--samples needs --baseline"),
                (self.samples is not None and self.samples < 1, f"--samples {self.samples}: expected 1 or more"),
                (self.jobs < 1, f"--jobs {self.jobs}: expected 1 or more"),
                (comet and not (self.source or self.test_set), "--metrics comet needs --source"),
                (bool(self.source and self.test_set), "-t has its own source: leave out --source"),
                (self.comet_model is not None and not comet, "--comet-model needs --metrics comet"),
                (self.metrics == ["comet"] and bool(self.baseline), "--baseline needs a metric of sacreBLEU"),
            )
            if wrong
        ]
        return found + super().problems()


def score_files(files: Files) -> dict[str, Any]:
    """Score files. Return scores, p-values, summaries over seeds, signatures, digests and versions.

    Raises:
        UserError: for incompatible options, invalid files, and text that would give wrong scores.
    """
    files.check_options()
    if files.tokenize is not None:  # before a test set is downloaded
        check_tokeniser(files.tokenize)
    outputs = parse(files.systems)
    source = list(read_lines(files.source)) if files.source else []
    if files.test_set:
        source, references = testsets.load(files.test_set, files.language_pair)
        names = [f"{files.test_set} {files.language_pair}"] * len(references)
    else:
        names, references = files.read_references()
    of_source = files.source is not None
    same_length([*names, *[str(files.source)] * of_source], [*references, *[source] * of_source])
    sentences = len(references[0])
    translations = [read_translations(each.path, sentences, files.format, files.remove_bpe) for each in outputs]
    data = Data(references, outputs, translations)
    chosen = files.choose(references)
    usual = list(NAMES)
    metrics = list(dict.fromkeys(files.metrics or (usual[:2] if chosen.unspaced else usual)))
    files.check(data, names)
    warn([*files.doubts(chosen, metrics), *data.warnings])
    comet = None
    if "comet" in metrics:
        from .comet import MODEL, Comet

        comet = Comet(files.comet_model or MODEL)  # before the slow significance tests
    options = {"tokenize": chosen.tokenize, "lowercase": files.lowercase, "language": chosen.language}
    result = compare(
        data,
        [name for name in metrics if name != "comet"],
        options,
        files.baseline,
        (files.paired or "ar") if files.baseline else None,
        files.samples or 0,
        files.jobs,
        (files.test_set, str(files.language_pair)) if files.test_set else None,
    )
    if comet:
        for row, lines in zip(result["systems"], data.translations, strict=True):
            row["comet"] = round(comet.score(source, lines, references[0]), 2)
        result["signatures"]["comet"] = comet.signature
    result["over_seeds"] = over_seeds(result["systems"], metrics)
    for row, output in zip(result["systems"], outputs, strict=True):
        row["sha256"] = sha256(output.path)
    result["references"] = [files.test_set] if files.test_set else names
    result["command"] = shlex.join(["lskd", *sys.argv[1:]])
    versions = {"python": platform.python_version(), "sacrebleu": sacrebleu.__version__}
    result["versions"] = versions | {"fairseq_lskd": __version__}
    return result

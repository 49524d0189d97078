"""Score the translations of a run and write its result record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import sha256, write_json
from ..names import PLAIN, is_plain
from ..reading import value_at
from ..records.result import Result
from ..runs import read_labels
from ..sequences.resumable import manifest_path, read_manifest
from .comparison import Data
from .metrics import make_metric
from .options import ScoringOptions, same_length, warn
from .systems import Output, read_translations


@dataclass(frozen=True, kw_only=True)
class Run(ScoringOptions):
    """Options, as described by `lskd record --help`."""

    folder: Path
    checkpoint: Path | None = None
    hypotheses: Path | None = None
    test_name: str | None = None
    exported: Path | None = None
    exported_hypotheses: Path | None = None
    validation: Path | None = None
    truth: Path | None = None
    pieces: Path | None = None
    labels: Sequence[str] = ()  #: `NAME=VALUE`, for a folder of plain fairseq-train
    check_only: bool = False

    def problems(self) -> list[str]:
        """Check the options without reading files. Return one line per problem."""
        needed = ("references",) if self.check_only else ("checkpoint", "hypotheses", "references")
        missing = [f"--{name}" for name in needed if not getattr(self, name)]
        found = [f"{', '.join(missing)} missing, which --run needs"] if missing else []
        if self.truth and not self.check_only and not (self.validation and self.pieces):
            found.append("--truth needs --validation and --pieces")
        if self.test_name and not is_plain(self.test_name):
            found.append(f"--test-name {self.test_name}: expected {PLAIN.words}")
        if self.language_pair and not is_plain(self.language_pair):  # a part of the record's name
            found.append(f"-l {self.language_pair}: expected {PLAIN.words}")
        if (self.exported is None) != (self.exported_hypotheses is None):
            found.append("--exported and --exported-hypotheses go together")
        if "comet" in (self.metrics or ()):
            found.append("--metrics comet cannot be used with --run: use lskd score")
        return found + super().problems()

    def record(self, result: Result) -> Path:
        """Return the file for a record. A multilingual model has one for each language pair."""
        marks = [self.language_pair] if result.pairs else []
        return self.folder / f"{'-'.join(['result', *filter(None, [*marks, self.test_name])])}.json"


def record_run(run: Run, of_exported: Callable[..., dict[str, Any]] | None = None) -> Result | None:
    """Score a run and write its record. With `check_only`, only check the options and the references.

    Args:
        of_exported: function that returns the facts about `run.exported` (`export.facts.exported_facts`, which this
            module must not import).

    Raises:
        UserError: for incompatible options, invalid files, labels that contradict the checkpoint, and text that would
            give wrong scores.
    """
    run.check_options()
    names, references = run.read_references()
    same_length(names, references)
    metrics = tuple(dict.fromkeys(run.metrics or ("bleu", "chrf")))
    chosen = run.choose(references)
    generated = run.truth is not None
    if run.check_only:
        for name in metrics:
            make_metric(name, chosen.tokenize, language=chosen.language)
        run.check(Data(references, [], []), names, generated)
        return None
    assert run.checkpoint is not None and run.hypotheses is not None
    hypotheses = read_translations(run.hypotheses, len(references[0]))
    digest = _check_translator(run.hypotheses, run.checkpoint)
    from .record import make_record  # loads torch and fairseq

    result = make_record(
        run=run.folder,
        checkpoint=run.checkpoint,
        hypotheses=hypotheses,
        references=references,
        metrics=metrics,
        validation=run.validation,
        truth=run.truth,
        pieces=run.pieces,
        chosen=chosen,
        pair=run.language_pair,
        labels=read_labels(run.labels),
        digest=digest,
    )
    if run.exported and run.exported_hypotheses and of_exported:
        translated = read_translations(run.exported_hypotheses, len(references[0]))
        same = result.checkpoint_sha256
        facts = of_exported(run.exported, run.checkpoint, translated, references, metrics, chosen, digest=same)
        result = replace(result, exported=facts)
    data = Data(references, [Output(run.folder.name, run.hypotheses)], [hypotheses])
    run.check(data, names, generated, weak=True)
    warnings = [*run.doubts(chosen, metrics), *data.warnings]
    if result.train_seconds is None and result.command is not None:
        warnings.append(f"{run.folder}: the training is not finished, so the record has no train_seconds")
    warn(warnings)
    result = replace(result, test_set=run.test_name)
    write_json(run.record(result), result.to_row())
    return result


def _check_translator(hypotheses: Path, checkpoint: Path) -> str | None:
    """Refuse a list that `lskd translate` made with another checkpoint, as far as its manifest tells.

    Return the checkpoint's SHA-256 if the manifest has one to compare it with, else None.
    """
    made = read_manifest(hypotheses) or {}
    digests = value_at(made, "run", "teacher")
    # A CTranslate2 folder, which has no teacher_path, may be an exported checkpoint.
    if not (made.get("teacher_path") and isinstance(digests, list)):
        return None
    if digests != [digest := sha256(checkpoint)]:
        raise UserError(
            f"--hypotheses {hypotheses}: {made['teacher_path']} translated them, not the present --checkpoint "
            f"{checkpoint}, according to the digest in {manifest_path(hypotheses).name}. Give the translations of this "
            "checkpoint. If it was written again, translate again"
        )
    return digest

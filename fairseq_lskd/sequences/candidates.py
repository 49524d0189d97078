"""The input of a selection: a teacher's n-best translations in one of several formats, scores and references."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..data.bitext import Side, check_unchanged, examine, some_lines
from ..data.shifting import Alignment
from ..data.tokenised import in_subword_nmt
from ..errors import UserError
from ..lines import read_lines
from . import foreign
from .formats import check_format
from .joining import read_joined
from .nbest import given_count, places, read_nbest
from .outside_scores import is_json, read_scores
from .pieces import to_text
from .resumable import check_lines, read_manifest

Item = TypeVar("Item")

#: Formats of a teacher's translations.
FORMATS = ("json", "text", "moses", "fairseq")
#: Number of sentences that are searched for pieces of subword-nmt.
TEXT_SAMPLE = 1000
#: Share of references that are equal to their source, from which on they are taken for the source.
COPIES = 0.9


@dataclass
class Candidates:
    """The input files. All of them are read once and checked when an instance is created.

    Raises:
        UserError: if a file cannot be read, or numbers of lines do not match.
    """

    path: Path
    format: str = "json"
    source: Path | None = None  #: source sentences; only a check with json, which contains them
    nbest: int = 1  #: lines per sentence of the format text
    scores: Path | None = None  #: scores that replace those of the list
    references: Path | None = None
    remove_bpe: str = "sentencepiece"
    negate: bool = False  #: negate `scores`, if the lowest score is the best
    more: tuple[Path, ...] = ()  #: further lists of the same sentences; json only
    sentences: int = field(init=False)
    digests: dict[str, str] = field(init=False)  #: SHA-256 by flag
    #: For each list, the manifest of `lskd translate` (teacher, options, corpus); None for other translations.
    made_by: list[dict[str, Any] | None] = field(init=False)

    def __post_init__(self) -> None:
        files = {
            "NBEST": self.path,
            "--source": self.source,
            "--scores": self.scores,
            "--references": self.references,
            **{f"NBEST {number}": path for number, path in enumerate(self.more, 2)},
        }
        sides = {flag: examine(path) for flag, path in files.items() if path}
        if problems := [problem for side in sides.values() for problem in side.problems]:
            raise UserError("; ".join(problems))
        self._sides: list[Side] = list(sides.values())
        # JSON lines contain their source, so --source is checked but not recorded.
        recorded = {flag: side for flag, side in sides.items() if flag != "--source" or self.format != "json"}
        self.digests = {flag: side.sha256 for flag, side in recorded.items()}
        self.made_by = [read_manifest(path) for path in (self.path, *self.more)]
        for path, manifest in zip((self.path, *self.more), self.made_by, strict=True):
            if manifest is None:
                check_format(path, self.format, self.source)
        if self.made_by[0]:
            check_lines(self.path, sides["NBEST"].lines, self.made_by[0])
        counted = sides.get("--source", sides["NBEST"])
        self.sentences = counted.lines
        lines = {"--references": self.sentences} | ({"NBEST": self.sentences} if self.format == "json" else {})
        lines |= {name: self.sentences for name in sides if name.startswith("NBEST ")}
        if self.format == "text":
            lines |= dict.fromkeys(("NBEST", "--scores"), self.sentences * self.nbest)
        if self.scores and is_json(self.scores):
            lines["--scores"] = self.sentences
        wrong = [
            f"{flag} {side.path} has {side.lines:,} lines, expected {lines[flag]:,}"
            for flag, side in sides.items()
            if lines.get(flag, side.lines) != side.lines
        ]
        if wrong:
            message = f"{counted.path} has {self.sentences:,} source sentences: {'; '.join(wrong)}"
            if self.references and sides["--references"].lines > self.sentences:
                message += ". If cleaning dropped sentences, give the references that it kept (DATA/pieces)"
            raise UserError(message)

    @property
    def source_name(self) -> str:
        """The file with the source sentences, for messages. JSON lines contain them."""
        return str(self.path) if self.source is None or self.format == "json" else f"--source {self.source}"

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield a record of `nbest` for each source sentence.

        Raises:
            UserError: if a line cannot be parsed, the file is a shard, or a file changed since it was counted.
        """
        expected = read_lines(self.source) if self.source and self.format == "json" else None
        for index, record in enumerate(self._all(self._records())):
            if record["id"] != index:
                raise UserError(
                    f"{self.path} begins with sentence {record['id']}, so it is one of several shards. Merge them with "
                    "`lskd translate --merge`"
                )
            if expected is not None:
                self._check_source(record, next(expected, ""))
            yield record

    def _check_source(self, record: dict[str, Any], line: str) -> None:
        """Refuse a sentence of another text or in other pieces. Pieces that a dictionary lacks may be `<unk>`."""
        mine, theirs = line.split(), record["source"].split()
        if mine == theirs or (
            len(mine) == len(theirs) and all(b in (a, "<unk>") for a, b in zip(mine, theirs, strict=True))
        ):
            return
        place = f"{self.path}, sentence {record['id']}, is not line {record['id'] + 1} of --source {self.source}"
        if to_text(record["source"], self.remove_bpe) == to_text(line, self.remove_bpe):
            raise UserError(
                f"{place}. It is the same text in other pieces, so the teacher has another vocabulary. Translate raw "
                "text with the teacher's SentencePiece model (lskd translate --sentencepiece), and give lskd select "
                "that of the student (--sentencepiece-source, --sentencepiece-target)"
            )
        raise UserError(f"{place}. These are translations of another text: give their source")

    def read_references(self) -> Iterator[str | None]:
        """Yield the reference of each source sentence, or None for each if there are no references."""
        return self._all(read_lines(self.references)) if self.references else itertools.repeat(None, self.sentences)

    def check_text(self, sources: bool = True, translations: bool = True) -> None:
        """Check that the first sentences are not in pieces of subword-nmt, unless `remove_bpe` says so.

        Args:
            sources: whether the sources are read as text.
            translations: whether the translations are. References always are.

        Raises:
            UserError: if they have; it names the file and --remove-bpe.
        """
        if self.remove_bpe == "subword_nmt":
            return
        records = list(itertools.islice(self.read(), TEXT_SAMPLE))
        references = itertools.islice(self.read_references(), TEXT_SAMPLE)
        source = f"--source {self.source}" if self.source else f"{self.path}, source sentences"
        looked_at = (
            (source, [record["source"] for record in records], sources),
            (str(self.path), [each["text"] for record in records for each in record["hypotheses"][:1]], translations),
            (f"--references {self.references}", [line or "" for line in references], True),
        )
        found = [
            f"{where}: {some_lines(numbers)} of the first {len(lines):,}"
            for where, lines, read in looked_at
            if read and (numbers := in_subword_nmt([to_text(line, self.remove_bpe) for line in lines]))
        ]
        if found:
            raise UserError(
                f"{'; '.join(found)} have subword-nmt's mark @@, and are read as text. Give --remove-bpe subword_nmt"
            )

    def check_references(self) -> None:
        """Check that the references are not the source.

        Raises:
            UserError: if nearly all of the first references are copies of their source sentences.
        """
        if self.references is None:
            return
        both = zip(self.read(), self.read_references(), strict=True)
        texts = [
            (to_text(record["source"], self.remove_bpe), to_text(reference or "", self.remove_bpe))
            for record, reference in itertools.islice(both, TEXT_SAMPLE)
        ]
        written = [(source, reference) for source, reference in texts if reference.strip()]
        copies = sum(source.split() == reference.split() for source, reference in written)
        if written and copies >= COPIES * len(written):
            raise UserError(
                f"--references {self.references}: {copies:,} of the first {len(written):,} are equal to their source "
                "sentence. Give the other side of the bitext, in the target language"
            )

    def out_of_step(self) -> list[str]:
        """Describe translations or references that are shifted against the source. Reads all files.

        JSON lines contain their source, so only references are checked with this format.

        Raises:
            UserError: as in `read`.
        """
        source = f"--source {self.source}" if self.source else f"the source in {self.path}"
        sides = [Alignment(source, str(self.path))] if self.format != "json" else []
        if self.references:
            sides.append(Alignment(source, f"--references {self.references}"))
        if not sides:
            return []
        for record, reference in zip(self.read(), self.read_references(), strict=True):
            line = to_text(record["source"], self.remove_bpe)
            targets = [next((each["text"] for each in record["hypotheses"]), None)] if self.format != "json" else []
            if self.references:
                targets.append(to_text(reference or "", self.remove_bpe))
            for side, target in zip(sides, targets, strict=True):
                side.add_pair(line, target)
        return [shift for side in sides for shift in side.shifts()]

    def check_unchanged(self) -> None:
        """Raise a `UserError` if the text of a file has changed since it was counted."""
        check_unchanged(self._sides)

    def _all(self, found: Iterator[Item]) -> Iterator[Item]:
        """Yield one item per sentence. Raise a `UserError` if there are more or fewer than were counted."""
        count = 0
        for count, item in enumerate(found, 1):
            if count > self.sentences:
                break
            yield item
        if count != self.sentences:
            self.check_unchanged()
            raise UserError(f"{self.path}: found {count:,} sentences, expected {self.sentences:,}")

    def _records(self) -> Iterator[dict[str, Any]]:
        if self.source is None or self.format == "json":
            records = read_joined([self.path, *self.more]) if self.more else read_nbest(self.path)
        else:
            if self.format == "text":
                translations = foreign.read_text(self.path, self.nbest)
            elif self.format == "moses":
                translations = foreign.read_moses(self.path, self.sentences)
            else:
                translations = iter(self._generated)
            records = foreign.to_records(self.source, translations, self.remove_bpe)
        return self._rescored(records, self.scores) if self.scores else records

    @functools.cached_property
    def _generated(self) -> list[list[foreign.Scored]]:
        """The translations of fairseq-generate, read once: they are in no order, so all of them must be in memory."""
        assert self.source is not None
        return list(foreign.read_fairseq(self.path, self.source))

    def _rescored(self, records: Iterator[dict[str, Any]], path: Path) -> Iterator[dict[str, Any]]:
        """Replace the scores of records by those of a file, which also has scores of empty translations."""
        mine, counted = itertools.tee(records)
        found = read_scores(path, map(given_count, counted), self.negate)
        for record, scores in zip(mine, found, strict=True):
            both = zip(places(record), record["hypotheses"], strict=True)
            yield record | {"hypotheses": [each | {"score": scores[place]} for place, each in both]}

"""Compare size, speed and BLEU of a student in fairseq and in exported folders, from raw text to raw text."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..errors import UserError
from ..files import sha256
from ..lines import read_lines
from ..scoring import score_corpus
from ..sequences.corpus import open_corpus
from ..sequences.decoding import DecodingOptions, Engine, Settings
from ..sequences.engines.ctranslate2_engine import CTranslate2Engine, computes_in
from ..sequences.engines.fairseq_engine import FairseqEngine
from ..sequences.segmentation import SENTENCEPIECE, joiner, splitter
from ..sequences.translate import Translator
from ..teachers.alone import Teacher
from .facts import contents
from .pieces import Pieces

#: Sentences that are sorted by length together. Most test sets are smaller.
WINDOW = 10_000


@dataclass
class RawBitext:
    """Raw text and one or more sets of references, one sentence per line."""

    source: Path
    references: Sequence[Path]
    limit: int | None = None  #: maximum number of sentences

    def __post_init__(self) -> None:
        self.corpus = open_corpus(self.source)
        self.sentences = min(self.corpus.sentences, self.limit or self.corpus.sentences)
        self.texts = [list(itertools.islice(read_lines(path), self.limit)) for path in self.references]
        for path, lines in zip(self.references, self.texts, strict=True):
            if self.sentences != len(lines):
                raise UserError(
                    f"{self.source} and {path} have {self.sentences:,} and {len(lines):,} lines"
                    + (f" (of the first {self.limit:,})" if self.limit else "")
                    + ", expected equal numbers"
                )
        sides = {self.source: self.corpus.read(0, self.sentences)} | dict(zip(self.references, self.texts, strict=True))
        for path, side in sides.items():
            if any(SENTENCEPIECE in line for line in side):
                raise UserError(f"{path} is in SentencePiece pieces; expected raw text")


@dataclass
class System:
    """A system of the comparison, with all files that it needs to translate raw text."""

    path: Path
    files: Mapping[str, Path]
    engine: Engine
    settings: Settings
    seconds: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def translate(self, test: RawBitext, pieces: Pieces, unspoken: frozenset[str]) -> None:
        """Translate the test set, and record duration and translations. Types in `unspoken` are left out of these."""
        join = joiner(pieces.target, [])
        translator = Translator(test.corpus, self.engine, splitter(pieces.source), join, WINDOW, unspoken=unspoken)
        begun = time.perf_counter()
        windows = list(translator.translate(self.settings, 0, test.sentences))
        self.seconds.append(time.perf_counter() - begun)
        records = itertools.chain.from_iterable(windows)
        self.texts = [record["hypotheses"][0]["text"] if record["hypotheses"] else "" for record in records]


def compare(
    student: Teacher,
    pieces: Pieces,
    folders: Sequence[Path],
    test: RawBitext,
    *,
    beam: int = 5,
    rounds: int = 3,
    cores: int = 1,
) -> list[dict[str, Any]]:
    """Measure fairseq and each exported folder on the CPU, in turns. Return a row for each.

    `bytes` of a row is the size of all files that translate raw text. For fairseq these are the checkpoint, both
    dictionaries and the SentencePiece models. `sentences_per_second` is the median of `rates`, a rate per round,
    without the time of loading.
    """
    options = DecodingOptions(beam=beam)
    fairseq = FairseqEngine(student, options, "cpu", cores)
    files = {path.name: path for path in (*student.paths, *student.dictionaries)} | pieces.by_name()
    systems = [System(student.paths[0], files, fairseq, fairseq.default)]
    for folder in folders:
        engine = CTranslate2Engine(folder, options, "cpu", cores, student.max_positions, student.affixes)
        settings = replace(engine.default, compute_type=computes_in(folder))
        systems.append(System(folder, {path.name: path for path in contents(folder)}, engine, settings))
    for system in systems:
        system.engine.configure(system.settings)
    for number in range(rounds):
        for system in systems[:: -1 if number % 2 else 1]:
            system.translate(test, pieces, student.language_tokens)
            rate = test.sentences / system.seconds[-1]
            print(f"round {number + 1} | {system.path} | {rate:,.1f} sentences/s", file=sys.stderr)
    shared = {
        "sentences": test.sentences,
        "beam": beam,
        "cores": cores,
        "source": {"path": str(test.source), "sha256": test.corpus.digest},
        "references": [{"path": str(path), "sha256": sha256(path)} for path in test.references],
        "checkpoint_sha256": sha256(student.paths[0]),
    }
    return [_row(system, test) | shared for system in systems]


def _row(system: System, test: RawBitext) -> dict[str, Any]:
    sizes = {name: path.stat().st_size for name, path in system.files.items()}
    rates = [round(test.sentences / seconds, 1) for seconds in system.seconds]
    return {
        "system": system.engine.name,
        "path": str(system.path),
        "compute_type": system.settings.compute_type,
        "bytes": sum(sizes.values()),
        "files": sizes,
        "sentences_per_second": statistics.median(rates),
        "rates": rates,
        **score_corpus(system.texts, *test.texts),
        "settings": asdict(system.settings),
    }


def format_comparison(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as a table, followed by the test set, the search and BLEU's signature."""
    heads = ("system", "model", "compute type", "MB", "sentences/s", "BLEU")
    cells = [
        [
            row["system"],
            row["path"],
            row["compute_type"],
            f"{row['bytes'] / 1e6:,.2f}",
            f"{row['sentences_per_second']:,.1f}",
            f"{row['bleu']:.1f}",
        ]
        for row in rows
    ]
    aligned = ("left", "left", "left", "right", "right", "right")
    first = rows[0]
    return "\n".join(
        [
            tabulate(cells, heads, colalign=aligned, disable_numparse=True),
            "",
            f"{first['source']['path']}: {first['sentences']:,} sentences, beam {first['beam']}, "
            f"{first['cores']} CPU core(s), median of {len(first['rates'])} rounds",
            f"BLEU: {first['signature']}",
        ]
    )

"""Select the translations that a student learns from, and weight them.

The weights of each source sentence that is kept sum to 1, under every strategy.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.chunks import map_chunks
from ..data.sentencepiece_model import load_model
from ..errors import UserError
from .filters import Filter, refused_by
from .mbr import EVIDENCE, Risk
from .pieces import has_unknown, to_text
from .segmentation import SENTENCEPIECE
from .utility import UTILITIES, make_metric, make_utility, signature
from .weights import softmax

STRATEGIES = ("1-best", "nearest", "n-best", "mbr", "mbr-n")
BY_RISK = ("mbr", "mbr-n")
METRICS = UTILITIES
#: Default metrics of the strategies that use one.
USUAL_METRIC = {"nearest": "sentence-bleu", "mbr": "chrf", "mbr-n": "chrf"}
#: Reasons for dropping a hypothesis, in addition to the names of filters.
EMPTY, LOW_SCORE, WORSE, DUPLICATE = "empty", "teacher score", "score", "duplicate"
BATCH = 200  # sentences per batch of a worker process

Item = tuple[dict[str, Any], str | None]  #: a record of `nbest`, and its reference


@dataclass(frozen=True)
class SelectionOptions:
    """Options of `lskd select`, named like its flags.

    Raises:
        UserError: if options are out of range or conflict; the message names all of them.
    """

    strategy: str = "1-best"
    metric: str | None = None  #: one of `METRICS`; None for that of `USUAL_METRIC`
    target_lang: str = ""  #: selects the tokeniser of sentence BLEU
    score_temperature: float = 1.0
    mbr_best: int = 5  #: hypotheses per sentence that mbr-n selects
    mbr_evidence: str = "counts"  #: one of `mbr.EVIDENCE`
    mbr_aggregate: bool = False
    outside: bool = False  #: the candidates of mbr and mbr-n have their utilities (`outside_utilities`)
    max_hypotheses: int | None = None
    add_references: float = 0.0  #: weight of the reference in a mixture with translations
    replace_by_references: float = 0.0  #: share of sources with the reference instead of translations
    seed: int = 1  #: random seed for `replace_by_references`
    on_empty: str = "drop"  #: or "reference"
    filters: tuple[Filter, ...] = ()
    dedup: bool = False
    least_score: float = -math.inf  #: drop all translations of a source with a lower best score
    worst_score: float = -math.inf  #: drop hypotheses with a lower score
    remove_bpe: str = "sentencepiece"  #: segmentation scheme of source and references, one of `pieces.SCHEMES`
    sentencepiece_source: Path | None = None
    sentencepiece_target: Path | None = None

    def __post_init__(self) -> None:
        n = self.max_hypotheses
        problems = [
            text
            for wrong, text in (
                (self.strategy not in STRATEGIES, f"--strategy {self.strategy}: expected {', '.join(STRATEGIES)}"),
                (
                    self.metric is not None and self.metric not in METRICS,
                    f"--metric {self.metric}: expected {', '.join(METRICS)}",
                ),
                (self.mbr_best < 1, f"--mbr-best {self.mbr_best}: expected 1 or more"),
                (
                    self.mbr_evidence not in EVIDENCE,
                    f"--mbr-evidence {self.mbr_evidence}: expected {', '.join(EVIDENCE)}",
                ),
                (
                    not 0 < self.score_temperature < math.inf,
                    f"--score-temperature {self.score_temperature:g}: expected above 0",
                ),
                (n is not None and n < 1, f"--max-hypotheses {n}: expected 1 or more"),
                (
                    not 0 <= self.add_references < 1,
                    f"--add-references {self.add_references:g}: expected 0 or more, and below 1",
                ),
                (
                    not 0 <= self.replace_by_references <= 1,
                    f"--replace-by-references {self.replace_by_references:g}: expected a share from 0 to 1",
                ),
                (
                    bool(self.add_references and self.replace_by_references),
                    "--add-references and --replace-by-references: give only one of them",
                ),
            )
            if wrong
        ]
        if problems:
            raise UserError("; ".join(problems))

    @property
    def writes_references(self) -> bool:
        """Whether references may become targets."""
        return bool(self.add_references or self.replace_by_references or self.on_empty == "reference")


class Pair(NamedTuple):
    """A sentence pair of the training data, in the student's pieces."""

    source: str
    target: str
    weight: float
    reference: bool


class Drop(NamedTuple):
    """A hypothesis that was dropped, and why."""

    reason: str
    text: str
    score: float


@dataclass
class Outcome:
    """The result of the selection for one source sentence."""

    id: int
    source: str  #: as text
    scores: list[float]  #: scores of all hypotheses, best first
    skipped: str | None = None  #: why the sentence was not translated; None if it was
    unknown: int = 0  #: number of hypotheses with an unknown word
    unknown_written: int = 0  #: number of chosen hypotheses with an unknown word
    replaced: bool = False  #: whether the reference replaces the translations
    drops: list[Drop] = field(default_factory=list)
    similarity: tuple[float, float] | None = None  #: to the reference: of the best hypothesis, of the nearest
    utility: tuple[float, float] | None = None  #: expected utility: of the highest score, of the choice
    pairs: list[Pair] = field(default_factory=list)
    alone: float | None = None  #: share of references in the mixture, if the sentence has only one kind of target


class Selector:
    """Filters and selects the hypotheses of single source sentences.

    Raises:
        UserError: if a SentencePiece model cannot be read.
    """

    def __init__(self, options: SelectionOptions):
        self.options = options
        name = options.metric or USUAL_METRIC.get(options.strategy, METRICS[0])
        self.metric = make_metric(name, options.target_lang) if options.strategy == "nearest" else None
        self.risk = None
        if options.strategy in BY_RISK:
            utility = None if options.outside else make_utility(name, options.target_lang)
            self.risk = Risk(utility, options.mbr_evidence, options.score_temperature, options.mbr_aggregate)
        self._encoders = [
            _sentencepiece("--sentencepiece-source", options.sentencepiece_source),
            _sentencepiece("--sentencepiece-target", options.sentencepiece_target),
        ]

    @property
    def signature(self) -> str | None:
        """sacreBLEU's signature of the metric of `nearest` or the utility of `mbr`; None without one."""
        if self.risk is not None:
            return self.risk.utility.signature if self.risk.utility else None
        return None if self.metric is None else signature(self.metric)

    def pieces(self, record: dict[str, Any]) -> tuple[str, list[str]]:
        """Return the source and all translations of a sentence in the student's pieces."""
        source = self._encode(0, record["source"], to_text(record["source"], self.options.remove_bpe))
        return source, [self._encode(1, each["tokens"], each["text"]) for each in record["hypotheses"]]

    def reference_pieces(self, reference: str) -> str:
        """Return a reference, in pieces or as text, in the student's pieces."""
        return self._encode(1, reference, to_text(reference, self.options.remove_bpe))

    def __call__(self, record: dict[str, Any], reference: str | None = None) -> Outcome:
        """Filter a sentence's hypotheses and choose among them.

        Args:
            record: a record of `nbest`.
            reference: the reference, in pieces or as text; None or empty if there is none.

        Raises:
            UserError: if a score is not finite, or the reference is text and the translations are in pieces.
        """
        options = self.options
        hypotheses = sorted(record["hypotheses"], key=lambda hypothesis: -hypothesis["score"])
        outcome = Outcome(
            record["id"],
            to_text(record["source"], options.remove_bpe),
            [hypothesis["score"] for hypothesis in hypotheses],
        )
        if not all(map(math.isfinite, outcome.scores)):
            raise UserError(f"sentence {record['id']} has the scores {outcome.scores}: expected finite numbers")
        source = self._encode(0, record["source"], outcome.source)
        reference = (reference or "").strip() if source else ""
        kept: list[dict[str, Any]] = []
        if reference and self._is_replaced(record["id"]):
            outcome.replaced = True
        elif hypotheses:
            kept = self._filtered(hypotheses, outcome)[: options.max_hypotheses]
        else:
            outcome.skipped = record.get("skipped", "missing")
        share = 0.0  # of the reference
        if reference:
            share = options.add_references if kept else float(outcome.replaced or options.on_empty == "reference")
        chosen = list(self._chosen(kept, reference, outcome))
        outcome.unknown = sum(has_unknown(hypothesis["text"]) for hypothesis in hypotheses)
        outcome.unknown_written = sum(has_unknown(hypothesis["text"]) for hypothesis, _ in chosen)
        outcome.pairs = [
            Pair(source, self._encode(1, hypothesis["tokens"], hypothesis["text"]), weight * (1 - share), False)
            for hypothesis, weight in chosen
        ]
        if share:
            self._check_form(record, reference)
            outcome.pairs.append(Pair(source, self.reference_pieces(reference), share, True))
        if options.add_references and len({pair.reference for pair in outcome.pairs}) == 1:
            outcome.alone = options.add_references
        return outcome

    def _is_replaced(self, index: int) -> bool:
        # A generator per sentence, so that the result does not depend on other sentences.
        share = self.options.replace_by_references
        return share > 0 and random.Random(f"{self.options.seed} {index}").random() < share

    def _filtered(self, hypotheses: list[dict[str, Any]], outcome: Outcome) -> list[dict[str, Any]]:
        kept = []
        texts = set()
        for hypothesis in hypotheses:
            text = hypothesis["text"]
            if not text.strip():
                reason: str | None = EMPTY
            elif outcome.scores[0] < self.options.least_score:
                reason = LOW_SCORE
            elif hypothesis["score"] < self.options.worst_score:
                reason = WORSE
            elif refused := hypothesis.get("refused"):  # by scores in another file
                outcome.drops.append(Drop(refused[0], text, refused[1]))
                continue
            elif self.options.dedup and text in texts and self.risk is None:  # MBR counts duplicates
                reason = DUPLICATE
            else:
                reason = refused_by(self.options.filters, outcome.source, text)
            if reason:
                outcome.drops.append(Drop(reason, text, hypothesis["score"]))
            else:
                kept.append(hypothesis)
                texts.add(text)
        return kept

    def _chosen(
        self, kept: list[dict[str, Any]], reference: str, outcome: Outcome
    ) -> Iterable[tuple[dict[str, Any], float]]:
        if self.options.strategy == "n-best" and kept:
            weights = softmax([hypothesis["score"] for hypothesis in kept], self.options.score_temperature)
            return zip(kept, weights.tolist(), strict=True)
        if self.metric is not None and kept and reference:
            reference = to_text(reference, self.options.remove_bpe)
            similar = [self.metric.sentence_score(hypothesis["text"], [reference]).score for hypothesis in kept]
            nearest = max(range(len(kept)), key=similar.__getitem__)  # of equals, the first has the highest score
            outcome.similarity = similar[0], similar[nearest]
            return [(kept[nearest], 1.0)]
        if self.risk is not None and kept:
            ranked, utilities = self.risk.rank(kept)
            outcome.utility = utilities[ranked.index(kept[0])], utilities[0]
            best = ranked[: 1 if self.options.strategy == "mbr" else self.options.mbr_best]
            return [(hypothesis, 1 / len(best)) for hypothesis in best]
        return [(hypothesis, 1.0) for hypothesis in kept[:1]]

    def _encode(self, side: int, line: str, text: str) -> str:
        encoder = self._encoders[side]
        # Replace other white space by single spaces: fairseq may read some of it as the end of a line.
        return " ".join(line.split() if encoder is None else encoder.encode(" ".join(text.split()), out_type=str))

    def _check_form(self, record: dict[str, Any], reference: str) -> None:
        pieces = self._encoders[1] is None and any(SENTENCEPIECE in h["tokens"] for h in record["hypotheses"])
        if pieces and SENTENCEPIECE not in reference:
            raise UserError(
                f"--references, line {record['id'] + 1}: found text, but the translations are in pieces. Give "
                "--sentencepiece-target, or --references in the same pieces"
            )


def least_score(records: Iterable[dict[str, Any]], quantile: float) -> float:
    """Return the score below which the share `quantile` of the sentences has its best score; -inf without scores."""
    best = array("d", (max(h["score"] for h in record["hypotheses"]) for record in records if record["hypotheses"]))
    place = int(quantile * len(best))
    return float(np.partition(np.array(best), place)[place]) if best else -math.inf


def select(items: Iterable[Item], options: SelectionOptions, workers: int = 1) -> Iterator[Outcome]:
    """Yield the outcome of each item, in order. The number of worker processes does not change the outcomes.

    Items are read lazily, only as many in advance as keep the workers busy.

    Raises:
        UserError: as in `Selector`, or if a worker process was killed.
    """
    items = iter(items)
    batches = iter(lambda: list(itertools.islice(items, BATCH)), [])
    for outcomes in map_chunks(functools.partial(_select_batch, Selector(options)), batches, workers):
        yield from outcomes


def _select_batch(selector: Selector, items: list[Item]) -> list[Outcome]:
    return list(itertools.starmap(selector, items))


def _sentencepiece(flag: str, path: Path | None) -> Any:
    return None if path is None else load_model(path, flag)

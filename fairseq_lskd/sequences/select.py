"""Which of a teacher's translations a student learns from, and with what weight.

The weights of every source sentence that is kept sum to 1, whatever the strategy.
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
#: Each strategy's metric where none is given.
USUAL_METRIC = {"nearest": "sentence-bleu", "mbr": "chrf", "mbr-n": "chrf"}
#: Reasons for dropping a hypothesis, beside the names of filters.
EMPTY, LOW_SCORE, WORSE, DUPLICATE = "empty", "teacher score", "score", "duplicate"
BATCH = 200  # sentences that a worker process is given at a time

Item = tuple[dict[str, Any], str | None]  #: a record of `nbest`, and the line of its reference


@dataclass(frozen=True)
class SelectionOptions:
    """What `lskd select` is asked for, in the names of its flags.

    Raises:
        UserError: naming every option that does not hold.
    """

    strategy: str = "1-best"
    metric: str | None = None  #: one of `METRICS`; None is `USUAL_METRIC`
    target_lang: str = ""  #: sentence BLEU tokenises Chinese, Japanese and Korean in their own ways
    score_temperature: float = 1.0
    mbr_best: int = 5  #: hypotheses that mbr-n takes of a sentence
    mbr_evidence: str = "counts"  #: one of `mbr.EVIDENCE`
    mbr_aggregate: bool = False
    max_hypotheses: int | None = None
    add_references: float = 0.0  #: the reference's weight, beside the translations of its source
    replace_by_references: float = 0.0  #: the share of sources that have the reference in place of translations
    seed: int = 1  #: chooses these
    on_empty: str = "drop"  #: or "reference"
    filters: tuple[Filter, ...] = ()
    dedup: bool = False
    least_score: float = -math.inf  #: a source whose best score is below has its translations dropped
    worst_score: float = -math.inf  #: a hypothesis whose score is below is dropped
    remove_bpe: str = "sentencepiece"  #: pieces of source and references, one of `pieces.SCHEMES`
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
                    f"--add-references {self.add_references:g}: expected a weight above 0 and below 1",
                ),
                (
                    not 0 <= self.replace_by_references <= 1,
                    f"--replace-by-references {self.replace_by_references:g}: expected a share from 0 to 1",
                ),
                (
                    bool(self.add_references and self.replace_by_references),
                    "--add-references and --replace-by-references: expected one of them",
                ),
            )
            if wrong
        ]
        if problems:
            raise UserError("; ".join(problems))


class Pair(NamedTuple):
    """A line of the training data, as the student reads it."""

    source: str
    target: str
    weight: float
    reference: bool


class Drop(NamedTuple):
    """A hypothesis that a filter took away."""

    reason: str
    text: str
    score: float


@dataclass
class Outcome:
    """What became of a source sentence."""

    id: int
    source: str  #: as text
    scores: list[float]  #: of all its hypotheses, best first
    skipped: str | None = None  #: why it was not translated, if it was not
    unknown: int = 0  #: hypotheses that have an unknown word
    unknown_written: int = 0  #: of these, those that were chosen
    replaced: bool = False  #: by its reference, before anything else
    drops: list[Drop] = field(default_factory=list)
    similarity: tuple[float, float] | None = None  #: to the reference, of the best hypothesis and of the nearest
    utility: tuple[float, float] | None = None  #: expected, of the hypothesis with the highest score and of the chosen
    pairs: list[Pair] = field(default_factory=list)
    alone: float | None = None  #: where a mixture has only one kind of target for it: the share that references have


class Selector:
    """Selects for one source sentence after another.

    Raises:
        UserError: if a SentencePiece model cannot be read.
    """

    def __init__(self, options: SelectionOptions):
        self.options = options
        name = options.metric or USUAL_METRIC.get(options.strategy, METRICS[0])
        self.metric = make_metric(name, options.target_lang) if options.strategy == "nearest" else None
        self.risk = None
        if options.strategy in BY_RISK:
            utility = make_utility(name, options.target_lang)
            self.risk = Risk(utility, options.mbr_evidence, options.score_temperature, options.mbr_aggregate)
        self._encoders = [
            _sentencepiece("--sentencepiece-source", options.sentencepiece_source),
            _sentencepiece("--sentencepiece-target", options.sentencepiece_target),
        ]

    @property
    def signature(self) -> str | None:
        """sacreBLEU's, of the metric of `nearest` or the utility of `mbr`."""
        if self.risk is not None:
            return self.risk.utility.signature
        return None if self.metric is None else signature(self.metric)

    def pieces(self, record: dict[str, Any]) -> tuple[str, list[str]]:
        """A sentence's source and all its translations as a student reads them."""
        source = self._encode(0, record["source"], to_text(record["source"], self.options.remove_bpe))
        return source, [self._encode(1, each["tokens"], each["text"]) for each in record["hypotheses"]]

    def __call__(self, record: dict[str, Any], reference: str | None = None) -> Outcome:
        """Filter a sentence's hypotheses and choose among them.

        Args:
            record: as `read_nbest` yields them.
            reference: its line, in pieces or as text; None and an empty one are no reference.

        Raises:
            UserError: for a score that is not finite, and a reference that is text where translations are pieces.
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
        share = 0.0  # the reference's
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
            target = self._encode(1, reference, to_text(reference, options.remove_bpe))
            outcome.pairs.append(Pair(source, target, share, True))
        if options.add_references and len({pair.reference for pair in outcome.pairs}) == 1:
            outcome.alone = options.add_references
        return outcome

    def _is_replaced(self, index: int) -> bool:
        # A generator a sentence: what it says does not depend on the sentences before.
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
            elif self.options.dedup and text in texts and self.risk is None:  # to whom it is evidence
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
            nearest = max(range(len(kept)), key=similar.__getitem__)  # of equals the first, which scores best
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
        # One space between pieces and no other white space, which fairseq might take for the end of a line.
        return " ".join(line.split() if encoder is None else encoder.encode(" ".join(text.split()), out_type=str))

    def _check_form(self, record: dict[str, Any], reference: str) -> None:
        pieces = self._encoders[1] is None and any(SENTENCEPIECE in h["tokens"] for h in record["hypotheses"])
        if pieces and SENTENCEPIECE not in reference:
            raise UserError(
                f"--references, line {record['id'] + 1} is text, the translations are in pieces: the student would see "
                "both. Give --sentencepiece-target, or --references in the same pieces"
            )


def least_score(records: Iterable[dict[str, Any]], quantile: float) -> float:
    """The score below which the share `quantile` of the sentences has its best hypothesis."""
    best = array("d", (max(h["score"] for h in record["hypotheses"]) for record in records if record["hypotheses"]))
    place = int(quantile * len(best))
    return float(np.partition(np.array(best), place)[place]) if best else -math.inf


def select(items: Iterable[Item], options: SelectionOptions, workers: int = 1) -> Iterator[Outcome]:
    """The outcome of every item, in their order; what it is does not depend on the number of workers.

    With several workers, only as many items are read ahead as keep them busy.

    Raises:
        UserError: as a `Selector` does, and if a worker process was killed.
    """
    items = iter(items)
    batches = iter(lambda: list(itertools.islice(items, BATCH)), [])
    for outcomes in map_chunks(functools.partial(_select_batch, Selector(options)), batches, workers):
        yield from outcomes


def _select_batch(selector: Selector, items: list[Item]) -> list[Outcome]:
    return list(itertools.starmap(selector, items))


def _sentencepiece(flag: str, path: Path | None) -> Any:
    return None if path is None else load_model(path, flag)

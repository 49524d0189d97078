"""The report of a selection: counts of what was kept and dropped, with examples."""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tabulate import tabulate

from .select import Outcome

EXAMPLES = 5  # per reason
#: Weights are called nearly uniform if the effective number of hypotheses exceeds this share of their number.
UNIFORM = 0.9
#: Measures of the best and the chosen hypothesis -> the name of the chosen one, and of the measure in words.
MEASURES = {
    "similarity": ("nearest", "similarity to the reference"),
    "expected utility": ("chosen", "expected utility"),
}
QUANTILES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


@dataclass
class Dropped:
    """Counts of the hypotheses that were dropped for one reason, and of their source sentences."""

    hypotheses: int = 0
    sentences: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


class Report:
    """Counts outcomes in corpus order. Memory grows by 8 bytes per sentence."""

    def __init__(self, signature: str | None = None):
        self.signature = signature
        self.sentences: Counter[str] = Counter()
        self.untranslated: Counter[str] = Counter()
        self.hypotheses: Counter[str] = Counter()
        self.pairs: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.most = 0  #: largest number of hypotheses that a sentence has
        self.dropped: dict[str, Dropped] = {}
        self._best = array("d")
        self._effective = 0.0
        #: By measure: the sentences that have it, those whose choice is better, the sums of the best and of the choice.
        self._measured = {name: np.zeros(4) for name in MEASURES}
        self._random = random.Random(1)

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of one source sentence."""
        weights = [pair.weight for pair in outcome.pairs if not pair.reference]
        references = len(outcome.pairs) - len(weights)
        self.sentences["read"] += 1
        self.sentences[_fate(outcome)] += 1
        self.hypotheses.update({"read": len(outcome.scores), "written": len(weights)})
        self.hypotheses["dropped"] += len(outcome.drops)
        if outcome.unknown:
            found = {"sentences": 1, "hypotheses": outcome.unknown, "written": outcome.unknown_written}
            self.unknown.update(found)
        self.most = max(self.most, len(outcome.scores))
        self.pairs.update({"translations": len(weights), "references": references})
        if outcome.skipped:
            self.untranslated[outcome.skipped] += 1
        if outcome.scores:
            self._best.append(outcome.scores[0])
        if weights:
            total = sum(weights)
            entropy = -sum(weight / total * math.log(weight / total) for weight in weights if weight)
            self._effective += math.exp(entropy)
        for name, values in zip(MEASURES, (outcome.similarity, outcome.utility), strict=True):
            if values:
                self._measured[name] += (1, values[0] < values[1], *values)
        self._count_drops(outcome)

    def to_json(self) -> dict[str, Any]:
        """Return all counts and statistics."""
        record: dict[str, Any] = {
            "sentences": dict(self.sentences),
            "not translated": dict(self.untranslated),
            "hypotheses": dict(self.hypotheses),
            "pairs": dict(self.pairs),
            "unknown words": {name: self.unknown[name] for name in ("sentences", "hypotheses", "written")},
            "dropped": {reason: vars(dropped) for reason, dropped in self.dropped.items()},
        }
        if self._best:
            values = np.quantile(np.array(self._best), QUANTILES)
            record["best scores"] = {f"{q:.0%}": round(v, 4) for q, v in zip(QUANTILES, values.tolist(), strict=True)}
        if translated := self.sentences["translations"]:
            record["effective hypotheses"] = round(self._effective / translated, 3)
        for name, (chosen, _) in MEASURES.items():
            count, *sums = self._measured[name].tolist()
            if count:
                differs, best, value = (total / count for total in sums)
                record[name] = {
                    "signature": self.signature,
                    "best": round(best, 2),
                    chosen: round(value, 2),
                    f"{chosen} is not the best": round(differs, 4),
                }
        return record

    def tables(self) -> str:
        """Return the counts and statistics as Markdown tables and text."""
        record = self.to_json()
        rows: list[tuple[str, int, int | None]] = [("read", self.sentences["read"], self.hypotheses["read"])]
        rows += [(f"not translated: {reason}", count, None) for reason, count in self.untranslated.items()]
        rows.append(("with an unknown word", self.unknown["sentences"], self.unknown["hypotheses"]))
        rows += [(f"dropped: {reason}", found.sentences, found.hypotheses) for reason, found in self.dropped.items()]
        rows += [
            ("written: translations", self.sentences["translations"], self.pairs["translations"]),
            ("written: the reference, in place of translations", self.sentences["replaced"], None),
            ("written: the reference, as no translation is left", self.sentences["reference"], None),
            ("not written", self.sentences["dropped"], None),
        ]
        cells = [(name, *("" if n is None else f"{n:,}" for n in numbers)) for name, *numbers in rows if numbers[0]]
        parts = [_table(cells, ["", "sentences", "hypotheses"])]
        if self.dropped:
            parts.append("A sentence counts as dropped here if the filter drops one or more of its hypotheses.")
        if written := self.unknown["written"]:
            parts.append(
                f"{written:,} of the written translations contain an unknown word (`<unk>`), which a student would "
                "learn. `--filter-unk` drops them; `lskd translate --unkpen inf` does not generate any."
            )
        if "best scores" in record:
            parts.append("Scores of the best hypotheses, by quantile:")
            parts.append(_table([[f"{value:.3f}" for value in record["best scores"].values()]], record["best scores"]))
        if record.get("effective hypotheses", 1) > 1:
            number = self.pairs["translations"] / self.sentences["translations"]
            # The hypotheses of mbr-n have equal weights by definition.
            uniform = "expected utility" not in record and record["effective hypotheses"] > UNIFORM * number
            parts.append(
                f"Effective hypotheses per sentence (exponential of the entropy of their weights): "
                f"{record['effective hypotheses']:.2f} of {number:.2f}."
                + uniform
                * " The weights are nearly uniform. A lower --score-temperature prefers better hypotheses."
            )
        for name, (chosen, measure) in MEASURES.items():
            if found := record.get(name):
                parts.append(
                    f"Mean {measure}: {found[chosen]:.2f} for the {chosen} hypothesis, {found['best']:.2f} for the one "
                    f"with the highest score. They differ in {found[f'{chosen} is not the best']:.1%} of the sentences."
                    + (f"\n{self.signature}" if self.signature else "")
                )
        return "\n\n".join(parts) + "\n"

    def examples(self) -> str:
        """Return examples of dropped hypotheses, in Markdown."""
        lines = []
        for reason, dropped in self.dropped.items():
            lines.append(f"\n## Dropped: {reason}\n")
            for example in dropped.examples:
                lines += [
                    f"    line {example['line']}, score {example['score']:.3f}",
                    f"    source:     {example['source']}",
                    f"    hypothesis: {example['hypothesis']}",
                    "",
                ]
        return "\n".join(lines)

    def _count_drops(self, outcome: Outcome) -> None:
        for reason in dict.fromkeys(drop.reason for drop in outcome.drops):
            self.dropped.setdefault(reason, Dropped()).sentences += 1
        for drop in outcome.drops:
            dropped = self.dropped[drop.reason]
            dropped.hypotheses += 1
            # Reservoir sampling: each hypothesis has the same probability of being shown.
            place = self._random.randrange(dropped.hypotheses)
            example = {"line": outcome.id + 1, "score": drop.score, "source": outcome.source, "hypothesis": drop.text}
            if len(dropped.examples) < EXAMPLES:
                dropped.examples.append(example)
            elif place < EXAMPLES:
                dropped.examples[place] = example


def _fate(outcome: Outcome) -> str:
    if not outcome.pairs:
        return "dropped"
    if outcome.replaced:
        return "replaced"
    return "reference" if outcome.pairs[0].reference else "translations"


def _table(rows: Any, headers: Any) -> str:
    return tabulate(rows, headers=list(headers), tablefmt="github", stralign="right", disable_numparse=True)

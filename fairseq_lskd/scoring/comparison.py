"""Score several systems on a test set: checks, metrics, significance tests and summaries over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.bitext import some_lines
from ..data.degenerate import degenerate
from ..data.tokenised import looks_tokenised, unknown_words
from ..errors import UserError
from .checks import MOST_OVERLAP, empty_lines, overlap
from .metrics import make_metric
from .seeds import spread
from .significance import TESTS, paired_test
from .systems import Output


@dataclass
class Data:
    """A test set, and translations in the order of `outputs`."""

    references: list[list[str]]
    outputs: list[Output]
    translations: list[list[str]]
    warnings: list[str] = field(default_factory=list)

    def check(
        self,
        reference_names: Sequence[str],
        training: Sequence[str] = (),
        allow_tokenised: bool = False,
        allow_empty: bool = False,
        allow_overlap: bool = False,
        weak: bool = False,
        language: str = "",
        allow_unknown: bool = False,
        generated: bool = False,
    ) -> None:
        """Check for text that would make scores wrong. Problems that an argument allows go to `warnings`.

        Args:
            reference_names: names of the references in messages.
            training: target side of the training text.
            weak: whether the outputs are detokenised text of a model that may have learnt little. They may then have
                spaces before punctuation, and unknown words.
            language: target language, if it is known.
            generated: whether the test set is from `lskd generate`, where spaces before punctuation belong to the text.

        Raises:
            UserError: if there are problems. The message lists all files, lines and the flags that allow them.
        """
        problems: list[str] = []

        def note(problem: str, allowed: bool, flag: str) -> None:
            if allowed:
                self.warnings.append(problem)
            else:
                problems.append(f"{problem}. Use {flag} to score it anyway")

        texts = [(name, lines, not generated) for name, lines in zip(reference_names, self.references, strict=True)]
        texts += [
            (o.label, lines, not (weak or generated)) for o, lines in zip(self.outputs, self.translations, strict=True)
        ]
        for name, lines, spaces in texts:
            for trace in looks_tokenised(lines, language, spaces):
                note(f"{name} is tokenised: expected plain text, found {trace}", allow_tokenised, "--allow-tokenised")
        for name, lines in zip(reference_names, self.references, strict=True):
            if unknown := unknown_words(lines):
                text = f"{name}: {some_lines(unknown)} with <unk> or \u2047 in place of a word"
                note(text, allow_tokenised, "--allow-tokenised")
            for output, found in zip(self.outputs, self.translations, strict=True):
                if found == lines:
                    self.warnings.append(f"{output.label} is the same text as {name}: are they translations?")
        for output, lines in zip(self.outputs, self.translations, strict=True):
            if unknown := unknown_words(lines):
                text = (
                    f"{output.label}: {some_lines(unknown)} of {len(lines):,} with <unk> or \u2047 in place of a word "
                    "that the vocabulary lacks; metrics count it as a wrong word"
                )
                note(text, allow_unknown or weak, "--allow-unknown")
        for output, lines in zip(self.outputs, self.translations, strict=True):
            if empty := empty_lines(lines):
                note(f"{output.label}: {some_lines(empty)} without a translation", allow_empty, "--allow-empty")
        for output, lines in zip(self.outputs, self.translations, strict=True):
            self.warnings += degenerate(output.label, lines, self.references[0])
        for name, lines in zip(reference_names, self.references, strict=True):
            if training and (known := overlap(lines, training)):
                text = f"{name}: {some_lines(known)} of {len(lines):,} occur in the training text"
                few = len(known) <= MOST_OVERLAP * len(lines)
                note(text, allow_overlap or few, "--allow-overlap")
        if problems:
            head = ["scoring these files would give wrong results:"] if problems[1:] else []
            raise UserError("\n  ".join([*head, *problems]))


def compare(
    data: Data,
    metrics: Sequence[str],
    options: dict[str, Any],
    baseline: str | None = None,
    paired: str | None = None,
    samples: int = 0,
    jobs: int = 1,
    test_set: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Score every output, and test it against the baseline's output of the same seed.

    Args:
        metrics: names for `make_metric`.
        options: further arguments of `make_metric`.
        baseline: name of the system to compare with.
        paired: key of `significance.TESTS`; None: no test.
        samples: number of resamples or trials; 0: sacreBLEU's default.
        jobs: number of processes.
        test_set: sacreBLEU's name of the test set and its languages, for the signatures.
    """
    made = {name: make_metric(name, **options) for name in metrics}
    rows: list[dict[str, Any]] = [{"system": o.name, "file": str(o.path), "seed": o.seed} for o in data.outputs]
    signatures: dict[str, str] = {}

    def sign(name: str, signature: str) -> None:
        # sacreBLEU's own command writes the test set here.
        extra = f"|test:{test_set[0]}|lang:{test_set[1]}" if test_set else ""
        signatures[name] = signature.replace("|case:", f"{extra}|case:", 1)

    if paired is None:
        for name, metric in made.items():
            for row, lines in zip(rows, data.translations, strict=True):
                row[name] = round(metric.corpus_score(lines, data.references).score, 2)
            sign(name, str(metric.get_signature()))
    else:
        for group in _groups(data.outputs, baseline):
            named = [(data.outputs[i].name, data.translations[i]) for i in group]
            signed, found = paired_test(named, made, data.references, paired, samples, jobs)
            for name, results in found.items():
                sign(name, signed[name])
                for place, (i, outcome) in enumerate(zip(group, results, strict=True)):
                    rows[i][name] = round(outcome.score, 2)
                    if outcome.ci is not None:
                        rows[i][f"{name}_ci"] = round(outcome.ci, 2)
                    if place and outcome.p is not None:
                        rows[i][f"{name}_p"] = round(outcome.p, 4)
    result: dict[str, Any] = {"systems": rows, "signatures": signatures}
    if paired is not None:
        result["test"] = {"baseline": baseline, "kind": TESTS[paired]}
    return result


def _groups(outputs: Sequence[Output], baseline: str | None) -> list[list[int]]:
    """Return groups of outputs to compare, the baseline's first: one group per seed, or all with its only file."""
    names = list(dict.fromkeys(output.name for output in outputs))
    if baseline not in names:
        raise UserError(f"--baseline {baseline}: expected one of {', '.join(names)}")
    if len(names) == 1:
        raise UserError(f"--baseline {baseline}: expected another system to compare it with, found none")
    of = {name: [i for i, output in enumerate(outputs) if output.name == name] for name in names}
    base = of[baseline]
    if len(base) == 1:
        return [[base[0], *(i for i in range(len(outputs)) if i != base[0])]]
    if wrong := [f"{name} has {len(of[name])}" for name in names if len(of[name]) != len(base)]:
        raise UserError(
            f"--baseline {baseline} has {len(base)} files, {', '.join(wrong)}: each file is compared with the "
            "baseline's file in the same place. Give the same number of files for each system, or one for the baseline"
        )
    return [[of[name][seed] for name in (baseline, *(n for n in names if n != baseline))] for seed in range(len(base))]


def over_seeds(rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return mean, standard deviation and 95 % interval of every system; [] if all systems have one seed."""
    names = list(dict.fromkeys(row["system"] for row in rows))
    if len(names) == len(rows):
        return []
    summary = []
    for name in names:
        of_name = [row for row in rows if row["system"] == name]
        entry: dict[str, Any] = {"system": name, "seeds": len(of_name)}
        for metric in metrics:
            found = spread([row[metric] for row in of_name])
            entry[metric] = {"mean": found.mean, "std": found.std, "interval": found.interval}
        summary.append(entry)
    return summary

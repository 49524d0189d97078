"""Clean one block of a bitext in a worker process. The result depends on the block and the plan only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..language_id import OtherLanguage
from ..shifting import Steps as Measured
from . import steps as names
from .seen import line_hash
from .steps import Facts, Steps, filters, text_step

EXAMPLES = 5  # per filter
SHOWN_CHARS = 160


@dataclass(frozen=True)
class Plan:
    """What a cleaner needs to know. `hold_out` (v, t) sends every v-th source hash to valid and every t-th to test."""

    steps: Steps
    facts: Facts
    frequent: tuple[frozenset[str], frozenset[str]] | None = None
    hold_out: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Block:
    """Aligned lines, each ending in a line feed. `first` is the number of the first line in its part."""

    part: int
    first: int
    source: bytes
    target: bytes


@dataclass(frozen=True, order=True)
class Example:
    """A dropped pair. Those with the smallest hashes are shown, so that the choice only depends on the text."""

    hash: bytes
    line: int
    source: str
    target: str


@dataclass
class Cleaned:
    """The remaining lines of a block, with `hashes` (uint64) and `routes` (uint8: 0 train, 1 valid, 2 test).

    `measured` are the lengths and numbers of all its lines before cleaning, from line `first` on.
    """

    part: int
    read: int
    first: int = 1
    measured: Measured | None = None
    source: list[bytes] = field(default_factory=list)
    target: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    hashes: np.ndarray | None = None
    routes: np.ndarray | None = None
    changed: int = 0
    asked: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)


class Cleaner:
    """Cleans blocks by a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tidy = text_step(plan.steps)
        self.language = None
        if plan.steps.language != "off":
            self.language = OtherLanguage(plan.facts.languages, plan.frequent)
        self.filters = filters(plan.steps, plan.facts, self.language)

    def __reduce__(self) -> tuple[type[Cleaner], tuple[Plan]]:
        return Cleaner, (self.plan,)  # for worker processes, because the filters cannot be pickled

    def __call__(self, block: Block) -> Cleaned:
        sources, targets = _lines(block.source, block.first), _lines(block.target, block.first)
        out = Cleaned(block.part, len(sources), block.first)
        # Text in one language is cleaned as a bitext of it and itself.
        measured = Measured() if self.plan.facts.languages[0] != self.plan.facts.languages[1] else None
        out.measured = measured
        asked = self.language.asked if self.language else 0
        tidy, checks = self.tidy, self.filters
        texts: list[tuple[str, str]] = []
        for number, (raw_source, raw_target) in enumerate(zip(sources, targets, strict=True), start=block.first):
            if measured is not None:
                measured.add(raw_source, raw_target)
            if raw_source is None or raw_target is None:
                out.dropped[names.NOT_UTF8] += 1
                continue
            source, target = tidy(raw_source), tidy(raw_target)
            for name, check in checks:
                if check(source, target):
                    out.dropped[name] += 1
                    keep_example(out.examples, name, number, raw_source, raw_target)
                    break
            else:
                # tidy() returns the same object if it changes nothing.
                out.changed += source is not raw_source or target is not raw_target
                texts.append((source, target))
                out.numbers.append(number)
        out.source = [source.encode() for source, _ in texts]
        out.target = [target.encode() for _, target in texts]
        out.asked = self.language.asked - asked if self.language else 0
        self._hash(out)
        return out

    def _hash(self, out: Cleaned) -> None:
        by = self.plan.steps.duplicates
        if by != "off":
            if by == "pair":
                keys = [s + b"\t" + t for s, t in zip(out.source, out.target, strict=True)]
            else:
                keys = out.source if by == "source" else out.target
            out.hashes = _hashes(keys)
        valid, test = self.plan.hold_out
        if valid or test:
            sources = _hashes(out.source)
            out.routes = np.zeros(len(sources), dtype=np.uint8)
            if test:
                out.routes[sources % np.uint64(test) == 1] = 2
            if valid:
                out.routes[sources % np.uint64(valid) == 0] = 1


def keep_example(examples: dict[str, list[Example]], name: str, line: int, source: str, target: str) -> None:
    """Keep a dropped pair if it is among the examples to show."""
    digest = line_hash(f"{source}\t{target}".encode("utf-8", "replace"))
    merge_examples(
        examples.setdefault(name, []), [Example(digest, line, _excerpt(source, name), _excerpt(target, name))]
    )


def _excerpt(text: str, name: str) -> str:
    """Return the start of a long text, or the part with markup."""
    start = max(0, text.find("<") - 40) if name == names.MARKUP else 0
    cut = text[start : start + SHOWN_CHARS]
    return f"{'…' * (start > 0)}{cut}{'…' * (start + len(cut) < len(text))}"


def merge_examples(into: list[Example], new: list[Example]) -> None:
    """Add examples, and keep those to show."""
    into += new
    into.sort()
    del into[EXAMPLES:]


def _hashes(lines: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(map(line_hash, lines)), dtype="<u8")


def _lines(block: bytes, first: int) -> list[str | None]:
    """Return the lines of a block without line ends, and None for those that are not UTF-8."""
    lines: list[str | None]
    try:
        lines = [*block.decode("utf-8").split("\n")]
    except UnicodeDecodeError:
        lines = [_decoded(line) for line in block.split(b"\n")]
    lines.pop()
    if b"\r" in block:
        lines = [line.removesuffix("\r") if line is not None else None for line in lines]
    if first == 1 and lines and lines[0] is not None:
        lines[0] = lines[0].removeprefix("\ufeff")
    return lines


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None

"""Clean a whole bitext in blocks, with several processes: drop duplicates, hold out pairs, write files and counts.

The result depends on the text and the steps, not on the number of workers. Memory is a few blocks, and 8 bytes per
pair (briefly up to 24) if duplicates are dropped.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import UserError
from ..chunks import map_chunks
from ..corpora import HoldOut
from ..language_id import frequent_words
from ..shifting import Alignment
from . import steps as names
from .report import PartReport
from .seen import Seen
from .steps import Facts, Steps, main_script, text_step
from .worker import Block, Cleaned, Cleaner, Plan, keep_example

BLOCK = 5_000  # lines
SAMPLE = 3_000  # pairs from which mean lengths, scripts and frequent words are estimated
LEAST_SAMPLE = 200  # minimum number of pairs from each part
ROUTES = ("train", "valid", "test")


@dataclass(frozen=True)
class Texts:
    """A part's two texts on disk, source first, with the same number of lines."""

    name: str
    paths: tuple[Path, Path]
    lines: int


def sample(texts: Texts, count: int, steps: Steps) -> list[tuple[str, str]]:
    """Return about `count` pairs, evenly spaced in a part, after the text steps. Empty sides are left out."""
    tidy, step = text_step(steps), max(1, texts.lines // max(count, 1))
    with texts.paths[0].open("rb") as source, texts.paths[1].open("rb") as target:
        rows = itertools.islice(zip(source, target, strict=True), step // 2, None, step)
        pairs = [
            (tidy(s.decode("utf-8", "replace").strip()), tidy(t.decode("utf-8", "replace").strip())) for s, t in rows
        ]
    return [(s, t) for s, t in pairs if s and t]


def make_plan(
    parts: Sequence[Sequence[tuple[str, str]]],
    steps: Steps,
    languages: tuple[str, str],
    held_out: Sequence[tuple[str, str]],
    hold_out: HoldOut,
) -> Plan:
    """Return what the cleaners need to know, from samples of all parts and from the pairs of valid and test."""
    pairs = list(itertools.chain.from_iterable(parts))
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    means = [sum(map(len, side)) / len(side) if side else 1.0 for side in sides]
    scripts = [main_script(side) if steps.script is not None else None for side in sides]
    tidy = text_step(steps)
    held = [(tidy(s).casefold(), tidy(t).casefold()) for s, t in held_out] if steps.held_out != "off" else []
    facts = Facts(
        languages,
        (means[0], means[1]),
        (scripts[0], scripts[1]),
        (frozenset(s for s, _ in held), frozenset(t for _, t in held)),
        frozenset(held),
    )
    frequent = None
    if steps.language == "doubtful":
        frequent = (frequent_words(sides[0], languages[0]), frequent_words(sides[1], languages[1]))
    by_source = (hold_out.valid or 0, hold_out.test or 0) if hold_out.by == "source" else (0, 0)
    return Plan(steps, facts, frequent, by_source)


def blocks(part: int, texts: Texts, every: int = 1) -> Iterator[Block]:
    """Yield a part's blocks, or every n-th of them.

    Raises:
        UserError: if the number of lines of a text has changed.
    """
    read = [0, 0]
    with texts.paths[0].open("rb") as source, texts.paths[1].open("rb") as target:
        for index in itertools.count():
            lines = list(itertools.islice(source, BLOCK)), list(itertools.islice(target, BLOCK))
            read = [count + len(side) for count, side in zip(read, lines, strict=True)]
            if not lines[0] or len(lines[0]) != len(lines[1]):
                read = [count + sum(1 for _ in rest) for count, rest in zip(read, (source, target), strict=True)]
                break
            if index % every == 0:
                yield Block(part, index * BLOCK + 1, *(_ended(b"".join(side)) for side in lines))
    for path, count in zip(texts.paths, read, strict=True):
        if count != texts.lines:
            raise UserError(
                f"{path} changed while it was read: it had {texts.lines:,} lines, now has {count:,}. Run again"
            )


def _ended(block: bytes) -> bytes:
    """Add the line feed that the last line of a file may lack."""
    return block if block.endswith(b"\n") else block + b"\n"


def write_clean(
    texts: Sequence[Texts],
    plan: Plan,
    hold_out: HoldOut,
    folder: Path | None,
    workers: int,
    every: int = 1,
    progress: Callable[[int], object] = lambda lines: None,
) -> list[PartReport]:
    """Clean all parts to `folder` (None: only count). Return a report for each.

    With `every` above 1, only every n-th block of a part is read.
    """
    reports = [PartReport(part.name, alignment=_alignment(part.name, plan)) for part in texts]
    jobs = itertools.chain.from_iterable(blocks(index, part, every) for index, part in enumerate(texts))
    seen = Seen()
    number = 0  # pairs kept so far, by which hold_out.by = line counts
    splits = ["train", *(split for split in ("valid", "test") if getattr(hold_out, split))]
    with contextlib.ExitStack() as stack:
        files: Mapping[tuple[str, int], IO[bytes]] = {}
        if folder is not None:
            files = {
                (split, side): stack.enter_context((folder / f"{split}.{language}").open("wb", buffering=1 << 20))
                for split in splits
                for side, language in enumerate(plan.facts.languages)
            }
        for block in map_chunks(Cleaner(plan), jobs, workers):
            report = reports[block.part]
            if block.hashes is not None:
                drop_duplicates(block, seen)
            routes = block.routes
            if hold_out.by == "line" and (every_nth := hold_out.valid or hold_out.test):
                numbers = np.arange(number + 1, number + 1 + len(block.source))
                routes = np.where(numbers % every_nth == 0, 1 if hold_out.valid else 2, 0)
            number += len(block.source)
            report.add(block, routes)
            for (split, side), file in files.items():
                lines = block.target if side else block.source
                if routes is not None:
                    code = ROUTES.index(split)
                    lines = [line for line, route in zip(lines, routes, strict=True) if route == code]
                if lines:
                    file.write(b"\n".join(lines) + b"\n")
            progress(block.read)
    return reports


def _alignment(name: str, plan: Plan) -> Alignment:
    source, target = plan.facts.languages
    return Alignment(f"{name}.{source}", f"{name}.{target}")


def drop_duplicates(block: Cleaned, seen: Seen) -> None:
    """Drop the pairs of a block whose hashes were seen before."""
    assert block.hashes is not None
    fresh = seen.add(block.hashes)
    if fresh.all():
        return
    for index in np.flatnonzero(~fresh):
        block.dropped[names.DUPLICATE] += 1
        source, target = block.source[index].decode(), block.target[index].decode()
        keep_example(block.examples, names.DUPLICATE, block.numbers[index], source, target)
    block.source = list(itertools.compress(block.source, fresh))
    block.target = list(itertools.compress(block.target, fresh))
    if block.routes is not None:
        block.routes = block.routes[fresh]

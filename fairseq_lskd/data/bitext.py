"""Read and check a bitext on disk: `train.de`, `train.en` and so on, plain or gzipped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..files import stamp
from ..lines import UNREADABLE, decoding_problem, raw_lines, reading_problem

SPLITS = ("train", "valid", "test")
#: Other names of splits, which only `lskd data prepare` accepts.
OTHER_NAMES = {"valid": ("dev", "val")}
SHOWN = 5  # line numbers listed in a message


@dataclass
class Side:
    """One language's side of a split: its path, the number of lines, and the SHA-256 of the uncompressed bytes."""

    path: Path
    lines: int = 0
    sha256: str = ""
    blank: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stamp: tuple[int, ...] = ()  #: `files.stamp` before the file was read


Bitext = dict[str, dict[str, Side]]  #: split -> language -> side


def find_side(folder: Path, name: str) -> Path:
    """Return the path of `name` or `name.gz` in `folder`. Raise `UserError` if neither or both exist."""
    plain, zipped = folder / name, folder / f"{name}.gz"
    if plain.exists() and zipped.exists():
        raise UserError(f"{plain}: found {zipped.name} as well; delete one of the two")
    if zipped.exists():
        return zipped
    if plain.exists():
        return plain
    split, _, language = name.partition(".")
    others = [f"{other}.{language}" for other in OTHER_NAMES.get(split, ())]
    found = next((other for other in others if (folder / other).exists() or (folder / f"{other}.gz").exists()), None)
    hint = f"; found {found}: rename it to {name}" if found else ""
    raise UserError(f"{plain}: not found, and neither was {zipped.name}{hint}")


def check_bitext(folder: Path, languages: Sequence[str], splits: Sequence[str] = SPLITS) -> Bitext:
    """Read both sides of every split once. Raise one `UserError` with every problem in any of the files."""
    problems: list[str] = []
    bitext: Bitext = {}
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    for split in splits:
        sides: dict[str, Side] = {}
        for language in languages:
            try:
                sides[language] = examine(find_side(folder, f"{split}.{language}"))
            except UserError as error:
                problems.append(str(error))
        for side in sides.values():
            problems += side.problems
        if len(sides) == len(languages) == 2 and not any(side.problems for side in sides.values()):
            problems += _mismatch(list(sides.values()))
        blank = {side.path.name: side.blank for side in sides.values() if side.blank}
        if blank:
            problems.append(_blank_lines(folder, blank))
        bitext[split] = sides
    if problems:
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        raise UserError(f"{count} in the bitext:\n  " + "\n  ".join(problems))
    return bitext


def examine(path: Path, not_utf8: str = "refuse") -> Side:
    """Read one file to its end. Record its lines, digest, blank lines and problems. Raises nothing.

    Args:
        not_utf8: with "drop", a line that is not UTF-8 is no problem (a step of cleaning).
    """
    side = Side(path, stamp=stamp(path))
    digest = hashlib.sha256()
    undecoded = 0
    try:
        for number, (offset, raw) in enumerate(raw_lines(path, digest), start=1):
            side.lines = number
            try:
                blank = not raw.decode("utf-8").removeprefix("\ufeff").strip()
            except UnicodeDecodeError as error:
                undecoded += 1
                if undecoded == 1 and not_utf8 == "refuse":
                    side.problems.append(decoding_problem(path, number, offset, error))
                continue
            if blank:
                side.blank.append(number)
    except UNREADABLE as error:
        side.problems.append(reading_problem(path, error))
    else:
        if side.lines == 0:
            side.problems.append(f"{path}: the file is empty")
        if undecoded > 1 and not_utf8 == "refuse":
            side.problems[0] += f" (the first of {undecoded} such lines)"
    side.sha256 = digest.hexdigest()
    return side


def check_unchanged(sides: Iterable[Side]) -> None:
    """Check that files still have the text that `examine` found, so that every pass over them read the same text.

    Only files whose stamp changed are read again.

    Raises:
        UserError: with each changed file, and its number of lines before and now.
    """
    problems = []
    for side in sides:
        if stamp(side.path) == side.stamp:
            continue
        now = examine(side.path)
        if now.sha256 == side.sha256 and now.lines == side.lines:
            side.stamp = now.stamp
        else:
            problems.append(f"{side.path} had {side.lines:,} lines, now has {now.lines:,}")
    if problems:
        raise UserError(
            f"the text changed while it was read: {'; '.join(problems)}. Stop whatever writes there, and run again"
        )


def _mismatch(sides: list[Side]) -> list[str]:
    shorter, longer = sorted(sides, key=lambda side: side.lines)
    if shorter.lines == longer.lines:
        return []
    from .parting import explain  # imports NumPy, which nothing else here needs

    why = explain(shorter.path, longer.path)
    return [
        f"{shorter.path} has {shorter.lines:,} lines, {longer.path.name} has {longer.lines:,}: "
        f"{shorter.path.name} ends after line {shorter.lines:,}; both sides must be aligned line by line"
        + (f"; {why}" if why else "")
    ]


def _blank_lines(folder: Path, blank: dict[str, list[int]]) -> str:
    files = "; ".join(f"{folder / name}: blank: {some_lines(numbers)}" for name, numbers in blank.items())
    return f"{files}; remove these lines from BOTH sides"


def some_lines(numbers: Sequence[int]) -> str:
    """Return the count of line numbers and the first few of them, for a message."""
    first = ", ".join(str(number) for number in numbers[:SHOWN])
    return f"{len(numbers):,} line{'s' * (len(numbers) > 1)} ({first}{', …' * (len(numbers) > SHOWN)})"

"""Locate the files of a corpus: in the user's folder, in the cache, or still to be downloaded."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import UserError
from ...files import size
from ...names import place_of_url, within
from ..bitext import OTHER_NAMES, find_side
from ..corpora import Corpus, Download, Part, Side

MOST_NAMES = 12  #: files that a message names


@dataclass(frozen=True)
class Found:
    """The file of a side's text and, in an archive, its member. `plain`: the part's format does not apply to it."""

    path: Path
    member: str | None = None
    plain: bool = False


Located = dict[tuple[int, str], Found]  #: (index of the part, language) -> place


def cache_folder() -> Path:
    """Return the default of --cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fairseq_lskd"


def cached(cache: Path, download: Download) -> Path:
    """Return the path of a download in the cache, which follows its URL. Raise `UserError` for an unsuitable URL."""
    place = cache / place_of_url(download.url)
    if not (query := urlsplit(download.url).query):
        return place
    # Two files of a server may only differ in the query. Its hash is a prefix, to keep the extension.
    return place.parent / f"{hashlib.sha256(query.encode()).hexdigest()[:8]}-{place.name}"


def in_cache(corpus: Corpus, cache: Path) -> tuple[Located, list[Download]]:
    """Return the place of every side in the cache, and the downloads that are missing there."""
    located: Located = {}
    missing: dict[Download, None] = {}
    problems = []
    for number, part in enumerate(corpus.parts):
        for language, side in part.sides.items():
            if side.download is None:
                problems.append(f"{part.split}: {part.plain}.{language} or {part.plain}.{language}.gz")
                continue
            path = cached(cache, side.download)
            located[number, language] = Found(path, side.member)
            if not path.exists():
                missing[side.download] = None
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{corpus.name} is your own text: give its folder with --raw DIR. It must contain\n  {listed}")
    return located, list(missing)


def in_folder(corpus: Corpus, raw: Path) -> Located:
    """Locate every side in the user's folder: its text, plain or gzipped, or the archive that contains it.

    Raises:
        UserError: with every missing file, its size and its URL.
    """
    if not raw.is_dir():
        raise UserError(f"--raw {raw}: {'not a folder' if raw.exists() else 'no such folder'}")
    located: Located = {}
    problems: list[str] = []
    missing: dict[str, str] = {}
    for number, part in enumerate(corpus.parts):
        for language, side in part.sides.items():
            try:
                found = _side(raw, part, side, language)
            except UserError as error:
                problems.append(str(error))
                continue
            if found:
                located[number, language] = found
            else:
                wanted, line = _wanted(part, side, language)
                missing.setdefault(wanted, line)
    problems += missing.values()
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(
            f"--raw {raw}: {len(problems)} file{'s' * (len(problems) > 1)} of {corpus.name} cannot be found:\n"
            f"  {listed}\n{_there(raw)} Put the missing files there (the text, plain or gzipped, or the archive)"
            f"{', or leave out --raw to download them' if corpus.downloads else ''}{_columns_of_tables(raw)}"
        )
    return located


def _there(raw: Path) -> str:
    names = sorted(path.name for path in raw.iterdir() if path.is_file())
    return f"Found {', '.join(names[:MOST_NAMES])}{', …' * (len(names) > MOST_NAMES)}." if names else "Found no files."


def _columns_of_tables(raw: Path) -> str:
    """Return how to cut a table of both sides into a file for each; nothing if there is no table."""
    if not (tables := sorted(raw.glob("*.tsv"))):
        return ". A table with commas needs a program that reads CSV" if any(raw.glob("*.csv")) else ""
    return f". Each language is a file of its own: cut -f1 {shlex.quote(tables[0].name)} gives the first column"


def _side(raw: Path, part: Part, side: Side, language: str) -> Found | None:
    names = []  # possible names of the text itself, and whether it is plain
    if part.plain:
        aliases = (part.plain, *OTHER_NAMES.get(part.plain, ()))
        names += [(f"{alias}.{language}", True) for alias in aliases]
    if side.member and "*" not in side.member:
        names += [(side.member, False), (side.member.rpartition("/")[2], False)]
    if side.download and side.member is None:
        names.append((side.download.name.removesuffix(".gz"), False))
    for name, plain in names:
        name = name.removesuffix(".gz")
        place = within(raw, name, f"{part.split}, {part.name}: the file")
        if place.exists() or place.with_name(f"{place.name}.gz").exists():
            return Found(find_side(raw, name), plain=plain)
    if side.download and side.member and (raw / side.download.name).is_file():
        return Found(raw / side.download.name, side.member)
    if side.member and "*" in side.member:
        matches = fnmatch.filter((path.name for path in raw.iterdir()), side.member.rpartition("/")[2])
        if len(matches) == 1:
            return Found(raw / matches[0])
    return None


def _wanted(part: Part, side: Side, language: str) -> tuple[str, str]:
    """Return a key of a missing file, and a line that describes the file."""
    if side.download is None:
        wanted = f"{part.plain}.{language}"
        return wanted, f"{wanted} or {wanted}.gz"
    name = f"{side.download.name} ({size(side.download.size)})"
    inside = [each.member for each in part.sides.values() if each.member and "*" not in each.member]
    if inside:
        common = os.path.commonprefix(inside)  # noqa: RUF071
        endings = [member.removeprefix(common) for member in inside]
        name += f" or {common}{{{','.join(endings)}}}" if all(endings) else ""
    return side.download.url, f"{name}, for {part.name}: {side.download.url}"

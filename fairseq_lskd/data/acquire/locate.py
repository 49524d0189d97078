"""Where the files of a corpus are: in a folder of the user's, or in the cache, or still to be fetched."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import UserError
from ...names import place_of_url, within
from ..bitext import find_side
from ..corpora import Corpus, Download, Part, Side


@dataclass(frozen=True)
class Found:
    """A side's text: a file, and its member if the file is an archive. `plain`: one sentence a line, whatever the
    part's own format."""

    path: Path
    member: str | None = None
    plain: bool = False


Located = dict[tuple[int, str], Found]  #: (number of the part, language) -> where it is


def cache_folder() -> Path:
    """Where downloads are kept unless --cache says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fairseq_lskd"


def cached(cache: Path, download: Download) -> Path:
    """The place of a download in the cache, after its URL; `UserError` for a URL that has none."""
    place = cache / place_of_url(download.url)
    if not (query := urlsplit(download.url).query):
        return place
    # Two files of a server may differ in the query alone. In front, since the end of a name says what it is.
    return place.parent / f"{hashlib.sha256(query.encode()).hexdigest()[:8]}-{place.name}"


def in_cache(corpus: Corpus, cache: Path) -> tuple[Located, list[Download]]:
    """Where every side is or will be in the cache, and what is yet to be fetched."""
    located: Located = {}
    missing: dict[Download, None] = {}
    problems = []
    for number, part in enumerate(corpus.parts):
        for language, side in part.sides.items():
            if side.download is None:
                problems.append(f"{part.split}: {part.plain}.{language}, or {part.plain}.{language}.gz")
                continue
            path = cached(cache, side.download)
            located[number, language] = Found(path, side.member)
            if not path.exists():
                missing[side.download] = None
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{corpus.name} is a text that you bring: give --raw DIR with it:\n  {listed}")
    return located, list(missing)


def in_folder(corpus: Corpus, raw: Path) -> Located:
    """Where every side is in the user's folder: the text itself, plain or gzipped, or the archive that it is in.

    Raises:
        UserError: that lists everything that is not there, with its size and where to get it.
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
            f"--raw {raw}: {len(problems)} file{'s' * (len(problems) > 1)} of {corpus.name} missing or unclear:\n"
            f"  {listed}\nPut them there (the text itself, plain or gzipped, does as well as the archive)"
            f"{', or leave out --raw to have them fetched' if corpus.downloads else ''}"
        )
    return located


def _side(raw: Path, part: Part, side: Side, language: str) -> Found | None:
    names = []  # of the text itself, and whether it is plain
    if part.plain:
        aliases = ("valid", "dev", "val") if part.plain == "valid" else (part.plain,)
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
    """What is missing, and a line that says so."""
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


def size(count: int | None) -> str:
    """Bytes, for people."""
    if count is None:
        return "size unknown"
    if count < 1_000_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"

"""Corpus files: `data-prep/NAME.toml`, which say where a corpus comes from, how it is cleaned and split."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..names import INSIDE, PLAIN, is_inside, is_plain, plain, why_no_url
from ..reading import COUNT, NUMBER, misfit, read_toml, shown
from .bitext import SPLITS
from .clean.steps import Steps

#: In an installed package, and in a checkout.
FOLDERS = (Path(__file__).parent / "corpora", Path(__file__).parents[2] / "data-prep")
OWN = "own"
FORMATS = ("plain", "sgm", "tags", "tsv")


@dataclass(frozen=True)
class Download:
    """A file to fetch: an archive, or one that holds text itself. `size` in bytes; digests in hex, where known."""

    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.url.partition("?")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Side:
    """One language of a part: its download, and the member of it if that is an archive (* is allowed)."""

    download: Download | None
    member: str | None = None
    column: int | None = None
    text_sha256: str | None = None


@dataclass(frozen=True)
class Part:
    """A bitext that a corpus consists of. `sides` is empty until an id is looked up (`acquire.sources`).

    `plain` is the name, without language, under which its plain text may lie in a --raw folder.
    """

    split: str
    name: str
    sides: Mapping[str, Side]
    format: str | None = None
    plain: str | None = None
    mtdata: str | None = None
    sacrebleu: str | None = None


@dataclass(frozen=True)
class HoldOut:
    """Held-out pairs that are taken from the cleaned training text: every n-th, by line number or source hash."""

    by: str = "line"
    valid: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Corpus:
    """What a corpus file says. `languages` are source and target; `pairs` is of train, before cleaning."""

    name: str
    title: str
    languages: tuple[str, str]
    parts: tuple[Part, ...]
    steps: Steps
    hold_out: HoldOut = HoldOut()
    pairs: int | None = None
    licence: str = "none stated"
    citation: str = ""
    vocabulary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def downloads(self) -> set[Download]:
        """What there is to fetch, as far as the corpus file spells it out."""
        return {side.download for part in self.parts for side in part.sides.values() if side.download}


def names() -> list[str]:
    """The names of all corpora."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.toml")})


def load(name: str, languages: tuple[str, str] | None = None) -> Corpus:
    """The corpus of a name, or of a .toml file; `languages` are those of a text of one's own.

    Raises:
        UserError: if there is none, or its file is wrong: everything that is wrong, at once.
    """
    path = Path(name) if name.endswith(".toml") else _known(name)
    table = _read(path)
    if languages is not None:
        if table.get("languages") and set(table["languages"]) != set(languages):
            raise UserError(
                f"-s {languages[0]} -t {languages[1]}: {path.stem} has {' and '.join(table['languages'])}; "
                f"for a text of your own, prepare `{OWN}`"
            )
        table = table | {"languages": list(languages)}
    elif not table.get("languages"):
        raise UserError(f"-s and -t are missing: they name the languages of {path.stem}")
    return _Reader(path).corpus(table)


def _known(name: str) -> Path:
    for folder in FOLDERS:
        if is_plain(name) and (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    known = names()
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f" (did you mean {close[0]}?)" if close else ""
    raise UserError(f"no corpus is called {name}{guess}; there are {', '.join(known)}, or name a .toml file")


def _read(path: Path, likes: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's table, over that of the file that it is `like`; `likes` are those that led here."""
    table = read_toml(path)
    _check_kinds(path, table)
    if base := table.pop("like", None):
        plain(base, f"{path}: like =")
        beside = path.with_name(f"{base}.toml")
        other = beside if beside.is_file() else _known(base)
        likes = (*likes, path.resolve())
        if other.resolve() in likes:
            raise UserError(
                f"{path}: like = {base!r} leads back to {other}; expected the name of another corpus, "
                "of which this file says only what is different"
            )
        table = _read(other, likes) | table
    return table


_TEXT = (str, {str: str})  #: of both languages, or a table of each one's
#: What the values of a corpus file have to be, and those of a part; [clean] checks its own.
_KINDS: Mapping[str, Any] = {
    **{"title": str, "licence": str, "citation": str, "languages": [str], "pairs": COUNT, "like": str},
    **{"clean": dict, "hold_out": dict, "vocabulary": {str: (str, NUMBER, bool)}},
}
_PART_KINDS: Mapping[str, Any] = {
    **{"name": str, "mtdata": str, "sacrebleu": str, "format": str, "plain": str, "url": _TEXT, "files": _TEXT},
    **{"bytes": (COUNT, {str: COUNT}), "sha256": _TEXT, "md5": _TEXT, "text_sha256": _TEXT},
    "columns": (COUNT, {str: COUNT}),
}


def _check_kinds(path: Path, table: Mapping[str, Any]) -> None:
    """Raise `UserError` with every value of the wrong kind; keys that are not known are for others to name."""
    places = [("", table, _KINDS)]
    for split in SPLITS:
        parts = table.get(split)
        parts = parts if isinstance(parts, list) else []
        places += [(f"{split} {i}: ", part, _PART_KINDS) for i, part in enumerate(parts, 1) if isinstance(part, dict)]
    problems = [
        f"{where}{problem}"
        for where, given, kinds in places
        for key, kind in kinds.items()
        if key in given and (problem := misfit({key: given[key]}, {key: kind}))
    ]
    if problems:
        raise UserError(f"{path}:\n  " + "\n  ".join(problems))


class _Reader:
    """Reads a corpus file's tables, and notes what is wrong."""

    KEYS = frozenset(
        (
            *("title", "languages", "licence", "citation", "pairs", "train", "valid", "test"),
            *("clean", "hold_out", "vocabulary"),
        )
    )
    PART_KEYS = frozenset(
        (
            *("name", "mtdata", "sacrebleu", "url", "bytes", "sha256", "md5", "files", "columns"),
            *("text_sha256", "format", "plain"),
        )
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def corpus(self, table: dict[str, Any]) -> Corpus:
        self._unknown(table, self.KEYS, "")
        languages = table["languages"]
        if len(languages) != 2 or languages[0] == languages[1]:
            self.problems.append(f"languages = {languages}: expected two different ones")
        self.problems += [
            f"languages = {shown(each)}: expected {PLAIN.words}" for each in languages if not is_plain(each)
        ]
        parts = tuple(
            self._part(split, number, entry, languages)
            for split in SPLITS
            for number, entry in enumerate(self._entries(table, split), start=1)
        )
        hold_out = self._hold_out(table.get("hold_out", {}))
        for split in SPLITS:
            given = bool(table.get(split))
            drawn = getattr(hold_out, split, None) is not None
            if given == drawn:
                self.problems.append(f"{split}: expected [[{split}]]{' or hold_out' * (split != 'train')}")
        steps = Steps()
        try:
            steps = Steps.from_table(table.get("clean", {}))
        except UserError as error:
            self.problems.append(str(error))
        if self.problems:
            raise UserError(f"{self.path}:\n  " + "\n  ".join(self.problems))
        return Corpus(
            self.path.stem,
            table.get("title", self.path.stem),
            (languages[0], languages[1]),
            parts,
            steps,
            hold_out,
            table.get("pairs"),
            table.get("licence", "none stated"),
            table.get("citation", ""),
            table.get("vocabulary", {}),
        )

    def _entries(self, table: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
        """A split's tables."""
        entries = table.get(split, [])
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            return entries
        found = f"[{split}]" if isinstance(entries, dict) else f"{split} = {entries!r}"
        self.problems.append(f"{split}: expected [[{split}]], a table for each part, found {found}")
        return []

    def _unknown(self, table: Mapping[str, Any], keys: frozenset[str], where: str) -> None:
        for key in table.keys() - keys:
            close = difflib.get_close_matches(key, keys, n=1)
            self.problems.append(f"{where}{key}: unknown{f', did you mean {close[0]}?' if close else ''}")

    def _hold_out(self, table: dict[str, Any]) -> HoldOut:
        self._unknown(table, frozenset(("by", "valid", "test")), "hold_out.")
        found = HoldOut(**{key: value for key, value in table.items() if key in ("by", "valid", "test")})
        if found.by not in ("line", "source"):
            self.problems.append(f"hold_out.by = {found.by}: expected line or source")
        for split in ("valid", "test"):
            every = getattr(found, split)
            if every is not None and (not isinstance(every, int) or every < 2):
                self.problems.append(f"hold_out.{split} = {every}: expected a number of 2 or more, for every n-th pair")
        if found.by == "line" and found.valid and found.test:
            self.problems.append("hold_out.by = line: holds out valid or test, not both")
        return found

    def _check_inside(self, where: str, key: str, name: Any) -> None:
        if name is not None and not is_inside(name):
            self.problems.append(f"{where}{key} = {shown(name)}: expected {INSIDE.words}")

    def _part(self, split: str, number: int, entry: dict[str, Any], languages: list[str]) -> Part:
        where = f"{split} {number}: "
        self._unknown(entry, self.PART_KEYS, where)
        origin = ("url", "mtdata", "sacrebleu", "plain")
        if not any(key in entry for key in origin):
            self.problems.append(f"{where}expected one of {', '.join(origin)}")
        if entry.get("format", "plain") not in FORMATS:
            self.problems.append(f"{where}format = {entry['format']}: expected one of {', '.join(FORMATS)}")
        name = entry.get("name") or entry.get("sacrebleu") or entry.get("mtdata") or entry.get("plain", split)

        def of(key: str, language: str) -> Any:
            """The value of a language, where it has one of its own."""
            value = entry.get(key)
            if isinstance(value, dict):
                if value.keys() - set(languages):
                    self.problems.append(f"{where}{key}: expected {' and '.join(languages)}, found {' '.join(value)}")
                return value.get(language)
            return value

        self._check_inside(where, "plain", entry.get("plain"))
        sides = {}
        for language in languages:
            download = None
            if url := of("url", language):
                if problem := why_no_url(url):
                    self.problems.append(f"{where}url = {shown(url)}: {problem}")
                    continue
                download = Download(url, of("bytes", language), of("sha256", language), of("md5", language))
            self._check_inside(where, "files", of("files", language))
            column = of("columns", language)
            if download is None and ("mtdata" in entry or "sacrebleu" in entry):
                continue  # to be looked up
            sides[language] = Side(download, of("files", language), column, of("text_sha256", language))
        return Part(
            split,
            name,
            sides,
            entry.get("format"),
            entry.get("plain"),
            entry.get("mtdata"),
            entry.get("sacrebleu"),
        )

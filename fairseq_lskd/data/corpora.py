"""Read corpus files, `data-prep/NAME.toml`: where a corpus comes from, and how it is cleaned and split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, meant
from ..names import INSIDE, PLAIN, is_inside, is_plain, plain, why_no_url
from ..reading import COUNT, NUMBER, misfit, read_toml, shown
from .bitext import SPLITS
from .clean.steps import Steps

#: Where corpus files are in an installed package, and in a checkout.
FOLDERS = (Path(__file__).parent / "corpora", Path(__file__).parents[2] / "data-prep")
OWN = "own"
FORMATS = ("plain", "sgm", "tags", "tsv")


@dataclass(frozen=True)
class Download:
    """A file to download: an archive or a text. `size` is in bytes and digests in hex; None if unknown."""

    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.url.partition("?")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Side:
    """One language of a part: its download and, if that is an archive, the member in it (may contain `*`)."""

    download: Download | None
    member: str | None = None
    column: int | None = None
    text_sha256: str | None = None


@dataclass(frozen=True)
class Part:
    """One bitext of a corpus. If it is given by an id, `sides` is empty until `acquire.sources` resolves the id.

    `plain` is the name of the plain text in a --raw folder, without the language.
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
    """Which pairs of the cleaned training text are held out: every n-th, by line number or by hash of the source."""

    by: str = "line"
    valid: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Corpus:
    """The content of a corpus file. `languages` are source and target; `pairs` is the size of train before cleaning."""

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
    path: Path | None = None  #: its file

    @property
    def downloads(self) -> set[Download]:
        """The downloads that are known without resolving ids."""
        return {side.download for part in self.parts for side in part.sides.values() if side.download}


def names() -> list[str]:
    """Return the names of all corpora."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.toml")})


def load(name: str, languages: tuple[str, str] | None = None) -> Corpus:
    """Read the corpus file with this name, or a .toml file. `languages` are the languages of the user's own text.

    Raises:
        UserError: if there is no such corpus, or with every problem in its file.
    """
    path = Path(name) if name.endswith(".toml") else _known(name)
    table = _read(path)
    if languages is not None:
        if table.get("languages") and set(table["languages"]) != set(languages):
            raise UserError(
                f"-s {languages[0]} -t {languages[1]}: {path.stem} has {' and '.join(table['languages'])}; "
                f"to prepare your own text, use the corpus `{OWN}`"
            )
        table = table | {"languages": list(languages)}
    elif not table.get("languages"):
        raise UserError(f"-s and -t are missing: {path.stem} needs the source and target language")
    return _Reader(path).corpus(table)


def languages_of(name: str) -> list[str]:
    """Return the languages of a corpus; none for text of the user's own.

    Raises:
        UserError: if there is no such corpus, or its file cannot be read.
    """
    return list(_read(_known(name)).get("languages", []))


def _known(name: str) -> Path:
    for folder in FOLDERS:
        if is_plain(name) and (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    known = names()
    close = meant(name, known, cutoff=0.5)
    guess = f" (did you mean {close}?)" if close else ""
    raise UserError(f"unknown corpus {name}{guess}; expected one of {', '.join(known)}, or a .toml file")


def _read(path: Path, likes: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a file's table, which overrides the table of its `like` file. `likes` are the files that led to `path`."""
    table = read_toml(path)
    _check_kinds(path, table)
    if base := table.pop("like", None):
        plain(base, f"{path}: like =")
        beside = path.with_name(f"{base}.toml")
        other = beside if beside.is_file() else _known(base)
        likes = (*likes, path.resolve())
        if other.resolve() in likes:
            raise UserError(
                f"{path}: like = {base!r} leads back to {other}; expected the name of another corpus, whose settings "
                "this file overrides"
            )
        table = _read(other, likes) | table
    return table


_TEXT = (str, {str: str})  #: one value for both languages, or a table with one value each
#: The types of the values of a corpus file (without its parts), and of a part. `Steps` checks [clean].
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
    """Raise `UserError` with every value of the wrong type. `_Reader` reports unknown keys."""
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
    """Reads the tables of a corpus file and collects the problems in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def corpus(self, table: dict[str, Any]) -> Corpus:
        self._unknown(table, (*_KINDS, *SPLITS), "")
        languages = table["languages"]
        if len(languages) != 2 or languages[0] == languages[1]:
            self.problems.append(f"languages = {languages}: expected two different languages")
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
            self.path,
        )

    def _entries(self, table: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
        entries = table.get(split, [])
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            return entries
        found = f"[{split}]" if isinstance(entries, dict) else f"{split} = {entries!r}"
        self.problems.append(f"{split}: expected [[{split}]], one table per part, found {found}")
        return []

    def _unknown(self, table: Mapping[str, Any], keys: Collection[str], where: str) -> None:
        for key in (each for each in table if each not in keys):
            close = meant(key, keys)
            self.problems.append(f"{where}{key}: unknown{f', did you mean {close}?' if close else ''}")

    def _hold_out(self, table: dict[str, Any]) -> HoldOut:
        self._unknown(table, ("by", "valid", "test"), "hold_out.")
        found = HoldOut(**{key: value for key, value in table.items() if key in ("by", "valid", "test")})
        if found.by not in ("line", "source"):
            self.problems.append(f"hold_out.by = {found.by}: expected line or source")
        for split in ("valid", "test"):
            every = getattr(found, split)
            if every is not None and (not isinstance(every, int) or every < 2):
                self.problems.append(f"hold_out.{split} = {every}: expected a whole number from 2 (every n-th pair)")
        if found.by == "line" and found.valid and found.test:
            self.problems.append('hold_out.by = line: expected valid or test, not both; by = "source" allows both')
        return found

    def _check_inside(self, where: str, key: str, name: Any) -> None:
        if name is not None and not is_inside(name):
            self.problems.append(f"{where}{key} = {shown(name)}: expected {INSIDE.words}")

    def _part(self, split: str, number: int, entry: dict[str, Any], languages: list[str]) -> Part:
        where = f"{split} {number}: "
        self._unknown(entry, _PART_KINDS, where)
        origin = ("url", "mtdata", "sacrebleu", "plain")
        if not any(key in entry for key in origin):
            self.problems.append(f"{where}expected one of {', '.join(origin)}")
        if entry.get("format", "plain") not in FORMATS:
            self.problems.append(f"{where}format = {entry['format']}: expected one of {', '.join(FORMATS)}")
        name = entry.get("name") or entry.get("sacrebleu") or entry.get("mtdata") or entry.get("plain", split)

        def of(key: str, language: str) -> Any:
            """Return the value of `key` for a language: its own, or that of both languages."""
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
                continue  # `acquire.sources` resolves the id
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

"""Check prepared folders against their manifests: missing and changed files, and changed inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from ..files import sha256
from ..names import INSIDE, is_inside
from ..reading import COUNT, misfit, read_json, shown
from ..runs import RECORD
from .bitext import SPLITS, examine, find_side
from .outputs import FORMAT, SHAPE

DEPTH = 3  # levels of folders below DATA that are searched
#: A folder's manifest -> the manifests of the folders that it is made from. Unrelated folders may have files of the
#: same names: those of `lskd select` have a train.de too.
_SOURCES = {
    "encode.json": ("prepare.json", "generate.json"),
    "binarise.json": ("encode.json",),
    "select.json": ("binarise.json",),
    "export.json": ("binarise.json", "encode.json"),
}
_KEYS = {"format", "options", "inputs", "outputs"}
#: Manifests of a folder of raw text that this package wrote.
_OF_RAW = ("prepare.json", "generate.json")
_RUN = {"command": list, "inputs": {str: str}}


@dataclass(frozen=True)
class Checked:
    """A folder with a manifest: the number of files that it lists, their problems, and what could not be checked."""

    manifest: Path
    files: int
    problems: tuple[str, ...]
    unchecked: str = ""


def verify(data: Path) -> list[Checked]:
    """Check every folder with a manifest in and below `data`. Raise `UserError` if there is none."""
    if not data.is_dir():
        raise UserError(f"{data}: {'not a folder' if data.exists() else 'no such folder'}")
    records = dict(_manifests(data))
    if not records:
        raise UserError(f"{data}: found no prepared data: no manifest there or up to {DEPTH} levels below")
    digests = {
        path: record["digests"] | {path.name: sha256(path)}
        for path, record in records.items()
        if isinstance(record.get("digests"), dict)
    }
    checked = []
    for path, record in tqdm(records.items(), "verifying", unit=" folders", delay=2, disable=None, leave=False):
        if path.name == RECORD:
            checked.append(Checked(path, 0, tuple(_run(path, record, data))))
        else:
            problems = [*_files(path, record), *_made_from(path, record, digests)]
            unchecked = ""
            if path.name == "encode.json":
                changed, unchecked = _raw_text(path, record)
                problems += changed
            checked.append(Checked(path, len(record["outputs"]), tuple(problems), unchecked))
    return checked


def _manifests(data: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    patterns = ["*/" * depth + "*.json" for depth in range(DEPTH + 1)]
    for path in sorted({path for pattern in patterns for path in data.glob(pattern)}):
        if any(step.startswith(".") for step in path.relative_to(data).parts):
            continue
        try:
            record = read_json(path)
        except UserError:
            continue
        if not isinstance(record, dict):
            continue
        is_run = path.name == RECORD and {"command", "inputs", "finished"} <= record.keys()
        if is_run or (record.keys() >= _KEYS and record["format"] == FORMAT):
            if problem := misfit(record, _RUN if is_run else SHAPE):
                raise UserError(f"{path}: {problem}; it was edited or damaged: create {path.parent} again")
            yield path, record


def _files(path: Path, record: Mapping[str, Any]) -> Iterator[str]:
    digests = record.get("digests", {})
    for name, size in record["outputs"].items():
        if not is_inside(name):
            yield f"{path}: lists {shown(name)}, expected {INSIDE.words}"
            continue
        file = path.parent / name
        if not file.is_file():
            yield f"{file}: missing"
            continue
        found = file.stat().st_size
        if found != size:
            yield f"{file}: changed: {found:,} bytes, was {size:,}{_lines(file, name, record)}"
        elif name in digests and sha256(file) != digests[name]:
            yield f"{file}: changed: same size, but different content (SHA-256){_lines(file, name, record)}"
    known = {path.name, *record["outputs"]}
    for file in sorted(path.parent.iterdir()):
        if file.is_file() and file.name not in known and not file.name.startswith("."):
            yield f"{file}: not listed in {path.name}, so it was added later"


def _lines(file: Path, name: str, record: Mapping[str, Any]) -> str:
    """Describe the number of lines of a text now and before, if the manifest has the latter."""
    counts = record.get("counts")
    if not isinstance(counts, Mapping):
        return ""
    was = counts.get(name, counts.get(name.partition(".")[0]))
    was = was.get("lines") if isinstance(was, Mapping) else was
    if misfit(was, COUNT):
        return ""
    with file.open("rb") as stream:
        now = sum(1 for _ in stream)
    return f"; {now:,} lines, {'as before' if now == was else f'were {was:,}'}"


def _made_from(path: Path, record: Mapping[str, Any], digests: Mapping[Path, Mapping[str, str]]) -> Iterator[str]:
    """Yield a problem for each input whose copies in the neighbouring folders all have other contents."""
    beside = [
        (other.parent, found)
        for other, found in digests.items()
        if other.parent.parent == path.parent.parent and other.name in _SOURCES.get(path.name, ())
    ]
    for name, digest in record["inputs"].items():
        having = {folder: found[name] for folder, found in beside if name in found}
        if having and digest not in having.values():
            folders = " or ".join(map(str, having))
            yield f"{path.parent}: was made from a different {name} than the one in {folders}"


def _raw_text(path: Path, record: Mapping[str, Any]) -> tuple[list[str], str]:
    """Compare raw text without a manifest, beside encoded text, with the digests in the manifest of the latter.

    Returns:
        the problems, and what could not be checked ("" if nothing).
    """
    raw = path.parent.parent / "raw"
    if any((raw / name).is_file() for name in _OF_RAW):
        return [], ""  # `_made_from` compares its digests
    problems, missing = [], []
    for name, digest in record["inputs"].items():
        if name.partition(".")[0] not in SPLITS or not is_inside(name):
            continue
        try:
            side = examine(find_side(raw, name))
        except UserError:
            missing.append(name)
            continue
        if side.sha256 != digest:
            counts = record.get("counts")
            known = not misfit(counts, {name: {"lines": COUNT}})
            was = f", were {counts[name]['lines']:,}" if known and counts else ""
            problems.append(
                f"{side.path}: differs from the text that {path.parent} was made from; {side.lines:,} lines{was}"
            )
    return problems, f"{raw} lacks {', '.join(missing)}" if missing else ""


def _run(path: Path, record: Mapping[str, Any], data: Path) -> Iterator[str]:
    """Yield the problems of a recorded run: it did not finish, or its inputs have changed."""
    if not record["finished"]:
        yield f"{path.parent}: its command failed or was interrupted; run it again"
    for name, digest in record["inputs"].items():
        # Recorded paths are relative to the folder in which the command ran.
        places = [place for place in (Path(name), data / Path(*Path(name).parts[-2:])) if place.is_file()]
        if places and digest not in map(sha256, places):
            yield f"{path.parent}: was made from a different version of {places[0]}"

"""A corpus cut into shards for processes or nodes, and their outputs put together."""

from __future__ import annotations

import filecmp
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..differing import what_differs
from ..errors import UserError
from ..files import write_beside, write_json
from ..reading import COUNT, NUMBER, POSITIVE, misfit, parse_json
from ..replacing import replaces
from .resumable import (
    FINISHED,
    check_lines,
    count_lines,
    manifest_path,
    opened,
    read_manifest,
    read_record,
)


class Shard(NamedTuple):
    """A range of the corpus, and which of how many."""

    start: int
    stop: int
    number: int = 0
    of: int = 1

    @classmethod
    def cut(cls, sentences: int, window: int, index: int = 0, count: int = 1) -> Shard:
        """Contiguous, of whole windows, so that the shards' outputs one after the other are that of one run."""
        if not 0 <= index < count:
            raise UserError(f"--shard-id {index}: expected 0 to {count - 1}, one less than --num-shards")
        windows = -(-sentences // window)
        if count > windows:
            raise UserError(
                f"--num-shards {count}: {sentences:,} sentences are {windows:,} windows of {window:,}, a shard has one "
                "or more; lower --num-shards or --window"
            )
        first, last = windows * index // count, windows * (index + 1) // count
        return cls(first * window, min(last * window, sentences), index, count)


def shard_path(out: Path, index: int, count: int) -> Path:
    """The file of one shard of `out`: `out` itself where there is only one."""
    return out if count == 1 else out.with_name(f"{out.name}.{index}-of-{count}")


def _check_shard(path: Path, manifest: Mapping[str, Any], index: int, count: int) -> None:
    """Raise a `UserError` if a file is not the shard that it is called, by its record or by its sentences."""
    run = manifest["run"]
    mend = f"delete {path.name}*, run this shard again, then merge"
    if (found := run["shard"]) != (wanted := f"{index} of {count}"):
        raise UserError(f"{path.name} is shard {found} by its manifest, expected {wanted}: {mend}")
    shard = Shard.cut(run["sentences"], run["window"], index, count)
    ids = _first_and_last(path, mend)
    check_lines(path, count_lines(path), manifest)
    if (manifest["lines"], *ids) != (size := shard.stop - shard.start, shard.start, shard.stop - 1):
        raise UserError(
            f"{path.name} has {manifest['lines']:,} lines, of the sentences {ids[0]:,} to {ids[1]:,}; expected "
            f"{size:,}, {shard.start:,} to {shard.stop - 1:,}: {mend}"
        )


def _first_and_last(path: Path, mend: str) -> tuple[int, int]:
    """The numbers of a file's first and last sentence; `UserError` if they have none."""
    last = first = b""
    with opened(path) as text:
        for line in text:
            first, last = first or line, line
    try:
        records = [parse_json(line.decode()) for line in (first, last)]
        problem = next(filter(None, (misfit(record, {"id": COUNT}) for record in records)), None)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise UserError(f"{path.name} is not what `lskd translate` writes ({problem}): {mend}")
    return records[0]["id"], records[1]["id"]


def _check_place(out: Path, run: Mapping[str, Any], size: int) -> None:
    """Raise a `UserError` if something else than these shards' merger is in the file's place."""
    changes: list[str] = []
    there = read_manifest(out) if out.exists() else read_record(manifest_path(out))
    if there is not None:
        changes = what_differs(there["run"], run)
    elif out.with_name(f"{out.name}.journal.json").exists():
        changes = ["it is being translated, or was begun"]
    elif out.exists() and (not out.is_file() or out.stat().st_size != size):
        raise UserError(f"--out {out} is there, and was not written by this command: name another file")
    if changes and not replaces(out, changes):
        raise UserError(
            f"--out {out} was made by another run: {'; '.join(changes)}. Name another file, or delete {out.name} and "
            "what is called so with .manifest.json, .partial or .journal.json after it"
        )


def merge(out: Path, count: int) -> int:
    """Write `out` and its manifest from the outputs of all shards, which stay; the number of sentences.

    Raises:
        UserError: naming every shard that is not finished, or the first that was changed, is of another run, or is
            not the shard that it is called; and if `out` is something else's.
    """
    paths = [shard_path(out, index, count) for index in range(count)]
    missing = [path.name for path in paths if not (path.is_file() and manifest_path(path).is_file())]
    if missing:
        raise UserError(f"not finished: {', '.join(missing)}; run these shards (again), then merge")
    run = {"shard": str, "sentences": COUNT, "window": POSITIVE}
    shape = FINISHED | {"run": run, "counts": {str: COUNT}, "settings": object, "seconds": NUMBER, "versions": dict}
    manifests: list[dict[str, Any]] = []
    for path in paths:
        manifest = read_manifest(path, shape, f"Delete {path.name}*, run that shard again")
        assert manifest is not None  # its file is there
        manifests.append(manifest)
    runs = [{name: value for name, value in manifest["run"].items() if name != "shard"} for manifest in manifests]
    for path, run in zip(paths, runs, strict=True):
        if changes := what_differs(runs[0], run):
            raise UserError(f"{path.name} is of another run than {paths[0].name}: {'; '.join(changes)}")
    for index, (path, manifest) in enumerate(zip(paths, manifests, strict=True)):
        _check_shard(path, manifest, index, count)
    _check_place(out, runs[0], sum(manifest["bytes"] for manifest in manifests))
    with write_beside(out) as part:
        with part.open("wb") as stream:
            for path in paths:
                with path.open("rb") as shard:
                    shutil.copyfileobj(shard, stream)
        # Without a manifest it is what a merge left that was killed, or somebody else's.
        if out.exists() and not manifest_path(out).exists() and not filecmp.cmp(part, out, shallow=False):
            raise UserError(f"--out {out} is there, and was not written by this command: name another file")
    merged: dict[str, Any] = {
        "run": runs[0],
        "lines": sum(manifest["lines"] for manifest in manifests),
        "bytes": out.stat().st_size,
        "counts": dict(sum((Counter(manifest["counts"]) for manifest in manifests), Counter())),
        "shards": [{name: manifest[name] for name in ("settings", "seconds", "versions")} for manifest in manifests],
    }
    write_json(manifest_path(out), merged)
    return merged["lines"]

"""Shards of a corpus for several processes or nodes, and the merging of their outputs."""

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
from ..reading import COUNT, NUMBER, POSITIVE, parse_json
from ..replacing import replaces
from .resumable import FINISHED, check_lines, manifest_path, opened, read_manifest, read_record


class Shard(NamedTuple):
    """A range of sentences of the corpus: shard `number` of `of`."""

    start: int
    stop: int
    number: int = 0
    of: int = 1

    @classmethod
    def cut(cls, sentences: int, window: int, index: int = 0, count: int = 1) -> Shard:
        """Return shard `index` of `count`. Shards are contiguous and consist of whole windows.

        The concatenated outputs of all shards are therefore the output of a single run.
        """
        if not 0 <= index < count:
            raise UserError(f"--shard-id {index}: expected 0 to {count - 1} (--num-shards minus 1)")
        windows = -(-sentences // window)
        if count > windows:
            raise UserError(
                f"--num-shards {count}: expected at most {windows:,}, the number of windows ({sentences:,} sentences, "
                f"--window {window}). Lower --num-shards or --window"
            )
        first, last = windows * index // count, windows * (index + 1) // count
        return cls(first * window, min(last * window, sentences), index, count)


def shard_path(out: Path, index: int, count: int) -> Path:
    """Return the path of a shard of `out`, or `out` itself if there is only one shard."""
    return out if count == 1 else out.with_name(f"{out.name}.{index}-of-{count}")


def _check_shard(path: Path, manifest: Mapping[str, Any], index: int, count: int) -> None:
    """Raise a `UserError` if the manifest or the sentences of a file are not those of its shard."""
    run = manifest["run"]
    way_out = f"Delete {path.name}*, run this shard again, then merge"
    if (found := run["shard"]) != (wanted := f"{index} of {count}"):
        raise UserError(f"{path.name}: the manifest says shard {found}, expected {wanted}. {way_out}")
    shard = Shard.cut(run["sentences"], run["window"], index, count)
    lines, *ids = _lines_and_ids(path, way_out)
    check_lines(path, lines, manifest)
    if (manifest["lines"], *ids) != (size := shard.stop - shard.start, shard.start, shard.stop - 1):
        raise UserError(
            f"{path.name} has {manifest['lines']:,} lines with sentences {ids[0]:,} to {ids[1]:,}, expected {size:,} "
            f"with {shard.start:,} to {shard.stop - 1:,}. {way_out}"
        )


def _lines_and_ids(path: Path, way_out: str) -> tuple[int, int, int]:
    """Return the number of lines, and the ids of the first and last one. Raise a `UserError` if they have no id."""
    lines, first, last = 0, b"", b""
    with opened(path) as text:
        for line in text:
            first, last = first or line, line
            lines += line.endswith(b"\n")
    try:
        ids = [parse_json(line.decode(), {"id": COUNT})["id"] for line in (first, last)]
    except ValueError as error:
        raise UserError(f"{path.name} is not an output of `lskd translate` ({error}). {way_out}") from None
    return lines, ids[0], ids[1]


def _check_place(out: Path, run: Mapping[str, Any], size: int) -> None:
    """Raise a `UserError` if `out` exists and was not merged from these shards."""
    changes: list[str] = []
    there = read_manifest(out) if out.exists() else read_record(manifest_path(out))
    if there is not None:
        changes = what_differs(there["run"], run)
    elif out.with_name(f"{out.name}.journal.json").exists():
        changes = ["an unfinished translation is there"]
    elif out.exists() and (not out.is_file() or out.stat().st_size != size):
        raise UserError(f"--out {out} exists, and was not written by this command. Name another file")
    if changes and not replaces(out, changes):
        raise UserError(
            f"--out {out} was created with different options or inputs: {'; '.join(changes)}. Name another file, or "
            "run the same command with LSKD_REPLACE=1 to replace it"
        )


def merge(out: Path, count: int) -> int:
    """Write `out` and its manifest from the outputs of all shards. The shards are kept.

    Returns:
        The number of sentences.

    Raises:
        UserError: if shards are unfinished (all are named), a shard was changed, belongs to another run or has the
            wrong name, or another command wrote `out`.
    """
    paths = [shard_path(out, index, count) for index in range(count)]
    missing = [path.name for path in paths if not (path.is_file() and manifest_path(path).is_file())]
    if missing:
        raise UserError(f"not finished: {', '.join(missing)}. Run these shards (again), then merge")
    run = {"shard": str, "sentences": COUNT, "window": POSITIVE}
    shape = FINISHED | {"run": run, "counts": {str: COUNT}, "settings": object, "seconds": NUMBER, "versions": dict}
    manifests: list[dict[str, Any]] = []
    for path in paths:
        manifest = read_manifest(path, shape, f"Delete {path.name}*, run this shard again, then merge")
        assert manifest is not None  # its file is there
        manifests.append(manifest)
    runs = [{name: value for name, value in manifest["run"].items() if name != "shard"} for manifest in manifests]
    for path, run in zip(paths, runs, strict=True):
        if changes := what_differs(runs[0], run, here=f"in {path.name}"):
            raise UserError(
                f"{paths[0].name} and {path.name} are from different runs: {'; '.join(changes)}. Translate one of them "
                "again with the options of the other"
            )
    for index, (path, manifest) in enumerate(zip(paths, manifests, strict=True)):
        _check_shard(path, manifest, index, count)
    _check_place(out, runs[0], sum(manifest["bytes"] for manifest in manifests))
    with write_beside(out) as part:
        with part.open("wb") as stream:
            for path in paths:
                with path.open("rb") as shard:
                    shutil.copyfileobj(shard, stream)
        # A file without a manifest is the result of a merge that was killed, or was not written by this command.
        if out.exists() and not manifest_path(out).exists() and not filecmp.cmp(part, out, shallow=False):
            raise UserError(f"--out {out} exists, and was not written by this command. Name another file")
    merged: dict[str, Any] = {
        "run": runs[0],
        "lines": sum(manifest["lines"] for manifest in manifests),
        "bytes": out.stat().st_size,
        "counts": dict(sum((Counter(manifest["counts"]) for manifest in manifests), Counter())),
        "shards": [{name: manifest[name] for name in ("settings", "seconds", "versions")} for manifest in manifests],
    }
    if "translates" in manifests[0]:
        merged["translates"] = manifests[0]["translates"]
    write_json(manifest_path(out), merged)
    return merged["lines"]

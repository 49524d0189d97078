"""A corpus cut into shards for processes or nodes, and their outputs put together."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..files import write_beside, write_json
from ..reading import COUNT, NUMBER, read_json
from .resumable import FINISHED, differences, manifest_path


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


def merge(out: Path, count: int) -> int:
    """Write `out` and its manifest from the outputs of all shards, which stay; the number of sentences.

    Raises:
        UserError: naming every shard that is not finished, or the first that was changed or is of another run.
    """
    paths = [shard_path(out, index, count) for index in range(count)]
    missing = [path.name for path in paths if not (path.is_file() and manifest_path(path).is_file())]
    if missing:
        raise UserError(f"not finished: {', '.join(missing)}; run these shards (again), then merge")
    shape = FINISHED | {"counts": {str: COUNT}, "settings": object, "seconds": NUMBER, "versions": dict}
    manifests = [
        read_json(
            manifest_path(path), shape, "what `lskd translate` writes", f"Delete {path.name}*, run that shard again"
        )
        for path in paths
    ]
    for path, manifest in zip(paths, manifests, strict=True):
        if (size := path.stat().st_size) != manifest["bytes"]:
            raise UserError(
                f"{path.name} has {size:,} bytes, {manifest_path(path).name} says {manifest['bytes']:,}: "
                f"delete {path.name}*, run this shard again, then merge"
            )
    runs = [{name: value for name, value in manifest["run"].items() if name != "shard"} for manifest in manifests]
    for path, run in zip(paths, runs, strict=True):
        if changes := differences(runs[0], run):
            raise UserError(f"{path.name} is of another run than {paths[0].name}: {'; '.join(changes)}")
    with write_beside(out) as part, part.open("wb") as stream:
        for path in paths:
            with path.open("rb") as shard:
                shutil.copyfileobj(shard, stream)
    merged: dict[str, Any] = {
        "run": runs[0],
        "lines": sum(manifest["lines"] for manifest in manifests),
        "bytes": out.stat().st_size,
        "counts": dict(sum((Counter(manifest["counts"]) for manifest in manifests), Counter())),
        "shards": [{name: manifest[name] for name in ("settings", "seconds", "versions")} for manifest in manifests],
    }
    write_json(manifest_path(out), merged)
    return merged["lines"]

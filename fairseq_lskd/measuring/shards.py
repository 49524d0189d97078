"""Merge the measurements of several processes. The last process to finish does it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..analysis.measurement import Measurement
from ..errors import UserError
from ..files import write_beside
from ..sequences.shards import shard_path


def shared(
    measured: Sequence[Measurement], key: dict[str, Any], out: Path, shard: int, count: int
) -> list[Measurement]:
    """Write the measurements of a shard beside `out`. Return the merged measurements if all shards exist, else [].

    Args:
        measured: measurements of all models on the shard.
        key: options and inputs, which must be equal for all shards.
        out: output of the whole analysis.
        shard: number of the shard.
        count: number of shards.

    Raises:
        UserError: if the file of another shard is invalid, or was made with another key.
    """
    key = {**key, "shards": count}
    paths = [shard_path(out, i, count) for i in range(count)]
    mine = paths[shard]
    with write_beside(mine) as part, part.open("wb") as stream:
        torch.save({"key": key, "models": [one.state() for one in measured]}, stream)
    if missing := [path.name for path in paths if not path.is_file()]:
        print(f"{mine}: written; waiting for {', '.join(missing)}", file=sys.stderr)
        return []
    return _merged(paths, key)


def _merged(paths: Sequence[Path], key: dict[str, Any]) -> list[Measurement]:
    merged: list[Measurement] = []
    for path in paths:
        try:
            state = torch.load(path, weights_only=True)
            same = state["key"] == key
            found = [Measurement.from_state(one) for one in state["models"]] if same else []
            if merged and len(found) != len(merged) and same:
                raise ValueError(f"{len(found)} models, expected {len(merged)}")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
        except Exception:
            raise UserError(f"{path} is not a shard of an analysis: delete it, and run this shard again") from None
        if not same:
            raise UserError(
                f"{path} was measured with different options, models or data: delete it, and run this shard again"
            )
        if not merged:
            merged = found
        else:
            for one, other in zip(merged, found, strict=True):
                one.merge(other)
    return merged

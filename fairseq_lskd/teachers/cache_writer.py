"""Write a teacher cache in blocks. Several processes can share the blocks, and a killed process can be restarted."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import UserError
from ..files import contents, sha256, stamp, write_beside, write_json
from ..losses import MEAN, Mixture
from ..reading import read_value
from ..replacing import Kind, asked, beside, followed, put_in_place, replaces, settle
from .cache import (
    AFFIXES,
    FORMAT,
    MANIFEST,
    OPTIONAL,
    PLAN,
    data_files,
    differences,
    file_name,
    find_blocks,
    find_damaged,
    fingerprint,
    read_plan,
)
from .model_tokens import Affixes
from .sampled import Plan
from .task import load_split
from .top_k import Source
from .weights import recorded

#: Size of a block, larger if there would be more than MAX_BLOCKS. A block is in memory until it is complete: a killed
#: process loses at most one block.
BLOCK_BYTES = 2**20
MAX_BLOCKS = 256


def block_edges(lengths: np.ndarray, record_bytes: int) -> np.ndarray:
    """Return the first sentence of each block, and the number of sentences at the end, `[blocks + 1]`.

    No block is empty. The edges depend only on the data and the record size, so any number of processes can share the
    blocks.
    """
    lengths = lengths.astype(np.int64)
    starts, total = np.cumsum(lengths) - lengths, lengths.sum()
    blocks = np.clip(total * record_bytes // BLOCK_BYTES, 1, MAX_BLOCKS)
    owner = np.minimum(starts * blocks // max(total, 1), blocks - 1)
    return np.append(np.flatnonzero(np.diff(owner, prepend=-1)), len(lengths))


class CacheWriter:
    """Write the missing blocks of a cache in one folder.

    A block is renamed into place when it is complete, and has its digest in its name, so a damaged block is detected.
    The process that finds all blocks complete writes the manifest.
    """

    def __init__(
        self,
        folder: Path,
        task: Any,
        subset: str,
        kept: Plan,
        temperature: float,
        teacher_path: str | None,
        half: bool = False,
        bytes_per_token: int | None = None,
        mixture: Mixture = MEAN,
        teacher_texts: Sequence[Any] = (),
        model: Path | None = None,
        compute_type: str | None = None,
        affixes: Affixes | None = None,
    ):
        """Check the folder and load the split. Nothing is written yet.

        Args:
            task: fairseq's translation task. Its `train_subset` includes train1, train2, ...
            kept: what the cache stores for each token.
            teacher_path: checkpoints joined by `:`.
            half: whether they run in float16.
            mixture: their weights.
            bytes_per_token: the budget that `kept` was chosen for. It is recorded, so a later call need not measure
                again.
            model: the folder of a CTranslate2 model, instead of `teacher_path`.
            compute_type: its numeric type.
            affixes: the tokens around its sentences if it is multilingual.
            teacher_texts: if teachers read the subset in pieces of their own, the task of all, or of each.

        Raises:
            UserError: if the head is larger than the vocabulary, the data or a checkpoint is invalid (`fingerprint`),
                or the folder has another cache or other files.
        """
        vocabulary = len(task.target_dictionary)
        if not 1 <= kept.k <= vocabulary:
            raise UserError(f"--top-k {kept.k}: expected 1 to {vocabulary:,}, the size of the target vocabulary")
        if kept.sampled and kept.k == vocabulary:
            raise UserError(
                f"--top-k {kept.k} is the whole vocabulary, so --sampled {kept.sampled} has nothing to draw. Lower "
                "--top-k, or leave --sampled out"
            )
        self._budget = bytes_per_token
        self.folder = folder
        self._teacher = {"teacher_path": teacher_path} if model is None else {"model_path": str(model)}
        self._data = data_files(task.cfg, subset)
        self._stamps = list(map(stamp, self._data))
        self._fingerprint = fingerprint(task, subset, temperature, teacher_path, model)
        # These options may differ from a student's, but are the same for all processes that write the cache.
        self._fingerprint["options"] |= {
            **kept.options(),
            "--fp16": half,
            "--max-source-positions": task.cfg.max_source_positions,
            "--max-target-positions": task.cfg.max_target_positions,
        }
        if compute_type is not None:
            self._fingerprint["options"]["--compute-type"] = compute_type
        if affixes is not None:
            self._fingerprint["options"] |= dict(zip(AFFIXES, affixes.written().values(), strict=True))
        if (weights := recorded(mixture, teacher_path or "")) is not None:
            self._fingerprint["options"]["--teacher-weights"] = weights
        if teacher_texts:
            self._fingerprint["options"]["--teacher-text"] = _digests(teacher_texts, subset, teacher_path or "")
        self._asked = self._fingerprint | {"options": dict.fromkeys(OPTIONAL) | self._fingerprint["options"]}
        settle(followed(folder), _KIND)
        #: The differences of an existing cache that `write` replaces.
        self._changes: list[str] = []
        if folder.exists() and not (folder.is_dir() and not contents(folder)):
            self._changes = self._check_plan(may_replace=True)
        self.dataset = load_split(task, subset, combine=subset == task.cfg.train_subset)
        self.lengths: np.ndarray = self.dataset.tgt_sizes
        self.dtype = kept.dtype(vocabulary)
        self._edges = block_edges(self.lengths, self.dtype.itemsize)
        self._starts = np.append(0, np.cumsum(self.lengths, dtype=np.int64))
        if not self._starts[-1]:
            raise UserError(f"{task.cfg.data}: the split {subset!r} has no target tokens. Binarise it again")

    @property
    def blocks(self) -> int:
        """Number of blocks of the whole cache."""
        return len(self._edges) - 1

    def tokens(self, blocks: Sequence[int]) -> int:
        """Return the number of target tokens in some of the blocks."""
        edges = self._starts[self._edges]
        return int(sum(edges[block + 1] - edges[block] for block in blocks))

    def to_do(self, shard_id: int = 0, num_shards: int = 1) -> list[int]:
        """Return the missing blocks of a shard. Damaged blocks are removed, and the manifest with them."""
        mine = range(shard_id, self.blocks, num_shards)
        if self._changes:
            return list(mine)
        if self.folder.is_dir():
            self._sweep()
            damaged = find_damaged([path for block, path in find_blocks(self.folder) if block in mine])
            if damaged:
                (self.folder / MANIFEST).unlink(missing_ok=True)
            for path in damaged:
                path.unlink(missing_ok=True)
        there = dict(find_blocks(self.folder))
        return [block for block in mine if block not in there]

    def write(self, blocks: Sequence[int], source: Source) -> Iterator[int]:
        """Write blocks in order. Yield the number of target tokens of each batch when it is done.

        Raises:
            UserError: if a file cannot be written, or another cache has been started in the folder.
        """
        plan = {"format": FORMAT, "lskd": __version__, **self._teacher, "blocks": self.blocks}
        plan |= {} if self._budget is None else {"bytes_per_token": self._budget}
        # Another process may have replaced the cache since `__init__`.
        if self._changes and (changes := self._check_plan(may_replace=True)):
            replaces(self.folder, changes)
            self._replace(plan | self._fingerprint)
        self._changes = []
        if not (self.folder / PLAN).exists():
            write_json(self.folder / PLAN, plan | self._fingerprint)
        for block in blocks:
            self._check_plan()
            if block in dict(find_blocks(self.folder)):  # written by another process with the same shard
                yield self.tokens([block])
                continue
            records = np.zeros(self.tokens([block]), self.dtype)
            yield from self._fill(records, block, source)
            self._check_plan()
            self._check_data()
            self._save(f"block-{block:05}", records)

    def speed(self, block: int, source: Source, seconds: float = 5.0) -> float:
        """Measure the target tokens per second for about `seconds`, on the batches in the second half of a block."""
        batches = source.batches(self._sentences(block))
        batches = batches[len(batches) // 2 :]
        if not batches:
            return math.inf
        source.infer(batches[0])  # warm-up
        done, start = 0, time.perf_counter()
        for _, answer in source.infer_all(batches):
            done += len(answer.rest)
            if time.perf_counter() - start > seconds:
                break
        return done / (time.perf_counter() - start)

    def finish(self) -> int:
        """Write the manifest if all blocks exist. Return the number of missing blocks."""
        there = dict(reversed(find_blocks(self.folder)))
        if len(there) < self.blocks:
            return self.blocks - len(there)
        self._check_plan()
        lengths = self._save("lengths", self.lengths.astype("<i4"))
        files = [lengths, *(there[block] for block in range(self.blocks))]
        plan = read_plan(self.folder / PLAN, f"--out {self.folder}")
        manifest = plan | {"files": {path.name: path.stat().st_size for path in files}}
        if read_value(self.folder / MANIFEST) != manifest:
            write_json(self.folder / MANIFEST, manifest)
        settle(followed(self.folder), _KIND)
        return 0

    def _replace(self, plan: dict[str, Any]) -> None:
        """Replace the existing folder by a new one that has the plan of this cache."""
        place = followed(self.folder)
        try:
            new = beside(place)
            write_json(new / PLAN, plan)
            put_in_place(new, place)
        except OSError as error:
            raise UserError(
                f"--out {self.folder} cannot be replaced ({error.strerror}). Empty it, or name another folder"
            ) from None

    def _sentences(self, block: int) -> np.ndarray:
        return np.arange(*self._edges[block : block + 2])

    def _fill(self, records: np.ndarray, block: int, source: Source) -> Iterator[int]:
        """Run the teacher on the sentences of a block. Yield the number of tokens of each batch."""
        records["rest"] = np.nan
        first = self._starts[self._edges[block]]
        for sentences, found in source.infer_all(source.batches(self._sentences(block))):
            places = [np.arange(*self._starts[i : i + 2]) - first for i in sentences]
            rows = np.concatenate([np.arange(0), *places])
            for field in found._fields:
                records[field][rows] = getattr(found, field).numpy()
            yield len(rows)

    def _check_plan(self, may_replace: bool = False) -> list[str]:
        """Check that the folder has the plan of this cache. Another process may have replaced it at any time.

        Returns:
            The differences if the cache may be replaced; otherwise an empty list.
        """
        name = f"--out {self.folder}"
        if not (self.folder / PLAN).is_file():
            raise UserError(f"{name} exists, but has no {PLAN} of a teacher cache. Name a new or empty folder")
        if lines := differences(read_plan(self.folder / PLAN, name), self._asked):
            if may_replace and asked():
                return lines
            raise UserError(
                "\n  - ".join([f"{name} has a cache with other options or files:", *lines])
                + "\nName another folder, or delete this one."
            )
        return []

    def _check_data(self) -> None:
        """Check that the data files have not changed since the plan was made."""
        stamps = list(map(stamp, self._data))
        if stamps == self._stamps:
            return
        lines = differences(
            {"data": self._fingerprint["data"]},
            {"data": {path.name: sha256(path) if path.is_file() else None for path in self._data}},
        )
        if lines:
            raise UserError(
                "\n  - ".join([f"{self._data[0].parent} changed while --out {self.folder} was written:", *lines])
                + "\nRestore the data and run the same command again, or write a new cache to another folder."
            )
        self._stamps = stamps

    def _sweep(self) -> None:
        """Remove unfinished files of killed processes: those older than an hour. Writing a file takes seconds."""
        for part in self.folder.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > 3600:
                    part.unlink()

    def _save(self, stem: str, array: np.ndarray) -> Path:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        path = self.folder / file_name(stem, buffer.getbuffer())
        if path.is_file() and not find_damaged([path]):
            return path
        try:
            with write_beside(path) as part:
                part.write_bytes(buffer.getbuffer())
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror}. Finished blocks are kept. Solve the problem and run the "
                "same command again."
            ) from None
        return path


def _digests(texts: Sequence[Any], subset: str, paths: str) -> str:
    """Return the digest of a text that all teachers read, or of the text of each, in the order of their digests."""
    files = (map(sha256, data_files(text.cfg, subset)) for text in texts)
    found = [hashlib.sha256(" ".join(digests).encode()).hexdigest() for digests in files]
    if len(found) == 1:
        return found[0]
    return ":".join(digest for _, digest in sorted(zip(map(sha256, paths.split(":")), found, strict=True)))


def _written(folder: Path) -> list[str]:
    return [path.name for name in (PLAN, MANIFEST, "block-*.npy", "lengths-*.npy") for path in folder.glob(name)]


_KIND = Kind(whole=lambda folder: (folder / MANIFEST).is_file(), written=_written)

"""Teacher caches: top-k probabilities, with or without draws from the tail, on disk. Format, fingerprint and reader.

A cache is a folder with

    plan.json                    options and fingerprint; written first
    block-00000-DIGEST.npy, ...  one record per target token (end symbols included), in the order of the dataset's ids
    lengths-DIGEST.npy           [sentences] int32, number of target tokens of each sentence
    cache.json                   the manifest: the plan and the sizes of the files; written last

DIGEST is the beginning of the file's SHA-256: it detects damage. A cache without cache.json is not finished.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import utils
from fairseq.tasks.translation import TranslationConfig
from torch import Tensor
from tqdm import tqdm

from ..differing import what_differs
from ..errors import UserError
from ..files import sha256
from ..losses import Draws, Sampled, TopK
from ..names import within
from ..reading import COUNT, POSITIVE, misfit, read_json, shown
from .checkpoint import near
from .compatibility import task_name
from .known import is_bilingual
from .languages import OF_PAIRS, options_of, pairs_of
from .model_folder import WEIGHTS, model_files

#: Version of the format. Caches with another version are refused.
FORMAT = 1
PLAN, MANIFEST = "plan.json", "cache.json"

_DIGESTS = {str: str}
_PLAN = {
    "options": {
        "--top-k?": POSITIVE,
        **{flag: (POSITIVE, type(None)) for flag in ("--sampled?", "--draws?")},
    },
    **{"dictionaries": _DIGESTS, "data": _DIGESTS, "teachers": _DIGESTS},
    "model?": _DIGESTS,
    **{"blocks?": POSITIVE, "bytes_per_token?": POSITIVE, "files?": object},
}
#: Bits of float16 numbers: 0.01 (the rounding error of log 1 is smaller), -0.0 and -infinity.
_ALMOST_0, _NEGATIVE, _LOWEST = 0x211F, 0x8000, 0xFC00

_NAME = re.compile(r"(?:block-(\d{5})|lengths)-([0-9a-f]{16})\.npy")


#: Options that a plan records only if they were given.
AFFIXES = ("--source-prefix", "--source-suffix", "--target-prefix")
OPTIONAL = ("--sampled", "--draws", "--seed", "--teacher-weights", "--teacher-text", "--compute-type", *AFFIXES)


def record_dtype(k: int, vocabulary: int, sampled: int = 0, draws: int = 1) -> np.dtype:
    """Return the dtype of a token's record: the k most probable classes and the log-probability of the rest.

    A sampled cache adds the entropy of the tail, and `draws` copies of `sampled` classes drawn from it.

    `rest` is -inf if k is the size of the vocabulary, and NaN at tokens without a teacher, where all else is 0. float16
    stores log-probabilities with a relative error of 2^-11, down to -65504.
    """
    index = "<u2" if vocabulary <= 2**16 else "<i4"
    tail = [("entropy", "<f2"), ("drawn", index, (draws, sampled))] if sampled else []
    return np.dtype([("ids", index, (k,)), ("log_probs", "<f2", (k,)), ("rest", "<f2"), *tail])


def file_name(stem: str, content: bytes | memoryview) -> str:
    """Return the name of a file with this content: `stem` and the beginning of its SHA-256."""
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.npy"


def find_blocks(folder: Path) -> list[tuple[int, Path]]:
    """Return the number and path of each block in a folder, damaged or not, in order.

    A block may occur twice, because processes on different hardware may differ in the last digit. Either can be used.
    """
    paths = sorted(folder.glob("block-*.npy"))
    return [(int(match[1]), path) for path in paths if (match := _NAME.fullmatch(path.name))]


def find_damaged(paths: Sequence[Path]) -> list[Path]:
    """Return the files that do not match the digest in their name. A progress bar appears after a few seconds."""

    def is_damaged(path: Path) -> bool:
        match = _NAME.fullmatch(path.name)
        try:
            return match is None or not sha256(path).startswith(match[2])
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        flags = tqdm(
            pool.map(is_damaged, paths), "checking the teacher cache", len(paths), unit="file", delay=3, leave=False
        )
        return [path for path, damaged in zip(paths, flags, strict=True) if damaged]


def fingerprint(
    task: Any, subset: str, temperature: float, teacher_path: str | None = None, model: Path | None = None
) -> dict[str, Any]:
    """Return everything that a cache depends on: sections of names and values, SHA-256 for files and dictionaries.

    The dataset is not loaded. Without `teacher_path` and `model` there is no section "teachers". `model` is the folder
    of a CTranslate2 model; its other files are in a section "model".

    Raises:
        UserError: if the task is not supported, the data is in several folders or is not a binarised bitext, or a
            checkpoint is missing.
    """
    cfg = options_of(task)
    if not is_bilingual(kind := task_name(cfg)):
        pairs = pairs_of(task) if kind in OF_PAIRS else []
        way_out = (
            f"Give a cache for each language pair: --teacher-cache {','.join(f'{pair}=PATH' for pair in pairs)}"
            if pairs
            else "Use an online teacher, --teacher-path, instead"
        )
        raise UserError(f"a teacher cache needs --task translation or a subclass of it, found --task {kind}. {way_out}")
    data = data_files(cfg, subset)
    sections: dict[str, Any] = {
        "options": {
            "--source-lang": cfg.source_lang,
            "--target-lang": cfg.target_lang,
            "--subset": subset,
            "--kd-temperature": float(temperature),
            # These options change which sentence an id stands for, or its tokens.
            "--truncate-source": cfg.max_source_positions if cfg.truncate_source else None,
            "--upsample-primary": cfg.upsample_primary if len(data) > 4 else None,
            **_of_own_task(cfg, kind),
        },
        "dictionaries": {
            "source dictionary": _symbols_digest(task.source_dictionary),
            "target dictionary": _symbols_digest(task.target_dictionary),
        },
        "data": {path.name: sha256(path) for path in data},
    }
    if teacher_path is not None:
        paths = teacher_path.split(":")
        if missing := [path for path in paths if not Path(path).is_file()]:
            there = "".join(dict.fromkeys(near(Path(path)) for path in missing))
            raise UserError(
                f"--teacher-path: no checkpoint at {', '.join(missing)}. Give the path of an existing file.{there}"
            )
        # Sorted, because the mean of an ensemble does not depend on its order.
        sections["teachers"] = {f"teacher {i}": digest for i, digest in enumerate(sorted(map(sha256, paths)), 1)}
    if model is not None:
        files = {path.name: sha256(path) for path in model_files(model)}
        sections["teachers"] = {"teacher 1": files.pop(WEIGHTS)}
        sections["model"] = files
    return sections


def _of_own_task(cfg: Any, kind: str | None) -> dict[str, Any]:
    """Return the name of a user's task and its own options, which may change batches."""
    if kind == "translation":
        return {"--task": None}  # None keeps caches of earlier versions valid
    usual = {option.name for option in dataclasses.fields(TranslationConfig)} | {"_name", "task"}
    own = sorted(set(cfg) - usual) if hasattr(cfg, "keys") else []
    return {"--task": kind, **{f"--{name.replace('_', '-')}": str(cfg[name]) for name in own}}


def _symbols_digest(dictionary: Any) -> str:
    # Not the digest of the file, because the counts in it have no effect.
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()


def data_files(cfg: Any, subset: str) -> list[Path]:
    """Return the four files of a split; for the training split also those of train1, train2, ..."""
    folders = utils.split_paths(cfg.data)
    if len(folders) > 1:
        raise UserError(f"a teacher cache needs the data in one folder, found {len(folders)}. Name one of {cfg.data}")
    source, target = cfg.source_lang, cfg.target_lang
    files: list[Path] = []
    for part in itertools.count():
        for pair in (f"{source}-{target}", f"{target}-{source}"):
            prefix = f"{subset}{part or ''}.{pair}"
            wanted = [
                Path(folders[0], f"{prefix}.{side}.{kind}") for side in (source, target) for kind in ("bin", "idx")
            ]
            if wanted[0].is_file():
                break
        else:
            break
        if missing := [path.name for path in wanted if not path.is_file()]:
            raise UserError(f"{folders[0]} has {wanted[0].name}, but not {', '.join(missing)}. Binarise it again")
        files += wanted
        if subset != cfg.train_subset:
            break
    if not files:
        raise UserError(
            f"{folders[0]} has no binarised split {subset!r} for {source} and {target}: expected "
            f"{subset}.{source}-{target}.{source}.bin and so on. fairseq-preprocess writes them"
        )
    return files


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the differences between two fingerprints, one line each; options that `wanted` lacks do not count."""
    lines = []
    for section, here in wanted.items():
        there = found.get(section, {})
        if section == "options":
            there = {name: there.get(name) for name in here}
        lines += what_differs(there, here, here="in this command")
    return lines


def read_plan(path: Path, name: str) -> dict[str, Any]:
    """Read a plan or a manifest. `name` is the name of the folder in messages.

    Raises:
        UserError: if the file is damaged, or of another format.
    """
    try:
        plan = read_json(path, {"format": object, "lskd?": str}, "what `lskd cache` writes")
        if (found := plan["format"]) == FORMAT and (problem := misfit(plan, _PLAN)):
            raise UserError(problem)
    except UserError as error:
        raise UserError(f"{name}: {path.name} is damaged ({error}). Delete the folder and write it again.") from None
    if found != FORMAT:
        raise UserError(
            f"{name} has format {shown(found)}, but this version of lskd reads format {FORMAT}. Delete the folder and "
            f"write it again with `lskd cache`, or use the version that wrote it ({plan.get('lskd', 'unknown')})."
        )
    return plan


class CachedTeacher:
    """A finished cache of a teacher, or an ensemble, for each target token of a split."""

    def __init__(self, name: str, lengths: np.ndarray, blocks: Sequence[np.ndarray]):
        """Use checked arrays (see `open`): lengths of sentences, and records in order. `name` is for messages."""
        self._dtype = blocks[0].dtype
        self.k: int = self._dtype["ids"].shape[0]
        #: Number of copies of the draws from the tail; 0 in a top-k cache.
        self.draws: int = self._dtype["drawn"].shape[0] if "drawn" in (self._dtype.names or ()) else 0
        self._name = name
        self._lengths = lengths.astype(np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        sizes = np.array([len(block) for block in blocks])
        self._first = np.cumsum(sizes) - sizes  # the first token of each block
        # As bytes, because records are copied field by field; as plain arrays, because slicing a memmap is slow.
        self._blocks = [block.view(np.ndarray).view(np.uint8).reshape(len(block), -1) for block in blocks]

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        task: Any,
        subset: str | None = None,
        temperature: float = 1.0,
        teacher_path: str | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> CachedTeacher:
        """Map a finished cache into memory. Check first that it is complete, not damaged, and fits the task.

        Args:
            task: fairseq's translation task; its dataset need not be loaded.
            subset: the split; None is the task's training split.
            temperature: the temperature of the cached distributions.
            teacher_path: checkpoints joined by `:`; if given, the cache must be of these.
            share: (rank, world size); each process checks its share of the files' contents.

        Raises:
            UserError: if something does not fit, is missing or damaged. The message names everything.
        """
        folder, name = Path(folder), f"--teacher-cache {os.fspath(folder)}"
        manifest = read_manifest(folder, name)
        wanted = fingerprint(task, subset or options_of(task).train_subset, temperature, teacher_path)
        there, here = (
            f"{each.get('--source-lang')}-{each.get('--target-lang')}"
            for each in (manifest["options"], wanted["options"])
        )
        if there != here:  # then all of its files are other files
            raise UserError(f"{name} is a cache of {there}, expected one of {here}. Give the cache of {here}")
        if lines := differences(manifest, wanted):
            # The flag of fairseq-train has another name than that of `lskd cache`.
            of_training = " (--train-subset of fairseq-train)"
            lines = [line + of_training * (line.startswith("--subset:") and subset is None) for line in lines]
            raise UserError(
                "\n  - ".join([f"{name} does not fit this training:", *lines])
                + "\nWrite a new cache with `lskd cache`, or train with the options and files of this one."
            )
        paths = _whole_files(folder, name, manifest, share)
        k, classes = manifest["options"].get("--top-k"), len(task.target_dictionary)
        if k is not None and k > classes:
            raise UserError(f"{name}: {MANIFEST} has --top-k {k}, the vocabulary {classes:,} types. {_WRITE_AGAIN}")
        sampled, draws = (manifest["options"].get(flag) for flag in ("--sampled", "--draws"))
        arrays = _arrays(name, paths, None if k is None else record_dtype(k, classes, sampled or 0, draws or 1))
        mine = slice(1 + share[0], None, share[1])
        _check_records(name, arrays[mine], paths[mine], classes)
        if all(np.isnan(block["rest"]).all() for block in arrays[1:]):
            options = manifest["options"]
            raise UserError(
                f"{name} has no teacher for any sentence. It was written with --max-source-positions "
                f"{options.get('--max-source-positions')} --max-target-positions "
                f"{options.get('--max-target-positions')}. Write a new cache with larger values"
            )
        return cls(name, arrays[0], arrays[1:])

    def lookup(self, ids: Tensor, lengths: Tensor, copy: int = 0, top_k: int | None = None) -> TopK | Sampled:
        """Return the teacher's predictions for the target tokens of a batch, on the device of `ids`.

        Args:
            ids: `[B]`, the sentences' indices in the dataset: fairseq's `sample["id"]`.
            lengths: `[B]`, the sentences' numbers of target tokens that are not padding.
            copy: number of the copy of the draws, modulo the number of copies.
            top_k: number of classes to keep of a cache without draws; None: all.

        Returns:
            A `Sampled` for a sampled cache, else a `TopK`, with `N = lengths.sum()` rows in the order of
            `target[target.ne(padding)]`, normalised in float32.

        Raises:
            UserError: if the cache lacks a sentence, or a sentence has another length.
        """
        # One transfer, because each waits for the GPU.
        sentences, wanted = torch.stack([ids, lengths]).cpu().numpy()
        if sentences.size and not 0 <= sentences.min() <= sentences.max() < len(self._lengths):
            raise UserError(
                f"{self._name} has {len(self._lengths):,} sentences, the batch has sentence {sentences.max()}. {_FIT}"
            )
        starts = self._starts[sentences]
        blocks = np.searchsorted(self._first, starts, side="right") - 1
        places = zip(blocks.tolist(), (starts - self._first[blocks]).tolist(), wanted.tolist(), strict=True)
        slices = [self._blocks[block][start : start + length] for block, start, length in places]
        records = np.concatenate([self._blocks[0][:0], *slices]).reshape(-1).view(self._dtype)
        if (lengths_there := self._lengths[sentences]).tolist() != wanted.tolist():
            self._check_lengths(sentences, lengths_there, wanted, records)
        classes = torch.from_numpy(records["ids"].astype(np.int64))
        log_probs = torch.from_numpy(records["log_probs"]).float()
        rest = torch.from_numpy(records["rest"]).float()
        # In float16 the sum of probabilities differs a little from 1.
        total = log_probs.exp().sum(-1).add_(rest.exp()).log_().nan_to_num_(0.0)
        best = TopK(classes, log_probs.sub_(total.unsqueeze(-1)), rest.sub_(total))
        if not self.draws:
            return TopK(*(_sent(part, ids.device) for part in (best if top_k is None else best.first(top_k))))
        drawn = torch.from_numpy(records["drawn"][:, copy % self.draws].astype(np.int64)).unsqueeze(1)
        known = Draws(*best, torch.from_numpy(records["entropy"]).float(), drawn).copy(0)
        return Sampled(*(_sent(part, ids.device) for part in known))

    def _check_lengths(self, sentences: np.ndarray, there: np.ndarray, wanted: np.ndarray, records: np.ndarray) -> None:
        """Raise a `UserError` if lengths differ, unless the text has the word <pad>: such sentences have no teacher."""
        rests = np.split(records["rest"], np.cumsum(wanted)[:-1])
        for sentence, cached, length, rest in zip(sentences, there, wanted, rests, strict=True):
            if length > cached or (length < cached and not np.isnan(rest).all()):
                raise UserError(
                    f"{self._name}: sentence {sentence} has {cached} target tokens in the cache, {length} in the "
                    f"batch, so the cache is of other data. {_FIT}"
                )


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device; to a GPU from pinned memory, which does not wait for the GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def read_manifest(folder: Path, name: str) -> dict[str, Any]:
    """Read the manifest of a finished cache. Raise a `UserError` for anything else."""
    if (folder / MANIFEST).is_file():
        manifest = read_plan(folder / MANIFEST, name)
        if not misfit(manifest, {"files": {str: COUNT}}) and len(manifest["files"]) > 1:
            return manifest
        raise UserError(f"{name}: {MANIFEST} is damaged. Run the same `lskd cache` command again to repair it.")
    if (folder / PLAN).is_file():
        plan = read_plan(folder / PLAN, name)
        raise UserError(
            f"{name} is not finished: {len(dict(find_blocks(folder)))} of {plan.get('blocks')} blocks are written. "
            "Run the same `lskd cache` command again; it continues where it stopped."
        )
    found = "other files" if folder.is_dir() else "a file" if folder.exists() else "nothing"
    raise UserError(f"{name}: found {found} there, expected a folder that `lskd cache` wrote")


def _arrays(name: str, paths: Sequence[Path], kind: np.dtype | None) -> list[np.ndarray]:
    """Map lengths and blocks into memory and check their form. `kind` is the recorded dtype of records, if any."""
    arrays = []
    for path in paths:
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except Exception as error:  # the header may be anything, so NumPy may raise anything
            raise UserError(f"{name}: {path.name} is not an array ({error}). {_WRITE_AGAIN}") from None
    lengths, *blocks = arrays
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any():
        raise UserError(f"{name}: {paths[0].name} does not have the lengths of sentences. {_WRITE_AGAIN}")
    kind = kind or blocks[0].dtype
    for path, block in zip(paths[1:], blocks, strict=True):
        if block.dtype != kind or block.ndim != 1 or "ids" not in (kind.names or ()):
            raise UserError(f"{name}: {path.name} has records of {block.dtype}, expected {kind}. {_WRITE_AGAIN}")
    if (there := sum(map(len, blocks))) != (wanted := int(lengths.sum(dtype=np.int64))):
        raise UserError(f"{name}: its blocks have {there:,} tokens, its sentences {wanted:,}. {_WRITE_AGAIN}")
    return arrays


def _check_records(name: str, blocks: Sequence[np.ndarray], paths: Sequence[Path], vocabulary: int) -> None:
    """Raise a `UserError` unless ids are in the vocabulary and log-probabilities at most 0 at tokens with a teacher."""
    for block, path in zip(blocks, paths, strict=True):
        ids, rest = block["ids"], block["rest"]
        known = ~np.isnan(rest)
        # Compared as integers, which is much faster than as float16.
        bits = np.concatenate([block["log_probs"], rest[:, None]], axis=1).view(np.uint16)[known]
        wrong = ((ids[known] < 0) | (ids[known] >= vocabulary)).any(1)
        wrong |= ((bits > _ALMOST_0) & ((bits < _NEGATIVE) | (bits > _LOWEST))).any(1)
        wrong |= bits[:, 0] == _LOWEST  # the most probable class
        if "drawn" in (block.dtype.names or ()):
            drawn, entropy = block["drawn"][known].reshape(len(bits), -1), block["entropy"][known]
            wrong |= ((drawn < 0) | (drawn >= vocabulary)).any(1) | ~((entropy >= 0) & np.isfinite(entropy))
        if wrong.any():
            token = int(np.flatnonzero(known)[wrong.argmax()])
            raise UserError(
                f"{name}: token {token:,} of {path.name} has the types {shown(ids[token].tolist())} with "
                f"log-probabilities {shown(block['log_probs'][token].tolist())} and {rest[token]} for all others"
                f"{_and_drawn(block, token)}: expected types from 0 to {vocabulary - 1:,} and log-probabilities of at "
                f"most 0. {_WRITE_AGAIN}"
            )


def _and_drawn(block: np.ndarray, token: int) -> str:
    if "drawn" not in (block.dtype.names or ()):
        return ""
    return f", the draws {shown(block['drawn'][token].tolist())} and the tail's entropy {block['entropy'][token]}"


_WRITE_AGAIN = "Delete the folder and write it again with `lskd cache`."
_FIT = "Write a cache of this training data with `lskd cache`."


def _whole_files(folder: Path, name: str, manifest: dict[str, Any], share: tuple[int, int]) -> list[Path]:
    """Return the cache's files, lengths first, after checking all sizes and this process's share of the digests."""
    rank, world = share
    files = {within(folder, file, f"{name}: its file"): size for file, size in manifest["files"].items()}
    problems = [f"{path.name} is missing" for path in files if not path.is_file()]
    problems += [
        f"{path.name} has {path.stat().st_size:,} bytes, expected {size:,}"
        for path, size in files.items()
        if path.is_file() and path.stat().st_size != size
    ]
    if not problems:
        damaged = find_damaged(list(files)[rank::world])
        problems = [f"{path.name} is damaged: its digest does not match" for path in damaged]
    if problems:
        raise UserError(
            "\n  - ".join([f"{name} is not complete:", *problems])
            + "\nRun the same `lskd cache` command again (without --shard-id) to write these files again."
        )
    return list(files)

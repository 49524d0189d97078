"""A teacher's top-k probabilities, with draws from its tail or without, on disk: the format, the fingerprint, reading.

A cache is a folder of

    plan.json                    what is to be cached, and of what: written first
    block-00000-DIGEST.npy, ...  a record a target token (end of sentence included), in the order of the dataset's ids
    lengths-DIGEST.npy           [sentences] int32, target tokens of each sentence
    cache.json                   the plan and the files' sizes: written last, so that without it nothing is finished

where DIGEST begins the SHA-256 of the file that carries it: what is in a file called so is whole, or known not to be.
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
from .compatibility import task_name
from .known import is_bilingual
from .languages import options_of

#: Of the files and of what is in them. A cache of another format is refused: write it again.
FORMAT = 1
PLAN, MANIFEST = "plan.json", "cache.json"

_DIGESTS = {str: str}
_PLAN = {
    "options": {
        "--top-k?": POSITIVE,
        **{flag: (POSITIVE, type(None)) for flag in ("--sampled?", "--draws?")},
    },
    **{"dictionaries": _DIGESTS, "data": _DIGESTS, "teachers": _DIGESTS},
    **{"blocks?": POSITIVE, "bytes_per_token?": POSITIVE, "files?": object},
}
#: float16's bits of 0.01, by which rounding may make the logarithm of a probability of 1 differ, and of -infinity.
_ALMOST_0, _NEGATIVE, _LOWEST = 0x211F, 0x8000, 0xFC00

_NAME = re.compile(r"(?:block-(\d{5})|lengths)-([0-9a-f]{16})\.npy")


#: Options that a cache has only if they were given: those of sampled ones, and weights of several teachers.
OPTIONAL = ("--sampled", "--draws", "--seed", "--teacher-weights")


def record_dtype(k: int, vocabulary: int, sampled: int = 0, draws: int = 1) -> np.dtype:
    """A token's record: its k most probable classes in descending order, and the log of the mass left over.

    A sampled cache adds the entropy of the tail, and `draws` copies of `sampled` classes drawn from it.

    `rest` is -inf where k is the vocabulary, and NaN where the teacher has nothing to say (then the others are 0).
    float16 keeps a log-probability to a relative 2^-11 and never overflows above e^-65504.
    """
    index = "<u2" if vocabulary <= 2**16 else "<i4"
    tail = [("entropy", "<f2"), ("drawn", index, (draws, sampled))] if sampled else []
    return np.dtype([("ids", index, (k,)), ("log_probs", "<f2", (k,)), ("rest", "<f2"), *tail])


def file_name(stem: str, content: bytes | memoryview) -> str:
    """What a file of this content is called."""
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.npy"


def find_blocks(folder: Path) -> list[tuple[int, Path]]:
    """Number and path of each block in a folder, damaged or not, in order.

    Two processes that wrote the same block on other hardware may differ in a last digit; either block will do.
    """
    paths = sorted(folder.glob("block-*.npy"))
    return [(int(match[1]), path) for path in paths if (match := _NAME.fullmatch(path.name))]


def find_damaged(paths: Sequence[Path]) -> list[Path]:
    """Which files' contents are not what their names say; shows progress if it takes long."""

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


def fingerprint(task: Any, subset: str, temperature: float, teacher_path: str | None = None) -> dict[str, Any]:
    """What a cache depends on: sections of names and values (of files and dictionaries, their SHA-256).

    Only files are read, not the dataset. Without `teacher_path` the section "teachers" is left out.

    Raises:
        UserError: if the task is another, the data is in several folders, is not binarised or is no bitext, or a
            checkpoint is missing.
    """
    cfg = options_of(task)
    if not is_bilingual(kind := task_name(cfg)):
        raise UserError(f"a teacher cache serves the task translation, or one of yours made of it, found --task {kind}")
    data = data_files(cfg, subset)
    sections: dict[str, Any] = {
        "options": {
            "--source-lang": cfg.source_lang,
            "--target-lang": cfg.target_lang,
            "--subset": subset,
            "--kd-temperature": float(temperature),
            # These change what a dataset's id stands for, or its tokens.
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
            raise UserError(f"--teacher-path: no checkpoint at {', '.join(missing)}")
        # The mean of an ensemble does not depend on its order.
        sections["teachers"] = {f"teacher {i}": digest for i, digest in enumerate(sorted(map(sha256, paths)), 1)}
    return sections


def _of_own_task(cfg: Any, kind: str | None) -> dict[str, Any]:
    """The task's name, and options that fairseq's `translation` lacks, which may change its batches."""
    if kind == "translation":
        return {"--task": None}  # as in caches that were written before there were others
    usual = {option.name for option in dataclasses.fields(TranslationConfig)} | {"_name", "task"}
    own = sorted(set(cfg) - usual) if hasattr(cfg, "keys") else []
    return {"--task": kind, **{f"--{name.replace('_', '-')}": str(cfg[name]) for name in own}}


def _symbols_digest(dictionary: Any) -> str:
    # Not of the file: its counts play no part.
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()


def data_files(cfg: Any, subset: str) -> list[Path]:
    """The four files of a split, and of train1, train2, ... where fairseq adds those."""
    folders = utils.split_paths(cfg.data)
    if len(folders) > 1:
        raise UserError(f"a teacher cache needs the data in one folder, found {len(folders)}: {cfg.data}")
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
            raise UserError(f"{folders[0]} has {wanted[0].name}, but not {', '.join(missing)}")
        files += wanted
        if subset != cfg.train_subset:
            break
    if not files:
        raise UserError(
            f"{folders[0]} has no binarised {subset!r} of {source} and {target}: expected "
            f"{subset}.{source}-{target}.{source}.bin and so on, which fairseq-preprocess writes"
        )
    return files


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """How a recorded fingerprint differs from the one wanted, a line each; options not in `wanted` do not count."""
    lines = []
    for section, here in wanted.items():
        there = found[section]
        if section == "options":
            there = {name: there.get(name) for name in here}
        lines += what_differs(there, here, here="here")
    return lines


def read_plan(path: Path, name: str) -> dict[str, Any]:
    """A plan, or the manifest that it became; `name` is what messages call the folder.

    Raises:
        UserError: if it is broken, or of another format.
    """
    try:
        plan = read_json(path, {"format": object, "lskd?": str}, "what `lskd cache` writes")
        if (found := plan["format"]) == FORMAT and (problem := misfit(plan, _PLAN)):
            raise UserError(problem)
    except UserError as error:
        raise UserError(f"{name}: {path.name} is damaged ({error}). Delete the folder and write it again.") from None
    if found != FORMAT:
        raise UserError(
            f"{name} has format {shown(found)}, this version of lskd has {FORMAT}. Delete the folder and write it "
            f"again with `lskd cache`, or take the version that wrote it ({plan.get('lskd', 'unknown')})."
        )
    return plan


class CachedTeacher:
    """What was kept of a teacher, or an ensemble, at each target token of a split."""

    def __init__(self, name: str, lengths: np.ndarray, blocks: Sequence[np.ndarray]):
        """`name` for messages; lengths: `[sentences]` int; blocks: records of `record_dtype`, all tokens in order."""
        self._dtype = blocks[0].dtype
        self.k: int = self._dtype["ids"].shape[0]
        #: Copies of the draws from the tail; 0 where the cache is one of a top k.
        self.draws: int = self._dtype["drawn"].shape[0] if "drawn" in (self._dtype.names or ()) else 0
        self._name = name
        self._lengths = lengths.astype(np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        sizes = np.array([len(block) for block in blocks])
        self._first = np.cumsum(sizes) - sizes  # the first token of each block
        # As bytes, since records are copied field by field; as plain arrays, since slicing a memmap is slow.
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
        """Map a finished cache into memory, after checking that it is whole and belongs to this task.

        Args:
            task: fairseq's translation task; its dataset need not be loaded.
            subset: the split; None is the one that the task trains on.
            teacher_path: checkpoints joined by `:`; if given, the cache must be of these.
            share: (rank, world size): of the world's processes, each checks its share of the checksums.

        Raises:
            UserError: naming everything that does not fit, or is missing or damaged.
        """
        folder, name = Path(folder), f"--teacher-cache {os.fspath(folder)}"
        manifest = _read_manifest(folder, name)
        wanted = fingerprint(task, subset or options_of(task).train_subset, temperature, teacher_path)
        if lines := differences(manifest, wanted):
            raise UserError(
                "\n  - ".join([f"{name} was not made for this:", *lines])
                + "\nWrite another with `lskd cache`, or train with what this one was made of."
            )
        paths = _whole_files(folder, name, manifest, share)
        k, classes = manifest["options"].get("--top-k"), len(task.target_dictionary)
        if k is not None and k > classes:
            raise UserError(f"{name}: {MANIFEST} says --top-k {k}, of a vocabulary of {classes:,}. {_ANEW}")
        sampled, draws = (manifest["options"].get(flag) for flag in ("--sampled", "--draws"))
        arrays = _arrays(name, paths, None if k is None else record_dtype(k, classes, sampled or 0, draws or 1))
        mine = slice(1 + share[0], None, share[1])
        _check_records(name, arrays[mine], paths[mine], classes)
        if all(np.isnan(block["rest"]).all() for block in arrays[1:]):
            options = manifest["options"]
            raise UserError(
                f"{name}: no sentence in it has a teacher, so that nothing would be learned from it. It was written "
                f"with --max-source-positions {options.get('--max-source-positions')} --max-target-positions "
                f"{options.get('--max-target-positions')}: write another with larger ones"
            )
        return cls(name, arrays[0], arrays[1:])

    def lookup(self, ids: Tensor, lengths: Tensor, copy: int = 0) -> TopK | Sampled:
        """The records of a batch's target tokens, on the device of `ids`.

        Args:
            ids: `[B]`, the sentences' indices in the dataset: fairseq's `sample["id"]`.
            lengths: `[B]`, their numbers of target tokens that are not padding.
            copy: which copy of the draws from the tail, counted beyond the last from the first again.

        Returns:
            `N = lengths.sum()` rows, in the order of `target[target.ne(padding)]`, normalised in float32: of a sampled
            cache a `Sampled`, else a `TopK`.

        Raises:
            UserError: if there is no such sentence, or it is of another length.
        """
        # At once: a GPU is waited for.
        sentences, wanted = torch.stack([ids, lengths]).cpu().numpy()
        if sentences.size and not 0 <= sentences.min() <= sentences.max() < len(self._lengths):
            raise UserError(f"{self._name} has {len(self._lengths):,} sentences, asked for id {sentences.max()}")
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
        # float16 left a total that is not quite 1.
        total = log_probs.exp().sum(-1).add_(rest.exp()).log_().nan_to_num_(0.0)
        best = TopK(classes, log_probs.sub_(total.unsqueeze(-1)), rest.sub_(total))
        if not self.draws:
            return TopK(*(_sent(part, ids.device) for part in best))
        drawn = torch.from_numpy(records["drawn"][:, copy % self.draws].astype(np.int64)).unsqueeze(1)
        known = Draws(*best, torch.from_numpy(records["entropy"]).float(), drawn).copy(0)
        return Sampled(*(_sent(part, ids.device) for part in known))

    def _check_lengths(self, sentences: np.ndarray, there: np.ndarray, wanted: np.ndarray, records: np.ndarray) -> None:
        """Other lengths are other data, except where a word of the text is <pad>: there is no teacher there."""
        rests = np.split(records["rest"], np.cumsum(wanted)[:-1])
        for sentence, cached, length, rest in zip(sentences, there, wanted, rests, strict=True):
            if length > cached or (length < cached and not np.isnan(rest).all()):
                raise UserError(
                    f"{self._name}: sentence {sentence} has {cached} target tokens there, {length} in the batch: "
                    "it was made of other data"
                )


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """On this device; to a GPU from pinned memory, so that it is not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _read_manifest(folder: Path, name: str) -> dict[str, Any]:
    """The manifest of a finished cache; `UserError` for anything else."""
    if (folder / MANIFEST).is_file():
        manifest = read_plan(folder / MANIFEST, name)
        if not misfit(manifest, {"files": {str: COUNT}}) and len(manifest["files"]) > 1:
            return manifest
        raise UserError(f"{name}: {MANIFEST} is damaged. Run `lskd cache` for it again, which mends it.")
    if (folder / PLAN).is_file():
        plan = read_plan(folder / PLAN, name)
        raise UserError(
            f"{name} is not finished: {len(dict(find_blocks(folder)))} of {plan.get('blocks')} blocks are written. "
            "Run `lskd cache` for it again, which goes on where it stopped."
        )
    found = "files of something else" if folder.is_dir() else "a file" if folder.exists() else "nothing"
    raise UserError(f"{name}: found {found} there, expected a folder that `lskd cache` wrote")


def _arrays(name: str, paths: Sequence[Path], kind: np.dtype | None) -> list[np.ndarray]:
    """Lengths and blocks, mapped into memory, which fit each other; `kind` is that of records, if it is recorded."""
    arrays = []
    for path in paths:
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except Exception as error:  # of a header that may hold anything
            raise UserError(f"{name}: {path.name} is no array ({error}). {_ANEW}") from None
    lengths, *blocks = arrays
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any():
        raise UserError(f"{name}: {paths[0].name} does not hold the lengths of sentences. {_ANEW}")
    kind = kind or blocks[0].dtype
    for path, block in zip(paths[1:], blocks, strict=True):
        if block.dtype != kind or block.ndim != 1 or "ids" not in (kind.names or ()):
            raise UserError(f"{name}: {path.name} has records of {block.dtype}, expected {kind}. {_ANEW}")
    if (there := sum(map(len, blocks))) != (wanted := int(lengths.sum(dtype=np.int64))):
        raise UserError(f"{name}: its blocks have {there:,} tokens, its sentences {wanted:,}. {_ANEW}")
    return arrays


def _check_records(name: str, blocks: Sequence[np.ndarray], paths: Sequence[Path], vocabulary: int) -> None:
    """Check every number in blocks: ids of the vocabulary, logarithms of probabilities, NaN only where nothing is said.

    Raises:
        UserError: naming the block and the token.
    """
    for block, path in zip(blocks, paths, strict=True):
        ids, rest = block["ids"], block["rest"]
        says = ~np.isnan(rest)
        # As whole numbers, which is many times as fast as float16.
        bits = np.concatenate([block["log_probs"], rest[:, None]], axis=1).view(np.uint16)[says]
        wrong = ((ids[says] < 0) | (ids[says] >= vocabulary)).any(1)
        wrong |= ((bits > _ALMOST_0) & ((bits < _NEGATIVE) | (bits > _LOWEST))).any(1)
        wrong |= bits[:, 0] == _LOWEST  # the most probable class
        if "drawn" in (block.dtype.names or ()):
            drawn, entropy = block["drawn"][says].reshape(len(bits), -1), block["entropy"][says]
            wrong |= ((drawn < 0) | (drawn >= vocabulary)).any(1) | ~((entropy >= 0) & np.isfinite(entropy))
        if wrong.any():
            token = int(np.flatnonzero(says)[wrong.argmax()])
            raise UserError(
                f"{name}: token {token:,} of {path.name} has classes {shown(ids[token].tolist())} with "
                f"log-probabilities {shown(block['log_probs'][token].tolist())} and {rest[token]} for all others"
                f"{_and_drawn(block, token)}: "
                f"expected classes of 0 to {vocabulary - 1:,} and numbers up to 0. {_ANEW}"
            )


def _and_drawn(block: np.ndarray, token: int) -> str:
    if "drawn" not in (block.dtype.names or ()):
        return ""
    return f", drew {shown(block['drawn'][token].tolist())} of them, whose entropy is {block['entropy'][token]}"


_ANEW = "Delete the folder, and write it again with `lskd cache`."


def _whole_files(folder: Path, name: str, manifest: dict[str, Any], share: tuple[int, int]) -> list[Path]:
    """The cache's files, lengths first; all sizes checked, of the checksums one's share."""
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
        problems = [f"{path.name} was damaged: its checksum is another" for path in damaged]
    if problems:
        raise UserError(
            "\n  - ".join([f"{name} is not whole:", *problems])
            + "\nRun `lskd cache` for it again (without --shard-id), which writes these anew."
        )
    return list(files)

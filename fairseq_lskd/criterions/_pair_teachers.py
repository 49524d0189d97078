"""Teachers for each language pair of a multilingual student, and which pairs are taught (Tan et al., ICLR 2019)."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..losses import Projection, divergence
from ..teachers import CachedTeacher, OnlineTeacher
from ..teachers.compatibility import task_name
from ..teachers.forced import distributions
from ..teachers.languages import Marks, options_of
from ..teachers.of_pairs import NONE, by_pair, check_pairs, paths_in, task_of_pair, without_marks
from ..teachers.online import DTYPES
from ._batch import Batch, Parts
from ._checks import check_classes, check_sampled, explain_missing_files, raise_for
from ._language_pairs import PairOfBatch, PairsOfBatch, split_ids
from ._options import WITHOUT_TEACHER

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairTeacher:
    """The teacher of a language pair, online or cached."""

    teacher: OnlineTeacher | CachedTeacher
    marks: Marks  #: the student's language tokens, which the teacher does not read


@dataclass(frozen=True)
class Group:
    """The sentences of one language pair in a batch, and the tokens that its teacher teaches."""

    number: int  #: the number of the pair
    of: PairTeacher
    sentences: Tensor  #: [b] int64, rows of the batch
    tokens: Tensor  #: [n] int64, among the N tokens of the batch's mask; a language token is not among them

    def mask(self, batch: Batch) -> Tensor:
        """Return the tokens in the teacher's batch, `[b, T - shift]` bool, padding columns included."""
        return batch.mask[self.sentences][:, self.of.marks.shift :]


@dataclass(frozen=True)
class OnlineOfPairs:
    """The predictions of several online teachers for a batch, each for the sentences of its pair."""

    groups: list[Group]
    like: Tensor  #: a parameter of the student
    temperature: float
    classes: int  #: number of types of the student
    eos: int

    def projected(self, batch: Batch) -> Parts:
        return Parts([(group.tokens, self._projections(group, batch)) for group in self.groups])

    def whole(self, batch: Batch) -> Parts:
        return Parts([(group.tokens, self._log_probs(group, batch)) for group in self.groups])

    @torch.no_grad()
    def guesses(self, batch: Batch) -> Tensor:
        """Return the most probable class of each token of the mask, `[N]` int64, or -1 if it has no teacher."""
        found = torch.full_like(batch.labels, -1)
        for group in self.groups:
            net_input, mask = self._read(group, batch)
            teacher = _online(group.of)
            slices = distributions(teacher, net_input, mask.flatten().nonzero().squeeze(1), self.like)
            found[group.tokens] = torch.cat([log_probs.argmax(-1) for log_probs, _ in slices])
        return found

    def _projections(self, group: Group, batch: Batch) -> list[Projection]:
        net_input, mask = self._read(group, batch)
        found = _online(group.of).projections(net_input, self.like, mask)
        assert found is not None  # see `PairTeachers.why_not_projected`
        return found

    def _log_probs(self, group: Group, batch: Batch) -> Tensor:
        net_input, mask = self._read(group, batch)
        found = _online(group.of).log_probs(net_input, self.like, self.temperature)[mask]
        return F.pad(found, (0, self.classes - found.size(-1)), value=-torch.inf)

    def _read(self, group: Group, batch: Batch) -> tuple[dict[str, Any], Tensor]:
        """Return the teacher's input, and the mask of its tokens."""
        names = ("src_tokens", "src_lengths", "prev_output_tokens")
        net_input = {name: batch.net_input[name][group.sentences] for name in names}
        net_input = without_marks(group.of.marks, net_input, self.eos)
        return net_input, group.mask(batch)[:, : net_input["prev_output_tokens"].size(1)]


@dataclass(frozen=True)
class CachedOfPairs:
    """The predictions for a batch that the caches of several pairs store."""

    parts: Parts

    def projected(self, batch: Batch) -> Parts:
        return self.parts

    def whole(self, batch: Batch) -> Parts:
        return self.parts


def _online(of: PairTeacher) -> OnlineTeacher:
    assert isinstance(of.teacher, OnlineTeacher)
    return of.teacher


class PairTeachers:
    """The teachers of a multilingual student."""

    def __init__(self, pairs: Sequence[str], teachers: dict[int, PairTeacher], task: Any, part: PairOfBatch | None):
        """Use loaded teachers.

        Args:
            pairs: the student's language pairs.
            teachers: by the number of the pair.
            part: the pair of the current batch of `multilingual_translation`; None for a task whose batches mix pairs.
        """
        self.pairs, self.teachers = list(pairs), teachers
        self._part = part
        self._classes, self._eos = len(task.target_dictionary), task.target_dictionary.eos()
        if part is None:
            PairsOfBatch(task, self.pairs)

    @classmethod
    def load(
        cls, cfg: Any, task: Any, pairs: list[str], part: PairOfBatch | None, share: tuple[int, int]
    ) -> PairTeachers | None:
        """Load the teachers that `--teacher-path` or `--teacher-cache` names for pairs; None if they name no pairs.

        Args:
            pairs: the task's language pairs.
            share: (rank, world size) for checking caches.

        Raises:
            UserError: if a pair has no teacher, a teacher has no pair or does not fit, or an option does not apply.
        """
        paths, caches = by_pair(cfg.teacher_path), by_pair(cfg.teacher_cache, "--teacher-cache")
        for flag, named in (("--teacher-path", paths), ("--teacher-cache", caches)):
            if named is not None:
                check_pairs(flag, named, pairs, task_name(options_of(task)))
        named = paths if caches is None else caches
        if named is None:
            for flag, value in (("--teacher-path", cfg.teacher_path), ("--teacher-cache", cfg.teacher_cache)):
                if len(pairs) > 1 and "," in (value or "") and not any(Path(path).exists() for path in paths_in(value)):
                    raise UserError(
                        f"{flag} {value}: nothing is there. For a teacher of each language pair, give "
                        f"{flag} {','.join(f'{pair}=PATH' for pair in pairs)}; several for all pairs are joined by ':'"
                    )
            return None
        found, problems, loaded = {}, [], dict[str, Any]()
        for pair, path in named.items():
            if path == NONE:
                continue
            try:
                found[pairs.index(pair)] = _load(cfg, task, pair, path, paths if caches else None, share, loaded)
            except UserError as error:
                problems.append(f"{pair}: {error}")
        raise_for(problems)
        narrow = [pair for number, pair in enumerate(pairs) if number in found and _lacks(found[number], task)]
        if narrow and caches is None and cfg.kd_top_k is None and divergence(str(cfg.kd_divergence)).unbounded:
            raise UserError(
                f"--kd-divergence {cfg.kd_divergence} is infinite, because the student gives probability to its "
                f"language tokens, which have none from the teachers of {', '.join(narrow)}. Use another divergence, "
                "or --kd-top-k with --kd-rest class"
            )
        return cls(pairs, found, task, part)

    @property
    def are_cached(self) -> bool:
        return any(isinstance(of.teacher, CachedTeacher) for of in self.teachers.values())

    @property
    def why_not_projected(self) -> str | None:
        """The reason why teachers do not give projections; None if they do."""
        online = (of.teacher for of in self.teachers.values() if isinstance(of.teacher, OnlineTeacher))
        return next((teacher.why_not_projected for teacher in online if teacher.why_not_projected), None)

    def of_batch(self, sample: dict[str, Any], batch: Batch, taught: Sequence[bool]) -> tuple[list[Group], Tensor]:
        """Return the sentences of each pair that is taught, and each sentence's index in the data of its pair, `[B]`.

        Args:
            sample: fairseq's batch.
            taught: for each pair, whether it is taught.
        """
        if self._part is None:
            numbers, ids = split_ids(sample["id"])
            present = numbers.unique().tolist()
        else:
            number, ids = self.pairs.index(self._part.pair), sample["id"]
            numbers, present = torch.full_like(ids, number), [number]
        of_token = numbers[batch.sentences]
        columns = batch.indices % batch.target.size(1)
        groups = []
        for number in present:
            if number not in self.teachers or not taught[number]:
                continue
            of = self.teachers[number]
            tokens = of_token.eq(number).logical_and_(columns >= of.marks.shift).nonzero().squeeze(1)
            if len(tokens):
                groups.append(Group(number, of, numbers.eq(number).nonzero().squeeze(1), tokens))
        return groups, ids

    def online(self, groups: list[Group], like: Tensor, temperature: float) -> OnlineOfPairs:
        return OnlineOfPairs(groups, like, temperature, self._classes, self._eos)

    def cached(self, groups: list[Group], ids: Tensor, batch: Batch, copy: int, top_k: int | None) -> CachedOfPairs:
        """Read the caches. `copy` is the number of the copy of a sampled cache's draws."""
        parts: list[tuple[Tensor, Any]] = []
        for group in groups:
            cache = group.of.teacher
            assert isinstance(cache, CachedTeacher)
            real = batch.target[group.sentences][:, group.of.marks.shift :].ne(batch.padding)
            best = cache.lookup(ids[group.sentences], real.sum(1), copy, top_k)
            parts.append((group.tokens, best.rows(group.mask(batch)[real])))
        return CachedOfPairs(Parts(parts))


def _load(
    cfg: Any,
    task: Any,
    pair: str,
    path: str,
    paths: dict[str, str] | None,
    share: tuple[int, int],
    loaded: dict[str, Any],
) -> PairTeacher:
    """Load the teacher of a pair: the checkpoints at `path`, or the cache if there is `--teacher-cache`.

    `loaded` has the multilingual models of other pairs: a model that teaches several pairs is in memory once.
    """
    own = task_of_pair(task, pair)
    with explain_missing_files(path, overrides=WITHOUT_TEACHER):
        if cfg.teacher_cache is None:
            dtype = DTYPES.get(str(cfg.teacher_dtype))
            online = OnlineTeacher.from_checkpoints(path, own, cfg.teacher_data, dtype=dtype, loaded=loaded)
            raise_for(check_classes(cfg, own.marks.classes, "the vocabulary"))
            return PairTeacher(online, own.marks)
        of = None if paths is None or paths[pair] == NONE else paths[pair]
        return PairTeacher(open_cache(cfg, path, own, of, share), own.marks)


def open_cache(cfg: Any, folder: str, task: Any, teacher_path: str | None, share: tuple[int, int]) -> CachedTeacher:
    """Open a cache, and check the options that it may not support. The arguments are those of `CachedTeacher.open`."""
    cache = CachedTeacher.open(folder, task, temperature=cfg.kd_temperature, teacher_path=teacher_path, share=share)
    unsupported = check_sampled(cfg) if cache.draws else []
    raise_for(unsupported or check_classes(cfg, cache.k, f"--teacher-cache {folder}"))
    return cache


def _lacks(of: PairTeacher, task: Any) -> bool:
    return of.marks.classes < len(task.target_dictionary)


class Ahead(nn.Module):
    """Which pairs are taught with `--kd-threshold`: those whose student is not ahead of its teacher in validation.

    Tan et al. (ICLR 2019, section 3.2) compare BLEU. Here, the share of validation tokens with the right most probable
    class is compared, which costs no decoding.
    """

    counts: Tensor

    def __init__(self, pairs: Sequence[str], threshold: float):
        """Begin with all pairs taught.

        Args:
            threshold: percentage points of accuracy by which a student that is not taught is ahead.
        """
        super().__init__()
        self.pairs, self.threshold = list(pairs), threshold
        #: `[P, 4]` int64 for the P pairs: a checksum of the name, tokens that the student has right in the last
        #: validation, tokens that the teacher has right, and all tokens.
        counts = torch.zeros(len(self.pairs), 4, dtype=torch.int64)
        counts[:, 0] = torch.tensor([zlib.crc32(pair.encode()) for pair in self.pairs])
        self.register_buffer("counts", counts)
        self._taught: list[bool] | None = None

    def begin(self) -> None:
        """Forget the last validation."""
        self.counts[:, 1:] = 0
        self._taught = None

    def add(self, counts: Tensor) -> None:
        """Add the counts of `count`, of all workers."""
        self.counts[:, 1:] += counts.to(self.counts)
        self._taught = None

    def take(self, counts: Tensor) -> None:
        """Take the counts of a checkpoint for the pairs that it has."""
        names = counts[:, 0].tolist()
        for row, name in enumerate(self.counts[:, 0].tolist()):
            if name in names:
                self.counts[row] = counts[names.index(name)].to(self.counts)
        self._taught = None

    def taught(self) -> list[bool]:
        """Return for each pair whether it is taught. Changes are logged once after a validation."""
        if self._taught is None:
            rows = zip(self.pairs, self.counts[:, 1:].tolist(), strict=True)
            self._taught = [self._is_taught(pair, *row) for pair, row in rows]
        return self._taught

    def _is_taught(self, pair: str, student: int, teacher: int, tokens: int) -> bool:
        if not tokens:  # before the first validation
            return True
        taught = 100 * (student - teacher) < self.threshold * tokens
        logger.info(
            f"distillation of {pair} is {'on' if taught else 'off'}: in validation the student has "
            f"{100 * student / tokens:.2f}% of the tokens right, its teacher {100 * teacher / tokens:.2f}%"
        )
        return taught

    def count(self, guesses: Tensor, batch: Batch) -> Tensor:
        """Return the counts of a validation batch, `[P, 3]` int64.

        Args:
            guesses: the student's most probable classes, `[N]`.
        """
        teachers = batch.teacher
        assert isinstance(teachers, OnlineOfPairs)
        found = torch.zeros(len(self.pairs), 3, dtype=torch.int64, device=guesses.device)
        theirs = teachers.guesses(batch)
        for group in teachers.groups:
            labels = batch.labels[group.tokens]
            right = (each[group.tokens].eq(labels).sum() for each in (guesses, theirs))
            found[group.number] = torch.stack([*right, labels.new_tensor(len(labels))])
        return found

"""fairseq-generate's search on fairseq-generate's batches, by an exported folder: what makes the two comparable."""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
from fairseq import options as parsers
from fairseq import tasks, utils
from fairseq.dataclass.configs import GenerationConfig

from ..errors import UserError
from ..sequences.decoding import Batch, DecodingOptions, Settings
from ..sequences.engines.ctranslate2_engine import CTranslate2Engine
from ..sequences.segmentation import joiner
from .facts import read_manifest

_SEARCH = ("beam", "nbest", "lenpen", "max_len_a", "max_len_b", "min_len", "unkpen")
#: Options that change what fairseq-generate prints, and no translation. (--iter-decode-... is of models that write all
#: tokens at once, which cannot be exported.)
_HARMLESS = ("no_beamable_mm", "sacrebleu", "print_alignment", "print_step", "retain_iter_history", "no_seed_provided")


class NoSuchSearch(UserError):
    """CTranslate2 does not search as fairseq-generate is asked to."""


@dataclass(frozen=True)
class Generation:
    """What fairseq-generate does with its options: the search, and the batches of a split."""

    search: DecodingOptions
    batches: tuple[tuple[tuple[int, ...], list[list[str]]], ...]  #: places in the split, and their sources in pieces

    @property
    def sentences(self) -> int:
        return sum(len(places) for places, _ in self.batches)

    @classmethod
    def read(cls, data: Path, subset: str, options: Sequence[str]) -> Generation:
        """As fairseq-generate reads `options`, and makes batches of the split.

        Raises:
            UserError: if it does not know an option, or there is no such split.
            NoSuchSearch: which is one, too.
        """
        args = _read(data, subset, options)
        search = _search(args)
        utils.import_user_module(args)
        task = tasks.setup_task(args)
        try:
            task.load_dataset(subset)
        except FileNotFoundError:
            raise UserError(f"{data} has no split {subset!r}; name another with --subset") from None
        iterator = task.get_batch_iterator(
            dataset=task.dataset(subset),
            max_tokens=args.max_tokens or (12000 if args.batch_size is None else None),
            max_sentences=args.batch_size,
            max_positions=task.max_positions(),
            required_batch_size_multiple=args.required_batch_size_multiple,
            num_shards=args.distributed_world_size,
            shard_id=args.distributed_rank,
        )
        words = task.source_dictionary
        batches = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'pin_memory'")  # which is of no use without a GPU
            samples = list(iterator.next_epoch_itr(shuffle=False))
        for sample in samples:
            if "net_input" in sample:
                rows = sample["net_input"]["src_tokens"].tolist()
                sources = [[words[i] for i in row if i not in (words.pad(), words.eos())] for row in rows]
                batches.append((tuple(sample["id"].tolist()), sources))
        return cls(search, tuple(batches))


class Exported:
    """A folder of `lskd export` on the CPU.

    Raises:
        UserError: if it is none, or damaged.
    """

    def __init__(self, folder: Path, search: DecodingOptions, threads: int):
        positions = read_manifest(folder)["max_positions"]
        self.folder = folder
        self.engine = CTranslate2Engine(folder, search, "cpu", threads, (positions[0], positions[-1]))
        try:
            # What the weights are stored as may not be what this processor computes with.
            self.compute_type: str = ctranslate2.Translator(str(folder)).compute_type
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{folder} is not a model that CTranslate2 can load: {error}; export it again") from None
        # Batches are made already.
        self.engine.configure(Settings("cpu", self.compute_type, 1, threads, max_tokens=2**31))

    def translate(self, generation: Generation) -> tuple[list[list[str]], float]:
        """The best hypothesis of each sentence in pieces, in the order of the split; seconds of the search.

        A sentence without a piece has a translation without one.
        """
        found: dict[int, list[str]] = {}
        seconds = 0.0
        for places, sources in generation.batches:
            rows = [i for i, pieces in enumerate(sources) if pieces]
            found |= {place: [] for place in places}
            if not rows:
                continue
            batch = Batch([sources[i] for i in rows], 0, places[rows[0]])
            begun = time.perf_counter()
            (hypotheses,) = self.engine.translate([batch])
            seconds += time.perf_counter() - begun
            found |= {places[i]: each[0].tokens for i, each in zip(rows, hypotheses, strict=True) if each}
        return [found[place] for place in sorted(found)], seconds

    def texts(self, generation: Generation) -> list[str]:
        """The translations as text, by the folder's own SentencePiece model."""
        own = (self.folder / "sentencepiece.target.model", self.folder / "sentencepiece.model")
        join = joiner(next(path for path in own if path.is_file()), [])
        return [join(pieces) for pieces in self.translate(generation)[0]]


def _read(data: Path, subset: str, options: Sequence[str]) -> argparse.Namespace:
    parser = parsers.get_generation_parser()
    try:
        return parsers.parse_args_and_arch(parser, [str(data), "--path", "-", "--gen-subset", subset, *options])
    except SystemExit:  # it has said on stderr what is wrong
        raise UserError(f"{' '.join(options)}: fairseq-generate does not take these options") from None


def _search(args: argparse.Namespace) -> DecodingOptions:
    usual = vars(GenerationConfig())
    ignored = {*_HARMLESS, *(name for name in usual if name.startswith("iter_decode"))}
    other = [
        name
        for name in usual.keys() - {*_SEARCH, *ignored}
        if hasattr(args, name) and getattr(args, name) != usual[name]
    ]
    if 0 < args.unkpen < math.inf:
        other.append("unkpen")
    if other:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(other))
        raise NoSuchSearch(f"{named}: CTranslate2 has no such search; leave the options out, or the exported models")
    return DecodingOptions(**{name: getattr(args, name) for name in _SEARCH})

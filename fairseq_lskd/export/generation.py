"""Translate with an exported folder, on the batches and with the search of fairseq-generate, to compare the two."""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq import options as parsers
from fairseq import tasks, utils
from fairseq.dataclass.configs import GenerationConfig

from ..errors import UserError
from ..sequences.decoding import Batch, DecodingOptions, Settings
from ..sequences.engines.ctranslate2_engine import CTranslate2Engine, computes_in
from ..sequences.segmentation import joiner
from ..teachers.known import is_bilingual
from ..teachers.model_tokens import choose_affixes, unspoken
from .facts import read_manifest

_SEARCH = ("beam", "nbest", "lenpen", "max_len_a", "max_len_b", "min_len", "unkpen")
#: Options that do not change the translations of fairseq-generate, only its output. (--iter-decode-... are options of
#: non-autoregressive models, which cannot be exported.)
_HARMLESS = ("no_beamable_mm", "sacrebleu", "print_alignment", "print_step", "retain_iter_history", "no_seed_provided")


class NoSuchSearch(UserError):
    """CTranslate2 does not support the search options given to fairseq-generate."""


@dataclass(frozen=True)
class Generation:
    """The search and the batches of fairseq-generate for its options and a split."""

    search: DecodingOptions
    batches: tuple[tuple[tuple[int, ...], list[list[str]]], ...]  #: indices in the split, and the sources in pieces

    @property
    def sentences(self) -> int:
        return sum(len(places) for places, _ in self.batches)

    @classmethod
    def read(cls, data: Path, subset: str, options: Sequence[str]) -> Generation:
        """Parse `options` and create the batches of the split as fairseq-generate does.

        Raises:
            UserError: if fairseq-generate does not know an option, or the split does not exist.
            NoSuchSearch: if CTranslate2 does not support the search. It is a `UserError`.
        """
        args = _read(data, subset, options)
        search = _search(args)
        utils.import_user_module(args)
        if not is_bilingual(args.task):
            raise UserError(
                f"--task {args.task}: expected the data of one language pair, binarised for --task translation. An "
                "exported folder adds the language tokens of its pair itself. Leave --task out"
            )
        task = tasks.setup_task(args)
        try:
            task.load_dataset(subset)
        except FileNotFoundError:
            raise UserError(f"{data} has no split {subset!r}. Choose another with --subset") from None
        except ValueError as error:  # the files are cut short, see compat.cut_data
            raise UserError(str(error)) from None
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
            warnings.filterwarnings("ignore", message="'pin_memory'")  # has no effect without a GPU
            samples = list(iterator.next_epoch_itr(shuffle=False))
        for sample in samples:
            if "net_input" in sample:
                rows = sample["net_input"]["src_tokens"].tolist()
                sources = [[words[i] for i in row if i not in (words.pad(), words.eos())] for row in rows]
                batches.append((tuple(sample["id"].tolist()), sources))
        return cls(search, tuple(batches))


class Exported:
    """Translates with a folder of `lskd export` on the CPU.

    Raises:
        UserError: if the folder is damaged, serves several language pairs, or `lskd export` did not write it.
    """

    def __init__(self, folder: Path, search: DecodingOptions, threads: int):
        positions = read_manifest(folder)["max_positions"]
        affixes, _ = choose_affixes(folder, None, None, (None, None, None))
        self.folder, self.unspoken = folder, unspoken(folder, affixes)
        self.engine = CTranslate2Engine(folder, search, "cpu", threads, (positions[0], positions[-1]), affixes)
        self.compute_type = computes_in(folder)
        # The batches of `Generation` are not split further.
        self.engine.configure(Settings("cpu", self.compute_type, 1, threads, max_tokens=2**31))

    def translate(self, generation: Generation) -> tuple[list[list[str]], float]:
        """Return the best hypothesis of each sentence in pieces, in the order of the split, and the seconds of search.

        An empty sentence has an empty translation.
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
            best = {places[i]: each[0].tokens for i, each in zip(rows, hypotheses, strict=True) if each}
            found |= {place: [each for each in tokens if each not in self.unspoken] for place, tokens in best.items()}
        return [found[place] for place in sorted(found)], seconds

    def texts(self, generation: Generation) -> list[str]:
        """Return the translations as text, joined by the folder's SentencePiece model."""
        own = (self.folder / "sentencepiece.target.model", self.folder / "sentencepiece.model")
        join = joiner(next(path for path in own if path.is_file()), [])
        return [join(pieces) for pieces in self.translate(generation)[0]]


def _read(data: Path, subset: str, options: Sequence[str]) -> argparse.Namespace:
    parser = parsers.get_generation_parser()
    try:
        return parsers.parse_args_and_arch(parser, [str(data), "--path", "-", "--gen-subset", subset, *options])
    except SystemExit:  # argparse has printed the reason
        raise UserError(f"{' '.join(options)}: fairseq-generate does not accept these options") from None


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
        raise NoSuchSearch(
            f"{named}: CTranslate2 does not support these options. Leave out the options, or the exported models"
        )
    return DecodingOptions(**{name: getattr(args, name) for name in _SEARCH})

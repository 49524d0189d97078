"""CTranslate2 models as teachers: the whole distribution at each target token.

CTranslate2 scores given targets without the distributions that they come from. Its decoder returns these as it
searches: a target is forced as the prefix of the translation, and the rest of the translation is not used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..errors import UserError
from ..losses import MEAN, Mixture, temper
from ..machine import threads
from ..reading import shown
from .model_folder import PADDING, WEIGHTS, model_symbols, read_config
from .model_tokens import Affixes, choose_affixes, forced_tokens

logger = logging.getLogger(__name__)

#: The logit of types that the model lacks. Finite, so that no product with their probability 0 is NaN.
NEVER = -3e4
#: The largest share of the source types that a model may lack.
UNKNOWN = 0.2
#: Sentences of at most this length are tried to find the most tokens of a model.
LONGEST = 4096
_FILLER = re.compile(r"madeupword\d{4,}")  # fairseq-preprocess fills dictionaries up with these types
_LIMIT = re.compile(r"No position encodings are defined for positions >= (\d+)")


class ConvertedTeacher:
    """A sequence-to-sequence model in CTranslate2's form, with the interface `forced.ForcedTeacher`.

    The distributions are over the target dictionary of a task, normalised over its types. Types that the model lacks
    have the probability 0: those that only fairseq needs (<s>, <pad>, madeupword0000), and those whose count in the
    dictionary is 0, since they do not occur in the text.
    """

    mixture: Mixture = MEAN

    def __init__(
        self,
        folder: Path,
        task: Any,
        compute_type: str,
        device: str,
        affixes: Sequence[str | None] = (None, None, None),
    ):
        """Check the folder, which is loaded when it is first needed.

        Args:
            task: fairseq's translation task, with the dictionaries of the sentences.
            compute_type: "float32", "int8" or "float16".
            device: "cpu" or "cuda".
            affixes: --source-prefix, --source-suffix and --target-prefix, for a model whose language tokens
                `choose_affixes` does not find.

        Raises:
            UserError: if the folder is not a CTranslate2 model, its vocabulary does not fit the dictionaries, it lacks
                a given token or the languages of the task, or the device does not support the compute type.
        """
        self.folder, self.compute_type, self.device = folder, compute_type, device
        self.names = [str(folder)]
        if not folder.is_dir():
            raise UserError(f"--model {folder}: no such folder. Name the folder of a CTranslate2 model")
        _check_compute_type(compute_type, device)
        config, symbols = read_config(folder), model_symbols(folder)
        if not (folder / WEIGHTS).is_file():
            raise UserError(f"--model {folder} has no {WEIGHTS}, the weights of a CTranslate2 model. Convert it again")
        pair = (task.cfg.source_lang, task.cfg.target_lang)
        self.affixes, self.pair = choose_affixes(folder, *pair, affixes, f" (the languages of {task.cfg.data})")
        _check_affixes(folder, self.affixes, symbols)
        self._prefix = forced_tokens(folder, self.affixes)
        self._columns, self._target = _target(folder, task.target_dictionary, symbols, config)
        self._source = _source(folder, task.source_dictionary, model_symbols(folder, "source"), config)
        self._classes, self._limits = len(symbols), task.max_positions()
        self._end, self._model_end = task.source_dictionary.eos(), config.get("eos_token") or "</s>"
        #: The number of positions that a source needs in addition to its tokens with the end symbol.
        self._more = self.affixes.on_source + int(config.get("add_source_eos", True)) - 1
        self._padding = task.source_dictionary.pad(), task.target_dictionary.pad()

    @property
    def recorded_affixes(self) -> Affixes | None:
        """The tokens that a cache records: None for a model that needs none, apart from the end of a source."""
        around = self.affixes
        end = (self._model_end,)
        return around if around.source_prefix or around.target_prefix or around.source_suffix not in ((), end) else None

    @cached_property
    def _translator(self) -> Any:
        try:
            return ctranslate2.Translator(
                str(self.folder), self.device, compute_type=self.compute_type, intra_threads=threads()
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"--model {self.folder}: CTranslate2 cannot load this teacher ({error})") from None

    @cached_property
    def max_positions(self) -> list[tuple[int, int] | None]:
        """The task's own limits, after a trial of sentences of this length: a folder does not record the model's.

        They are lower if only the language tokens do not fit. Longer sentences have no teacher.

        Raises:
            UserError: if the model allows fewer tokens.
        """
        found = list(self._limits)
        source, target = (min(limit, LONGEST) for limit in self._limits)
        word, prefix = [self._target[-1]], list(self.affixes.target_prefix)
        problems = []
        sides = (("source", source, 1, self._more), ("target", 1, target, self._prefix))
        for side, (end, given, forced, more) in enumerate(sides):
            try:
                # The end of a target takes a position.
                targets = [prefix + word * (forced - 1)]
                self._translator.score_batch([self._around(word * (given - 1))], targets, max_input_length=0)
            except RuntimeError as error:
                if (match := _LIMIT.search(str(error))) is None:
                    raise self._failed(error) from None
                limit = int(match[1]) - more
                if int(match[1]) >= max(given, forced):
                    found[side] = limit
                else:
                    problems.append(f"its limit is {limit} {end} tokens: pass --max-{end}-positions {limit}")
        if problems:
            raise UserError(f"the teacher {self.folder} does not fit:\n" + "\n".join(f"  - {p}" for p in problems))
        return [(found[0], found[1])]

    def projections(self, net_input: dict[str, Any], like: Tensor, mask: Tensor) -> None:
        """Return None: CTranslate2 returns no hidden states."""

    @torch.no_grad()
    def log_probs(self, net_input: dict[str, Any], like: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the model's log-probabilities at all target tokens; 0 at padding.

        Args:
            net_input: fairseq's `sample["net_input"]`, target side included.
            like: a tensor on the device of the result.

        Returns:
            `[batch, target length, vocabulary]`, float32, or float64 at high temperatures (see `temper`).

        Raises:
            UserError: if CTranslate2 fails.
        """
        previous = net_input["prev_output_tokens"].cpu()
        there = previous.ne(self._padding[1])
        # fairseq's first token is the end symbol, and CTranslate2's the model's own.
        targets = [[self._target[i] for i in row[mask][1:].tolist()] for row, mask in zip(previous, there, strict=True)]
        found = torch.zeros(*previous.shape, len(self._columns))
        for row, mask, logits in zip(found, there, self._forced(self._sources(net_input), targets), strict=True):
            row[mask] = torch.where(self._columns < 0, NEVER, logits[:, self._columns]).log_softmax(-1)
        return temper(found, temperature).to(like.device)

    def _sources(self, net_input: dict[str, Any]) -> list[list[str]]:
        sources = []
        for row in net_input["src_tokens"].tolist():
            words = [word for word in row if word != self._padding[0]]
            words = words[:-1] if words[-1:] == [self._end] else words
            sources.append(self._around([self._source[word] for word in words]))
        return sources

    def _around(self, source: list[str]) -> list[str]:
        return [*self.affixes.source_prefix, *source, *self.affixes.source_suffix]

    def _forced(self, sources: list[list[str]], targets: list[list[str]]) -> Iterator[Tensor]:
        """Yield the logits of each sentence at its target tokens and its end, `[length + 1, model's vocabulary]`.

        Those at forced language tokens are left out.
        """
        prefix, given = list(self.affixes.target_prefix), self._prefix
        try:
            results = self._translator.translate_batch(
                sources,
                [prefix + target for target in targets],
                beam_size=1,
                max_input_length=0,
                # The default of 1 forbids the end of the sentence as the first token.
                min_decoding_length=0,
                # Translations of short targets go on while long ones are forced, and no longer.
                max_decoding_length=given + max(map(len, targets)) + 1,
                return_logits_vocab=True,
            )
        except RuntimeError as error:
            raise self._failed(error) from None
        results.reverse()  # pop() then takes them in order, and frees the memory of those that are done
        for target in targets:
            rows = results.pop().logits[0][given : given + len(target) + 1]
            logits = torch.from_numpy(np.stack([_array(row) for row in rows])).float() if rows else torch.zeros(0, 0)
            if len(logits) <= len(target) or logits.size(1) < self._classes:
                raise UserError(
                    f"--model {self.folder}: CTranslate2 {ctranslate2.__version__} returned {len(logits)} "
                    f"distributions over {logits.size(1):,} types, expected {len(target) + 1} over {self._classes:,}. "
                    "Use another version of CTranslate2"
                )
            yield logits

    def _failed(self, error: Exception) -> UserError:
        return UserError(
            f"CTranslate2 failed with --model {self.folder}: {error}. If memory is the problem, lower --max-tokens; if "
            "lengths are, lower --max-source-positions and --max-target-positions"
        )


def _array(row: Any) -> np.ndarray:
    return np.asarray(row if row.device == "cpu" else row.to_device(ctranslate2.Device.cpu))


def _check_compute_type(wanted: str, device: str) -> None:
    if device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise UserError("--model: torch finds a GPU, but CTranslate2 does not. Add --cpu, or run `lskd doctor`")
    supported = ctranslate2.get_supported_compute_types(device)
    if wanted not in supported:
        raise UserError(
            f"--compute-type {wanted}: CTranslate2 supports {', '.join(sorted(supported))} on this {device}. Choose "
            "one of them"
        )


def _check_affixes(folder: Path, affixes: Affixes, symbols: Sequence[str]) -> None:
    known = {*symbols, *model_symbols(folder, "source")}
    tokens = [token for part in affixes for token in part]
    if lacking := [token for token in tokens if token not in known]:
        raise UserError(
            f"--model {folder} lacks {shown(', '.join(lacking))} (--source-prefix, --source-suffix, --target-prefix). "
            "Give tokens of its vocabulary"
        )


def _names(dictionary: Dictionary, symbols: Sequence[str], config: dict[str, Any]) -> list[str | None]:
    """Return the model's symbol for each type of a dictionary; None for types that it lacks."""
    known = set(symbols)
    special = {
        dictionary.bos_word: (config.get("bos_token"),),
        dictionary.pad_word: (PADDING,),
        dictionary.eos_word: (config.get("eos_token"),),
        dictionary.unk_word: (config.get("unk_token"),),
    }
    choices = ((*special.get(symbol, ()), symbol) for symbol in dictionary.symbols)
    return [next((name for name in names if name in known), None) for names in choices]


def _target(
    folder: Path, dictionary: Dictionary, symbols: list[str], config: dict[str, Any]
) -> tuple[Tensor, list[str]]:
    """Return the model's index of each target type, `[V]`, -1 for types that it lacks, and the model's symbols."""
    names = _names(dictionary, symbols, config)
    usual = {dictionary.bos_word, dictionary.pad_word}
    lacking = [
        symbol
        for symbol, name, count in zip(dictionary.symbols, names, dictionary.count, strict=True)
        if name is None and count > 0 and symbol not in usual and not _FILLER.fullmatch(symbol)
    ]
    if lacking:
        raise UserError(
            f"--model {folder} lacks {len(lacking):,} of the {len(dictionary):,} types of the target dictionary: "
            f"{shown(lacking[:5])}. A teacher needs all of the types of its text. If it has a vocabulary of its own, "
            "encode the text with its SentencePiece models (lskd encode --spm-model; fairseq-preprocess --srcdict "
            "--tgtdict with its vocabulary), and name the binarised folder with --teacher-text"
        )
    index = {symbol: number for number, symbol in enumerate(symbols)}
    unknown = names[dictionary.unk()]
    columns = torch.tensor([-1 if name is None else index[name] for name in names])
    return columns, [name or unknown or "" for name in names]


def _source(folder: Path, dictionary: Dictionary, symbols: list[str], config: dict[str, Any]) -> list[str]:
    """Return the model's symbol for each source type. CTranslate2 takes symbols that it lacks for the unknown one."""
    names = _names(dictionary, symbols, config)
    pairs = list(zip(dictionary.symbols, names, strict=True))[dictionary.nspecial :]
    lacking = [symbol for symbol, name in pairs if name is None and not _FILLER.fullmatch(symbol)]
    if len(lacking) > UNKNOWN * len(pairs):
        raise UserError(
            f"--model {folder} lacks {len(lacking):,} of the {len(dictionary):,} types of the source dictionary, such "
            f"as {shown(lacking[:5])}. Give text in the model's pieces, with --teacher-text if the student's differ"
        )
    if lacking:
        logger.warning(
            f"--model {folder} lacks {len(lacking):,} of {len(dictionary):,} source types, such as {lacking[0]!r}, and "
            "reads them as unknown words"
        )
    return [name or symbol for name, symbol in zip(names, dictionary.symbols, strict=True)]

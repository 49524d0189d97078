"""The engine CTranslate2: fairseq's beam search, in C++."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import ctranslate2

from ...errors import UserError
from ...teachers.model_folder import PADDING, model_symbols, read_config
from ...teachers.model_tokens import Affixes, forced_tokens
from ..decoding import Batch, DecodingOptions, Hypothesis, OutOfMemory, Settings

Item = TypeVar("Item")

#: Default batch size in tokens, and the sizes to try, by device.
MAX_TOKENS = {"cpu": (1024, (512, 2048)), "cuda": (16384, (4096, 65536))}


class CTranslate2Engine:
    """Translates with a CTranslate2 model folder."""

    name = f"ctranslate2 {ctranslate2.__version__}"

    def __init__(
        self,
        folder: Path,
        options: DecodingOptions,
        device: str,
        cores: int,
        positions: tuple[int, int],
        affixes: Affixes | None = None,
    ):
        """`positions`: maximum numbers of source and target tokens, end-of-sentence tokens included."""
        self.folder, self.options, self.affixes = folder, options, affixes or Affixes()
        self.forced = forced_tokens(folder, self.affixes)
        self.max_source_positions, self.max_target_positions = positions
        config = read_config(folder)
        self.eos = config.get("eos_token") or "</s>"
        #: The number of source tokens that take the place of the end symbol.
        self.ends = int(not config.get("add_source_eos", True) and bool(self.affixes.source_suffix))
        # fairseq never samples padding.
        self.padding = [[symbol] for symbol in model_symbols(folder) if symbol == PADDING]
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        supported = _compute_types(device)
        first, others = MAX_TOKENS[device]
        # Sampling uses a single sequence of random numbers, and therefore a single worker.
        many = cores if device == "cpu" and not options.sampling else 1
        self.default = Settings(device, "float32", many, cores // many, first)
        short = "float16" if device == "cuda" else "int8"
        # Samples cannot show whether int8 translates as well as float32.
        types = [] if options.sampling and short == "int8" else [short]
        self.stages: Sequence[Callable[[Settings], list[Settings]]] = (
            lambda best: [replace(best, compute_type=kind) for kind in types if kind in supported],
            lambda best: [replace(best, workers=n, threads=cores // n) for n in _divisors(many)],
            lambda best: [replace(best, max_tokens=n) for n in others],
        )

    def configure(self, settings: Settings) -> None:
        supported = _compute_types(settings.device)
        if settings.compute_type not in supported:
            raise UserError(
                f"--compute-type {settings.compute_type}: CTranslate2 supports {', '.join(sorted(supported))} on this "
                f"{settings.device}"
            )
        if self.options.sampling and settings.workers != 1:
            raise UserError(f"--workers {settings.workers}: expected 1 with --sampling, to draw the same when resumed")
        self.settings, self.window = settings, -1
        self._load()

    def _load(self) -> None:
        self.translator: Any = None  # free the memory of the old model first
        try:
            self.translator = ctranslate2.Translator(
                str(self.folder),
                self.settings.device,
                compute_type=self.settings.compute_type,
                inter_threads=self.settings.workers,
                intra_threads=self.settings.threads,
            )
        except (RuntimeError, ValueError) as error:
            if _lacks_memory(error):
                raise OutOfMemory(
                    f"{self.folder} does not fit into the memory of this {self.settings.device} ({error}). Use another "
                    "--device or --compute-type"
                ) from None
            raise UserError(f"{self.folder}: CTranslate2 cannot load this model ({error})") from None

    def _seed(self, window: int) -> None:
        """Seed the random numbers of a window, so that they do not depend on earlier windows.

        CTranslate2 seeds the generator of a worker only once, when it first samples. The model is therefore loaded
        again for each window.
        """
        if window != self.window:
            self.window = window
            ctranslate2.set_random_seed(Random(f"{self.options.seed} {window}").getrandbits(32))
            self._load()

    def translate(self, batches: Iterable[Batch]) -> Iterator[list[list[Hypothesis]]]:
        # Submit batches ahead, so that workers do not wait. Windows with sampling must not overlap.
        ahead = 0 if self.options.sampling else 2 * self.settings.workers
        translated = self._ahead(batches, self._submit, ahead)
        for (batch, results), scored in self._ahead(translated, self._submit_scores, ahead):
            scores = iter(scored)
            yield [self._finish(result, scores) for _, result in zip(batch.sources, results, strict=True)]

    def _ahead(
        self, items: Iterable[Item], submit: Callable[[Item], list[Any]], depth: int
    ) -> Iterator[tuple[Item, list[Any]]]:
        """Yield each item with its results, in order. Up to `depth` further items are submitted in advance."""
        waiting: deque[tuple[Item, list[Any]]] = deque()
        for item in items:
            waiting.append((item, submit(item)))
            if len(waiting) > depth:
                first, futures = waiting.popleft()
                yield first, self._results(futures)
        for first, futures in waiting:
            yield first, self._results(futures)

    def _results(self, futures: list[Any]) -> list[Any]:
        try:
            return [future.result() for future in futures]
        except RuntimeError as error:
            raise (OutOfMemory if _lacks_memory(error) else UserError)(
                f"CTranslate2 failed with {self.folder}: {error}. If lengths are the problem, lower "
                "--max-source-positions and --max-target-positions; if memory is, lower --max-tokens."
            ) from error

    def _submit(self, batch: Batch) -> list[Any]:
        options = self.options
        if options.sampling:
            self._seed(batch.window)
            search = {
                "beam_size": 1,
                "num_hypotheses": options.beam,
                "sampling_topk": max(options.sampling_topk, 0),
                "sampling_topp": options.sampling_topp if options.sampling_topp > 0 else 1,
                "sampling_temperature": options.temperature,
                "suppress_sequences": self.padding,
            }
        else:
            # With 0, CTranslate2 ends the search earlier than fairseq, with fewer finished hypotheses.
            lenpen = options.lenpen or 1e-9
            search = {"beam_size": options.beam, "num_hypotheses": options.beam, "length_penalty": lenpen}
        longest = max(len(self._source(pieces)) for pieces in batch.sources) - self.ends
        return self.translator.translate_batch(
            [self._source(pieces) for pieces in batch.sources],
            [list(self.affixes.target_prefix)] * len(batch.sources) if self.affixes.target_prefix else None,
            disable_unk=options.unkpen > 0,
            max_input_length=0,
            max_decoding_length=min(options.max_length(longest), self.max_target_positions - 1),
            min_decoding_length=options.min_len,
            return_scores=True,
            return_end_token=True,
            asynchronous=True,
            **search,
        )

    def _source(self, pieces: list[str]) -> list[str]:
        return [*self.affixes.source_prefix, *pieces, *self.affixes.source_suffix]

    def _needs_score(self, rank: int, tokens: list[str]) -> bool:
        """Return whether a hypothesis must be scored in a second pass.

        The score of the search is not the model's if tokens were forbidden or forced, or if they were sampled with a
        temperature. (The default --min-len 1 forbids only the end-of-sentence token as the first token, which makes no
        noticeable difference.) It also lacks the end-of-sentence token of a hypothesis that was cut off at the maximum
        length, and the scores of single tokens.
        """
        options = self.options
        other = options.sampling or options.min_len > 1 or options.unkpen > 0 or self.forced > 0
        return other or tokens[-1:] != [self.eos] or (options.token_scores and rank < options.nbest)

    def _strip(self, tokens: list[str]) -> list[str]:
        """Remove the forced prefix and the end-of-sentence token from a translation."""
        return tokens[self.forced : -1] if tokens[-1:] == [self.eos] else tokens[self.forced :]

    def _submit_scores(self, item: tuple[Batch, list[Any]]) -> list[Any]:
        batch, results = item
        pairs = [
            (pieces, self._strip(tokens))
            for pieces, result in zip(batch.sources, results, strict=True)
            for rank, tokens in enumerate(result.hypotheses)
            if self._needs_score(rank, tokens)
        ]
        return self._score(pairs) if pairs else []

    def _score(self, pairs: list[tuple[list[str], list[str]]]) -> list[Any]:
        prefix = list(self.affixes.target_prefix)
        return self.translator.score_batch(
            [self._source(source) for source, _ in pairs],
            [prefix + target for _, target in pairs],
            offset=self.forced,
            max_input_length=0,
            asynchronous=True,
            # `max_tokens` assumes one hypothesis per sentence.
            max_batch_size=max(1, self.settings.max_tokens // max(len(target) + 1 for _, target in pairs)),
        )

    def _finish(self, result: Any, scores: Iterator[Any]) -> list[Hypothesis]:
        found = []
        for rank, (raw, score) in enumerate(zip(result.hypotheses, result.scores, strict=True)):
            tokens = self._strip(raw)
            each = list(next(scores).log_probs) if self._needs_score(rank, raw) else []
            length = len(tokens) + 1
            if each:
                score = sum(each) / length**self.options.lenpen
            found.append(Hypothesis(tokens, score, length, each if self.options.token_scores else None))
        # The scores of the second pass may have another order.
        return sorted(found, key=lambda hypothesis: -hypothesis.score)[: self.options.nbest]

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        results = self._results(self._score(list(zip(sources, targets, strict=True))))
        return [list(result.log_probs) for result in results]


def computes_in(folder: Path) -> str:
    """Return the type in which this processor computes with an exported folder. The stored weights may have another.

    Raises:
        UserError: if CTranslate2 cannot load the model.
    """
    try:
        return str(ctranslate2.Translator(str(folder)).compute_type)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{folder}: CTranslate2 cannot load this model ({error}). Export it again") from None


def _lacks_memory(error: Exception) -> bool:
    """Tell from the message whether memory ran out, as CTranslate2 has no separate exception for it."""
    return "out of memory" in str(error)


def _compute_types(device: str) -> set[str]:
    if device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise UserError("--device cuda: CTranslate2 finds no GPU. Leave it out, or run `lskd doctor`")
    return ctranslate2.get_supported_compute_types(device)


def _divisors(cores: int) -> list[int]:
    """Return the numbers of workers to try: `cores`, and its halves down to 1."""
    numbers = []
    while cores >= 1:
        numbers.append(cores)
        cores //= 2
    return numbers

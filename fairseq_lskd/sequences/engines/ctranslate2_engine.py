"""CTranslate2 as the engine: the same beam search as fairseq's, in C++."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import ctranslate2

from ...errors import UserError
from ...reading import read_json
from ..decoding import Batch, DecodingOptions, Hypothesis, OutOfMemory, Settings
from ..segmentation import model_symbols

Item = TypeVar("Item")

#: Sizes of batches, in tokens: the one to begin with, and those to try.
MAX_TOKENS = {"cpu": (1024, (512, 2048)), "cuda": (16384, (4096, 65536))}

#: What CTranslate2 calls fairseq's <pad>.
PADDING = "<blank>"


@dataclass(frozen=True)
class Marks:
    """Tokens that a model wants around its text: languages, and an end mark that it does not add itself."""

    source_prefix: tuple[str, ...] = ()
    source_suffix: tuple[str, ...] = ()
    target_prefix: tuple[str, ...] = ()


class CTranslate2Engine:
    """A CTranslate2 model folder."""

    name = f"ctranslate2 {ctranslate2.__version__}"

    def __init__(
        self,
        folder: Path,
        options: DecodingOptions,
        device: str,
        cores: int,
        positions: tuple[int, int],
        marks: Marks | None = None,
    ):
        """`positions`: how many tokens the model reads and writes at most, end marks counted."""
        self.folder, self.options, self.marks = folder, options, marks or Marks()
        self.max_source_positions, self.max_target_positions = positions
        self.eos = read_config(folder).get("eos_token") or "</s>"
        # Padding is never drawn in fairseq.
        self.padding = [[symbol] for symbol in model_symbols(folder) if symbol == PADDING]
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        supported = _compute_types(device)
        first, others = MAX_TOKENS[device]
        # Sampling draws from one sequence of random numbers, so it has one worker.
        many = cores if device == "cpu" and not options.sampling else 1
        self.default = Settings(device, "float32", many, cores // many, first)
        short = "float16" if device == "cuda" else "int8"
        # What was sampled can't tell whether int8 translates as well as float32.
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
                f"--compute-type {settings.compute_type}: CTranslate2 has {', '.join(sorted(supported))} on this "
                f"{settings.device}"
            )
        if self.options.sampling and settings.workers != 1:
            raise UserError(f"--workers {settings.workers}: sampling has one, which draws the same again when resumed")
        self.settings, self.window = settings, -1
        self._load()

    def _load(self) -> None:
        self.translator: Any = None  # what it had on the device is free before more is asked for
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
                    f"{self.folder} does not fit into the memory of this {self.settings.device}: {error}; give another "
                    "--device, or --compute-type"
                ) from None
            raise UserError(f"{self.folder} is not a model that CTranslate2 can load: {error}") from None

    def _seed(self, window: int) -> None:
        """Random numbers that a window has whether or not others were translated before it.

        A worker's generator is seeded when it first draws and never again, so every window has a worker of its own.
        """
        if window != self.window:
            self.window = window
            ctranslate2.set_random_seed(Random(f"{self.options.seed} {window}").getrandbits(32))
            self._load()

    def translate(self, batches: Iterable[Batch]) -> Iterator[list[list[Hypothesis]]]:
        # A worker that ends one batch finds the next waiting. Sampled windows must not overlap.
        ahead = 0 if self.options.sampling else 2 * self.settings.workers
        translated = self._ahead(batches, self._submit, ahead)
        for (batch, results), scored in self._ahead(translated, self._submit_scores, ahead):
            scores = iter(scored)
            yield [self._finish(result, scores) for _, result in zip(batch.sources, results, strict=True)]

    def _ahead(
        self, items: Iterable[Item], submit: Callable[[Item], list[Any]], depth: int
    ) -> Iterator[tuple[Item, list[Any]]]:
        """Each item with what was submitted of it, in order, while up to `depth` more are in work."""
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
                f"CTranslate2 failed with {self.folder}: {error}. Lengths are bounded by --max-source-positions and "
                "--max-target-positions, memory by --max-tokens."
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
            # At 0 the search would end early, with fewer hypotheses than fairseq's to choose from.
            lenpen = options.lenpen or 1e-9
            search = {"beam_size": options.beam, "num_hypotheses": options.beam, "length_penalty": lenpen}
        longest = max(len(self._source(pieces)) for pieces in batch.sources)
        return self.translator.translate_batch(
            [self._source(pieces) for pieces in batch.sources],
            [list(self.marks.target_prefix)] * len(batch.sources) if self.marks.target_prefix else None,
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
        return [*self.marks.source_prefix, *pieces, *self.marks.source_suffix]

    def _needs_score(self, rank: int, tokens: list[str]) -> bool:
        """Whether a second pass is to give a hypothesis its score.

        The search's own is of another probability where tokens were forbidden or given (but the end mark as the first
        one, which is next to impossible), lacks the end mark of a hypothesis that was cut off, and does not say which
        token has how much of it.
        """
        options = self.options
        other = options.sampling or options.min_len > 1 or options.unkpen > 0 or bool(self.marks.target_prefix)
        return other or tokens[-1:] != [self.eos] or (options.token_scores and rank < options.nbest)

    def _strip(self, tokens: list[str]) -> list[str]:
        """A translation without its end mark, and without what it was made to begin with, which CTranslate2 returns."""
        given = len(self.marks.target_prefix)
        return tokens[given:-1] if tokens[-1:] == [self.eos] else tokens[given:]

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
        prefix = list(self.marks.target_prefix)
        return self.translator.score_batch(
            [self._source(source) for source, _ in pairs],
            [prefix + target for _, target in pairs],
            offset=len(prefix),
            max_input_length=0,
            asynchronous=True,
            # Sentences were batched with one hypothesis each.
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
        # The second pass may have changed the order.
        return sorted(found, key=lambda hypothesis: -hypothesis.score)[: self.options.nbest]

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        results = self._results(self._score(list(zip(sources, targets, strict=True))))
        return [list(result.log_probs) for result in results]


def _lacks_memory(error: Exception) -> bool:
    """CTranslate2 has no exception of its own for it."""
    return "out of memory" in str(error)


def _compute_types(device: str) -> set[str]:
    if device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise UserError("--device cuda: CTranslate2 sees no GPU here; leave it out, or look at `lskd doctor`")
    return ctranslate2.get_supported_compute_types(device)


def _divisors(cores: int) -> list[int]:
    """Numbers of workers to try: as many as cores, half of them and so on, and 1."""
    numbers = []
    while cores >= 1:
        numbers.append(cores)
        cores //= 2
    return numbers


def read_config(folder: Path) -> dict[str, Any]:
    """What a model says of its special tokens; nothing where it is older than such files."""
    path = folder / "config.json"
    shape = {"eos_token?": (str, type(None)), "add_source_eos?": bool}
    return read_json(path, shape, "the config.json of a CTranslate2 model") if path.is_file() else {}

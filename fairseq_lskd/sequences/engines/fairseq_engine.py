"""The engine fairseq: all architectures, ensembles, diverse beam search."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from random import Random
from typing import Any

import torch
from fairseq import utils
from fairseq.data import LanguagePairDataset
from fairseq.sequence_scorer import SequenceScorer

from ...compat.versions import version_of
from ...errors import UserError
from ...teachers.alone import Teacher
from ...teachers.languages import Marks
from ..decoding import Batch, DecodingOptions, Hypothesis, OutOfMemory, Settings
from .truncated_sampling import TruncatedSampling

#: Default batch size in tokens, and the sizes to try, by device.
MAX_TOKENS = {"cpu": (4000, (1000, 12000)), "cuda": (12000, (4000, 48000))}


class FairseqEngine:
    """Translates with one checkpoint, or an ensemble of several."""

    name = f"fairseq {version_of('fairseq')}"

    def __init__(self, teacher: Teacher, options: DecodingOptions, device: str, cores: int):
        self.task, self.options, self.marks = teacher.task, options, teacher.marks
        self.max_source_positions, self.max_target_positions = teacher.max_positions
        self.models = teacher.models
        for model in self.models:
            # Attention weights are not needed.
            model.make_generation_fast_(need_attn=False)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: torch finds no GPU. Leave it out, or run `lskd doctor`")
        first, others = MAX_TOKENS[device]
        self.default = Settings(device, "float32", 1, cores, first)
        types = ["float16"] if device == "cuda" else []
        self.stages: Sequence[Callable[[Settings], list[Settings]]] = (
            lambda best: [replace(best, compute_type=kind) for kind in types],
            lambda best: [replace(best, max_tokens=n) for n in others],
        )
        self.generator = self.task.build_generator(self.models, argparse.Namespace(**asdict(options)))
        if options.sampling_epsilon or options.sampling_eta:
            self.generator.search = TruncatedSampling(
                self.task.target_dictionary, options.sampling_epsilon, options.sampling_eta
            )

    def configure(self, settings: Settings) -> None:
        if settings.compute_type == "int8" or (settings.compute_type == "float16" and settings.device == "cpu"):
            raise UserError(f"--compute-type {settings.compute_type}: fairseq supports float32, and float16 on a GPU")
        if settings.workers != 1:
            raise UserError(f"--workers {settings.workers}: expected 1 with fairseq; only CTranslate2 supports more")
        torch.set_num_threads(settings.threads)
        self.settings, self.device = settings, torch.device(settings.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # blocks of other sizes are of no use
        dtype = torch.float16 if settings.compute_type == "float16" else torch.float32
        with self._memory():
            for model in self.models:
                model.to(device=self.device, dtype=dtype)

    def translate(self, batches: Iterable[Batch]) -> Iterator[list[list[Hypothesis]]]:
        for batch in batches:
            # The seed depends only on the batch, so that a resumed run draws the same samples.
            torch.manual_seed(Random(f"{self.options.seed} {batch.first}").getrandbits(32))
            with self._memory():
                found = self._translate(batch.sources)
            yield found

    def _translate(self, sources: list[list[str]]) -> list[list[Hypothesis]]:
        sample = _sample(self.task, sources, self.device, marks=self.marks)
        given = 0 if self.marks is None else self.marks.shift  # forced tokens at the beginning
        found: list[list[tuple[list[str], list[float]]]] = [[] for _ in sources]
        for place, hypotheses in zip(
            sample["id"].tolist(), self.task.inference_step(self.generator, self.models, sample), strict=True
        ):
            for hypothesis in hypotheses:
                tokens = [self.task.target_dictionary[i] for i in hypothesis["tokens"].tolist()[given:-1]]
                found[place].append((tokens, hypothesis["positional_scores"].tolist()[given:]))
        options = self.options
        if options.temperature != 1 or options.diverse_beam_groups > 0 or options.unkpen:
            found = self._rescored(sources, found)
        return [self._best(hypotheses) for hypotheses in found]

    def _rescored(
        self, sources: list[list[str]], found: list[list[tuple[list[str], list[float]]]]
    ) -> list[list[tuple[list[str], list[float]]]]:
        """Score hypotheses by the model. The scores of the search include a temperature or penalty."""
        pairs = [(source, tokens) for source, many in zip(sources, found, strict=True) for tokens, _ in many]
        scores = iter(self.log_probs([source for source, _ in pairs], [target for _, target in pairs]))
        return [[(tokens, next(scores)) for tokens, _ in many] for many in found]

    def _best(self, hypotheses: list[tuple[list[str], list[float]]]) -> list[Hypothesis]:
        options = self.options
        made = [
            Hypothesis(
                tokens, sum(each) / len(each) ** options.lenpen, len(each), each if options.token_scores else None
            )
            for tokens, each in hypotheses
        ]
        return sorted(made, key=lambda hypothesis: -hypothesis.score)[: options.nbest]

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        with self._memory():
            return forced_log_probs(self.task, self.models, sources, targets, self.device, self.marks)

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"fairseq ran out of memory with {self.settings} ({str(error).splitlines()[0]}). Lower --max-tokens"
            ) from None


def _indices(dictionary: Any, pieces: list[str]) -> torch.Tensor:
    """Return token ids, int64 `[length + 1]`, as fairseq encodes a line: with <unk>, and end-of-sentence at the end."""
    return torch.tensor([*map(dictionary.index, pieces), dictionary.eos()])


def _sample(
    task: Any,
    sources: list[list[str]],
    device: torch.device,
    targets: list[list[str]] | None = None,
    marks: Marks | None = None,
) -> dict[str, Any]:
    """Return a batch of fairseq's collater. It is sorted by length; "id" has the index in `sources` of each row."""
    sides = [[_indices(task.source_dictionary, pieces) for pieces in sources]]
    if targets is not None:
        sides.append([_indices(task.target_dictionary, pieces) for pieces in targets])
    (source, source_sizes), *target = [(rows, [len(row) for row in rows]) for rows in sides]
    tgt, tgt_sizes = target[0] if target else (None, None)
    dataset = LanguagePairDataset(
        source, source_sizes, task.source_dictionary, tgt, tgt_sizes, task.target_dictionary, shuffle=False
    )
    sample = dataset.collater([dataset[i] for i in range(len(sources))])
    if marks is not None:
        sample["net_input"] = marks.read(sample["net_input"])
        if sample["target"] is not None and marks.shift:
            sample["target"] = torch.nn.functional.pad(sample["target"], (1, 0), value=marks.target)
    return utils.move_to_cuda(sample, device) if device.type == "cuda" else sample


def forced_log_probs(
    task: Any,
    models: list[Any],
    sources: list[list[str]],
    targets: list[list[str]],
    device: torch.device,
    marks: Marks | None = None,
) -> list[list[float]]:
    """Return the log of the models' mean probability of each target token and end-of-sentence token."""
    sample = _sample(task, sources, device, targets, marks)
    scored = SequenceScorer(task.target_dictionary).generate(models, sample)
    found: list[list[float]] = [[] for _ in sources]
    for place, (hypothesis,) in zip(sample["id"].tolist(), scored, strict=True):
        found[place] = hypothesis["positional_scores"].tolist()[0 if marks is None else marks.shift :]
    return found

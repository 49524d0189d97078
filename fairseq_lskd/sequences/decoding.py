"""Options of the search, batches, and the interface of the engines that translate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Protocol

from ..errors import UserError
from ..reading import POSITIVE, Kind


@dataclass(frozen=True)
class DecodingOptions:
    """The options of the search, with the names and defaults of fairseq-generate.

    Raises:
        UserError: if options are out of range or conflict; the message names all of them.
    """

    beam: int = 5
    nbest: int = 1
    lenpen: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200
    min_len: int = 1
    sampling: bool = False
    sampling_topk: int = -1
    sampling_topp: float = -1.0
    temperature: float = 1.0
    diverse_beam_groups: int = -1
    diverse_beam_strength: float = 0.5
    seed: int = 1
    token_scores: bool = False
    unkpen: float = 0.0  #: subtracted from the log-probability of <unk>; inf never generates <unk>
    sampling_epsilon: float = 0.0  #: smallest probability of a token that may be drawn (Freitag et al., 2023)
    sampling_eta: float = 0.0  #: like `sampling_epsilon`, but lowered if the entropy is high (Hewitt et al., 2022)

    def __post_init__(self) -> None:
        numbers = [field.name for field in fields(self) if field.name != "unkpen"]
        if wrong := [name for name in numbers if not math.isfinite(getattr(self, name))]:
            given = (f"--{name.replace('_', '-')} {getattr(self, name)}" for name in wrong)
            raise UserError(f"{'; '.join(given)}: expected finite numbers")
        problems = [
            text
            for wrong, text in (
                (self.beam < 1, f"--beam {self.beam}: expected 1 or more"),
                (not 1 <= self.nbest <= self.beam, f"--nbest {self.nbest}: expected 1 to --beam {self.beam}"),
                (self.lenpen < 0, f"--lenpen {self.lenpen}: expected 0 or more"),
                (self.min_len < 0, f"--min-len {self.min_len}: expected 0 or more"),
                (
                    self.max_len_a < 0 or self.max_length(1) < max(self.min_len, 1),
                    f"--max-len-a {self.max_len_a:g} --max-len-b {self.max_len_b} allow {self.max_length(1)} target "
                    f"tokens for a source of one token: expected 1 or more, and at least --min-len {self.min_len}",
                ),
                (self.temperature <= 0, f"--temperature {self.temperature}: expected above 0"),
                (self.temperature != 1 and not self.sampling, "--temperature needs --sampling"),
                (bool(self.truncations) and not self.sampling, f"{' and '.join(self.truncations)} need --sampling"),
                (len(self.truncations) > 1, f"{' and '.join(self.truncations)}: give only one of them"),
                (self.sampling_topp > 1, f"--sampling-topp {self.sampling_topp}: expected at most 1"),
                *(
                    (not 0 <= value < 1, f"{flag} {value:g}: expected a probability from 0 and below 1")
                    for flag, value in (
                        ("--sampling-epsilon", self.sampling_epsilon),
                        ("--sampling-eta", self.sampling_eta),
                    )
                ),
                (
                    self.sampling and self.diverse_beam_groups > 0,
                    "--sampling and --diverse-beam-groups: give only one of them",
                ),
                (
                    self.diverse_beam_groups > 0 and self.beam % self.diverse_beam_groups != 0,
                    f"--beam {self.beam}: expected a multiple of --diverse-beam-groups {self.diverse_beam_groups}",
                ),
                (not self.unkpen >= 0, f"--unkpen {self.unkpen}: expected 0 or more, or inf"),
                (not 0 <= self.seed < 2**32, f"--seed {self.seed}: expected 0 to {2**32 - 1:,}"),
            )
            if wrong
        ]
        if problems:
            raise UserError("; ".join(problems))

    @property
    def truncations(self) -> list[str]:
        """The flags that restrict which tokens are sampled."""
        names = ("sampling_topk", "sampling_topp", "sampling_epsilon", "sampling_eta")
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) > 0]

    def recorded(self) -> dict[str, Any]:
        """Return the options as a manifest records them, by flag.

        Options that older versions did not have are left out unless they are used, so that older files stay valid.
        """
        values = asdict(self)
        for name in ("unkpen", "sampling_epsilon", "sampling_eta"):
            if not values[name]:
                del values[name]
        if self.unkpen:
            values["unkpen"] = f"{self.unkpen:g}"  # JSON has no infinity
        return {name.replace("_", "-"): value for name, value in values.items()}

    def max_length(self, longest: int) -> int:
        """Return the maximum number of target tokens, without the end-of-sentence token, for a batch.

        As in fairseq, the longest source of the batch (`longest` pieces, plus its end-of-sentence token) sets the
        limit for the whole batch.
        """
        return int(self.max_len_a * (longest + 1) + self.max_len_b)


@dataclass(frozen=True)
class Settings:
    """How an engine runs. Settings change its speed and the last digits of scores."""

    device: str  #: cpu or cuda
    compute_type: str  #: float32, float16 or int8
    workers: int  #: batches that are translated in parallel
    threads: int  #: cores per worker
    max_tokens: int  #: source tokens per batch, padding included
    batch_size: int | None = None  #: maximum number of sentences per batch

    def __str__(self) -> str:
        plural = "s" if self.workers > 1 else ""
        cores = f", {self.workers} worker{plural} of {self.threads} thread(s)" if self.device == "cpu" else ""
        return f"{self.device} {self.compute_type}{cores}, batches of {self.max_tokens:,} tokens"


#: The shape of recorded settings, for `reading.misfit`.
RECORDED = {
    **{"device": Kind("cpu or cuda", ("cpu", "cuda").__contains__), "compute_type": str},
    **{"workers": POSITIVE, "threads": POSITIVE, "max_tokens": POSITIVE, "batch_size?": (POSITIVE, type(None))},
}


class OutOfMemory(UserError):
    """The device has less memory than the settings need."""


class Batch(NamedTuple):
    """Sentences that are translated together."""

    sources: list[list[str]]  #: pieces, without the end-of-sentence token
    window: int  #: number of the window that contains the sentences
    first: int  #: corpus index of one of the sentences; identifies the batch


class Hypothesis(NamedTuple):
    """A translation. `nbest` defines score and length."""

    tokens: list[str]  #: without the end-of-sentence token
    score: float
    length: int
    token_scores: list[float] | None = None


class Engine(Protocol):
    """Translates pieces into n-best lists."""

    name: str  #: name and version
    max_source_positions: int  #: maximum number of source tokens, end-of-sentence token included
    max_target_positions: int  #: maximum number of target tokens, end-of-sentence token included
    default: Settings  #: settings that are measured first
    #: Each maps the best settings so far to settings to try next. The stages run in this order.
    stages: Sequence[Callable[[Settings], list[Settings]]]

    def configure(self, settings: Settings) -> None:
        """Load the model for these settings. Works after a failure, too.

        Raises:
            OutOfMemory: if the device lacks memory; `translate` and `log_probs` raise it as well.
        """

    def translate(self, batches: Iterable[Batch]) -> Iterator[list[list[Hypothesis]]]:
        """Yield the n best hypotheses of each sentence, batch by batch, best hypothesis first.

        Batches are consumed lazily. The result of a batch depends only on the batch and the settings; with sampling
        also on the earlier batches of its window.
        """

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        """Return the model's log-probabilities (natural) of each target's tokens and end-of-sentence token."""


def make_batches(lengths: Sequence[int], max_tokens: int, batch_size: int | None = None) -> list[list[int]]:
    """Group sentences of similar length into batches of indices, longest first.

    The size of a batch is its number of sentences times the length of its longest sentence, end-of-sentence token
    included. A sentence that is longer than `max_tokens` is a batch of its own.
    """
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not room:
            batches.append([])
            room = max(1, max_tokens // (lengths[index] + 1))
            room = min(room, batch_size or room)
        batches[-1].append(index)
        room -= 1
    return batches

"""How a teacher is decoded: the options of the search, batches, and what every engine offers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Protocol

from ..errors import UserError
from ..reading import POSITIVE, Kind


@dataclass(frozen=True)
class DecodingOptions:
    """The search, in fairseq-generate's names and with its defaults.

    Raises:
        UserError: naming every option that does not hold or does not go with another.
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
    unkpen: float = 0.0  #: taken from <unk>'s log-probability; infinity forbids it
    sampling_epsilon: float = 0.0  #: smallest probability of a token that may be drawn (Freitag et al., 2023)
    sampling_eta: float = 0.0  #: the same, lowered where the entropy is high (Hewitt et al., 2022)

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
                    f"--max-len-a {self.max_len_a:g} --max-len-b {self.max_len_b} leave a source of one token "
                    f"{self.max_length(1)} target tokens: expected --min-len {self.min_len} or more, and at least 1",
                ),
                (self.temperature <= 0, f"--temperature {self.temperature}: expected above 0"),
                (self.temperature != 1 and not self.sampling, "--temperature goes with --sampling"),
                (bool(self.truncations) and not self.sampling, f"{' and '.join(self.truncations)} need --sampling"),
                (len(self.truncations) > 1, f"{' and '.join(self.truncations)}: expected one of them"),
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
                    "--sampling and --diverse-beam-groups: expected one of them",
                ),
                (
                    self.diverse_beam_groups > 0 and self.beam % self.diverse_beam_groups != 0,
                    f"--diverse-beam-groups {self.diverse_beam_groups} does not divide --beam {self.beam}",
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
        """Target tokens at most, the end mark aside, in a batch whose longest source has `longest` pieces.

        fairseq counts the source's end mark, and bounds a batch by its longest sentence.
        """
        return int(self.max_len_a * (longest + 1) + self.max_len_b)


@dataclass(frozen=True)
class Settings:
    """How an engine is run: it changes the speed, and the last digits of scores."""

    device: str  #: cpu or cuda
    compute_type: str  #: float32, float16 or int8
    workers: int  #: batches at a time
    threads: int  #: cores a worker
    max_tokens: int  #: of a batch, padding counted
    batch_size: int | None = None  #: sentences in a batch at most

    def __str__(self) -> str:
        plural = "s" if self.workers > 1 else ""
        cores = f", {self.workers} worker{plural} of {self.threads} thread(s)" if self.device == "cpu" else ""
        return f"{self.device} {self.compute_type}{cores}, batches of {self.max_tokens:,} tokens"


#: Settings that were recorded, as `reading.misfit` checks them.
RECORDED = {
    **{"device": Kind("cpu or cuda", ("cpu", "cuda").__contains__), "compute_type": str},
    **{"workers": POSITIVE, "threads": POSITIVE, "max_tokens": POSITIVE, "batch_size?": (POSITIVE, type(None))},
}


class OutOfMemory(UserError):
    """The settings ask for more memory than the device has."""


class Batch(NamedTuple):
    """Sentences that are translated together."""

    sources: list[list[str]]  #: pieces, without an end mark
    window: int  #: the number of the window that they are of
    first: int  #: the place in the corpus of one of them: tells a batch from every other


class Hypothesis(NamedTuple):
    """A translation; see `nbest` for its score and length."""

    tokens: list[str]  #: without the end mark
    score: float
    length: int
    token_scores: list[float] | None = None


class Engine(Protocol):
    """What turns pieces into n-best translations."""

    name: str  #: with its version
    max_source_positions: int  #: source tokens at most, the end mark counted
    max_target_positions: int  #: target tokens at most, the end mark counted
    default: Settings  #: what to measure first
    #: Each makes settings to try of the best so far; in the order in which they are tried.
    stages: Sequence[Callable[[Settings], list[Settings]]]

    def configure(self, settings: Settings) -> None:
        """Make ready to translate with these settings, whatever became of those before.

        Raises:
            OutOfMemory: as do `translate` and `log_probs`; other settings may do.
        """

    def translate(self, batches: Iterable[Batch]) -> Iterator[list[list[Hypothesis]]]:
        """The n best hypotheses of each sentence of each batch, batches in their order, best hypothesis first.

        Batches are asked for as they are needed. What a batch yields depends on it and the settings alone (where
        sampled: and on the batches of its window before it).
        """

    def log_probs(self, sources: list[list[str]], targets: list[list[str]]) -> list[list[float]]:
        """Of each target's tokens and its end mark, given its source: natural logarithms of the model's probability."""


def make_batches(lengths: Sequence[int], max_tokens: int, batch_size: int | None = None) -> list[list[int]]:
    """Indices of sentences in batches of similar length, the longest first.

    A batch's size is its number of sentences times its longest, end mark counted; a sentence that is longer than
    `max_tokens` makes a batch of its own.
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

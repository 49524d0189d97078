"""The filters that the options of `lskd select` turn on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UserError
from . import content_filters as content
from .filters import Copies, Filter, Language, LengthRatio, Repeats, Unknown

#: The flag of each reason for a drop that a report lists.
FLAGS = {
    "unknown word": "--filter-unk",
    "too short to be one": "--filter-short",
    "length ratio": "--filter-length-ratio",
    "unusual length": "--filter-usual-length",
    "script": "--filter-script",
    "numbers differ": "--filter-numbers",
    "unbalanced brackets or quotes": "--filter-brackets",
    "copy of the source": "--filter-copies",
    "repeated clause": "--filter-clauses",
    "repeated n-gram": "--filter-repeats",
    "language": "--filter-language",
    "duplicate": "--dedup",
    "teacher score": "--filter-score-quantile",
    "score": "--filter-score",
}
LEARNT = ("script", "unusual length")  #: filters that estimate their limits from a sample of the translations


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """The `--filter-*` flags that look at texts. None turns a filter off."""

    filter_unk: bool | None = None
    filter_short: bool | None = None
    filter_length_ratio: float | None = None
    filter_usual_length: float | None = None
    filter_script: float | None = None
    filter_numbers: bool | None = None
    filter_brackets: bool | None = None
    filter_copies: float | None = None
    filter_clauses: bool | None = None
    filter_repeats: tuple[int, int] | None = None
    filter_language: tuple[str, str] | None = None

    @property
    def learns(self) -> bool:
        """Whether a filter estimates its limits from a sample."""
        return bool(self.filter_script or self.filter_usual_length)

    def make(self, sample: Sequence[tuple[str, str]] = ()) -> tuple[Filter, ...]:
        """Build the filters, in the order in which they are applied.

        Args:
            sample: pairs of a source sentence and its best translation, as text, for the filters that learn.

        Raises:
            UserError: for a limit out of its range.
        """
        # The slowest comes last.
        kinds: tuple[tuple[Callable[..., Filter], Any], ...] = (
            (Unknown, self.filter_unk),
            (content.Short, self.filter_short),
            (LengthRatio, self.filter_length_ratio),
            (lambda limit: content.UsualLength.learnt(limit, sample), self.filter_usual_length),
            (lambda share: content.Script.learnt(share, sample), self.filter_script),
            (content.Numbers, self.filter_numbers),
            (content.Brackets, self.filter_brackets),
            (Copies, self.filter_copies),
            (content.Clauses, self.filter_clauses),
            (Repeats, self.filter_repeats),
            (Language, self.filter_language),
        )
        return tuple(kind(*_arguments(value)) for kind, value in kinds if value is not None and value is not False)

    def with_preset(self, name: str | None) -> FilterOptions:
        """Return these options, with the filters of a preset where an option is None.

        Raises:
            UserError: for an unknown preset.
        """
        if name is None:
            return self
        if name not in PRESETS:
            raise UserError(f"--preset {name}: expected {', '.join(PRESETS)}")
        return replace(self, **{key: value for key, value in PRESETS[name].items() if getattr(self, key) is None})


#: docs/select.md shows how often each filter is wrong at these limits.
PRESETS: dict[str, dict[str, Any]] = {
    "clean": {
        "filter_unk": True,
        "filter_short": True,
        "filter_numbers": True,
        "filter_brackets": True,
        "filter_clauses": True,
        "filter_repeats": (4, 2),
        "filter_copies": 0.8,
        "filter_script": 0.5,
        "filter_usual_length": 5.0,
    }
}


def _arguments(value: Any) -> tuple[Any, ...]:
    if value is True:
        return ()
    return value if isinstance(value, tuple) else (value,)

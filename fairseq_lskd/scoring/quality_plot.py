"""A picture of what a distilled model is for: quality against size and against speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from .figures import pyplot, save

#: Role and method -> marker and colour: teachers stand apart, every way to distil has its own.
_LOOKS = {
    "teacher": ("s", "#444444"),
    "none": ("o", "#999999"),
    "word": ("^", "#1f77b4"),
    "sequence": ("v", "#d95f02"),
    "both": ("D", "#7b3294"),
}
_LABELS = {"none": "student alone", "word": "word level", "sequence": "sequence level", "both": "both levels"}


def draw(records: Sequence[dict[str, Any]], path: Path, title: str = "") -> None:
    """BLEU against parameters and, where it was measured, decoding speed; bars are standard deviations over seeds.

    Args:
        records: a point each, as of `over_seeds.mean_records`.
        path: .svg, .png or .pdf.

    Raises:
        UserError: if no record has BLEU, or matplotlib is missing or cannot write such a file.
    """
    plt = pyplot()
    records = [record for record in records if record.get("bleu") is not None]
    if not records:
        raise UserError("--plot: no record has BLEU, which the picture shows; score with --metrics bleu")
    axes_of = {"parameters": "parameters, as decoded"}
    if any(record.get("sentences_per_second") for record in records):
        axes_of["sentences_per_second"] = "decoding, sentences a second"
    # The same file from the same rows, byte by byte.
    figure, axes = plt.subplots(1, len(axes_of), figsize=(5.2 * len(axes_of), 4), sharey=True, squeeze=False)
    for axis, (key, label) in zip(axes[0], axes_of.items(), strict=True):
        for record in records:
            if record.get(key) is not None:
                _point(axis, record, key)
        axis.set_xlabel(label)
        axis.set_xscale("log")
        axis.margins(0.15)
        axis.grid(alpha=0.3)
        _plain_ticks(axis)
    axes[0][0].set_ylabel("BLEU")
    handles, labels = axes[0][0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    order = [label for label in ("teacher", *_LABELS.values()) if label in once]
    axes[0][-1].legend([once[label] for label in order], order, title="filled: (teacher) with label smoothing")
    figure.suptitle(title)
    figure.tight_layout()
    save(figure, path)


def _kind(record: dict[str, Any]) -> str:
    return "teacher" if record.get("role") == "teacher" else str(record.get("method") or "none")


def _point(axis: Any, record: dict[str, Any], key: str) -> None:
    kind = _kind(record)
    marker, colour = _LOOKS.get(kind, ("x", "black"))
    # A smoothed teacher, or its student, is filled.
    filled = colour if (record.get("teacher_smoothing") or kind == "none") else "white"
    axis.errorbar(
        record[key], record["bleu"], yerr=record.get("bleu_std") or 0, fmt=marker, color=colour, mfc=filled,
        markersize=7, elinewidth=1, label=_LABELS.get(kind, kind),
    )  # fmt: skip


def _plain_ticks(axis: Any) -> None:
    """Numbers with a unit at 1, 2, 5, 10, ... instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def text(value: float, _: int) -> str:
        for size, unit in ((1e6, " M"), (1e3, " k"), (1.0, "")):
            if value >= size:
                return f"{value / size:g}{unit}"
        return f"{value:g}"

    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(text))
    axis.xaxis.set_minor_formatter(NullFormatter())

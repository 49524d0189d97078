"""Write plots that are byte-identical for the same data. matplotlib is imported only when something is plotted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_beside


def save(figure: Any, path: Path) -> None:
    """Write a figure; `UserError` if matplotlib does not know the file's extension."""
    from matplotlib import rc_context

    kind = path.suffix.removeprefix(".")
    try:
        with write_beside(path) as part, rc_context({"svg.hashsalt": "lskd"}):
            figure.savefig(part, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    except ValueError:
        raise UserError(f"--plot {path}: expected a file name that ends in .svg, .png or .pdf") from None

"""matplotlib, set up for plots that are byte-identical for the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..extras import require
from ..files import write_beside


def pyplot() -> Any:
    """Import matplotlib's pyplot without a display; `UserError` if it is not installed."""
    require("--plot", "matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Names of systems may have "$".
    pyplot.rcParams.update({"svg.hashsalt": "lskd", "font.size": 9, "text.parse_math": False})
    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write and close a figure; `UserError` if matplotlib does not know the file's extension."""
    kind = path.suffix.removeprefix(".")
    try:
        with write_beside(path) as part:
            figure.savefig(part, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    except ValueError:
        raise UserError(f"--plot {path}: expected a file name that ends in .svg, .png or .pdf") from None
    finally:
        pyplot().close(figure)

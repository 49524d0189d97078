"""matplotlib, where it is installed, and pictures that are the same file from the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..extras import require
from ..files import write_beside


def pyplot() -> Any:
    """matplotlib's pyplot, without a screen; `UserError` where it is missing."""
    require("--plot", "matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Names are no formulas, whatever is in them.
    pyplot.rcParams.update({"svg.hashsalt": "lskd", "font.size": 9, "text.parse_math": False})
    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write and close a figure; `UserError` if the file's name ends in nothing that matplotlib writes."""
    kind = path.suffix.removeprefix(".")
    try:
        with write_beside(path) as part:
            figure.savefig(part, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    except ValueError:
        raise UserError(f"--plot {path}: expected a name that ends in .svg, .png or .pdf") from None
    finally:
        pyplot().close(figure)

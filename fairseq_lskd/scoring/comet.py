"""COMET, if the user has installed it. Its size and its pinned dependencies rule it out as a requirement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..extras import require

MODEL = "Unbabel/wmt22-comet-da"


class Comet:
    """A COMET model.

    Raises:
        UserError: if the package is not installed, or the model cannot be loaded.
    """

    def __init__(self, model: str = MODEL):
        try:
            require("--metrics comet", "comet")
            import comet
        except (UserError, ImportError) as error:
            raise UserError(
                f"{error}. Install it in a separate environment: it needs older versions of this package's dependencies"
            ) from None
        import torch

        try:
            path = model if Path(model).is_file() else comet.download_model(model)
            self._model = comet.load_from_checkpoint(path)
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"--comet-model {model}: cannot be loaded ({error})") from None
        self._gpus = int(torch.cuda.is_available())
        self.signature = f"model:{Path(model).name if Path(model).is_file() else model}|version:{_version()}"

    def score(self, source: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> float:
        """Return the system score times 100."""
        data: list[dict[str, Any]] = [
            {"src": src, "mt": mt, "ref": ref} for src, mt, ref in zip(source, hypotheses, references, strict=True)
        ]
        return 100 * float(self._model.predict(data, batch_size=16, gpus=self._gpus).system_score)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("unbabel-comet")
    except PackageNotFoundError:
        return "unknown"

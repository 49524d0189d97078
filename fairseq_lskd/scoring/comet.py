"""COMET, where the user has installed it: too large and too demanding of its versions to come with us."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..extras import require

MODEL = "Unbabel/wmt22-comet-da"


class Comet:
    """A COMET model, loaded once.

    Raises:
        UserError: if the package is not installed, or there is no such model.
    """

    def __init__(self, model: str = MODEL):
        try:
            require("--metrics comet", "comet")
            import comet
        except (UserError, ImportError) as error:
            raise UserError(
                f"{error}. It is best in an environment of its own: it wants older versions of what we need"
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
        """The system's score, times 100 as papers report it."""
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

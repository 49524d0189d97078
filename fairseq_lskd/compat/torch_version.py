"""torch's version is not always three numbers: fairseq 0.12 on builds of torch such as 2.13.0a0+git1234.

fairseq reads ``torch.__version__`` with ``int`` to decide on the encoder's fast path, so on builds
from source, nightly ones and those of vendors' containers every Transformer fails to be built
("invalid literal for int() with base 10: '0a0'").
"""

from __future__ import annotations

import re

from . import standin

NAME = "torch-version"
NEEDED_BY = 'building a Transformer fails on torch built from source, e.g. 2.13.0a0 ("invalid literal for int()")'
MODULES: tuple[str, ...] = (
    "fairseq.modules.transformer_layer",
    "fairseq.models.transformer.transformer_encoder",
)
WHEN = "after"

USE = r"\btorch\.__version__"


def readable(version: str) -> bool:
    """Whether fairseq's way of reading a version gets through this one."""
    numbers = version.split("+")[0].split(".")[:3]
    return "fb" in version or (len(numbers) == 3 and all(number.isdigit() for number in numbers))


def release(version: str) -> str:
    """The three numbers that a version starts with: 2.13.0 of 2.13.0a0+git1234."""
    numbers = [*re.findall(r"\d+", version.split("+")[0])[:3], "0", "0", "0"]
    return ".".join(numbers[:3])


def needed() -> bool:
    """Whether this torch's version is not readable and an imported module of fairseq's reads it."""
    import torch

    return not readable(str(torch.__version__)) and bool(standin.users(MODULES, USE))


def apply() -> None:
    """Show those modules the release only; torch itself stays as it is."""
    import torch

    version = release(str(torch.__version__))
    standin.replace(standin.users(MODULES, USE), "torch", __version__=version)

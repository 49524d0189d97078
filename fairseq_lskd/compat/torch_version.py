"""Versions of torch that are not three numbers: fairseq 0.12 on builds such as 2.13.0a0+git1234.

fairseq converts the parts of ``torch.__version__`` with ``int`` to decide on the encoder's fast path. With builds from
source, nightly builds and those in vendors' containers, a Transformer cannot be built ("invalid literal for int() with
base 10: '0a0'").
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
    """Whether fairseq can read this version."""
    numbers = version.split("+")[0].split(".")[:3]
    return "fb" in version or (len(numbers) == 3 and all(number.isdigit() for number in numbers))


def release(version: str) -> str:
    """Return the three numbers at the beginning of a version: 2.13.0 for 2.13.0a0+git1234."""
    numbers = [*re.findall(r"\d+", version.split("+")[0])[:3], "0", "0", "0"]
    return ".".join(numbers[:3])


def needed() -> bool:
    """Whether an imported module of fairseq reads torch's version and cannot."""
    import torch

    return not readable(str(torch.__version__)) and bool(standin.users(MODULES, USE))


def apply() -> None:
    """Give these modules a ``torch`` with the plain version. torch itself is not changed."""
    import torch

    version = release(str(torch.__version__))
    standin.replace(standin.users(MODULES, USE), "torch", __version__=version)

"""``from_pretrained`` of an archive: fairseq 0.12 extracts members to any path with ``extractall``.

Python 3.14 refuses members outside of the folder, links that lead out of it, and devices. Earlier versions have the
same filter as an option. The patch turns it on in fairseq's module only.
"""

from __future__ import annotations

import sys
from typing import Any

from . import standin

NAME = "archive-members"
NEEDED_BY = "from_pretrained extracts members of an archive such as ../../x outside of its folder (Python < 3.14)"
MODULE = "fairseq.file_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether fairseq's module uses a ``tarfile`` without a filter."""
    module: Any = vars(sys.modules[MODULE]).get("tarfile")
    return (
        hasattr(module, "data_filter")
        and sys.version_info < (3, 14)
        and getattr(module.TarFile, "extraction_filter", None) is None
    )


def apply() -> None:
    """Give fairseq's module a ``tarfile`` with the filter "data"."""
    import tarfile

    class DataOnly(tarfile.TarFile):
        extraction_filter = staticmethod(tarfile.data_filter)

    standin.replace([sys.modules[MODULE]], "tarfile", TarFile=DataOnly, open=DataOnly.open)

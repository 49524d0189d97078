"""``from_pretrained`` of an archive: fairseq 0.12 unpacks it with ``extractall``, wherever its members want to go.

Python 3.14 refuses members outside the folder, links that lead out of it and devices; earlier ones do where they are
asked, which is done here for fairseq's module alone.
"""

from __future__ import annotations

import sys
from typing import Any

from . import standin

NAME = "archive-members"
NEEDED_BY = "from_pretrained of a model's archive writes members such as ../../x outside its folder (Python < 3.14)"
MODULE = "fairseq.file_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether fairseq unpacks by a ``tarfile`` that lets members lead anywhere."""
    module: Any = vars(sys.modules[MODULE]).get("tarfile")
    return (
        hasattr(module, "data_filter")
        and sys.version_info < (3, 14)
        and getattr(module.TarFile, "extraction_filter", None) is None
    )


def apply() -> None:
    """Give that module a ``tarfile`` that unpacks data only."""
    import tarfile

    class DataOnly(tarfile.TarFile):
        extraction_filter = staticmethod(tarfile.data_filter)

    standin.replace([sys.modules[MODULE]], "tarfile", TarFile=DataOnly, open=DataOnly.open)

"""A page with what is patched in fairseq, from the modules that patch it."""

from __future__ import annotations

from options import cell, escaped

from fairseq_lskd.compat import PATCHES

URI = "reference/patches.md"


def pages() -> dict[str, str]:
    """The page, by its place in the site."""
    rows = [f"| `{patch.NAME}` | {cell(escaped(patch.NEEDED_BY))} |" for patch in PATCHES]
    intro = (
        "fairseq 0.12.2 is patched in memory when it is imported. Each patch first checks whether this Python, torch "
        "and fairseq need it. `LSKD_COMPAT_SKIP=name,name` leaves patches out, and `lskd doctor` prints their state. "
        "[How it works](../explanation/fairseq.md)."
    )
    return {URI: "\n".join(["# Patches of fairseq", "", intro, "", "| name | without it |", "|---|---|", *rows, ""])}

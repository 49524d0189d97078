"""Tell formats of translations apart by their first lines, and refuse a file that is read as another format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ..errors import UserError
from ..lines import read_lines
from ..reading import shown

LOOKED_AT = 200  #: lines; fairseq-generate prints its options first
_MOSES = re.compile(r"\d+ \|\|\| .*\|\|\|")
#: What a file looks like, and more that its format needs.
_KINDS = {
    "text": ("plain text", ". If a sentence has several lines, give --nbest N too"),
    "moses": ("n-best lists of Moses or Marian", ""),
    "fairseq": ("the output of fairseq-generate", ""),
}


def format_of(path: Path) -> str:
    """Return the format of a file of translations by its first lines: json, fairseq, moses or text."""
    return _format(list(islice(read_lines(path), LOOKED_AT)))


def check_format(path: Path, given: str, source: Path | None) -> None:
    """Refuse a file that is read as lists of `lskd translate` and is something else, and lists that are read as text.

    Raises:
        UserError: with what the file looks like, and the options to give.
    """
    head = list(islice(read_lines(path), LOOKED_AT))
    found = _format(head)
    if given == "text" and found == "json":
        raise UserError(f"{path} has n-best lists of `lskd translate`, not text. Leave --format text out")
    # Anything in braces or brackets may be a damaged or another JSON file, of which the reader says more.
    if given != "json" or found == "json" or not head or head[0].lstrip().startswith(("{", "[")):
        return
    kind, more = _KINDS[found]
    options = f"--format {found}" + ("" if source else " --source FILE, with the source sentences, one per line")
    raise UserError(
        f"{path} is not a list of `lskd translate`: its first line is {shown(head[0])}. It looks like {kind}. Give "
        f"{options}{more}"
    )


def _format(head: Sequence[str]) -> str:
    if head and head[0].startswith('{"id"'):
        return "json"
    if any(line.startswith(("S-", "H-")) and "\t" in line for line in head):
        return "fairseq"
    return "moses" if head and _MOSES.match(head[0]) else "text"

"""How `--help` is laid out."""

from __future__ import annotations

import argparse
import re
import textwrap


class HelpFormatter(argparse.HelpFormatter):
    """Wrap paragraphs to the width of the terminal, without breaking words at hyphens, so that flags stay whole.

    Paragraphs with indented lines keep their lines. Indented lines are commands, which are broken with a `\\`.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            _listing(part, width) if "\n " in f"\n{part}" else "\n".join(self._split_lines(part, width))
            for part in paragraphs
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _listing(text: str, width: int) -> str:
    return "\n".join(_broken(line, width) for line in re.sub(r" *\\\n *", " ", text).split("\n"))


def _broken(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    if not line.startswith(" "):
        return textwrap.fill(line, width)
    # Quoted words, and a flag and its value, stay together.
    line = re.sub(r"'[^']*'", lambda quoted: quoted[0].replace(" ", "\0" if len(quoted[0]) < width / 2 else " "), line)
    line = re.sub(r"( -\S+) (?=[^-])", "\\1\0", line)
    parts = textwrap.wrap(line, width - 2, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(parts).replace("\0", " ")

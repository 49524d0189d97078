"""A way out for the mistakes with which people first meet the plug-in.

fairseq's own messages do not name it: a traceback if ``--user-dir fairseq_lskd`` is not in the present folder, "invalid
choice" without ``--user-dir``, "unrecognized arguments" for a misspelled option of a criterion, and a traceback if the
data are in a folder of the folder that is given.
"""

from __future__ import annotations

import functools
import itertools
import sys
from pathlib import Path
from typing import Any

from .evaluated_options import is_command

NAME = "plugin-hints"
NEEDED_BY = "fairseq does not say that a criterion of this package needs --user-dir, nor where its folder is"
MODULE = "fairseq.options"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

FOLDER = Path(__file__).parents[1]
#: The manifest of a folder, and its folder of binarised data: of `lskd select`, and of `lskd encode` in prepare.sh.
BINARISED = {"select.json": "data-bin", "pieces/encode.json": "bin"}
CRITERIONS = ("label_smoothed_teacher", "word_kd", "seq_kd")


def needed() -> bool:
    """Every version of fairseq needs it."""
    return True


def hint(message: str, words: list[str]) -> str | None:
    """Return a sentence that shows the way out of a usage error; None for errors that are not of the plug-in.

    Args:
        message: the error of argparse.
        words: the command line.
    """
    named = next((name for name in CRITERIONS if name in words or f"--criterion={name}" in words), None)
    if named is None:
        return None
    if message.startswith("argument --criterion: invalid choice"):
        return f"{named} is a criterion of fairseq_lskd. Give --user-dir {FOLDER}"
    if message.startswith("unrecognized arguments"):
        return f"`lskd criterion {named}` prints the options of {named}"
    return None


def whole_folder(words: list[str]) -> tuple[str, Path] | None:
    """Return a folder of `lskd select` or scripts/prepare.sh in place of DATA, and the data in it; None without one."""
    for previous, word in itertools.pairwise(["", *words]):
        # The word after a flag may be its value.
        for part in [] if previous.startswith("-") or word.startswith("-") else word.split(":"):
            for manifest, name in BINARISED.items():
                if Path(part, manifest).is_file() and Path(part, name).is_dir():
                    return part, Path(part, name)
    return None


def apply() -> None:
    module: Any = sys.modules[MODULE]
    original = module.get_parser
    if getattr(original, "hints", False):
        return

    @functools.wraps(original)
    def get_parser(*args: Any, **kwargs: Any) -> Any:
        words = sys.argv[1:]
        for word, value in itertools.pairwise(words) if is_command() else ():
            if word == "--user-dir" and Path(value).name == FOLDER.name and not Path(value).exists():
                sys.exit(f"fairseq_lskd: error: --user-dir {value}: no such folder. Give --user-dir {FOLDER}")
        if is_command() and (folder := whole_folder(words)):
            given, binarised = folder
            sys.exit(f"fairseq_lskd: error: {given} is not binarised data. Give the folder in it: {binarised}")
        parser = original(*args, **kwargs)
        report = parser.error

        def error(message: str) -> Any:
            found = hint(message, words)
            report(message if found is None else f"{message.partition(' (choose from')[0]}\n{found}")

        parser.error = error
        return parser

    get_parser.hints = True  # type: ignore[attr-defined]  # a mark on a function
    module.get_parser = get_parser

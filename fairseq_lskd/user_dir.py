"""Import a user's folder of models, tasks and criterions, which `--user-dir` names."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .compat import user_dirs
from .errors import UserError, exit_on_user_error

#: Number of lines of the traceback in a message about a failed import.
LAST_LINES = 6
PACKAGE = Path(__file__).resolve().parent


def add_user_dir(parser: Any) -> None:
    """Add the option `--user-dir`, for `import_user_dirs`, to a parser or an argument group."""
    parser.add_argument(
        "--user-dir",
        dest="user_dirs",
        action="append",
        default=[],
        metavar="DIR",
        help="folder with architectures, tasks or criterions of your own, as for fairseq-train; its code is run, so "
        "give only folders that you trust (repeatable)",
    )


def import_user_dirs(folders: Sequence[str]) -> None:
    """Import folders as fairseq does, so that their models, tasks and criterions are registered.

    Raises:
        UserError: if a folder does not exist, has nothing to import, or its import fails. The message then ends with
            the last lines of the traceback.
    """
    for folder in folders:
        if Path(folder).resolve() != PACKAGE:
            _import(folder)


def _import(folder: str) -> None:
    from fairseq import utils

    if wrong := user_dirs.problem(folder):
        raise UserError(f"--user-dir {folder}: {wrong}")
    found = user_dirs.find(folder) or Path(folder)
    if not any((found / name).exists() for name in ("__init__.py", "models", "tasks")):
        raise UserError(
            f"--user-dir {folder}: there is nothing to import; expected an __init__.py that registers your modules, or "
            "a folder models or tasks"
        )
    try:
        utils.import_user_module(argparse.Namespace(user_dir=folder))
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        lines = "".join(traceback.format_exception(error)).splitlines()[-LAST_LINES:]
        why = f": {said}" if (said := user_dirs.reason(error)) else ""
        raise UserError("\n  ".join([f"--user-dir {folder} cannot be imported{why}. It ends with:", *lines])) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Check that a folder registers this package's criterions. Scripts call this before they pass it to fairseq."""
    parser = argparse.ArgumentParser(description="Check that a folder registers the criterions of fairseq_lskd.")
    parser.add_argument("folder", metavar="DIR", help="folder for --user-dir of fairseq-train")
    folder = parser.parse_args(argv).folder
    with exit_on_user_error("fairseq_lskd"):
        from fairseq.criterions import CRITERION_REGISTRY

        import_user_dirs([folder])
        if Path(folder).resolve() != PACKAGE and "word_kd" not in CRITERION_REGISTRY:
            raise UserError(
                f"--user-dir {folder} does not register the criterions of fairseq_lskd, and fairseq accepts only one "
                f"--user-dir. Add the line `import fairseq_lskd.criterions` to {folder}/__init__.py"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A user's own folder of models, tasks and criterions, which fairseq's commands and ours import by `--user-dir`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import UserError, exit_on_user_error

#: Lines of the folder's own traceback that a message has at its end.
LAST_LINES = 6
PACKAGE = Path(__file__).resolve().parent


def add_user_dir(parser: Any) -> None:
    """Add the option `--user-dir`, which `import_user_dirs` is to be called with, to a parser or a group of one."""
    parser.add_argument(
        "--user-dir",
        dest="user_dirs",
        action="append",
        default=[],
        metavar="DIR",
        help="folder with an architecture, task or criterion of your own, as fairseq-train had it: it is imported, "
        "so name none that you do not trust (repeatable)",
    )


def import_user_dirs(folders: Sequence[str]) -> None:
    """Import folders as fairseq does, so that what they register is known to it.

    Raises:
        UserError: if there is no such folder, it has nothing to import, or its import fails; the message has the last
            lines of its traceback.
    """
    for folder in folders:
        if Path(folder).resolve() != PACKAGE:
            _import(folder)


def _import(folder: str) -> None:
    import fairseq
    from fairseq import utils

    # Beside the working folder, fairseq looks in its own, which has examples.
    own = Path(fairseq.__file__).parent
    places = [path for path in (Path(folder), own / folder, own.parent / folder) if path.exists()]
    if not places or not places[0].is_dir():
        found = "a file, expected the folder that it is in" if places else "no such folder"
        raise UserError(f"--user-dir {folder}: {found}")
    if not any((places[0] / name).exists() for name in ("__init__.py", "models", "tasks")):
        raise UserError(
            f"--user-dir {folder}: nothing to import there; expected an __init__.py that imports what registers your "
            "modules, or the folders models or tasks"
        )
    try:
        utils.import_user_module(argparse.Namespace(user_dir=folder))
    except (Exception, SystemExit) as error:  # whatever a user's own code does
        lines = "".join(traceback.format_exception(error)).splitlines()[-LAST_LINES:]
        raise UserError(
            "\n  ".join([f"--user-dir {folder} cannot be imported{_why(error)}. It ends with:", *lines])
        ) from None


def _why(error: BaseException) -> str:
    said = str(error)
    if "Cannot register" in said:
        return ": two modules register one name, so give yours another"
    if "not globally unique" in said:
        return ": another module has the folder's name, so rename the folder"
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """What scripts ask before they give fairseq's commands another `--user-dir` than ours: 0 if it will do."""
    parser = argparse.ArgumentParser(description="See whether a folder registers what fairseq-train needs of ours.")
    parser.add_argument("folder", metavar="DIR")
    folder = parser.parse_args(argv).folder
    with exit_on_user_error("fairseq_lskd"):
        from fairseq.criterions import CRITERION_REGISTRY

        import_user_dirs([folder])
        if Path(folder).resolve() != PACKAGE and "word_kd" not in CRITERION_REGISTRY:
            raise UserError(
                f"--user-dir {folder}: fairseq's commands take one --user-dir, and this one does not register the "
                f"criterions of fairseq_lskd. Add the line `import fairseq_lskd.criterions` to {folder}/__init__.py"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

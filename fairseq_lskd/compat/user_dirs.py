"""A clear message for a ``--user-dir`` that cannot be imported.

fairseq's commands end in a traceback through fairseq and the import system: "FileNotFoundError" for a missing folder,
"not globally unique" for one with the name of another module. If the folder's own code fails, the part of the traceback
that is in the folder is kept, with one line below it.
"""

from __future__ import annotations

import functools
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from .evaluated_options import is_command, running_command

NAME = "user-dirs"
NEEDED_BY = "a --user-dir that cannot be imported ends in a traceback through fairseq"
MODULE = "fairseq.utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"

#: The folder of this package.
FOLDER = Path(__file__).resolve().parents[1]


def option(folder: object = None) -> str:
    """Return the option that names a folder, as the running command spells it."""
    if running_command() == "fairseq-hydra-train":
        return f"common.user_dir={folder or '/absolute/path'}"
    return f"--user-dir {folder or 'DIR'}"


def find(folder: str) -> Path | None:
    """Return where fairseq finds a folder: in the working folder, or in its own folder, which has examples."""
    own = Path(sys.modules[MODULE].__file__ or "").parent
    return next((path for path in (Path(folder), own / folder, own.parent / folder) if path.exists()), None)


def problem(folder: str) -> str | None:
    """Return what is wrong with a folder before it is imported; None if nothing is."""
    found = find(folder)
    if found is None:
        if running_command() == "fairseq-hydra-train" and not Path(folder).is_absolute():
            return "no such folder. Give an absolute path, because Hydra changes the working folder"
        named_ours = Path(folder).name == FOLDER.name
        return f"no such folder. Give {option(FOLDER)}" if named_ours else "no such folder"
    return None if found.is_dir() else "expected a folder, found a file; give the folder that it is in"


def reason(error: BaseException) -> str | None:
    """Return the way out of an error during the import; None if the error says all."""
    said = str(error)
    if "Cannot register" in said:
        return "two modules register the same name; give yours another name"
    if "not globally unique" in said or (isinstance(error, AttributeError) and "'__path__'" in said):
        return "another module has the name of the folder; rename the folder"
    return None


def within(trace: TracebackType | None, folder: Path) -> TracebackType | None:
    """Return the part of a traceback that begins with the first line of code in a folder; None without one."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and Path(file).resolve().is_relative_to(folder.resolve()):
            return trace
        trace = trace.tb_next
    return None


def needed() -> bool:
    """Every version of fairseq needs it."""
    return True


def apply() -> None:
    module: Any = sys.modules[MODULE]
    original = module.import_user_module
    if getattr(original, "explains", False):
        return

    @functools.wraps(original)
    def import_user_module(args: Any) -> Any:
        folder = getattr(args, "user_dir", None)
        if folder is None or not is_command():
            return original(args)
        if wrong := problem(folder):
            sys.exit(f"fairseq_lskd: error: {option(folder)}: {wrong}")
        try:
            return original(args)
        except Exception as error:  # a user's code may raise anything
            trace = within(error.__traceback__, find(folder) or Path(folder))
            if trace or isinstance(error, SyntaxError):
                traceback.print_exception(type(error), error, trace)
            why = reason(error) or f"{type(error).__name__}: {error}"
            sys.exit(f"fairseq_lskd: error: {option(folder)} cannot be imported: {why}")

    import_user_module.explains = True  # type: ignore[attr-defined]  # a mark on a function
    module.import_user_module = import_user_module

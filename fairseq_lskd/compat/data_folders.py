"""A clear message for a folder that has no binarised data, or none of the languages that are given.

fairseq's commands end in a traceback: "FileNotFoundError" for a folder or a dictionary that is missing, and "Could not
infer language pair" for a folder of text.
"""

from __future__ import annotations

import functools
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .evaluated_options import is_command, running_command

NAME = "data-folders"
NEEDED_BY = "a wrong data folder, or languages that it does not have, end in a traceback"
#: The tasks whose data these are. Tasks that inherit from them are checked too.
TASKS = {
    "fairseq.tasks.translation": "TranslationTask",
    "fairseq.tasks.translation_multi_simple_epoch": "TranslationMultiSimpleEpochTask",
}
MODULES: tuple[str, ...] = tuple(TASKS)
WHEN = "after"

_BINARISED = "the folder of binarised data: bin/ of scripts/prepare.sh, data-bin/ of lskd select"


def pairs(folder: Path) -> list[str]:
    """Return the language pairs of the binarised data in a folder, such as de-en."""
    found = (path.name.split(".") for path in folder.glob("*.idx"))
    return sorted({parts[1] for parts in found if len(parts) >= 3 and len(parts[1].split("-")) == 2})


def no_folder(folder: Path) -> str | None:
    """Return that a folder does not exist, and what was probably meant; None if it exists."""
    if folder.is_dir():
        return None
    if folder.exists():
        return f"{folder}: expected a folder, found a file. Give {_BINARISED}"
    if running_command() == "fairseq-hydra-train" and not folder.is_absolute():
        return f"{folder}: no such folder. Give an absolute path, because Hydra changes the working folder"
    missing = next((each for each in reversed(folder.parents) if not each.is_dir()), folder)
    named = "" if missing == folder else f" ({missing} does not exist)"
    try:
        beside = [path.name for path in missing.parent.iterdir()]
    except OSError:
        beside = []
    meant = [missing.with_name(name) / folder.relative_to(missing) for name in get_close_matches(missing.name, beside)]
    way = next((f"Did you mean {path}?" for path in meant if path.is_dir()), f"Give {_BINARISED}")
    return f"{folder}: no such folder{named}. {way}"


def problem(data: str, source: str | None, target: str | None) -> str | None:
    """Return what is wrong with the data of a translation task; None if nothing is.

    Args:
        data: folders, separated by colons. fairseq reads the dictionaries of the first.
        source: source language; None to find it from the names of the files.
    """
    if "://" in data:
        return None
    if wrong := next(filter(None, (no_folder(Path(part)) for part in data.split(":"))), None):
        return wrong
    folder = Path(data.split(":")[0])
    known = pairs(folder)
    if source is None or target is None:
        return None if known else _not_binarised(folder, "no file such as train.de-en.de.idx")
    lacking = [name for each in (source, target) if not (folder / (name := f"dict.{each}.txt")).is_file()]
    if not lacking:
        return None
    if not known:
        return _not_binarised(folder, f"no {' and no '.join(lacking)}")
    ways = " or ".join("-s {} -t {}".format(*pair.split("-")) for pair in known)
    return (
        f"-s {source} -t {target}: {folder} has no {' and no '.join(lacking)}. Its languages are {', '.join(known)}: "
        f"give {ways}"
    )


def _not_binarised(folder: Path, found: str) -> str:
    """Return that a folder is not binarised data, and the folder in it or beside it that is."""
    places = [place / name for place in (folder, folder.parent) for name in ("bin", "data-bin")]
    near = next(filter(pairs, places), None)
    way = f"Give {near}" if near else "Binarise the text with scripts/prepare.sh or lskd binarise"
    return f"{folder} is not binarised data: it has {found}. {way}"


def needed() -> bool:
    """Every version of fairseq needs it."""
    return True


def apply() -> None:
    for name, task in TASKS.items():
        if hasattr(module := sys.modules.get(name), task):
            _explain(getattr(module, task), pair=task == "TranslationTask")


def _explain(task: Any, pair: bool) -> None:
    """Check the data before a task reads them.

    Args:
        pair: whether the task is of one language pair.
    """
    original = task.setup_task.__func__
    if getattr(original, "checks_folder", False):
        return

    @functools.wraps(original)
    def setup_task(cls: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        data = getattr(cfg, "data", None)
        if isinstance(data, str) and data and is_command():
            if pair:
                wrong = problem(data, getattr(cfg, "source_lang", None), getattr(cfg, "target_lang", None))
            else:
                wrong = None if "://" in data else next(filter(None, map(no_folder, map(Path, data.split(":")))), None)
            if wrong:
                sys.exit(f"fairseq_lskd: error: {wrong}")
        return original(cls, cfg, *args, **kwargs)

    setup_task.checks_folder = True  # type: ignore[attr-defined]  # a mark on a function
    task.setup_task = classmethod(setup_task)

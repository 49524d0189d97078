"""A way out for the mistakes with which people first meet the plug-in.

fairseq's own messages do not name it: "invalid choice" without ``--user-dir``, or with one that does not import ours,
"unrecognized arguments" for a misspelled option of a criterion, and a traceback if the data are in a folder of the
folder that is given, if ``fairseq-validate`` gets no ``--task``, or if ``--fp16`` is given on a CPU.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .evaluated_options import is_command, running_command
from .user_dirs import FOLDER

NAME = "plugin-hints"
NEEDED_BY = "fairseq does not say that a criterion of this package needs --user-dir, nor where its folder is"
MODULE = "fairseq.options"
OPTIMIZER = "fairseq.optim.fp16_optimizer"
MODULES: tuple[str, ...] = (MODULE, OPTIMIZER)
WHEN = "after"

#: The manifest of a folder, and its folder of binarised data: of `lskd select`, and of `lskd encode` in prepare.sh.
BINARISED = {"select.json": "data-bin", "pieces/encode.json": "bin"}
CRITERIONS = ("label_smoothed_teacher", "word_kd", "seq_kd")


def needed() -> bool:
    """Every version of fairseq needs it."""
    return True


def hint(message: str, words: list[str], known: Iterable[str] = ()) -> str | None:
    """Return a sentence that shows the way out of a usage error; None for errors that are not of the plug-in.

    Args:
        message: the error of argparse.
        words: the command line.
        known: the options that the command has.
    """
    criterions = values("--criterion", words)
    ours = [name for name in criterions if name in CRITERIONS]
    if not ours:
        return None
    if message.startswith("argument --criterion: invalid choice"):
        if (folder := user_dir(words)) and folder.resolve() != FOLDER:
            return (
                f"{ours[0]} is a criterion of fairseq_lskd, which --user-dir {folder} does not import. Add the line "
                f"`import fairseq_lskd.criterions` to {folder / '__init__.py'}"
            )
        return f"{ours[0]} is a criterion of fairseq_lskd. Give --user-dir {FOLDER}"
    if message.startswith("unrecognized arguments"):
        # argparse takes the last one, such as one after the `--` of a training script.
        if (runs := criterions[-1]) not in CRITERIONS:
            return (
                f"--criterion {runs} comes last, so that it replaces --criterion {ours[-1]}. Leave out --criterion "
                f"{runs}, or the options that {runs} does not have"
            )
        return f"{_nearest(message, known)}`lskd criterion {runs}` prints the options of {runs}"
    return None


def _nearest(message: str, known: Iterable[str]) -> str:
    """Return which of the known options the unrecognized ones probably mean, as sentences; "" if none is similar."""
    given = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
    near = [(word, difflib.get_close_matches(word, list(known), 1, 0.8)) for word in given]
    return "".join(f"{word}: did you mean {found[0]}? " for word, found in near if found)


def values(option: str, words: list[str]) -> list[str]:
    """Return the values of an option, as `OPTION VALUE` or `OPTION=VALUE`, in the order of the command line."""
    return [
        following if word == option else word.partition("=")[2]
        for word, following in itertools.pairwise([*words, ""])
        if word == option or word.startswith(f"{option}=")
    ]


def user_dir(words: list[str]) -> Path | None:
    """Return the last folder that ``--user-dir`` names; None without one."""
    named = values("--user-dir", words)
    return Path(named[-1]) if named else None


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
    if hasattr(options := sys.modules.get(MODULE), "get_parser"):
        explain_options(options)
    if hasattr(optimizer := sys.modules.get(OPTIMIZER), "FP16Optimizer"):
        explain_fp16(optimizer)


def explain_options(module: Any) -> None:
    """Let ``fairseq.options`` name the way out of mistakes on the command line."""
    original = module.get_parser
    if getattr(original, "hints", False):
        return

    @functools.wraps(original)
    def get_parser(*args: Any, **kwargs: Any) -> Any:
        words = sys.argv[1:]
        if is_command() and (folder := whole_folder(words)):
            given, binarised = folder
            sys.exit(f"fairseq_lskd: error: {given} is not binarised data. Give the folder in it: {binarised}")
        if running_command() == "fairseq-validate" and not any(
            word.startswith("--task") or word in ("-h", "--help") for word in words
        ):
            sys.exit(
                "fairseq_lskd: error: fairseq-validate needs the model's task: give, for example, --task translation"
            )
        parser = original(*args, **kwargs)
        report = parser.error

        def error(message: str) -> Any:
            found = hint(message, words, parser._option_string_actions)
            report(message if found is None else f"{message.partition(' (choose from')[0]}\n{found}")

        parser.error = error
        return parser

    get_parser.hints = True  # type: ignore[attr-defined]  # a mark on a function
    module.get_parser = get_parser


def explain_fp16(module: Any) -> None:
    """Refuse ``--fp16`` where fairseq's optimizer would ask torch for a GPU that is not there."""
    original = module.FP16Optimizer.build_optimizer.__func__
    if getattr(original, "hints", False):
        return

    @functools.wraps(original)
    def build_optimizer(cls: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        import torch

        if cfg.common.fp16 and is_command() and not torch.cuda.is_available():
            sys.exit(
                "fairseq_lskd: error: --fp16 needs a GPU. Leave it out on a CPU (--bf16 works there, but is no faster)"
            )
        return original(cls, cfg, *args, **kwargs)

    build_optimizer.hints = True  # type: ignore[attr-defined]  # a mark on a function
    module.FP16Optimizer.build_optimizer = classmethod(build_optimizer)

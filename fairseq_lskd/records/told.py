"""Print facts from run records and manifests for shell scripts, as words for the shell's `read`.

Usage: python -m fairseq_lskd.records.told recipe|task|pair|data|vocabulary FOLDER SCRIPT
SCRIPT is the name of the calling script, for error messages.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from ..commands import languages_of, option
from ..data.vocabulary import read_encoded
from ..data.writing_systems import UNSPACED, base_language
from ..errors import UserError, exit_on_user_error
from ..names import PLAIN, is_plain
from ..reading import POSITIVE, read_json
from ..runs import RECORD, read_record


def recipe(run: Path) -> list[str]:
    """Return the name of the recipe that a run was trained with.

    Raises:
        UserError: if the label is a path. A script that only a record names must not be executed.
    """
    found = read_record(run, whole=False)["labels"].get("recipe", "multi30k")
    if not is_plain(found) or found.endswith(".sh"):
        raise UserError(
            f"{run / RECORD} has the recipe {found!r}, which is a file, not a name in scripts/recipes. A file that "
            f"only a record names is not executed. If it is yours, add --recipe {shlex.quote(str(found))}"
        )
    return [found]


def task(run: Path) -> list[str]:
    """Return the options that set a run's task in fairseq-generate, if they are plain: `--task NAME`, and languages."""
    command = read_record(run, whole=False)["command"]
    found = option(command, "--task")
    if found is None or not is_plain(found):
        return []
    given = ((flag, option(command, flag)) for flag in LANGUAGES)
    values = [word for flag, value in given if value and all(map(is_plain, value.split(","))) for word in (flag, value)]
    return ["--task", found, *values, *(flag for flag in TOKENS if flag in command)]


def pair(run: Path) -> list[str]:
    """Return the language pair that a run was trained on, such as `de-en`; nothing if its command does not say."""
    source, target = languages_of(read_record(run, whole=False)["command"])
    return [f"{source}-{target}"] if is_plain(source) and is_plain(target) else []


def data(folder: Path) -> list[str]:
    """Return languages, subword scheme, number of dictionaries, and whether the target and source write spaces."""
    options = read_encoded(folder / "pieces")["options"]
    source, target = options["source-lang"], options["target-lang"]
    scheme = "subword_nmt" if options.get("recipe") == "moses-bpe" else "sentencepiece"
    spaces = ["no" if base_language(language) in UNSPACED else "yes" for language in (target, source)]
    return [source, target, scheme, "two" if options.get("separate") else "one", *spaces]


def vocabulary(folder: Path) -> list[str]:
    """Return the languages of a corpus of `lskd data prepare`, and the size, type and sharing of its vocabulary."""
    shape = {"options": {"languages": [PLAIN]}, "vocabulary": {"size?": POSITIVE, "type?": PLAIN, "joint?": bool}}
    found = read_json(folder / "raw/prepare.json", shape, "what `lskd data prepare` wrote")
    usual = {"size": 8000, "type": "unigram", "joint": True} | found["vocabulary"]
    return [*found["options"]["languages"], *(str(usual[name]) for name in ("size", "type", "joint"))]


#: Options of multilingual tasks on which decoding depends: those with a value, and the others.
LANGUAGES = ("--lang-pairs", "--langs", "--encoder-langtok", "--lang-tok-style")
TOKENS = ("--decoder-langtok", "--lang-tok-replacing-bos-eos")
ASKED: dict[str, Callable[[Path], list[str]]] = {
    **{"recipe": recipe, "task": task, "pair": pair, "data": data, "vocabulary": vocabulary},
}

if __name__ == "__main__":
    with exit_on_user_error(sys.argv[3]):
        print(*ASKED[sys.argv[1]](Path(sys.argv[2])))

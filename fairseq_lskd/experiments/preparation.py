"""Check what an experiment's YAML file says about its data, before they are prepared."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..commands import option
from ..data import corpora
from ..data.dialects import DIALECTS
from ..data.generated import TARGET_LANG
from ..errors import UserError, meant
from ..names import is_plain
from ..reading import shown

GENERATED = "generated"
#: Print what `lskd encode` says about options, in a process of its own, because its parser is in a higher layer.
ENCODE = """
import argparse, sys
from fairseq_lskd.cli import encode
parser = argparse.ArgumentParser(add_help=False)
encode.add_arguments(parser)
def error(message):
    print(message)
    sys.exit()
parser.error = error
parser.parse_args(["--raw", "raw", "--out", "pieces", "-s", "xx", "-t", "yy", *sys.argv[1:]])
"""


def wrong_corpus(corpus: str, languages: Sequence[str], prepare: Sequence[str]) -> list[str]:
    """Return that a corpus is not known, or has other languages than these. Corpus files (.toml) are not read.

    Args:
        languages: source and target language.
        prepare: the options of scripts/prepare.sh.
    """
    if corpus.endswith(".toml") or not is_plain(corpus):
        return []
    known = [GENERATED, *corpora.names()]
    if corpus not in known:
        near = meant(corpus, known, cutoff=0.5)
        expected = f"did you mean {near}? Expected" if near else "expected"
        return [f"corpus: {corpus}: {expected} one of {', '.join(known)}, or a corpus file (.toml)"]
    if corpus == GENERATED:
        number = option(prepare, "--dialect") or "0"
        if not number.isdecimal() or int(number) >= len(DIALECTS):
            return [f"prepare: --dialect {number}: expected a number from 0 to {len(DIALECTS) - 1}"]
        has = [DIALECTS[int(number)].language, TARGET_LANG]
        return [] if list(languages) == has else [_other(languages, corpus, has)]
    has = corpora.languages_of(corpus)
    return [] if not has or set(has) == set(languages) else [_other(languages, corpus, has)]


def _other(languages: Sequence[str], corpus: str, has: Sequence[str]) -> str:
    own = "" if corpus == GENERATED else "; the corpus of your own text is own"
    return f"languages: [{', '.join(languages)}]: the corpus {corpus} has [{', '.join(has)}]{own}"


def options_of(script: Path) -> Mapping[str, bool]:
    """Return the options of scripts/prepare.sh, and whether they are for the generated bitext only."""
    text = script.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^ +(-[-\w]+(?: *\| *-[-\w]+)*)\) (.*shift 2.*)$", text, re.MULTILINE)
    return {name: "generated+=" in does for names, does in found for name in re.findall(r"-[-\w]+", names)}


def wrong_words(words: Sequence[str], corpus: str, script: Path) -> list[str]:
    """Return what scripts/prepare.sh would refuse in its options up to `--`, and suggest what was meant."""
    if not script.is_file():
        return []
    known, problems = options_of(script), []
    own = list(words[: words.index("--")] if "--" in words else words)
    while own:
        word = own.pop(0)
        # As the script does: a value may begin with one dash, but not with two.
        value = own.pop(0) if word.startswith("-") and own and not own[0].startswith("--") else None
        if not word.startswith("-"):
            problems.append(f"prepare: {shown(word)}: expected an option before it")
        elif word not in known:
            allowed = [name for name in known if corpus == GENERATED or not known[name]]
            near = meant(word, allowed, cutoff=0.8)
            way = f"did you mean {near}? O" if near else "o"
            problems.append(
                f"prepare: {word} is no option of scripts/prepare.sh; {way}ptions of lskd encode go after --"
            )
        elif not value:
            problems.append(f"prepare: {word} needs a value")
        elif known[word] and corpus != GENERATED:
            problems.append(f"prepare: {word} is only allowed with corpus: {GENERATED}")
    return problems


def wrong_values(corpus: str, languages: tuple[str, str], prepare: Sequence[str]) -> list[str]:
    """Return what would be refused in a corpus file, and what `lskd encode` would refuse in its options."""
    problems = []
    if corpus.endswith(".toml"):
        try:
            corpora.load(corpus, languages)
        except UserError as error:
            problems.append(f"corpus: {error}")
    own = [word for name in ("--vocab-size", "--recipe") if (value := option(prepare, name)) for word in (name, value)]
    words = [*own, *(list(prepare)[list(prepare).index("--") + 1 :] if "--" in prepare else [])]
    if words:
        done = subprocess.run([sys.executable, "-c", ENCODE, *words], stdout=subprocess.PIPE, text=True, check=True)
        problems += [f"prepare: {line}" for line in done.stdout.splitlines()]
    return problems


def wrong_data(settings: Mapping[str, Any], script: Path) -> list[str]:
    """Return what is wrong with the corpus, its languages and the options of its preparation in a scale.

    Values of the wrong type are reported elsewhere.

    Args:
        script: scripts/prepare.sh.
    """
    corpus, languages, given = (settings.get(key) for key in ("corpus", "languages", "prepare"))
    if not isinstance(corpus, str):
        return []
    prepare = [str(word) for word in given] if isinstance(given, list) else []
    pair = isinstance(languages, list) and len(languages) == 2 and all(isinstance(each, str) for each in languages)
    problems = wrong_corpus(corpus, languages, prepare) if pair and isinstance(languages, list) else []
    return problems + wrong_words(prepare, corpus, script)

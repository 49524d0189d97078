"""Compare the sources that translations were made from with the text that they should be of."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..data.restore import join_bytes
from ..data.tokenised import UNKNOWN
from ..errors import UserError
from ..reading import shown
from .pieces import to_text

#: Tokens that multilingual tasks add: `__de__`, `[de_DE]`, `<2de>`, and NLLB's `<MINED_DATA>`.
_LANGUAGE_TOKEN = re.compile(r"__[A-Za-z0-9_]+?__|\[[a-z]{2,3}_[A-Z]{2}\]|<2\w+>|<[A-Z_]+_DATA>")
#: The share of the letters' trigrams that two forms of a sentence have in common at least. Different sentences of one
#: language share about a fifth.
_ALIKE = 0.5


class SourceText:
    """The text that a file of translations should be of. It remembers the first sentence that is another one.

    Args:
        path: the file of the text, for messages.
        lines: its sentences, as text or pieces.
    """

    def __init__(self, path: Path, lines: Sequence[str]) -> None:
        self.path, self.lines = path, lines
        self._other: tuple[int, str] | None = None

    def add(self, index: int, translated: str) -> None:
        """Compare the source of a translation with its line. An index without a line is ignored."""
        first = self._other[0] if self._other else len(self.lines)
        if 0 <= index < first and not is_form_of(translated, self.lines[index]):
            self._other = index, translated

    def check(self, translations: Path) -> None:
        """Raise a `UserError` that shows the first sentence that is another one, if there is one."""
        if self._other is None:
            return
        index, translated = self._other
        raise UserError(
            f"{translations}: sentence {index} is not line {index + 1:,} of --source {self.path}. It translates "
            f"{shown(_joined(translated))}, and the line is {shown(_joined(self.lines[index]))}. Give the text that "
            "was translated, or translate this text. If it is the same text in another form, give the file that was "
            "binarised, with its pieces"
        )


def is_form_of(translated: str, line: str) -> bool:
    """Return whether the source of a translation is a form of a line of text.

    Pieces, white space, punctuation, case, diacritics and the escapes of Moses' tokeniser may differ. A part of the
    line may be `<unk>` or cut off, and a normalisation may have changed some of its letters.
    """
    if translated == line:
        return True
    parts = [letters for part in UNKNOWN.split(_joined(translated)) if (letters := _letters(part))]
    whole = _letters("".join(UNKNOWN.split(_joined(line))))
    if not parts:
        # Nothing is left to compare: all is unknown, or both have no letters.
        return UNKNOWN.search(translated) is not None or not whole
    if parts == [whole]:
        return True
    known = set(_trigrams(whole))
    grams = [gram for part in parts for gram in _trigrams(part)]
    return sum(gram in known if len(gram) == 3 else gram in whole for gram in grams) >= _ALIKE * len(grams)


def _joined(line: str) -> str:
    return join_bytes(to_text(to_text(line), "subword_nmt"))


def _letters(text: str) -> str:
    """Return the letters and digits of a text, without diacritics and in one case."""
    plain = unicodedata.normalize("NFKD", html.unescape(_LANGUAGE_TOKEN.sub("", text))).casefold()
    return "".join(filter(str.isalnum, plain))


def _trigrams(letters: str) -> list[str]:
    return [letters[i : i + 3] for i in range(len(letters) - 2)] or [letters]

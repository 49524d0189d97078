"""What a language's code says of its script."""

import pytest

from fairseq_lskd.data.writing_systems import character_coverage, words_of


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
        ("STRASSE ß", "de", ["strasse", "ss"]),
    ],
)
def test_words_are_split_by_spaces_where_there_are_some(text: str, language: str, words: list[str]) -> None:
    assert words_of(text, language) == words

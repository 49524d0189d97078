"""The default character coverage."""

import pytest

from fairseq_lskd.data.languages import character_coverage


@pytest.mark.parametrize(
    ("languages", "coverage"),
    [(("de", "en"), 1.0), (("zh", "en"), 0.9995), (("en", "zh_TW"), 0.9995), (("kor",), 0.9995), (("zha",), 1.0)],
)
def test_scripts_with_thousands_of_characters(languages: tuple[str, ...], coverage: float) -> None:
    assert character_coverage(languages) == coverage

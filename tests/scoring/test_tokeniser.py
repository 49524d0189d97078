"""Tests of the choice of BLEU's tokeniser, and of its warnings."""

from __future__ import annotations

import pytest

from fairseq_lskd.data import writing_systems
from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring.metrics import of_words
from fairseq_lskd.scoring.tokeniser import choose

JAPANESE = ["\u732b\u304c\u3044\u308b\u3002"]
THAI = ["\u0e41\u0e21\u0e27\u0e19\u0e31\u0e48\u0e07"]
ENGLISH = ["A cat sits there."]


@pytest.fixture(autouse=True)
def without_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_systems.importlib.util, "find_spec", lambda name: None)


def test_by_the_language() -> None:
    assert choose(ENGLISH, "en")[:4] == ("13a", "en", False, [])
    assert choose(THAI, "th")[:4] == ("char", "th", True, [])
    chosen = choose(JAPANESE, "ja")
    assert chosen.tokenize == "char" and len(chosen.warnings) == 1 and "fairseq_lskd[ja]" in chosen.warnings[0]


def test_by_the_script_if_the_language_is_not_known() -> None:
    assert choose(ENGLISH)[:4] == ("13a", "", False, [])
    chosen = choose(THAI)
    assert chosen[:3] == ("char", "th", True) and "-l S-T" in chosen.warnings[0]


@pytest.mark.parametrize(("references", "way"), [(JAPANESE, "--tokenize ja-mecab"), (THAI, "--tokenize char")])
@pytest.mark.parametrize(("language", "given"), [("en", None), ("", "13a"), ("th", "intl"), ("ja", "none")])
def test_splitting_text_without_spaces_gives_a_warning(
    references: list[str], way: str, language: str, given: str | None
) -> None:
    chosen = choose(references, language, given)
    assert chosen.tokenize in ("13a", "intl", "none")
    assert any(way in warning for warning in chosen.warnings)


def test_the_users_choice() -> None:
    assert choose(JAPANESE, "ja", "char")[:4] == ("char", "ja", True, [])
    with pytest.raises(UserError, match=r"--tokenize ja-mecab.*fairseq_lskd\[ja\]"):
        choose(JAPANESE, "ja", "ja-mecab")
    with pytest.raises(UserError, match="tokenize: x: expected one of none, zh, 13a"):
        writing_systems.check_tokeniser("x", "tokenize:")


def test_metrics_that_count_words() -> None:
    assert of_words(("bleu", "chrf"), choose(THAI, "th")) is None and of_words(("ter",), choose(ENGLISH, "en")) is None
    assert of_words(("ter",), choose(JAPANESE, "ja")) is None
    said = of_words(("chrf++", "ter"), choose(THAI, "th"))
    assert said and "chrF++ and TER" in said

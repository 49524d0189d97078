"""fairseq's dictionary files."""

from pathlib import Path

import pytest
from fairseq.data import Dictionary

from fairseq_lskd.data.dictionary import by_frequency, read_dictionary, write_dictionary
from fairseq_lskd.errors import UserError


def test_ids_are_fairseqs(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    write_dictionary(path, ["▁a", "b", "#"], {"▁a": 5, "#": 1})
    assert path.read_text() == "▁a 5\nb 0\n# 1\n"
    assert read_dictionary(path) == Dictionary.load(str(path)).indices
    assert read_dictionary(path)["▁a"] == 4


def test_a_symbol_may_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text("a 5\n<unk> 3 #fairseq:overwrite\nb 1\n")
    assert read_dictionary(path) == Dictionary.load(str(path)).indices
    assert read_dictionary(path)["<unk>"] == 5 and read_dictionary(path)["b"] == 6


def test_the_order_by_frequency_is_fairseqs() -> None:
    counts = {"b": 2, "a": 2, "Z": 2, "c": 7, "é": 2}
    theirs = Dictionary()
    for symbol, count in counts.items():
        theirs.add_symbol(symbol, count)
    theirs.finalize()
    assert by_frequency(counts) == theirs.symbols[theirs.nspecial :]
    assert by_frequency(counts)[:3] == ["c", "Z", "a"] and len(by_frequency(counts)) == 12


@pytest.mark.parametrize(
    ("text", "found"), [("a 1\na 2\n", "'a' a second time"), ("a 1\nb\n", "'b'"), ("<pad> 1\n", "'<pad>'")]
)
def test_a_file_that_is_no_dictionary(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"dict\.txt: line \d: expected a new symbol and its count, found {found}"):
        read_dictionary(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        read_dictionary(tmp_path / "none.txt")

"""Text, JSON, TOML and YAML files are read with bounded values, or refused with a message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.reading import COUNT, LINE, NUMBER, misfit, parse_json, read_json, read_text, read_toml, read_yaml

RECORD = {"run": {"teacher": ["a", "b"]}, "lines": 3, "rate": 0.5, "names": {"x": 1, "y": 2}, "text": "ein Hund"}
SHAPE = {"run": {"teacher": [str]}, "lines": COUNT, "rate": NUMBER, "names": {str: COUNT}, "text": LINE, "more?": bool}


def test_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(RECORD | {"smile": "\N{GRINNING FACE}"}), encoding="utf-8")
    assert read_json(path, SHAPE) == RECORD | {"smile": "\N{GRINNING FACE}"}
    assert parse_json('[NaN, 18446744073709551615, "\\ud83d\\ude00"]')[1:] == [2**64 - 1, "\N{GRINNING FACE}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ('{"a": 1,\n "b": }', "line 2, column 7"),
        ("[" * 100_000, "nested more than 100 levels deep"),
        ('{"a":' * 50_000, "nested more than 100 levels deep"),
        ("[" * 101 + "0" + "]" * 101, "nested more than 100 levels deep"),
        ("1" * 400, "400 digits, expected at most 64 bits"),
        ("[-" + "1" * 5000 + "]", "5000 digits"),
        ("18446744073709551616", "20 digits"),
        ('["\\ud800"]', "lone surrogate \\ud800"),
        ('{"\\uDC00": 1}', "lone surrogate \\udc00"),
    ],
)
def test_unbounded_json_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_json(path, expected="the JSON of a test", way_out="Write it again")
    assert str(path) in str(caught.value) and said in str(caught.value)
    assert str(caught.value).endswith("; expected the JSON of a test. Write it again")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lines": "3"}, "lines is '3', expected a whole number >= 0"),
        ({"lines": True}, "lines is True"),
        ({"lines": -1}, "lines is -1"),
        ({"rate": float("nan")}, "rate is nan, expected a finite number"),
        ({"rate": "1"}, "rate is '1'"),
        ({"run": []}, "run is [], expected a table"),
        ({"run": {}}, "run.teacher is missing"),
        ({"run": {"teacher": ["a", 1]}}, "run.teacher.1 is 1, expected a string"),
        ({"names": {"x": 1, "y\n": None}}, "names.'y\\n' is None"),
        ({"text": "two\nlines"}, "expected a string without line ends"),
        ({"more": 1}, "more is 1, expected true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_key(changes: dict[str, Any], said: str) -> None:
    assert said in (misfit(RECORD | changes, SHAPE) or "")


def test_values_that_are_not_tables() -> None:
    assert misfit([1], SHAPE) == "found [1], expected a table"
    assert misfit(None, (str, type(None))) is None
    assert misfit(1, (str, type(None))) == "found 1, expected a string or nothing"
    assert misfit(RECORD, SHAPE) is None


def test_text_that_is_not_utf8_is_named_with_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(UserError, match=r"line 2 is not UTF-8 \(byte 0xf6 at offset 6\)"):
        read_text(path)
    with pytest.raises(UserError, match=r"none: cannot be read \(No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path)


def test_missing_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        read_json(tmp_path / "record.json")


#: Ten references to ten references to ...: 10^12 values in 200 bytes.
LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 13))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: [a\nseeds: 1", "at line 2, column"),
        ("[" * 20_000, "nested more than 100 levels deep"),
        (LAUGHS, "has more than 2,000,000 values"),
        ("a: &a [*a]", "nested more than 100 levels deep"),
        ("a: 2020-99-99", "month"),
        ("!!timestamp a", "a value in it"),
        ('!!int ""', "a value in it"),
        ("a: !!python/object:os.system b", "python/object"),
        ('a: "\\ud800"', "lone surrogate"),
        ("1" * 400, "64"),
        ("1" * 5000, "digits"),
        ("a: \x00", "not a YAML file"),
        ("# a\n" * 100_000, "400,000 characters"),
    ],
)
def test_yaml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with hostile.bounded(), pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = ]", "line 2"),
        (f"a = {'[' * 20_000}", "nested more than 100 levels deep"),
        (f"{'.'.join('a' * 3000)} = 1", "nested more than 100 levels deep"),
        (f"a = {'1' * 400}", "64"),
        (f"a = {'1' * 5000}", "digits"),
        ("a = 1\n" * 100_000, "600,000 characters"),
    ],
)
def test_toml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "corpus.toml"
    path.write_text(text)
    with hostile.bounded(), pytest.raises(UserError) as caught:
        read_toml(path)
    assert str(path) in str(caught.value) and said in str(caught.value)


@hostile.few
@given(st.one_of(hostile.mutated(json.dumps(RECORD).encode()), hostile.misvalued(RECORD).map(str.encode)))
def test_fuzzed_json_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_bytes(content)
    found = hostile.read_or_refuse(lambda: read_json(path, SHAPE), path)
    assert found is None or json.dumps(found, ensure_ascii=False).encode()


YAML = b"title: a b\nseeds: [1, 2]\nteachers: &t\n  - {label_smoothing: [0.0, 0.1]}\nstudents: *t\n'x y': 2020-01-01\n"


@hostile.few
@given(hostile.mutated(YAML))
def test_fuzzed_yaml_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    hostile.read_or_refuse(lambda: read_yaml(path), path)


@hostile.few
@given(hostile.mutated(b'title = "a"\nlanguages = ["de", "en"]\n[[train]]\nurl = "http://a/b"\nbytes = 10\n'))
def test_fuzzed_toml_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    hostile.read_or_refuse(lambda: read_toml(path), path)

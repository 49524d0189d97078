"""Reading text, JSON, TOML and YAML that may hold anything: what comes back is bounded, or a `UserError` says why not.

Bounded means: nested at most `DEPTH` deep, whole numbers of 64 bits, and text that can be written again (no lone
surrogates, which JSON and YAML can spell). So what works with the values cannot overflow or recurse without end.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UserError

DEPTH = 100  #: of nested lists and tables; what this program writes has fewer than ten
VALUES = 2_000_000  #: in a TOML or YAML file, whose references can stand for more than its bytes
SETTINGS_BYTES = 1 << 18  #: of a TOML or YAML file; their parsers are slow
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60
_SHOWN.maxlevel = 2


class Kind(NamedTuple):
    """What a value should be, where its type alone does not say it."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


NUMBER = Kind("a finite number", _is_number)
COUNT = Kind("a whole number from 0", lambda value: type(value) is int and value >= 0)
POSITIVE = Kind("a whole number from 1", lambda value: type(value) is int and value >= 1)
#: For files with a line a sentence: JSON can spell line ends.
LINE = Kind("a text of one line", lambda value: isinstance(value, str) and "\n" not in value)

_WORDS = {str: "a text", bool: "true or false", int: "a whole number", dict: "a table", list: "a list"}


def read_text(path: str | os.PathLike[str]) -> str:
    """A whole file, which must be UTF-8.

    Raises:
        UserError: if it cannot be read, or is not UTF-8: with the line and the byte.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line:,} is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start:,})"
        ) from None


def parse_json(text: str) -> Any:
    """A JSON value, bounded. NaN and infinity are let through: whoever wants a number asks for `NUMBER`.

    Raises:
        ValueError: saying what is wrong, and where if that is known.
    """
    try:
        found = json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno:,}, column {error.colno:,}"
        raise ValueError(f"{place}: {error.msg}" if text.strip() else "it is empty") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # Most lines of an n-best list need no closer look.
    if "\\u" in text or text.count("[") + text.count("{") > DEPTH:
        _check_bounds(found, most=len(text))
    return found


def read_json(path: str | os.PathLike[str], shape: Any = None, expected: str = "JSON", way_out: str = "") -> Any:
    """What is in a JSON file.

    Args:
        shape: what it must look like, as `misfit` has it.
        expected: what the file should be, in words: "the JSON that `lskd score` writes".
        way_out: what the user can do.

    Raises:
        UserError: naming the file, and the line or key, if it cannot be read or is something else.
    """
    text = read_text(path)
    try:
        found = parse_json(text)
        if shape is not None and (problem := misfit(found, shape)):
            raise ValueError(problem)
    except ValueError as error:
        raise UserError(f"{path}: {error}; expected {expected}{f'. {way_out}' if way_out else ''}") from None
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; `UserError` as `read_json` raises."""
    import tomllib

    return _parsed(path, "a TOML file", tomllib.loads)


def read_yaml(path: Path) -> Any:
    """What is in a YAML file, read without its tags that make objects; `UserError` as `read_json` raises."""
    import yaml

    def parse(text: str) -> Any:
        try:
            return yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            raise ValueError(f"{error.problem or error.context}{place}") from None
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from None

    return _parsed(path, "a YAML file", parse)


def misfit(value: Any, shape: Any) -> str | None:
    """Where a value is not of a shape, in words; None if it is.

    A shape is a type, a `Kind`, a tuple of shapes (one will do), a list of one shape (that of each item), or a
    dictionary: of keys with their shapes ("key?" may be missing, others may be there too), or of `str` alone with the
    shape of every value.
    """
    found = _misfit(value, shape)
    if found is None:
        return None
    place, problem = found
    where = ".".join(key if isinstance(key, str) and key.isprintable() else shown(key) for key in place)
    return f"{where} {problem}" if where else problem.replace("is ", "found ", 1)


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, no longer than that, without control characters."""
    return _SHOWN.repr(value)


_TOO_DEEP = f"it is nested more than {DEPTH} deep"


def _parsed(path: Path, kind: str, parse: Callable[[str], Any]) -> Any:
    text = read_text(path)
    if len(text) > SETTINGS_BYTES:
        raise UserError(f"{path}: not {kind} of settings: it has {len(text):,} characters, expected a few thousand")
    try:
        found = parse(text)
        _check_bounds(found, most=VALUES)
    except RecursionError:
        raise UserError(f"{path}: not {kind}: {_TOO_DEEP}") from None
    except ValueError as error:
        raise UserError(f"{path}: not {kind}: {error}") from None
    except Exception as error:  # what reads the dates and numbers within raises all sorts
        raise UserError(f"{path}: not {kind}: a value in it cannot be read ({error})") from None
    return found


def _whole_number(digits: str) -> int:
    # Python refuses some thousands of digits itself, and float() some hundreds.
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise ValueError(f"a whole number of {len(digits.lstrip('-'))} digits, which no computer word holds")
    return number


def _check_bounds(value: Any, most: int) -> None:
    """Raise ValueError unless a value is bounded; level by level, since references may make it endless."""
    level, count = [value], 0
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each
                below += each.values()
            elif isinstance(each, list | tuple | set):
                below += each
            elif isinstance(each, str):
                if not each.isascii():
                    _check_text(each)
            elif type(each) is int and not -(2**63) <= each < 2**64:
                raise ValueError(f"a whole number of {each.bit_length()} bits, expected 64 at most")
            count += 1
            if count + len(below) > most:
                raise ValueError(f"it stands for more than {most:,} values")
        if not below:
            return
        level = below
    raise ValueError(_TOO_DEEP)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(f"{shown(text)} has half a character, the lone surrogate \\u{code:04x}") from None


def _misfit(value: Any, shape: Any) -> tuple[list[Any], str] | None:
    """The keys that lead to what is wrong, and what it is. No text is made of what is right: there is much of that."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [], f"is {shown(value)}, expected a table"
        if str in shape:
            return _first(value.items(), shape[str])
        for name, inner in shape.items():
            if (key := name.removesuffix("?")) in value:
                if problem := _misfit(value[key], inner):
                    return [key, *problem[0]], problem[1]
            elif key == name:
                return [key], "is missing"
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [], f"is {shown(value)}, expected a list"
        return _first(enumerate(value), shape[0])
    if isinstance(shape, Kind):
        holds = shape.holds(value)
    elif isinstance(shape, tuple):
        holds = any(_misfit(value, each) is None for each in shape)
    else:  # JSON's true is no number
        holds = isinstance(value, shape) and (shape is not int or not isinstance(value, bool))
    return None if holds else ([], f"is {shown(value)}, expected {_words(shape)}")


def _first(items: Iterable[tuple[Any, Any]], shape: Any) -> tuple[list[Any], str] | None:
    for key, item in items:
        if problem := _misfit(item, shape):
            return [key, *problem[0]], problem[1]
    return None


def _words(shape: Any) -> str:
    if isinstance(shape, Kind):
        return shape.words
    if isinstance(shape, tuple):
        return " or ".join(map(_words, shape))
    if isinstance(shape, list | dict):
        inner = shape[0] if isinstance(shape, list) else shape.get(str)
        return _WORDS[type(shape)] + (f" of such ({_words(inner)})" if inner is not None else "")
    return "nothing" if shape is type(None) else _WORDS[shape]


def value_at(found: Any, *keys: str) -> Any:
    """Return the value under nested keys of parsed JSON; None if a key is missing."""
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def read_value(path: Path, *keys: str) -> Any:
    """Return the value under nested keys of a JSON file; None if the file cannot be read or a key is missing."""
    try:
        return value_at(read_json(path), *keys)
    except (OSError, UserError):
        return None

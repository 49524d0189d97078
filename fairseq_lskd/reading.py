"""Read untrusted text, JSON, TOML and YAML. The values that are returned are bounded.

Bounded values are nested at most `DEPTH` levels deep, their integers fit into 64 bits, and their strings can be encoded
as UTF-8 (no lone surrogates). Code that uses them cannot overflow or recurse without end. Other values raise a
`UserError`.
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

DEPTH = 100  #: maximum depth of nested lists and tables; files of this package have fewer than 10 levels
VALUES = 2_000_000  #: maximum number of values in a TOML or YAML file, where references can multiply values
SETTINGS_BYTES = 1 << 18  #: maximum size of a TOML or YAML file, as their parsers are slow
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60
_SHOWN.maxlevel = 2


class Kind(NamedTuple):
    """A condition on a value, with its description in words."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


NUMBER = Kind("a finite number", _is_number)
COUNT = Kind("a whole number >= 0", lambda value: type(value) is int and value >= 0)
POSITIVE = Kind("a whole number >= 1", lambda value: type(value) is int and value >= 1)
#: A string that can be a line of a file. Strings in JSON can contain line ends.
LINE = Kind("a string without line ends", lambda value: isinstance(value, str) and "\n" not in value)

_NAMES = {str: "a string", bool: "true or false", int: "a whole number", dict: "a table", list: "a list"}


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file.

    Raises:
        UserError: if the file cannot be read or is not UTF-8, with the line and the byte.
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


def parse_json(text: str, shape: Any = None) -> Any:
    """Parse a bounded JSON value. NaN and infinity are accepted; check for `NUMBER` to exclude them.

    Args:
        shape: the expected shape of the value, see `misfit`.

    Raises:
        ValueError: with the problem, and its place if it is known.
    """
    try:
        found = json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno:,}, column {error.colno:,}"
        raise ValueError(f"{place}: {error.msg}" if text.strip() else "it is empty") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # This test lets most lines of an n-best list skip the slow check.
    if "\\u" in text or text.count("[") + text.count("{") > DEPTH:
        _check_bounds(found, most=len(text))
    if shape is not None and (problem := misfit(found, shape)):
        raise ValueError(problem)
    return found


def read_json(path: str | os.PathLike[str], shape: Any = None, expected: str = "JSON", way_out: str = "") -> Any:
    """Read a JSON file.

    Args:
        shape: the expected shape of the value, see `misfit`.
        expected: the expected file, in words: "the JSON that `lskd score` writes".
        way_out: what the user can do if the file is another.

    Raises:
        UserError: if the file cannot be read or has another shape, with the file and the line or key.
    """
    text = read_text(path)
    try:
        return parse_json(text, shape)
    except ValueError as error:
        raise UserError(f"{path}: {error}; expected {expected}{f'. {way_out}' if way_out else ''}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises `UserError` as `read_json` does."""
    import tomllib

    return _parsed(path, "a TOML file", tomllib.loads)


def read_yaml(path: Path) -> Any:
    """Read a YAML file without tags that create objects. Raises `UserError` as `read_json` does."""
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
    """Return where and how a value differs from a shape, in words; None if it does not.

    A shape is one of

    - a type or a `Kind`;
    - a tuple of alternative shapes;
    - a list with the shape of each item;
    - a dictionary from keys to the shapes of their values. "key?" is an optional key. Other keys are ignored;
    - a dictionary from `str` to the shape of every value.
    """
    found = _misfit(value, shape)
    if found is None:
        return None
    place, problem = found
    where = ".".join(key if isinstance(key, str) and key.isprintable() else shown(key) for key in place)
    return f"{where} {problem}" if where else problem.replace("is ", "found ", 1)


def shown(value: Any) -> str:
    """Return a short representation of a value for messages, on one line and without control characters."""
    return _SHOWN.repr(value)


_TOO_DEEP = f"it is nested more than {DEPTH} levels deep"


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
    except Exception as error:  # the parsers of dates and numbers raise many kinds
        raise UserError(f"{path}: not {kind}: a value in it cannot be read ({error})") from None
    return found


def _whole_number(digits: str) -> int:
    # int() fails with thousands of digits, and float() with hundreds.
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise ValueError(f"a whole number has {len(digits.lstrip('-'))} digits, expected at most 64 bits")
    return number


def _check_bounds(value: Any, most: int) -> None:
    """Raise ValueError unless a value is bounded. It is walked level by level, as references may make it endless."""
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
                raise ValueError(f"a whole number has {each.bit_length()} bits, expected at most 64")
            count += 1
            if count + len(below) > most:
                raise ValueError(f"it has more than {most:,} values")
        if not below:
            return
        level = below
    raise ValueError(_TOO_DEEP)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(f"{shown(text)} contains the lone surrogate \\u{code:04x}, which is not a character") from None


def _misfit(value: Any, shape: Any) -> tuple[list[Any], str] | None:
    """Return the keys that lead to the first problem, and its description; None without a problem."""
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
    else:  # in Python, True is an int; in JSON, true is not a number
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
        return _NAMES[type(shape)] + (f" with values that are {_words(inner)}" if inner is not None else "")
    return "nothing" if shape is type(None) else _NAMES[shape]


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

"""Files that were changed by accident or on purpose, for tests that nothing but `UserError` comes of them."""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]

#: Deterministic, so that a test fails for all or for none; the time is watched by `bounded`.
few = hypothesis.settings(
    derandomize=True, max_examples=60, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
SECONDS, MEBIBYTES = 20, 300  # far more than any reader of a small file needs, even on a busy machine


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail where reading a small file takes long, or much memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEBIBYTES * 1024


def read_or_refuse(read: Callable[[], T], *names: str | Path) -> T | None:
    """What a reader returns, or None where it raises `UserError`, in one short text that names what it should.

    Any other exception goes through, and fails the test.
    """
    with bounded():
        try:
            return read()
        except UserError as error:
            said = str(error)
            assert said.replace("\n", "").isprintable()
            assert len(said) < 20_000  # values that differ from those wanted are quoted whole
            assert all(str(name) in said for name in names), said
            return None


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some of them flipped, cut off, left out, repeated or put in."""

    @st.composite
    def change(draw: Draw) -> bytes:
        found = bytearray(content)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, max(len(found) - 1, 0)))
            kind = draw(st.sampled_from(("flip", "cut", "drop", "repeat", "insert", "number")))
            if kind == "flip" and found:
                found[at] ^= 1 << draw(st.integers(0, 7))
            elif kind == "cut":
                del found[at:]
            elif kind == "drop":
                del found[at : at + draw(st.integers(1, 40))]
            elif kind == "repeat":
                found[at:at] = found[at : at + draw(st.integers(1, 200))]
            elif kind == "insert":
                found[at:at] = draw(st.binary(min_size=1, max_size=12))
            else:
                number = draw(st.sampled_from((0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))))
                size = 4 if -(2**31) <= number < 2**31 else 8
                found[at : at + size] = number.to_bytes(size, "little", signed=True)
        return bytes(found)

    return change()


#: Values that are of no use where a number, a text, a list or a table is expected, by their JSON.
HOSTILE_JSON = (
    *("null", "true", "0", "-1", "1.5", "NaN", "-Infinity", "1e999", "1" * 400, "1" * 5000, '""', '"a"', '"-1"', "[]"),
    *("{}", '"\\ud800"', '"\\u0000"', '"\\n"', '"../x"', "[" * 300 + "]" * 300, "[" * 90 + "]" * 90, "[[1], {}]"),
    *('{"a": {"b": [null]}}', "9223372036854775807", "18446744073709551616", '["a", 1]', '"' + "x" * 5000 + '"'),
)


HOSTILE_TOML = (
    *(
        "0",
        "-1",
        "nan",
        "-inf",
        "1e999",
        "9" * 400,
        '""',
        '"a"',
        "true",
        "[]",
        "{}",
        "[[1], {}]",
        "1979-05-27",
        "[" * 200,
    ),
    *('"\\u0000"', '"../x"', '"http://[x"', '{ de = 1, en = "a" }', "{ fr = 1 }", '["de", "de", "de"]'),
)


def misvalued(value: Any) -> st.SearchStrategy[str]:
    """The JSON of a value in which one value or more is another, is missing, or is in the wrong place."""
    mark = "\u27e6%d\u27e7"

    @st.composite
    def change(draw: Draw) -> str:
        found, put = {"": copy.deepcopy(value)}, {}
        for number in range(draw(st.integers(1, 2))):
            holder: Any = found
            key: Any = ""
            while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 4)):
                holder = holder[key]
                key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
            if holder is not found and isinstance(holder, dict) and not draw(st.integers(0, 3)):
                del holder[key]
                continue
            put[mark % number] = draw(st.sampled_from(HOSTILE_JSON))
            holder[key] = mark % number
        text = json.dumps(found[""], ensure_ascii=False)
        for place, other in put.items():
            text = text.replace(f'"{place}"', other)
        return text

    return change()

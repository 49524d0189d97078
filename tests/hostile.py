"""Random changes of files, for tests that readers raise nothing but `UserError`."""

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

#: Deterministic, so that a test fails for everyone or for no one. `bounded` limits the time.
few = hypothesis.settings(
    derandomize=True, max_examples=60, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
SECONDS, MEBIBYTES = 20, 300  # far more than a reader of a small file needs, even on a busy machine


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail if the reader of a small file needs much time or memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEBIBYTES * 1024


def read_or_refuse(read: Callable[[], T], *names: str | Path) -> T | None:
    """Return what a reader returns, or None if it raises a `UserError` with a short message that has all `names`.

    Any other exception fails the test.
    """
    with bounded():
        try:
            return read()
        except UserError as error:
            message = str(error)
            assert message.replace("\n", "").isprintable()
            assert len(message) < 20_000  # unexpected values are quoted in full
            assert all(str(name) in message for name in names), message
            return None


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for the bytes with some of them flipped, cut off, left out, repeated or inserted."""

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


#: Values, as JSON, that are invalid where a number, a string, a list or a table is expected.
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
    """Return a strategy for the JSON of a value in which one or two parts are replaced or missing."""
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

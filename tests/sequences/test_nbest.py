"""Reading and writing n-best records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.nbest import read_nbest, to_line
from fairseq_lskd.sequences.resumable import manifest_path

HYPOTHESIS = {"tokens": "▁a ▁dog", "text": "a dog", "score": -0.25, "length": 3}


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "source": "▁ein ▁Hund", "hypotheses": [HYPOTHESIS]} | changes


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(f"{json.dumps(each)}\n" for each in records))
    return path


def test_read_nbest_returns_what_to_line_wrote(tmp_path: Path) -> None:
    records = [
        record(5),
        record(6, hypotheses=[], skipped="empty"),
        record(7, hypotheses=[], skipped="too long"),
        record(8, source="\u2028\t▁日本", hypotheses=[HYPOTHESIS | {"token_scores": [-0.1, -0.2, -0.45]}, HYPOTHESIS]),
    ]
    text = "".join(f"{to_line(each)}\n" for each in records).encode()
    assert text.count(b"\n") == len(records)
    (tmp_path / "plain").write_bytes(text)
    # A gzip file may have several members.
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(text[:100]) + gzip.compress(text[100:]))
    assert list(read_nbest(tmp_path / "plain")) == list(read_nbest(tmp_path / "zipped.gz")) == records


@pytest.mark.parametrize("score", [float("nan"), float("-inf")])
def test_a_score_that_is_not_finite_is_refused(score: float) -> None:
    with pytest.raises(UserError, match=r"sentence 3 .*score"):
        to_line(record(3, hypotheses=[HYPOTHESIS | {"score": score}]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([1], "found [1]"),
        (record(1) | {"id": "1"}, "id is '1'"),
        (record(1) | {"id": True}, "id is True"),
        (record(-1), "id is -1"),
        (record(2), '"id" is 2, expected 1'),
        (record(0), '"id" is 0, expected 1'),
        (record(1, source=None), "source is None"),
        (record(1, source="▁ein\n▁Hund"), "source is '▁ein\\n▁Hund', expected a string without line ends"),
        (record(1, hypotheses={}), "hypotheses is {}, expected a list"),
        (record(1, hypotheses=[]), "found neither hypotheses nor"),
        (record(1, skipped="empty"), 'found hypotheses and "skipped"'),
        (record(1, hypotheses=[], skipped="dull"), "\"skipped\" is 'dull'"),
        (record(1, hypotheses=["a dog"]), "hypotheses.0 is 'a dog'"),
        (record(1, hypotheses=[HYPOTHESIS | {"length": 3.5}]), "hypotheses.0.length is 3.5"),
        (
            record(1, hypotheses=[HYPOTHESIS, HYPOTHESIS | {"score": 10**400}]),
            "not JSON (a whole number has 401 digits",
        ),
        (record(1, hypotheses=[HYPOTHESIS | {"score": float("inf")}]), "hypotheses.0.score is inf"),
        (record(1, hypotheses=[HYPOTHESIS | {"text": "\ud800"}]), "not JSON"),
        (record(1, hypotheses=[HYPOTHESIS | {"text": "a\ndog"}]), "hypotheses.0.text is 'a\\ndog'"),
        (record(1, hypotheses=[{"tokens": "▁a"}]), "hypotheses.0.text is missing"),
    ],
)
def test_a_line_that_is_not_a_record_is_refused(tmp_path: Path, wrong: Any, said: str) -> None:
    path = write(tmp_path / "nbest.jsonl", record(0), wrong)
    with pytest.raises(UserError) as caught:
        list(read_nbest(path))
    assert str(caught.value).startswith(f"{path}, line 2: {said}")
    assert "expected a record of `lskd translate`" in str(caught.value)


def test_a_truncated_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nbest.jsonl"
    path.write_text(f'{json.dumps(record(0))}\n{{"id": 1, "sou')
    with pytest.raises(UserError, match=r"nbest.jsonl, line 2: not JSON \(line 1, column"):
        list(read_nbest(path))


LINES = [record(0, source="▁ein ▁hübscher ▁Hund"), record(1, hypotheses=[], skipped="empty"), record(2)]
PLAIN = "".join(f"{to_line(each)}\n" for each in LINES).encode()


@hostile.few
@given(
    st.one_of(
        hostile.mutated(PLAIN),
        hostile.misvalued(LINES[2]).map(lambda line: b"".join([*PLAIN.splitlines(True)[:2], line.encode()])),
    )
)
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.write_bytes(content)
    for each in hostile.read_or_refuse(lambda: list(read_nbest(path)), path) or ():
        assert "\n" not in to_line(each).encode().decode()


@hostile.few
@given(hostile.mutated(gzip.compress(PLAIN, mtime=0)))
def test_any_gzipped_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl.gz"
    path.write_bytes(content)
    hostile.read_or_refuse(lambda: list(read_nbest(path)), path)


def test_a_file_must_have_the_lines_and_bytes_of_its_manifest(tmp_path: Path) -> None:
    path = write(tmp_path / "out", record(0), record(1))
    manifest = {"run": {}, "lines": 2, "bytes": path.stat().st_size}
    manifest_path(path).write_text(json.dumps(manifest))
    assert len(list(read_nbest(path))) == 2
    manifest_path(path).write_text(json.dumps(manifest | {"lines": 8000}))
    with pytest.raises(UserError, match=r"out has 2 lines.* out\.manifest\.json says 8,000"):
        list(read_nbest(path))
    write(path, record(0))
    with pytest.raises(UserError, match=r"out has [\d,]+ bytes.* out\.manifest\.json says [\d,]+"):
        next(read_nbest(path))


def test_keys_that_a_selection_adds_are_not_read_from_a_file(tmp_path: Path) -> None:
    added = {"place": "first", "utilities": 1, "refused": True}
    path = write(tmp_path / "list", record(0, given="x", hypotheses=[HYPOTHESIS | added | {"rank": 3}]))
    assert list(read_nbest(path)) == [record(0, hypotheses=[HYPOTHESIS | {"rank": 3}])]

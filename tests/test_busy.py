"""The load of other programs on the machine."""

from __future__ import annotations

import pytest

from fairseq_lskd import busy


def test_cores_are_those_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, clock = iter([(100.0, 30.0), (112.0, 38.0)]), iter([0.0, 10.0])
    monkeypatch.setattr(busy.Others, "_seconds", lambda _: next(seconds))
    monkeypatch.setattr(busy.time, "monotonic", lambda: next(clock))
    assert busy.Others().cores() == 0.4


def test_cpu_seconds_grow_with_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    others = busy.Others()
    before = others._seconds()
    assert sum(range(3_000_000)) > 0
    after = others._seconds()
    assert after[0] >= before[0] > 0 and after[1] >= before[1] > 0
    assert (others.cores() or 0.0) >= 0


def test_without_psutil_there_is_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "is_installed", lambda _: False)
    assert busy.Others().cores() is None


def test_doubt() -> None:
    assert "1.2 cores" in busy.doubt(1.2) and busy.doubt(0.05) == busy.doubt(None) == ""

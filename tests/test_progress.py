"""Progress lines."""

from __future__ import annotations

import pytest

from fairseq_lskd.progress import Progress


def test_progress_shows_speed_and_time_left(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = Progress("out.jsonl", 1000, 5000, every=10)
    for _ in range(4):
        now += 6
        progress(300)
    assert capsys.readouterr().err.splitlines() == [
        "out.jsonl | 1,600 of 5,000 sentences | 50 per second | 01:08 left",
        "out.jsonl | 2,200 of 5,000 sentences | 50 per second | 00:56 left",
    ]
    progress = Progress("cache", 0, 9000, every=10, unit="tokens")
    now += 10
    progress(0)
    assert capsys.readouterr().err == "cache | 0 of 9,000 tokens | 0 per second | ? left\n"

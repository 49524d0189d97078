"""Caches written from Python, with typed options."""

from __future__ import annotations

from pathlib import Path

import pytest
from cached import K, contents, write_cache

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.experiments import plan
from fairseq_lskd.losses.sampled import Error
from fairseq_lskd.teachers import cache_writer
from fairseq_lskd.teachers.cache_request import Request
from fairseq_lskd.teachers.caching import TOP_K, verdict
from fairseq_lskd.teachers.caching import write_cache as write


def test_python_writes_what_the_command_writes(
    bitext: Path, teacher_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_writer, "BLOCK_BYTES", 1024)
    request = Request(data=str(bitext), teacher_path=str(teacher_path), out=tmp_path / "python", top_k=K)
    first, again = write(request), write(request)
    assert first.now == first.whole > 5 and first.missing == again.now == again.missing == 0
    assert contents(request.out) == contents(write_cache(bitext, teacher_path, tmp_path / "command"))


def test_options_that_contradict_each_other_are_refused(bitext: Path, teacher_path: Path, tmp_path: Path) -> None:
    request = Request(
        data=str(bitext), teacher_path=str(teacher_path), out=tmp_path / "no", top_k=K, bytes_per_token=48
    )
    with pytest.raises(UserError, match="--bytes-per-token"):
        write(request)
    assert not request.out.exists()


@pytest.mark.parametrize(
    ("deviation", "good", "share"), [(0.1, True, "4.0%"), (0.2, False, "16.0%"), (0.0, True, "0.0%")]
)
def test_the_verdict_compares_with_labels(deviation: float, good: bool, share: str) -> None:
    said = verdict(Error(0.0, 0.0, deviation), 0.25)
    assert said.startswith("good enough") is good and share in said and "10%" in said


def test_the_default_top_k_is_the_same_everywhere(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["cache", "--help"])
    said = capsys.readouterr().out.partition("--top-k K ")[2]
    assert TOP_K == plan.TOP_K and f"(default: {TOP_K})" in " ".join(said.split())

"""`lskd run` before it runs anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.cli import main


def test_a_cache_that_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scripts/distill_word.sh names the manifest of its cache as an input."""
    monkeypatch.chdir(tmp_path)
    call = ["run", "--out", "student", "--input", "cache/cache.json", "--", "true"]
    with pytest.raises(SystemExit, match=r"needs cache/cache\.json: no such file"):
        main(call)
    digests = {name: {} for name in ("options", "dictionaries", "data", "teachers")}
    Path("cache").mkdir()
    Path("cache/plan.json").write_text(json.dumps({"format": 1, "blocks": 40, **digests}))
    for number in range(12):
        Path(f"cache/block-{number:05}-0123456789abcdef.npy").touch()
    with pytest.raises(SystemExit) as caught:
        main(call)
    assert caught.value.code == (
        "lskd run: error: --teacher-cache cache is not finished: 12 of 40 blocks are written. Run the same "
        "`lskd cache` command again; it continues where it stopped."
    )
    assert not Path("student").exists()
    Path("cache/cache.json").touch()
    assert main(call) == 0


@pytest.mark.parametrize(("end", "warned"), [("300", True), ("301", False), ("0", False), ("inf", False)])
def test_an_end_within_the_warm_up(end: str, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    call = ["run", "--out", str(tmp_path / "run"), "--", "true", "--max-update", end, "--warmup-updates", "300"]
    assert main(call) == 0
    assert ("--max-update 300 ends within --warmup-updates 300" in capsys.readouterr().err) == warned

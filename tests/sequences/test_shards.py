"""Shards: ranges of a corpus, and their outputs put together."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.resumable import ResumableFile, manifest_path
from fairseq_lskd.sequences.shards import Shard, merge, shard_path


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 12))
def test_shards_are_whole_windows_one_after_the_other(sentences: int, window: int, count: int) -> None:
    if count > -(-sentences // window):
        with pytest.raises(UserError, match="lower --num-shards or --window"):
            Shard.cut(sentences, window, 0, count)
        return
    shards = [Shard.cut(sentences, window, index, count) for index in range(count)]
    assert shards[0].start == 0 and shards[-1].stop == sentences
    assert all(one.stop == two.start for one, two in itertools.pairwise(shards))
    assert all(shard.start % window == 0 and shard.start < shard.stop for shard in shards)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_shard_that_is_none_is_refused(index: int) -> None:
    with pytest.raises(UserError, match=f"--shard-id {index}: expected 0 to 2"):
        Shard.cut(100, 10, index, 3)


class TestMerge:
    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        return tmp_path / "out"

    def write(self, out: Path, index: int, count: int = 2, **changes: Any) -> None:
        run = {"beam": 5, "shard": f"{index} of {count}"} | changes
        file = ResumableFile(shard_path(out, index, count), run, zipped=False)
        file.append([f"line {index}"], {})
        file.finish({"counts": {"hypotheses": 1}, "settings": {}, "seconds": 1.0, "versions": {}})

    def test_outputs_follow_one_another(self, out: Path) -> None:
        for index in (1, 0):
            self.write(out, index)
        assert merge(out, 2) == 2
        assert out.read_text() == "line 0\nline 1\n"
        manifest = json.loads(manifest_path(out).read_text())
        assert (manifest["run"], manifest["lines"], manifest["bytes"]) == ({"beam": 5}, 2, 14)
        assert manifest["counts"] == {"hypotheses": 2} and len(manifest["shards"]) == 2

    def test_every_shard_that_is_not_finished_is_named(self, out: Path) -> None:
        self.write(out, 1, 3)
        ResumableFile(shard_path(out, 2, 3), {"beam": 5, "shard": "2 of 3"}, zipped=False).append(["x"], {})
        with pytest.raises(UserError, match=r"not finished: out.0-of-3, out.2-of-3; run these shards"):
            merge(out, 3)
        assert not out.exists()

    def test_shards_of_another_run_are_refused(self, out: Path) -> None:
        self.write(out, 0)
        self.write(out, 1, beam=4)
        with pytest.raises(UserError, match=r"out.1-of-2 is of another run than out.0-of-2: beam: 5 there, 4 now"):
            merge(out, 2)
        assert not out.exists()

    def test_a_shard_that_was_changed_is_refused(self, out: Path) -> None:
        for index in (0, 1):
            self.write(out, index)
        shard_path(out, 1, 2).write_text("line")
        said = r"^out.1-of-2 has 4 bytes, out.1-of-2.manifest.json says 7: delete out.1-of-2\*, run this shard again"
        with pytest.raises(UserError, match=said):
            merge(out, 2)
        assert not out.exists()

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", "{}", "nothing", "[" * 5000),
            *('{"run": [], "lines": 1, "bytes": 7}', '{"run": {"beam": 5}, "lines": 1, "bytes": "7"}'),
            '{"run": {"beam": 5}, "lines": 1, "bytes": 7, "counts": {"hypotheses": "1"}, "settings": {}, "seconds": 1}',
        ],
    )
    def test_a_manifest_that_was_cut_or_changed_is_named_and_nothing_written(self, out: Path, text: str) -> None:
        for index in (0, 1):
            self.write(out, index)
        manifest_path(shard_path(out, 1, 2)).write_text(text)
        with pytest.raises(UserError, match=r"out\.1-of-2\.manifest\.json.*Delete out\.1-of-2\*"):
            merge(out, 2)
        assert not out.exists() and not manifest_path(out).exists()

"""Shards of a corpus, and the merging of their outputs."""

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
def test_shards_are_contiguous_and_consist_of_whole_windows(sentences: int, window: int, count: int) -> None:
    if count > -(-sentences // window):
        with pytest.raises(UserError, match=f"--num-shards {count}: .*--window"):
            Shard.cut(sentences, window, 0, count)
        return
    shards = [Shard.cut(sentences, window, index, count) for index in range(count)]
    assert shards[0].start == 0 and shards[-1].stop == sentences
    assert all(one.stop == two.start for one, two in itertools.pairwise(shards))
    assert all(shard.start % window == 0 and shard.start < shard.stop for shard in shards)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_invalid_shard_id_is_refused(index: int) -> None:
    with pytest.raises(UserError, match=f"--shard-id {index}: expected 0 to 2"):
        Shard.cut(100, 10, index, 3)


class TestMerge:
    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        return tmp_path / "out"

    def write(self, out: Path, index: int, count: int = 2, place: int | None = None, **changes: Any) -> None:
        """Write shard `index`, a single sentence, to the file of shard `place`."""
        run = {"beam": 5, "window": 1, "sentences": count, "shard": f"{index} of {count}"} | changes
        file = ResumableFile(shard_path(out, index if place is None else place, count), run, zipped=False)
        file.append([f'{{"id": {index}}}'], {})
        file.finish({"counts": {"hypotheses": 1}, "settings": {}, "seconds": 1.0, "versions": {}})

    def test_outputs_are_concatenated(self, out: Path) -> None:
        for index in (1, 0):
            self.write(out, index)
        assert merge(out, 2) == 2
        assert out.read_text() == '{"id": 0}\n{"id": 1}\n'
        manifest = json.loads(manifest_path(out).read_text())
        assert manifest["run"] == {"beam": 5, "window": 1, "sentences": 2}
        assert (manifest["lines"], manifest["bytes"]) == (2, 20)
        assert manifest["counts"] == {"hypotheses": 2} and len(manifest["shards"]) == 2

    def test_all_unfinished_shards_are_named(self, out: Path) -> None:
        self.write(out, 1, 3)
        ResumableFile(shard_path(out, 2, 3), {"beam": 5, "shard": "2 of 3"}, zipped=False).append(["x"], {})
        with pytest.raises(UserError, match=r"not finished: out.0-of-3, out.2-of-3\b"):
            merge(out, 3)
        assert not out.exists()

    def test_shards_of_another_run_are_refused(self, out: Path) -> None:
        self.write(out, 0)
        self.write(out, 1, beam=4)
        with pytest.raises(UserError, match=r"out.0-of-2 .*out.1-of-2.*beam: 5, in out.1-of-2 4"):
            merge(out, 2)
        assert not out.exists()

    def test_a_shard_that_was_changed_is_refused(self, out: Path) -> None:
        for index in (0, 1):
            self.write(out, index)
        shard_path(out, 1, 2).write_text("line")
        with pytest.raises(UserError, match=r"out.1-of-2 has 4 bytes.* out.1-of-2.manifest.json says 10\b"):
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
    def test_a_damaged_manifest_is_named_and_nothing_is_written(self, out: Path, text: str) -> None:
        for index in (0, 1):
            self.write(out, index)
        manifest_path(shard_path(out, 1, 2)).write_text(text)
        with pytest.raises(UserError, match=r"out\.1-of-2\.manifest\.json.*Delete out\.1-of-2\*"):
            merge(out, 2)
        assert not out.exists() and not manifest_path(out).exists()

    def test_a_shard_with_the_name_of_another_is_refused(self, out: Path) -> None:
        self.write(out, 0, place=1)
        self.write(out, 1, place=0)
        with pytest.raises(UserError, match=r"out.0-of-2: .*shard 1 of 2, expected 0 of 2"):
            merge(out, 2)
        assert not out.exists()

    def test_a_duplicate_shard_is_refused(self, out: Path) -> None:
        self.write(out, 0)
        self.write(out, 0, place=1)
        with pytest.raises(UserError, match=r"out.1-of-2: .*shard 0 of 2, expected 1 of 2"):
            merge(out, 2)
        assert not out.exists()

    def test_sentences_of_another_shard_are_refused(self, out: Path) -> None:
        """The file has the right size and a correct manifest."""
        for index in (0, 1):
            self.write(out, index)
        shard_path(out, 1, 2).write_bytes(shard_path(out, 0, 2).read_bytes())
        with pytest.raises(UserError, match=r"out.1-of-2 has 1 lines .*0 to 0, expected 1 .*1 to 1\b"):
            merge(out, 2)
        assert not out.exists()

    @pytest.mark.parametrize("content", ["", "no JSON", "[1]", '{"id": "x"}'])
    def test_a_shard_with_other_content_is_refused(self, out: Path, content: str) -> None:
        for index in (0, 1):
            self.write(out, index)
        path = manifest_path(shard_path(out, 1, 2))
        shard_path(out, 1, 2).write_text(content)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"bytes": len(content), "lines": 1}))
        with pytest.raises(UserError, match=r"out\.1-of-2"):
            merge(out, 2)
        path.write_text(content)
        with pytest.raises(UserError, match=r"out\.1-of-2\.manifest\.json"):
            merge(out, 2)

    def test_merge_does_not_overwrite_other_files(self, out: Path) -> None:
        for index in (0, 1):
            self.write(out, index)
        for mine in ("mine", "twenty bytes of mine"):
            out.write_text(mine)
            with pytest.raises(UserError, match=f"--out {out} exists.*not written by this command"):
                merge(out, 2)
            assert out.read_text() == mine
        out.unlink()
        ResumableFile(out, {"beam": 4}, zipped=False).finish({})
        with pytest.raises(UserError, match=r"different options or inputs: beam: 4, now 5"):
            merge(out, 2)
        assert out.read_text() == ""

    def test_merge_can_be_repeated_and_resumed_after_a_kill(self, out: Path) -> None:
        for index in (0, 1):
            self.write(out, index)
        assert merge(out, 2) == merge(out, 2) == 2
        manifest = manifest_path(out).read_bytes()
        manifest_path(out).unlink()
        assert merge(out, 2) == 2 and manifest_path(out).read_bytes() == manifest

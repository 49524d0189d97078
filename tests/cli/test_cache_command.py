"""`lskd cache`: shards, interruptions, repairs and errors."""

from __future__ import annotations

import errno
import functools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from cached import K, blocks, contents, flip, write_cache
from tiny import make_task, save

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import OnlineTeacher, cache_writer
from fairseq_lskd.teachers.cache import CachedTeacher

DAY = 24 * 3600


@pytest.fixture(scope="module")
def wanted(bitext: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The contents of a cache that one process wrote without interruption."""
    return contents(write_cache(bitext, teacher_path, tmp_path_factory.mktemp("whole") / "cache"))


@pytest.fixture
def write(bitext: Path, teacher_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the cache tmp_path/cache, or continue it."""
    return functools.partial(write_cache, bitext, teacher_path, tmp_path / "cache")


def in_a_child(action: Callable[[], object]) -> int:
    """Start an action in a forked process, which needs no imports. Return its process id."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    try:
        action()
    except BaseException:
        os._exit(1)
    os._exit(0)


def end_of(child: int) -> int:
    """Return the exit status of a process; for a signal, its negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Complete caches.


def test_prints_what_it_writes(bitext, write, tmp_path, capsys):
    cache = write()
    said = capsys.readouterr()
    count = len(blocks(cache))
    assert count > 5
    tokens = int(make_task(bitext).dataset("train").tgt_sizes.sum())
    size = f"{tokens * (4 * K + 2):,} bytes"
    assert re.search(
        rf"{cache}: writing {count} of {count} blocks, {tokens} tokens, {size}, about \d+ s at [\d,]+ tokens/s",
        said.err,
    )
    assert said.out == f"{cache}: written\n"
    assert sum(np.load(path).nbytes for path in blocks(cache)) == tokens * (4 * K + 2)


def test_does_nothing_on_a_finished_cache(write, wanted, monkeypatch, capsys):
    cache = write()
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    monkeypatch.setattr("fairseq_lskd.teachers.OnlineTeacher.from_checkpoints", None)
    capsys.readouterr()
    write()
    assert capsys.readouterr().out == f"{cache}: up to date\n"
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    assert contents(cache) == wanted


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_three_shards_write_what_one_does(write, wanted, order, capsys):
    for number, shard in enumerate(order):
        cache = write("--shard-id", str(shard), "--num-shards", "3")
        assert (cache / "cache.json").exists() == (number == 2)
        said = capsys.readouterr().out
        assert said.endswith("written\n" if number == 2 else "blocks; other shards write the rest\n")
    assert contents(cache) == wanted


def test_more_shards_than_blocks(write, wanted):
    for shard in range(20):
        cache = write("--shard-id", str(shard), "--num-shards", "20")
    assert contents(cache) == wanted


def test_another_number_of_shards_goes_on(write, wanted):
    write("--shard-id", "1", "--num-shards", "3")
    write("--shard-id", "0", "--num-shards", "2")
    assert contents(write()) == wanted


def test_processes_at_the_same_time(write, wanted, tmp_path):
    """Two of three processes write the same shard."""
    children = [in_a_child(lambda i=i: write("--shard-id", str(i), "--num-shards", "2")) for i in (0, 1, 1)]
    assert [end_of(child) for child in children] == [0, 0, 0]
    assert contents(tmp_path / "cache") == wanted


def test_two_processes_at_the_same_shard_share_its_blocks(write, wanted, tmp_path, monkeypatch, capsys):
    """Blocks that the other process has written are not written again, and a complete cache stays complete."""
    real = cache_writer.CacheWriter.speed
    asked = []

    def speed(self, *args):
        monkeypatch.setattr(cache_writer.CacheWriter, "speed", real)
        write()
        monkeypatch.setattr(cache_writer.CacheWriter, "_fill", lambda *args: asked.append(args))
        monkeypatch.setattr(Path, "unlink", None)
        return 1.0

    monkeypatch.setattr(cache_writer.CacheWriter, "speed", speed)
    write()
    assert contents(tmp_path / "cache") == wanted and not asked
    assert capsys.readouterr().out == f"{tmp_path / 'cache'}: written\n" * 2


def test_batches_may_have_any_size(bitext, teacher_path, write, tmp_path, wanted):
    """A batch may be smaller than a sentence."""
    task = make_task(bitext)
    ids, lengths = torch.arange(60), torch.from_numpy(task.dataset("train").tgt_sizes)
    found = CachedTeacher.open(write("--max-tokens", "1"), task).lookup(ids, lengths)
    other = CachedTeacher.open(write_cache(bitext, teacher_path, tmp_path / "large"), task).lookup(ids, lengths)
    torch.testing.assert_close(found.log_probs, other.log_probs, rtol=2**-10, atol=1e-5)
    torch.testing.assert_close(found.rest, other.rest, rtol=2**-10, atol=1e-5)


def test_languages_are_inferred(bitext, teacher_path, tmp_path, wanted):
    assert contents(write_cache(bitext, teacher_path, tmp_path / "cache", "-s", "de", "-t", "en")) == wanted


# Interruptions.


def kill_at(number: int, when: str, patch: pytest.MonkeyPatch) -> None:
    """Kill this process at its nth change to the disk: in the middle of it (if it is a write), or after it."""
    count = 0

    def watched(name: str) -> Callable[..., object]:
        real = getattr(Path, name)

        def change(path: Path, what: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == number and when == "amid" and name != "replace":
                real(path, what[: len(what) // 2], **options)
                os.kill(os.getpid(), signal.SIGKILL)
            done = real(path, what, **options)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return change

    for name in ("replace", "write_bytes", "write_text"):
        patch.setattr(Path, name, watched(name))


@pytest.mark.parametrize("when", ["amid", "after"])
def test_killed_at_any_change_to_the_disk(write, when, tmp_path, monkeypatch):
    write = functools.partial(write, block_bytes=3000)
    wanted = contents(write())
    for number in range(1, 100):

        def die(number: int = number) -> None:
            kill_at(number, when, monkeypatch)
            write()

        shutil.rmtree(tmp_path / "cache")
        status = end_of(in_a_child(die))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        there = contents(tmp_path / "cache")
        # All files are complete, and cache.json exists only if the cache is complete.
        assert there.items() <= wanted.items()
        assert "cache.json" not in there or there == wanted
        assert contents(write()) == wanted
    # The plan, the blocks, the lengths and the manifest are each written and renamed.
    assert number == 2 * len(wanted) + 1


def test_killed_at_any_time(write, wanted, tmp_path):
    chance = random.Random(3)
    start = time.monotonic()
    write()
    whole = time.monotonic() - start
    shutil.rmtree(tmp_path / "cache")
    for _ in range(8):
        child = in_a_child(write)
        time.sleep(chance.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        end_of(child)
    assert contents(write()) == wanted


@pytest.mark.slow
def test_killed_as_a_command(bitext, teacher_path, tmp_path):
    """Kill both shards of the command repeatedly, with blocks of the default size, on half a million tokens."""
    data = Path(shutil.copytree(bitext, tmp_path / "data"))
    for path in list(data.glob("valid.*")):
        shutil.copy(path, data / path.name.replace("valid", "train1"))
    words = [sys.executable, "-m", "fairseq_lskd.cli", "cache", str(data), "--teacher-path", str(teacher_path)]
    words += ["--upsample-primary", "1000", "--top-k", str(K), "--out"]
    shards = [["--num-shards", "2", "--shard-id", str(shard)] for shard in range(2)]
    chance = random.Random(4)
    for _ in range(3):
        children = [subprocess.Popen([*words, str(tmp_path / "killed"), *shard]) for shard in shards]
        time.sleep(chance.uniform(4, 9))
        for child in children:
            child.kill()
            child.wait()
    for shard in shards:
        subprocess.run([*words, str(tmp_path / "killed"), *shard], check=True)
    subprocess.run([*words, str(tmp_path / "whole")], check=True)
    assert len(blocks(tmp_path / "whole")) > 5
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_temporary_files_of_killed_processes_are_removed(write):
    cache = write()
    old, young = cache / ".block-00000-00.npy.1.part", cache / ".block-00000-00.npy.2.part"
    for part in (old, young):
        part.touch()
    os.utime(old, times=(time.time() - DAY, time.time() - DAY))
    write()
    assert young.exists() and not old.exists()


# Repairs.


def test_a_damaged_cache_is_repaired(write, wanted, capsys):
    cache = write()
    for name in wanted:
        if name == "plan.json":
            continue
        flip(cache / name, len(wanted[name]) // 2, bit=64)
        capsys.readouterr()
        write()
        assert contents(cache) == wanted, name
        if name.startswith("block-"):
            assert re.search(r"writing 1 of \d+ blocks", capsys.readouterr().err)
        (cache / name).unlink()
        write()
        assert contents(cache) == wanted, name


def test_a_cache_is_not_complete_while_it_is_repaired(write, wanted, tmp_path, monkeypatch):
    cache = write()
    flip(blocks(cache)[2])

    def die() -> None:
        kill_at(1, "amid", monkeypatch)
        write()

    assert end_of(in_a_child(die)) == -signal.SIGKILL
    assert not (cache / "cache.json").exists()
    assert contents(write()) == wanted


def test_a_valid_block_of_another_process_is_accepted(write, wanted):
    """Both blocks are valid. The manifest names one of them."""
    cache = write()
    other = cache / "aside.npy"
    shutil.copy(blocks(cache)[1], other)
    flip(other)
    from fairseq_lskd.files import sha256

    other.rename(cache / f"block-00001-{sha256(other)[:16]}.npy")
    (cache / "cache.json").unlink()
    write()
    manifest = (cache / "cache.json").read_text()
    assert manifest.count("block-00001-") == 1 and blocks(cache)[1].name in manifest


# Errors.


def refused(capsys: pytest.CaptureFixture, action: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as caught:
        action()
    assert isinstance(caught.value.code, str) and caught.value.code.startswith("lskd cache: error: ")
    assert capsys.readouterr().out == ""
    return caught.value.code


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--top-k", "3"], "--top-k: 4, in this command 3"),
        (["--kd-temperature", "2"], "--kd-temperature: 1.0, in this command 2.0"),
        (["--subset", "valid"], "--subset: train, in this command valid"),
        (["--max-source-positions", "5"], "--max-source-positions: 1024, in this command 5"),
        (["--teacher-path", "{other}"], "teacher 1: SHA-256 "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_another_cache_is_left_alone(write, wanted, flags, line, other_teacher_path, capsys):
    cache = write()
    capsys.readouterr()
    said = refused(capsys, lambda: write(*(flag.format(other=other_teacher_path) for flag in flags)))
    assert f"--out {cache} has a cache with other options" in said and f"\n  - {line}" in said
    assert "another folder" in said and "delete" in said
    assert contents(cache) == wanted


def test_another_cache_is_replaced_when_the_new_one_is_whole(bitext, teacher_path, write, tmp_path, monkeypatch):
    cache, flags = write(), ("--kd-temperature", "3")
    (cache / "notes.txt").write_text("mine")
    before = contents(cache)
    monkeypatch.setenv("LSKD_REPLACE", "1")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(OnlineTeacher, "from_checkpoints", Mock(side_effect=UserError("no teacher")))
        write(*flags)
    assert contents(cache) == before
    write(*flags, "--shard-id", "0", "--num-shards", "2")
    assert not (cache / "notes.txt").exists()  # it is in the old cache, which is set aside
    write(*flags, "--shard-id", "1", "--num-shards", "2")
    alone = write_cache(bitext, teacher_path, tmp_path / "alone", *flags)
    assert contents(cache) == contents(alone) | {"notes.txt": b"mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "cache"]


def test_other_shards_must_agree(write, capsys):
    """Shards are compared before any of them is complete."""
    write("--num-shards", "2")
    assert "--top-k: 4, in this command 5" in refused(capsys, lambda: [capsys.readouterr(), write("--top-k", "5")])


def test_a_folder_of_something_else_is_left_alone(write, tmp_path, capsys):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.tex").write_text("everything")
    said = refused(capsys, write)
    assert "has no plan.json of a teacher cache" in said and "new or empty folder" in said
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["thesis.tex"]
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()
    assert "has no plan.json of a teacher cache" in refused(capsys, write)


def test_a_folder_that_is_deleted_and_started_again(bitext, teacher_path, tmp_path, monkeypatch, capsys):
    """A process that writes to the old cache stops before it writes a block into the new one."""
    save_block = cache_writer.CacheWriter._save

    def begin_anew(self, stem, array):
        monkeypatch.setattr(cache_writer.CacheWriter, "_save", save_block)
        path = save_block(self, stem, array)
        shutil.rmtree(self.folder)
        write_cache(bitext, teacher_path, self.folder, "--top-k", "2", "--num-shards", "2")
        capsys.readouterr()
        return path

    monkeypatch.setattr(cache_writer.CacheWriter, "_save", begin_anew)
    said = refused(capsys, lambda: write_cache(bitext, teacher_path, tmp_path / "cache"))
    assert "--top-k: 2, in this command 4" in said
    task = make_task(bitext)
    assert CachedTeacher.open(write_cache(bitext, teacher_path, tmp_path / "cache", "--top-k", "2"), task).k == 2


@pytest.mark.parametrize("k", [0, -1, 16])
def test_top_k_outside_the_vocabulary(write, k, tmp_path, capsys):
    said = refused(capsys, lambda: write("--top-k", str(k)))
    assert f"--top-k {k}: expected 1 " in said and (k < 1 or "15, the size of the target vocabulary" in said)
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_is_too_small(bitext, write, wanted, tmp_path, monkeypatch, capsys):
    """The check counts missing blocks only, and leaves nothing that would prevent another attempt."""
    usage = namedtuple("usage", "total used free")
    needed = int(make_task(bitext).dataset("train").tgt_sizes.sum()) * (4 * K + 2)

    def let(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - free, free))

    let(needed - 1)
    said = refused(capsys, write)
    assert f"--out {tmp_path}/cache: the cache needs {needed:,} bytes more, and {needed - 1:,} bytes are free. " in said
    assert "lower --top-k" in said
    assert not (tmp_path / "cache").exists()
    let(needed * 2 // 3)
    for shard in range(2):
        write("--shard-id", str(shard), "--num-shards", "2")
    assert contents(tmp_path / "cache") == wanted


def test_a_disk_that_becomes_full(write, wanted, tmp_path, monkeypatch, capsys):
    real, calls = Path.write_bytes, []

    def write_bytes(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    said = refused(capsys, write)
    assert "cannot be written: No space left on device" in said and "blocks are kept" in said
    assert len(blocks(tmp_path / "cache")) == 2 and not list((tmp_path / "cache").glob(".*"))
    assert contents(write()) == wanted


def test_data_that_changes_meanwhile_leaves_no_block(bitext, teacher_path, tmp_path, monkeypatch, capsys):
    data = tmp_path / "bin"
    shutil.copytree(bitext, data)
    fill = cache_writer.CacheWriter._fill

    def change(self, *args):
        flip(data / "train.de-en.en.bin")
        return fill(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(cache_writer.CacheWriter, "_fill", change)
        said = refused(capsys, lambda: write_cache(data, teacher_path, tmp_path / "cache"))
    assert "changed while --out" in said and "train.de-en.en.bin: SHA-256 " in said
    assert not blocks(tmp_path / "cache")
    flip(data / "train.de-en.en.bin")
    assert len(blocks(write_cache(data, teacher_path, tmp_path / "cache"))) > 5


def test_a_teacher_with_nan_weights(bitext, tmp_path, capsys):
    teacher = save(tmp_path / "checkpoint.pt", bitext)
    state = torch.load(teacher, weights_only=False)
    state["model"]["decoder.output_projection.weight"][5] = torch.nan
    torch.save(state, teacher)
    said = refused(capsys, lambda: write_cache(bitext, teacher, tmp_path / "cache"))
    assert f"{teacher} has weights that are NaN" in said and "decoder.output_projection.weight" in said
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shard-id", "2", "--num-shards", "2"], "--shard-id 2: expected 0 to 1"),
        (["--shard-id", "-1"], "--shard-id -1: expected 0 to 0"),
        (["--num-shards", "0", "--max-tokens", "0"], "--max-tokens 0: expected 1 or more; --num-shards 0: expected"),
        (["--kd-temperature", "0"], "--kd-temperature 0.0: expected a number above 0"),
        (["--kd-temperature", "nan"], "--kd-temperature nan: expected a number above 0"),
        (["--subset", "test"], "has no binarised split 'test' for de and en: expected test.de-en.de.bin"),
        (["-s", "fr", "-t", "en"], "has no dict.fr.txt"),
        (["--teacher-path", "a.pt:b.pt"], "--teacher-path: no checkpoint at a.pt, b.pt"),
        (["--fp16", "--cpu"], "--fp16 needs a GPU; leave out --cpu"),
        (["--max-target-positions", "2000"], "its limit is 1024 target tokens: pass --max-target-positions 1024"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_flag_is_named_and_leaves_no_cache(write, flags, said, tmp_path, capsys):
    assert said in refused(capsys, lambda: write(*flags))
    assert not (tmp_path / "cache").exists()


def test_a_cache_without_any_sentence(bitext, teacher_path, write, tmp_path, monkeypatch, capsys):
    """Such a cache is refused before it is written, and when a student opens it."""
    monkeypatch.setattr("fairseq_lskd.cli._numbers.LIMITS", {})
    said = refused(capsys, lambda: write("--max-target-positions", "-5"))
    assert "all 60 are longer than" in said and "--max-target-positions -5" in said
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr("fairseq_lskd.teachers.forced.TeacherForcing.too_long", lambda self: 0)
    cache = write("--max-target-positions", "-5")
    with pytest.raises(UserError, match=r"no teacher for any sentence.*--max-target-positions -5"):
        CachedTeacher.open(cache, make_task(bitext))


def test_data_that_is_not_there(bitext, teacher_path, tmp_path, capsys):
    def cache(data: str) -> int:
        return main(["cache", data, "--teacher-path", str(teacher_path), "--out", str(tmp_path / "cache")])

    assert "none: no such folder" in refused(capsys, lambda: cache("none"))
    assert "expected one folder of binarised data" in refused(capsys, lambda: cache(f"{bitext}:{bitext}"))
    (tmp_path / "empty").mkdir()
    assert "its languages are unknown. Give -s and -t" in refused(capsys, lambda: cache(str(tmp_path / "empty")))
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "bin").symlink_to(bitext)
    said = refused(capsys, lambda: cache(str(tmp_path / "above")))
    assert f"has no binarised bitext, but {tmp_path / 'above' / 'bin'} has" in said

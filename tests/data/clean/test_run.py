"""Cleaning a whole bitext: any number of workers, duplicates, held-out pairs, and the report."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from fairseq_lskd.data.clean import run as cleaning
from fairseq_lskd.data.clean.report import PartReport, examples, table
from fairseq_lskd.data.clean.run import Texts, make_plan, sample, write_clean
from fairseq_lskd.data.clean.steps import Steps
from fairseq_lskd.data.clean.worker import Block, Plan
from fairseq_lskd.data.corpora import HoldOut
from fairseq_lskd.errors import UserError

ALL = Steps(
    unicode="NFC",
    controls=True,
    spaces=True,
    html="drop",
    broken=True,
    max_words=20,
    ratio=4.0,
    copies=0.9,
    duplicates="pair",
    held_out="pair",
)


def texts(folder: Path, pairs: list[tuple[str, str]], name: str = "part") -> Texts:
    paths = folder / f"{name}.en", folder / f"{name}.de"
    for side, path in enumerate(paths):
        path.write_bytes("".join(f"{pair[side]}\n" for pair in pairs).encode("utf-8", "surrogateescape"))
    return Texts(name, paths, len(pairs))


def clean(
    parts: list[Texts],
    out: Path,
    steps: Steps = ALL,
    hold_out: HoldOut | None = None,
    workers: int = 1,
    held_out: tuple[tuple[str, str], ...] = (),
) -> list[PartReport]:
    out.mkdir()
    hold_out = hold_out or HoldOut()
    plan = make_plan([sample(part, 100, steps) for part in parts], steps, ("en", "de"), held_out, hold_out)
    return write_clean(parts, plan, hold_out, out, workers)


def noisy(count: int) -> list[tuple[str, str]]:
    rng = random.Random(1)
    pairs = []
    for number in range(count):
        words = [f"w{rng.randrange(500)}" for _ in range(rng.randint(2, 12))]
        pair = " ".join(words), " ".join(word.upper() + "x" for word in words)
        kind = rng.random()
        if kind < 0.05:
            pair = pair[0], pair[0]
        elif kind < 0.1 and pairs:
            pair = pairs[rng.randrange(len(pairs))]
        elif kind < 0.15:
            pair = f"  {pair[0]}\u00a0{number} ", f"{pair[1]}\x07"
        elif kind < 0.17:
            pair = "", pair[1]
        pairs.append(pair)
    return pairs


def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "BLOCK", 50)
    parts = [texts(tmp_path, noisy(700), "a"), texts(tmp_path, noisy(900), "b")]
    hold_out = HoldOut("source", 10, 15)
    made = [clean(parts, tmp_path / f"out{workers}", ALL, hold_out, workers) for workers in (1, 3)]
    names = [f"{split}.{lang}" for split in ("train", "valid", "test") for lang in ("en", "de")]
    for name in names:
        text = (tmp_path / "out1" / name).read_bytes()
        assert text == (tmp_path / "out3" / name).read_bytes() and text
    assert [report.to_json() for report in made[0]] == [report.to_json() for report in made[1]]
    for report in made[0]:
        assert report.read == report.kept + report.held_out + report.dropped.total()
        assert report.dropped["copy"] and report.dropped["duplicate"] and report.dropped["empty"] and report.changed


def test_a_killed_worker_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "BLOCK", 50)
    monkeypatch.setattr(cleaning, "Cleaner", Deadly)
    with pytest.raises(UserError, match=r"one of 2 worker processes was killed.* fewer --workers"):
        clean([texts(tmp_path, noisy(300))], tmp_path / "out", workers=2)


class Deadly:
    """A cleaner that kills its process, as the system does when memory runs out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, block: Block) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_blocks_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = texts(tmp_path, noisy(300))
    made = []
    for size in (1, 7, 1000):
        monkeypatch.setattr(cleaning, "BLOCK", size)
        made.append((clean([part], tmp_path / f"{size}")[0].to_json(), (tmp_path / f"{size}/train.de").read_bytes()))
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(("by", "left"), [("pair", [0, 1, 3]), ("source", [0, 3]), ("target", [0, 1])])
def test_the_first_of_duplicates_stays(tmp_path: Path, by: str, left: list[int]) -> None:
    pairs = [("one two", "eins zwei"), ("one two", "EINS ZWEI"), ("one two", "eins zwei"), ("1 2 x", "eins zwei")]
    (report,) = clean([texts(tmp_path, pairs)], tmp_path / "out", Steps(duplicates=by))
    assert (tmp_path / "out/train.en").read_text().splitlines() == [pairs[i][0] for i in left]
    assert (tmp_path / "out/train.de").read_text().splitlines() == [pairs[i][1] for i in left]
    assert report.dropped == {"duplicate": 4 - len(left)}


def test_duplicates_are_found_across_parts(tmp_path: Path) -> None:
    parts = [texts(tmp_path, [("a b", "c d")], "one"), texts(tmp_path, [("x y", "z"), ("a b", "c d")], "two")]
    first, second = clean(parts, tmp_path / "out", Steps(duplicates="pair"))
    assert (first.kept, second.kept, second.dropped["duplicate"]) == (1, 1, 1)


def test_every_23rd_remaining_pair_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "BLOCK", 7)
    pairs = [(f"s{i}", "" if i % 5 == 0 else f"t{i}") for i in range(1, 101)]
    left = [i for i in range(1, 101) if i % 5]
    (report,) = clean([texts(tmp_path, pairs)], tmp_path / "out", Steps(), HoldOut("line", valid=23))
    valid = left[22::23]
    assert (tmp_path / "out/valid.en").read_text().split() == [f"s{i}" for i in valid]
    assert (tmp_path / "out/train.de").read_text().split() == [f"t{i}" for i in left if i not in valid]
    assert (report.kept, report.held_out) == (77, 3)


def test_held_out_by_source_no_source_is_in_two_splits(tmp_path: Path) -> None:
    pairs = [(f"source {i % 200}", f"target {i}") for i in range(600)]
    clean([texts(tmp_path, pairs)], tmp_path / "out", Steps(), HoldOut("source", valid=10, test=10))
    sources = {
        split: set((tmp_path / f"out/{split}.en").read_text().splitlines()) for split in ("train", "valid", "test")
    }
    assert all(sources.values()) and sum(map(len, sources.values())) == 200
    assert set.union(*sources.values()) == {f"source {i}" for i in range(200)}


def test_held_out_pairs_are_compared_after_the_text_steps(tmp_path: Path) -> None:
    pairs = [("Good  morning", "Guten\u00a0Morgen"), ("Good evening", "Guten Abend")]
    (report,) = clean([texts(tmp_path, pairs)], tmp_path / "out", held_out=(("good morning ", "guten Morgen"),))
    assert report.dropped == {"in valid or test": 1}
    assert (tmp_path / "out/train.de").read_text() == "Guten Abend\n"


def test_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "p.en").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\nthree")
    (tmp_path / "p.de").write_bytes("eins\nzwei\u2028x\ndrei\n".encode())
    clean([Texts("p", (tmp_path / "p.en", tmp_path / "p.de"), 3)], tmp_path / "out", Steps())
    assert (tmp_path / "out/train.en").read_bytes() == b"one\ntwo\nthree\n"
    assert (tmp_path / "out/train.de").read_bytes() == "eins\nzwei\u2028x\ndrei\n".encode()


def test_lines_that_are_not_utf8_can_be_dropped(tmp_path: Path) -> None:
    pairs = [("one", "eins"), ("two\udcff", "zwei"), ("three", "drei")]
    (report,) = clean([texts(tmp_path, pairs)], tmp_path / "out", Steps(not_utf8="drop"))
    assert report.dropped == {"not UTF-8": 1}
    assert (tmp_path / "out/train.de").read_text() == "eins\ndrei\n"


def test_the_report_in_markdown(tmp_path: Path) -> None:
    pairs = [("a | b", "a | b"), ("one", "eins"), ("two", ""), ("one", "eins")]
    reports = clean([texts(tmp_path, pairs, "news")], tmp_path / "out", Steps(copies=1.0, duplicates="pair"))
    assert table(reports).splitlines() == [
        "|  | news | all | % |",
        "|---|---:|---:|---:|",
        "| read | 4 | 4 | 100.00 |",
        "| empty | 1 | 1 | 25.00 |",
        "| copy | 1 | 1 | 25.00 |",
        "| duplicate | 1 | 1 | 25.00 |",
        "| kept | 1 | 1 | 25.00 |",
    ]
    assert "| news | 1 | a \\| b | a \\| b |" in examples(reports)
    assert "| read | 40 | 40 | 100.00 |" in table(reports, [40])


def test_foreign_lines_are_dropped_and_plain_ones_not_identified(tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    english = ["the house is on the hill", "the dog is in the house", "we see the dog on the hill"]
    german = ["das Haus ist auf dem Hügel", "der Hund ist in dem Haus", "wir sehen den Hund auf dem Hügel"]
    french = "Nous avons toujours voulu que cette question soit posée au gouvernement."
    pairs = [(english[i % 3], german[i % 3]) for i in range(60)] + [("the house is on the hill", french)]
    part = texts(tmp_path, pairs)
    for language, asked in (("doubtful", 1), ("all", 122)):
        (report,) = clean([part], tmp_path / language, Steps(language=language))
        assert report.dropped == {"language": 1} and report.asked == asked


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("count", [80, 110])
def test_a_text_that_changes_while_it_is_cleaned(tmp_path: Path, side: int, count: int) -> None:
    part = texts(tmp_path, noisy(100))
    part.paths[side].write_text("a b c\n" * count)
    with pytest.raises(UserError, match=rf"{part.paths[side].name} changed.*: it had 100 lines, now has {count}\."):
        list(cleaning.blocks(0, part))

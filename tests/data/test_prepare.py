"""`lskd data prepare` as a user calls it: its output, its messages about bad input, and how it resumes."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import random
import re
import shutil
import sys
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.data import prepare as preparation
from fairseq_lskd.data.clean import run as cleaning
from fairseq_lskd.data.corpora import FOLDERS

from .acquire.test_archives import tar

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
ENGLISH = "the house is on hill dog in we see and a child reads book garden old tree stands by river"
GERMAN = "das Haus ist auf Hügel Hund in wir sehen und ein Kind liest Buch Garten alter Baum steht am Fluss"


def bitext(count: int, seed: int = 1) -> dict[str, list[str]]:
    """English and German, word by word. Every line differs."""
    rng = random.Random(seed)
    rows = [[rng.randrange(19) for _ in range(rng.randint(5, 14))] for _ in range(count)]
    sides = {"en": ENGLISH.split(), "de": GERMAN.split()}
    return {
        lang: [" ".join(words[i] for i in row) + f" {n}" for n, row in enumerate(rows)] for lang, words in sides.items()
    }


def write(folder: Path, split: str, text: dict[str, list[str]], zipped: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    for lang, lines in text.items():
        data = "".join(f"{line}\n" for line in lines).encode()
        path = folder / f"{split}.{lang}{'.gz' * zipped}"
        path.write_bytes(gzip.compress(data) if zipped else data)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    write(folder, "train", bitext(300))
    write(folder, "dev", bitext(20, 2), zipped=True)
    write(folder, "test", bitext(20, 3))
    return folder


def prepare(*words: object) -> None:
    assert main(["data", "prepare", *map(str, words)]) == 0


def own(raw: Path, out: Path, *more: object) -> None:
    prepare("own", "--raw", raw, "-s", "en", "-t", "de", "--out", out, "--workers", 1, *more)


def complaint(raw: Path, out: Path, *more: object) -> str:
    with pytest.raises(SystemExit) as error:
        own(raw, out, *more)
    assert isinstance(error.value.code, str) and error.value.code.startswith("lskd data: error: ")
    assert not (out / "raw").exists()
    return error.value.code


def test_the_users_own_text(raw: Path, tmp_path: Path, capsys) -> None:
    train = (raw / "train.en").read_text().splitlines()
    (raw / "train.en").write_text("\n".join([*train[:3], f"  {train[3]}\u200b", *train[4:-1], ""]) + "\n")
    own(raw, tmp_path / "out")
    out = tmp_path / "out" / "raw"
    assert (out / "train.en").read_text().splitlines() == train[:-1]
    assert (out / "train.de").read_text().splitlines() == (raw / "train.de").read_text().splitlines()[:-1]
    assert (out / "valid.de").read_bytes() == gzip.decompress((raw / "dev.de.gz").read_bytes())
    record = json.loads((out / "prepare.json").read_text())
    assert record["counts"] == {"train": 299, "valid": 20, "test": 20}
    assert record["options"]["languages"] == ["en", "de"] and record["vocabulary"]["size"] == 8000
    assert record["digests"]["train.en"] == hashlib.sha256((out / "train.en").read_bytes()).hexdigest()
    report = json.loads((out / "report.json").read_text())
    assert report["parts"][0]["dropped"] == {"empty": 1} and report["parts"][0]["text_changed"] == 1
    assert "| empty | 1 |" in (out / "report.md").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["raw"]
    capsys.readouterr()
    own(raw, tmp_path / "out")
    assert capsys.readouterr().out == f"{out}: up to date\n"
    (raw / "test.de").write_text((raw / "test.de").read_text().upper())
    with pytest.raises(
        SystemExit, match=r"raw was created with different options or inputs:\n  input test 3, test, de: SHA-256 "
    ):
        own(raw, tmp_path / "out")


def lose(raw: Path, split: str, place: int) -> None:
    """Delete a line of the German side, and add one at its end."""
    lines = (raw / f"{split}.de").read_text().splitlines()
    (raw / f"{split}.de").write_text("\n".join([*lines[:place], *lines[place + 1 :], "noch eine Zeile"]) + "\n")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_text_out_of_step_is_refused(raw: Path, tmp_path: Path, capsys, split: str) -> None:
    write(raw, "test", bitext(200, 3))
    lose(raw, split, 100)
    said = complaint(raw, tmp_path / "out")
    assert re.search(rf"lines (99|10\d) to \d+ of {split}.de belong to lines .* of {split}.en", said)
    assert "1 line was probably lost from" in said and "--allow-shifted" in said
    own(raw, tmp_path / "dry", "--dry-run")
    assert f"of {split}.de belong to" in capsys.readouterr().err
    own(raw, tmp_path / "out", "--allow-shifted")
    assert f"of {split}.de belong to" in capsys.readouterr().err
    assert f"of {split}.de belong to" in (tmp_path / "out" / "raw" / "report.md").read_text()
    own(raw, tmp_path / "out")  # up to date
    # lskd encode does not refuse what was allowed here.
    words = ["--out", f"{tmp_path}/pieces", "-s", "en", "-t", "de", "--vocab-size", "80", "--workers", "1"]
    assert main(["encode", "--raw", f"{tmp_path}/out/raw", *words]) == 0


def test_every_split_out_of_step_is_named(raw: Path, tmp_path: Path) -> None:
    write(raw, "test", bitext(200, 3))
    for split in ("train", "test"):
        lose(raw, split, 100)
    said = complaint(raw, tmp_path / "out", "--workers", 2)
    assert "of train.de" in said and "of test.de" in said


def test_a_shuffled_side_gives_a_warning(raw: Path, tmp_path: Path, capsys) -> None:
    lines = (raw / "train.de").read_text().splitlines()
    random.Random(1).shuffle(lines)
    (raw / "train.de").write_text("\n".join(lines) + "\n")
    own(raw, tmp_path / "out")
    said = capsys.readouterr().err
    assert "warning: the lengths of the lines of train.en and train.de are not correlated" in said
    assert "are not correlated" in (tmp_path / "out" / "raw" / "report.md").read_text()


def test_a_filter_that_drops_many_pairs_gives_a_warning(raw: Path, tmp_path: Path, capsys) -> None:
    lines = (raw / "train.de").read_text().splitlines()
    long = [f"{line} {line} {line} {line} {line}" if number % 9 == 0 else line for number, line in enumerate(lines)]
    (raw / "train.de").write_text("\n".join(long) + "\n")
    own(raw, tmp_path / "out")
    said = capsys.readouterr().err
    assert "warning: train: cleaning dropped 34 of 300 pairs (11%) by the filter `length ratio`" in said
    assert "may be out of step" in said


def test_tokenised_text_gives_a_warning(raw: Path, tmp_path: Path, capsys) -> None:
    own(raw, tmp_path / "text")
    assert "warning" not in capsys.readouterr().err
    train = (raw / "train.en").read_text().splitlines()
    (raw / "train.en").write_text("".join(f"{line} .\n" for line in train))
    own(raw, tmp_path / "tokens")
    said = capsys.readouterr().err
    assert "its en side looks tokenised" in said
    assert said.count("warning") == 1 and f"of {len(train)} lines checked" in said
    assert "its en side" in (tmp_path / "tokens" / "raw" / "report.md").read_text()


def test_the_output_can_be_encoded(raw: Path, tmp_path: Path) -> None:
    own(raw, tmp_path)
    words = ["--raw", f"{tmp_path}/raw", "--out", f"{tmp_path}/pieces", "-s", "en", "-t", "de", "--vocab-size", "80"]
    assert main(["encode", *words]) == 0


def test_workers_do_not_change_a_byte(raw: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cleaning, "BLOCK", 40)
    own(raw, tmp_path / "one")
    own(raw, tmp_path / "two", "--workers", 2)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n / "raw").iterdir()} for n in ("one", "two"))
    assert one == two


def test_a_dry_run_reports_and_writes_nothing(raw: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    text = bitext(300)
    text["de"][7] = text["en"][7]
    write(raw, "train", text)
    own(raw, tmp_path / "out", "--dry-run")
    shown = capsys.readouterr().out
    assert "what cleaning would drop, all 300 pairs" in shown and "| copy | 1 | 1 | 0.33 |" in shown
    assert f"| train | 8 | {text['en'][7]} | {text['en'][7]} |" in shown
    assert not (tmp_path / "out" / "raw").exists()
    monkeypatch.setattr(cleaning, "BLOCK", 10)
    monkeypatch.setattr(preparation, "DRY_RUN", 100)
    own(raw, tmp_path / "out", "--dry-run")
    shown = capsys.readouterr().out
    assert "from 100 of 300 pairs (duplicates within this sample only" in shown and "| read | 300 | 300 |" in shown


def test_sides_of_different_length(raw: Path, tmp_path: Path) -> None:
    text = bitext(300)
    text["de"] = [f"{line} {line}" * (1 + n % 3) for n, line in enumerate(text["de"])]
    text["en"] = [f"{line} {line}" * (1 + n % 3) for n, line in enumerate(text["en"])]
    del text["de"][120]
    write(raw, "train", text)
    (raw / "test.de").write_text("")
    said = complaint(raw, tmp_path / "out")
    assert f"train: {raw}/train.en has 300 lines, {raw}/train.de 299; the lines match up to about line 12" in said
    assert "1 line was probably lost from train.de there" in said
    assert f"test: {raw}/test.de is empty" in said


def test_text_that_is_not_utf8(raw: Path, tmp_path: Path) -> None:
    data = (raw / "train.de").read_bytes().split(b"\n")
    data[41] = "Hügel".encode("latin1")
    (raw / "train.de").write_bytes(b"\n".join(data))
    said = complaint(raw, tmp_path / "out")
    offset = sum(len(line) + 1 for line in data[:41]) + 1
    assert f"{raw}/train.de: line 42 is not UTF-8: byte 0xfc at offset {offset:,}" in said and "iconv" in said
    (tmp_path / "mine.toml").write_text('like = "own"\n[clean]\nnot_utf8 = "drop"\n')
    prepare(tmp_path / "mine.toml", "--raw", raw, "-s", "en", "-t", "de", "--out", tmp_path / "out", "--workers", 1)
    assert (tmp_path / "out/raw/train.en").read_text().count("\n") == 299


def test_text_without_references_that_is_not_utf8(raw: Path, tmp_path: Path) -> None:
    data = (raw / "train.de").read_bytes().split(b"\n")
    data[0], data[41] = b"\xef\xbb\xbf" + data[0], "Hügel".encode("latin1")
    (raw / "train.de").write_bytes(b"\n".join(data))
    words = ["--raw", raw, "-s", "de", "--out", tmp_path / "out", "--workers", 1]
    with pytest.raises(SystemExit, match=r"line 42 is not UTF-8: byte 0xfc .*iconv"):
        prepare("own", *words)
    (tmp_path / "mine.toml").write_text('like = "own"\n[clean]\nnot_utf8 = "drop"\n')
    prepare(tmp_path / "mine.toml", *words)
    kept = (tmp_path / "out/raw/train.de").read_text().splitlines()
    assert len(kept) == 299 and not kept[0].startswith("\ufeff")


def test_a_broken_gzip_file(raw: Path, tmp_path: Path) -> None:
    path = raw / "dev.de.gz"
    path.write_bytes(path.read_bytes()[:-20])
    said = complaint(raw, tmp_path / "out")
    assert f"{path}: broken (" in said and "fetch it again" in said


def test_swapped_sides_are_an_error_if_a_filter_would_drop_them_else_a_warning(
    raw: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("py3langid")
    text = bitext(300)
    write(raw, "train", {"en": text["de"], "de": text["en"]})
    said = complaint(raw, tmp_path / "out")
    assert re.search(r"train: the two sides look swapped: in \d+ % of a sample, the en side is de and", said)
    assert 'set language = "off"' in said and f"copy {FOLDERS[1] / 'own.toml'}" in said and "without --corpus" in said
    assert "[clean]" not in said
    (tmp_path / "mine.toml").write_text('like = "own"\n[clean]\ncopies = 1.0\n')
    prepare(tmp_path / "mine.toml", "--raw", raw, "-s", "en", "-t", "de", "--out", tmp_path / "out", "--workers", 1)
    assert "warning: train: the two sides look swapped" in capsys.readouterr().err
    assert "look swapped" in (tmp_path / "out/raw/report.md").read_text()


def test_another_direction_is_named_by_its_flags(raw: Path, tmp_path: Path) -> None:
    prepare("own", "--raw", raw, "-s", "en", "-t", "de", "--out", tmp_path / "out", "--workers", 1)
    with pytest.raises(SystemExit) as caught:
        prepare("own", "--raw", raw, "-s", "de", "-t", "en", "--out", tmp_path / "out", "--workers", 1)
    said = str(caught.value.code)
    assert "-s and -t: en de, now de en" in said and "--languages" not in said


def test_a_side_in_a_third_language(raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    with pytest.raises(SystemExit, match=r"its fr side looks like de \(\d+ % of a sample\)"):
        for split in ("train", "test"):
            (raw / f"{split}.de").rename(raw / f"{split}.fr")
        (raw / "dev.de.gz").rename(raw / "dev.fr.gz")
        prepare("own", "--raw", raw, "-s", "en", "-t", "fr", "--out", tmp_path / "out", "--workers", 1)


def test_a_language_that_py3langid_does_not_know(raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    for path in list(raw.iterdir()):
        path.rename(raw / path.name.replace(".de", ".xx"))
    words = ("own", "--raw", raw, "-s", "en", "-t", "xx", "--out", tmp_path / "out", "--workers", 1)
    with pytest.raises(SystemExit, match=r"py3langid does not know xx\. copy .*own\.toml .*language = .off."):
        prepare(*words)


def test_the_language_of_text_alone_that_py3langid_does_not_know(raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    (raw / "train.de").rename(raw / "train.xx")
    words: list[object] = ["--raw", raw, "-s", "xx", "--out", tmp_path / "out", "--workers", 1]
    with pytest.raises(SystemExit, match=r"py3langid does not know xx\. copy .*own\.toml to my\.toml, .* as CORPUS$"):
        prepare("own", *words)
    own = (Path(__file__).parents[2] / "data-prep" / "own.toml").read_text()
    (tmp_path / "my.toml").write_text(re.sub('language = "doubtful"', 'language = "off"', own))
    prepare(tmp_path / "my.toml", *words)
    assert (tmp_path / "out" / "raw" / "train.xx").exists()


def test_languages_need_their_package(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    assert re.search(r"needs py3langid.*fairseq_lskd\[select\]", complaint(raw, tmp_path / "out"))


def test_all_missing_files_are_reported_at_once(raw: Path, tmp_path: Path) -> None:
    (raw / "train.de").unlink()
    (raw / "test.en").unlink()
    said = complaint(raw, tmp_path / "out")
    assert "2 files of own" in said and "train.de or train.de.gz" in said and "test.en or test.en.gz" in said


def test_blank_lines_of_a_test_set_are_refused(raw: Path, tmp_path: Path) -> None:
    lines = (raw / "test.de").read_text().splitlines()
    (raw / "test.de").write_text("\n".join([lines[0], " ", *lines[2:]]) + "\n")
    write(raw, "dev", {"de": ["", *bitext(20, 2)["de"][1:]]}, zipped=True)
    said = complaint(raw, tmp_path / "out")
    assert "remove these lines from BOTH sides" in said
    assert "valid.de: blank: 1 line (1)" in said and "test.de: blank: 1 line (2)" in said


def test_an_empty_result_is_an_error_with_the_counts(raw: Path, tmp_path: Path) -> None:
    text = bitext(50)
    write(raw, "train", {"en": text["en"], "de": text["en"]})
    (tmp_path / "mine.toml").write_text('like = "own"\n[clean]\ncopies = 1.0\n')
    with pytest.raises(SystemExit, match=r"cleaning left no pair in train:\n(.|\n)*\| copy \| 50 \|"):
        prepare(tmp_path / "mine.toml", "--raw", raw, "-s", "en", "-t", "de", "--out", tmp_path / "o", "--workers", 1)
    assert not (tmp_path / "o" / "raw").exists()


@pytest.mark.parametrize("where", ["unpacking", "cleaning"])
def test_a_full_disk_keeps_complete_files_and_the_next_run_resumes(
    raw: Path, tmp_path: Path, monkeypatch, where: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        if where == "unpacking":
            from fairseq_lskd.data.acquire import texts

            patch.setattr(texts._Sink, "write", full)
        else:
            patch.setattr(preparation, "write_clean", full)
        said = complaint(raw, out)
    assert "the disk is full (No space left on device): " in said and "run again" in said
    left = [path.name for path in out.rglob("*") if path.is_file()] if out.exists() else []
    assert not [name for name in left if name.startswith(("train", "valid", "test")) or name.endswith(".part")]
    if where == "cleaning":
        assert (out / ".raw.work" / "1.de").is_file()
        with monkeypatch.context() as patch:
            patch.delattr("fairseq_lskd.data.acquire.texts._take_one")  # unpacked texts are not unpacked again
            own(raw, out)
    else:
        own(raw, out)
    assert (out / "raw" / "prepare.json").is_file() and not (out / ".raw.work").exists()


def test_wrong_options(raw: Path, tmp_path: Path) -> None:
    for words, message in (
        (["own", "-s", "en"], "-t is missing"),
        (["own", "-s", "en", "-t", "en"], "-s and -t are both en: "),
        (["own", "-s", "en", "-t", "de", "--workers", "0"], "--workers 0: expected 1"),
        (["own"], "-s and -t are missing"),
        (["own", "-s", "en", "-t", "de"], "own is your own text: give its folder with --raw DIR"),
        (["wmt14-en-du"], "did you mean wmt14-en-de"),
    ):
        with pytest.raises(SystemExit, match=message):
            prepare(*words, "--out", tmp_path / "out")


# Multi30k: a corpus with known digests, which is not cleaned.


@pytest.fixture
def captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files with the names of Multi30k's."""
    folder = tmp_path / "captions"
    for name, count in (("train", 40), ("val", 5), ("test_2016_flickr", 5)):
        write(folder, name, bitext(count, count), zipped=name != "val")
    return folder


def test_unknown_text_in_a_raw_folder_gives_a_warning(captions: Path, tmp_path: Path, capsys) -> None:
    prepare("multi30k", "--raw", captions, "--out", tmp_path / "out", "--workers", 1)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 6
    assert (
        warnings[0].startswith(f"warning: {captions}/train.de.gz: its SHA-256 is ") and "expected 2c2b" in warnings[0]
    )
    for given, split in (("train", "train"), ("val", "valid"), ("test_2016_flickr", "test")):
        expected = "".join(
            f"{line}\n" for line in bitext({"train": 40}.get(given, 5), {"train": 40}.get(given, 5))["de"]
        )
        assert (tmp_path / "out" / "raw" / f"{split}.de").read_text() == expected


def test_downloaded_text_must_have_the_known_digest(site, tmp_path: Path, captions: Path) -> None:
    lines = []
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        lines.append(f"[[{split}]]")
        for lang in ("en", "de"):
            path = captions / f"{name}.{lang}"
            text = (
                path.read_bytes() if path.exists() else gzip.decompress((captions / f"{name}.{lang}.gz").read_bytes())
            )
            site.files[f"/{name}.{lang}.gz"] = gzip.compress(text)
            lines.append(f'url.{lang} = "{site.url}/{name}.{lang}.gz"')
            lines.append(f'text_sha256.{lang} = "{hashlib.sha256(text).hexdigest()}"')
    (tmp_path / "known.toml").write_text('languages = ["en", "de"]\n' + "\n".join(lines))
    words = (tmp_path / "known.toml", "--cache", tmp_path / "cache", "--workers", 1)
    good = site.files["/val.de.gz"]
    every = {path.lstrip("/"): data for path, data in site.files.items()}
    site.files["/val.de.gz"] = gzip.compress(b"another text\n" * 5)
    with pytest.raises(SystemExit, match=r"not the expected ones; run again.*:\n  .*val\.de\.gz.*; removed"):
        prepare(*words, "--out", tmp_path / "out")
    assert not list(tmp_path.rglob("val.de.gz"))
    site.files = {"/val.de.gz": good}  # all others are in the cache
    prepare(*words, "--out", tmp_path / "out")
    assert (tmp_path / "out/raw/valid.de").read_bytes() == gzip.decompress(good)
    site.files = {}
    for path in (tmp_path / "cache").rglob("*.gz"):
        path.unlink()
    prepare(*words, "--out", tmp_path / "out")  # up to date, which is known without the files
    # Files that this run did not download are not removed from the cache.
    theirs = tmp_path / "cache/127.0.0.1/val.de.gz"
    theirs.write_bytes(gzip.compress(b"theirs\n" * 5))
    site.files = {f"/{path}": data for path, data in every.items() if path != "val.de.gz"}
    with pytest.raises(SystemExit, match=r"val\.de\.gz.*delete it"):
        prepare(*words, "--out", tmp_path / "another")
    assert theirs.is_file()
    shutil.rmtree(tmp_path / "cache")
    site.files = {}
    with pytest.raises(SystemExit, match="6 of 6 files could not be downloaded"):
        prepare(*words, "--out", tmp_path / "other")


@pytest.mark.skipif(not (CORPORA / "multi30k").is_dir(), reason=f"no {CORPORA.name}/multi30k beside the checkout")
def test_the_real_multi30k_has_the_pinned_digests(tmp_path: Path, capsys) -> None:
    prepare("multi30k", "--raw", CORPORA / "multi30k", "--out", tmp_path, "--workers", 1)
    assert capsys.readouterr().err == ""
    assert (tmp_path / "raw" / "train.de").read_bytes() == gzip.decompress(
        (CORPORA / "multi30k" / "train.de.gz").read_bytes()
    )


# IWSLT14: one archive, with tags and XML.


def test_iwslt_in_the_standard_split(tmp_path: Path) -> None:
    pytest.importorskip("sacremoses")
    train = bitext(120)
    about = ["<url>http://x</url>", "<keywords>k</keywords>", "<talkid>1</talkid>"]
    files = {}
    for lang in ("de", "en"):
        head = [*about, f"<title>{train[lang][0]}</title>", f"<description> {train[lang][1]}</description>"]
        long = ["one two three four five six", "one two"][lang == "de"]  # a ratio of three
        files[f"de-en/train.tags.de-en.{lang}"] = "\n".join([*head, long, *train[lang][2:], ""]).encode()
        for n, name in enumerate(("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")):
            segments = "".join(f'<seg id="{i}"> {line} </seg>\n' for i, line in enumerate(bitext(3, n + 9)[lang]))
            files[f"de-en/IWSLT14.{name}.de-en.{lang}.xml"] = f"<mteval>\n<doc>\n{segments}</doc>\n".encode()
    given, out = tmp_path / "given", tmp_path / "out" / "raw"
    given.mkdir()
    tar(given / "de-en.tgz", files)
    prepare("iwslt14-de-en", "--raw", given, "--out", tmp_path / "out", "--workers", 1)
    for lang in ("de", "en"):
        assert (out / f"valid.{lang}").read_text().splitlines() == train[lang][22::23]
        left = [line for n, line in enumerate(train[lang], start=1) if n % 23]
        assert (out / f"train.{lang}").read_text().splitlines() == left
        test = [line for n in range(5) for line in bitext(3, n + 9)[lang]]
        assert (out / f"test.{lang}").read_text().splitlines() == test
    assert json.loads((out / "prepare.json").read_text())["counts"] == {"train": 115, "valid": 5, "test": 15}

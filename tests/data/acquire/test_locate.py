"""Finding files in a --raw folder: the archive, its text, plain or gzipped, or the text under another name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fairseq_lskd.data.acquire.locate import Found, cached, in_cache, in_folder
from fairseq_lskd.data.clean.steps import Steps
from fairseq_lskd.data.corpora import Corpus, Download, Part, Side
from fairseq_lskd.errors import UserError

ARCHIVE = Download("http://x.org/wmt/train.tgz?raw=1", 2_500_000)


def corpus(**more: object) -> Corpus:
    sides = {lang: Side(ARCHIVE, f"training/news.de-en.{lang}") for lang in ("de", "en")}
    part = Part("train", "news", sides, **more)  # type: ignore[arg-type]
    return Corpus("c", "C", ("de", "en"), (part,), Steps())


@pytest.mark.parametrize(
    ("name", "member", "plain"),
    [
        ("train.tgz", "training/news.de-en.{}", False),
        ("training/news.de-en.{}", None, False),
        ("news.de-en.{}", None, False),
        ("news.de-en.{}.gz", None, False),
        ("news.{}", None, True),
        ("news.{}.gz", None, True),
    ],
)
def test_files_that_are_accepted(tmp_path: Path, name: str, member: str | None, plain: bool) -> None:
    for lang in ("de", "en"):
        path = tmp_path / name.format(lang)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(b"x\n"))
    assert in_folder(corpus(plain="news"), tmp_path) == {
        (0, lang): Found(tmp_path / name.format(lang), member and member.format(lang), plain) for lang in ("de", "en")
    }


def test_the_users_own_text_may_have_dev_or_val(tmp_path: Path) -> None:
    sides = {lang: Side(None) for lang in ("de", "en")}
    own = Corpus("own", "", ("de", "en"), (Part("valid", "valid", sides, plain="valid"),), Steps())
    for name in ("dev.de", "dev.en"):
        (tmp_path / name).write_text("x\n")
    assert in_folder(own, tmp_path)[0, "en"] == Found(tmp_path / "dev.en", plain=True)


def test_everything_missing_or_unclear_is_reported_at_once(tmp_path: Path) -> None:
    base = corpus(plain="news")
    other = Part("test", "test", {lang: Side(None) for lang in ("de", "en")}, plain="test")
    both = Corpus("c", "C", ("de", "en"), (*base.parts, other), Steps())
    for name in ("test.de", "test.de.gz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError) as error:
        in_folder(both, tmp_path)
    assert str(error.value).splitlines() == [
        f"--raw {tmp_path}: 3 files of c cannot be found:",
        f"  {tmp_path / 'test.de'}: found test.de.gz as well; delete one of the two",
        "  train.tgz (2 MB) or training/news.de-en.{de,en}, for news: http://x.org/wmt/train.tgz?raw=1",
        "  test.en or test.en.gz",
        "Found test.de, test.de.gz. Put the missing files there (the text, plain or gzipped, or the archive), or leave "
        "out --raw to download them",
    ]


@pytest.mark.parametrize(("name", "way_out"), [("train.tsv", "cut -f1 train.tsv"), ("train.csv", "reads CSV")])
def test_a_table_of_both_sides(tmp_path: Path, name: str, way_out: str) -> None:
    (tmp_path / name).write_text("ein\ta\n")
    own = Corpus("own", "O", ("de", "en"), (Part("t", "train", {"de": Side(None)}, plain="train"),), Steps())
    with pytest.raises(UserError, match=rf"train\.de or train\.de\.gz.*\n.*{way_out}"):
        in_folder(own, tmp_path)


def test_the_users_own_text_cannot_be_downloaded(tmp_path: Path) -> None:
    sides = {lang: Side(None) for lang in ("de", "en")}
    own = Corpus("own", "O", ("de", "en"), (Part("test", "test", sides, plain="test"),), Steps())
    with pytest.raises(UserError) as error:
        in_folder(own, tmp_path)
    assert "leave out --raw" not in str(error.value)
    with pytest.raises(UserError, match=r"--raw DIR.*\n  test: test.de or test.de.gz\n  test: test.en or test.en.gz"):
        in_cache(own, tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--raw .*none: no such folder"):
        in_folder(corpus(), tmp_path / "none")


def test_the_cache_follows_urls_and_each_file_is_downloaded_once(tmp_path: Path) -> None:
    located, missing = in_cache(corpus(), tmp_path)
    assert missing == [ARCHIVE]
    path = cached(tmp_path, ARCHIVE)
    assert located[0, "de"] == Found(path, "training/news.de-en.de")
    assert cached(tmp_path, Download("http://x.org/wmt/train.tgz")) == tmp_path / "x.org" / "wmt" / "train.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert in_cache(corpus(), tmp_path)[1] == []


def test_urls_that_only_differ_in_the_query_have_different_paths(tmp_path: Path) -> None:
    urls = [f"http://x.org/get.tgz{query}" for query in ("", "?file=a", "?file=b")]
    places = [cached(tmp_path, Download(url)) for url in urls]
    assert len(set(places)) == 3 and all(place.name.endswith("get.tgz") for place in places)
    assert len({cached(tmp_path, Download(f"http://x.org/?id={i}")) for i in (1, 2)}) == 2

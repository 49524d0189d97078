"""Extracting and checking texts of every format, each only once."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from fairseq_lskd.data.acquire import texts
from fairseq_lskd.data.acquire.locate import Found, Located
from fairseq_lskd.data.acquire.texts import take
from fairseq_lskd.data.clean.steps import Steps
from fairseq_lskd.data.corpora import Corpus, Part, Side
from fairseq_lskd.errors import UserError

from .test_archives import tar


def corpus(form: str | None = None, columns: tuple[int | None, int | None] = (None, None), **steps: str) -> Corpus:
    sides = {lang: Side(None, column=column) for lang, column in zip(("zh", "en"), columns, strict=True)}
    return Corpus("c", "C", ("zh", "en"), (Part("train", "p", sides, form),), Steps(**steps))  # type: ignore[arg-type]


def located(zh: Found, en: Found) -> Located:
    return {(0, "zh"): zh, (0, "en"): en}


def text_of(taken: texts.Text) -> bytes:
    data = taken.path.read_bytes()
    assert taken.sha256 == hashlib.sha256(data).hexdigest()
    return data


def test_columns_of_one_file(tmp_path: Path) -> None:
    rows = [("one", "一", "x"), ("two", "二", "y"), ("", "", ""), ("three", "三", "z")]
    path = tmp_path / "news.tsv.gz"
    path.write_bytes(gzip.compress("\n".join("\t".join(row) for row in rows).encode()))
    found = take(corpus("tsv", (1, 0)), located(Found(path), Found(path)), tmp_path / "work")
    assert text_of(found[0, "en"]).decode() == "one\ntwo\n\nthree\n"
    assert text_of(found[0, "zh"]).decode() == "一\n二\n\n三\n"
    assert found[0, "zh"].lines == 4


def test_a_row_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "news.tsv"
    path.write_text("one\t一\ntwo\n")
    with pytest.raises(UserError, match=r"news\.tsv: line 2 has 1 columns, expected 2 or more"):
        take(corpus("tsv", (1, 0)), located(Found(path), Found(path)), tmp_path / "work")
    assert not list((tmp_path / "work").glob("0.*"))


def test_segments_are_read_as_sacrebleu_reads_them(tmp_path: Path) -> None:
    data = b'<srcset>\n<doc docid="1">\n<p>\n<seg id="1">  A &amp; B  </seg>\n  <seg id="2">C\td</seg>\n</p>\n</doc>\n'
    path = tmp_path / "news.zh.sgm"
    path.write_bytes(data)
    other = tar(tmp_path / "a.tgz", {"news.en.sgm": data.replace(b"A", b"E")})
    found = take(corpus(), located(Found(path), Found(other, "news.en.sgm")), tmp_path / "work")
    assert text_of(found[0, "zh"]) == b"A &amp; B\nC d\n"
    assert text_of(found[0, "en"]) == b"E &amp; B\nC d\n"


def test_plain_text_stays_where_it_is_and_a_last_line_may_lack_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.zh").write_bytes("一\n二".encode())
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"one\ntwo"))
    found = take(corpus(), located(Found(tmp_path / "a.zh"), Found(tmp_path / "a.en.gz")), tmp_path / "work")
    assert found[0, "zh"].path == tmp_path / "a.zh" and found[0, "en"].path == tmp_path / "work" / "0.en"
    assert [found[0, lang].lines for lang in ("zh", "en")] == [2, 2]


def test_characters_across_two_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "CHUNK", 5)
    good, bad = tmp_path / "a.zh", tmp_path / "a.en"
    good.write_text("一二三\n四五六七\n" * 3, encoding="utf-8")
    bad.write_bytes("一二三\n四五".encode() + b"\xe4\xb8\n" + b"x\n")
    with pytest.raises(UserError) as error:
        take(corpus(), located(Found(good), Found(bad)), tmp_path / "work")
    assert f"1 problem:\n  {bad}: line 2 is not UTF-8: byte 0xe4 at offset 16; convert it" in str(error.value)
    assert take(corpus(not_utf8="drop"), located(Found(good), Found(bad)), tmp_path / "work")[0, "en"].lines == 3


def test_a_file_that_ends_within_a_character(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("一\n二".encode()[:-1])
    with pytest.raises(UserError, match=r"line 2 is not UTF-8: byte 0xe4 at offset 4"):
        take(corpus(), located(Found(tmp_path / "a"), Found(tmp_path / "a")), tmp_path / "work")


def test_extracted_texts_are_reused_until_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "a.tgz", {"x.zh": b"1\n2\n", "x.en": b"one\ntwo\n"})
    where = located(Found(path, "x.zh"), Found(path, "x.en"))
    first = take(corpus(), where, tmp_path / "work")
    with monkeypatch.context() as patch:
        patch.delattr(texts, "members")
        assert take(corpus(), where, tmp_path / "work") == first
    tar(path, {"x.zh": b"1\n2\n3\n", "x.en": b"one\ntwo\nthree\n"})
    assert take(corpus(), where, tmp_path / "work")[0, "en"].lines == 3
    (tmp_path / "work" / "0.zh.json").write_text("{")  # an incomplete record: extract again
    assert take(corpus(), where, tmp_path / "work")[0, "zh"].lines == 3


def test_a_text_from_an_archive_with_damage_after_it_is_not_used_again(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", {"x.zh": b"1\n", "x.en": b"one\n"})
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    for _ in range(2):
        with pytest.raises(UserError, match=r"a\.tgz: broken \(CRC check failed"):
            take(corpus(), located(Found(path, "x.zh"), Found(path, "x.en")), tmp_path / "work")


def test_problems_of_several_files_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"no gzip")
    path = tar(tmp_path / "b.tgz", {"x.en": b"x\n"})
    with pytest.raises(UserError) as error:
        take(corpus(), located(Found(tmp_path / "a.gz"), Found(path, "y.en")), tmp_path / "work")
    lines = str(error.value).splitlines()
    assert lines[0] == "2 problems:" and "a.gz: broken (" in lines[1] and "has no member y.en" in lines[2]

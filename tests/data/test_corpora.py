"""Every corpus file, and the messages about wrong ones."""

from __future__ import annotations

from pathlib import Path

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.data.acquire.sources import resolve
from fairseq_lskd.data.corpora import FOLDERS, load, names
from fairseq_lskd.errors import UserError

PAIRS = {
    "europarl-en-fr": ("en", "fr"),
    "iwslt14-de-en": ("de", "en"),
    "multi30k": ("de", "en"),
    "tatoeba-en-de": ("en", "de"),
    "europarl-v7-en-fr": ("en", "fr"),
    "wmt14-en-de": ("en", "de"),
    "wmt14-en-de-nc12": ("en", "de"),
    "wmt14-en-fr": ("en", "fr"),
    "wmt16-en-ro": ("en", "ro"),
    "wmt19-zh-en": ("zh", "en"),
}


def test_all_corpora_are_there() -> None:
    assert names() == sorted([*PAIRS, "own"])


@pytest.mark.parametrize("name", PAIRS)
def test_a_corpus_is_complete(name: str, tmp_path: Path) -> None:
    corpus = resolve(load(name), tmp_path)
    assert corpus.languages == PAIRS[name]
    assert corpus.title and corpus.licence and "http" in corpus.citation
    assert {"type", "size", "joint"} <= corpus.vocabulary.keys()
    for part in corpus.parts:
        assert part.sides.keys() == set(corpus.languages), part.name
        members = [side.member for side in part.sides.values()]
        assert part.format == "tsv" or members[0] != members[1] or members[0] is None
        for side in part.sides.values():
            if side.download and "OPUS" not in side.download.url:
                assert side.download.sha256 or side.download.md5 or side.text_sha256, part.name


def test_held_out_sets_of_wmt_are_those_that_papers_report_on(tmp_path: Path) -> None:
    corpus = resolve(load("wmt14-en-de"), tmp_path)
    test = next(part for part in corpus.parts if part.split == "test")
    assert test.sides["de"].member == "test-full/newstest2014-deen-ref.de.sgm"
    assert test.sides["en"].member == "test-full/newstest2014-deen-src.en.sgm"
    assert test.sides["en"].download and test.sides["en"].download.md5 == "a8cd784e006feb32ac6f3d9ec7eb389a"


def test_the_users_own_text_needs_languages() -> None:
    assert load("own", ("de", "en")).languages == ("de", "en")
    with pytest.raises(UserError, match="-s and -t are missing"):
        load("own")


def test_a_direction_can_be_turned_but_not_changed() -> None:
    assert load("wmt14-en-de", ("de", "en")).languages == ("de", "en")
    with pytest.raises(UserError, match="-s de -t fr: wmt14-en-de has en and de"):
        load("wmt14-en-de", ("de", "fr"))


def test_an_unknown_corpus() -> None:
    with pytest.raises(UserError, match=r"unknown corpus wmt14-ende \(did you mean wmt14-en-de.*\?\); expected one of"):
        load("wmt14-ende")
    with pytest.raises(UserError, match="unknown corpus q; expected one of"):
        load("q")


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    text = """
    languages = ["de", "de"]
    licens = "x"
    [[train]]
    name = "nothing"
    [[valid]]
    plain = "valid"
    format = "pdf"
    colums = { de = 1 }
    [hold_out]
    by = "page"
    valid = 1
    [clean]
    ratio = 0.1
    """
    with pytest.raises(UserError) as error:
        load(write(tmp_path, text))
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    facts = [
        ("licens: ", "licence"),
        ("languages = ['de', 'de']: ", "two different"),
        ("train 1: ", "url, mtdata, sacrebleu, plain"),
        ("valid 1: colums: ", "columns"),
        ("valid 1: format = pdf: ", "plain, sgm, tags, tsv"),
        ("hold_out.by = page: ", "line or source"),
        ("hold_out.valid = 1: ", "from 2"),
        ("valid: ", "[[valid]] or hold_out"),
        ("test: ", "[[test]] or hold_out"),
        ("clean.ratio = 0.1: ", "1 or more"),
    ]
    for line, (place, expected) in zip(lines, facts, strict=True):
        assert line.startswith(place) and expected in line


def test_a_split_that_is_not_a_list_of_tables(tmp_path: Path) -> None:
    text = """
    languages = ["de", "en"]
    valid = 3
    [train]
    plain = "train"
    [[test]]
    plain = "test"
    """
    with pytest.raises(UserError) as error:
        load(write(tmp_path, text))
    first, *lines = str(error.value).splitlines()
    assert first.endswith("mine.toml:")
    assert [line.strip() for line in lines] == [
        "train: expected [[train]], one table per part, found [train]",
        "valid: expected [[valid]], one table per part, found valid = 3",
    ]


GOOD = """
languages = ["de", "en"]
title = "Mine"
pairs = 10
[[train]]
name = "all"
url = { de = "https://a.org/a.de", en = "https://a.org/a.en" }
bytes = 10
columns = { de = 0, en = 1 }
[[valid]]
plain = "valid"
[[test]]
plain = "test"
[clean]
ratio = 3.0
[vocabulary]
size = 100
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["de", "en"]', '"de"', "languages is 'de', expected a list"),
        ('["de", "en"]', '["de", ["en"]]', "languages.1 is ['en'], expected a string"),
        ('"Mine"', "1979-05-27", "title is datetime.date(1979, 5, 27), expected a string"),
        ("pairs = 10", "pairs = -1", "pairs is -1, expected a whole number >= 0"),
        ("bytes = 10", 'bytes = "10"', "train 1: bytes is '10', expected a whole number >= 0 or a table"),
        ("bytes = 10", "bytes = nan", "train 1: bytes is nan"),
        ('{ de = "https://a.org/a.de", en = "https://a.org/a.en" }', "3", "train 1: url is 3"),
        ("en = 1", "en = -1", "train 1: columns is {"),
        ('plain = "valid"', 'plain = ["valid"]', "valid 1: plain is ['valid'], expected a string"),
        ("[clean]\nratio = 3.0", "", "clean is 3"),
        ("ratio = 3.0", "ratio = nan", "clean.ratio = nan: expected a number"),
        ("ratio = 3.0", "ratio = inf", "clean.ratio = inf: expected a number"),
        ("[vocabulary]\nsize = 100", "[vocabulary]\nsize = 1979-05-27", "vocabulary.size is datetime.date"),
        ("[vocabulary]\nsize = 100", "[hold_out]\nvalid = true", "hold_out.valid = True"),
    ],
)
def test_values_of_the_wrong_type_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert load(write(tmp_path, GOOD)).pairs == 10
    text = GOOD.replace(old, new, 1)
    with pytest.raises(UserError) as error:
        load(write(tmp_path, f"clean = 3\n{text}" if not new else text))
    assert "mine.toml" in str(error.value) and said in str(error.value)


@hostile.few
@given(st.one_of(hostile.mutated(GOOD.encode()), st.tuples(st.integers(2, 20), st.sampled_from(hostile.HOSTILE_TOML))))
def test_any_content_of_a_corpus_file(
    tmp_path_factory: pytest.TempPathFactory, change: bytes | tuple[int, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        lines = GOOD.splitlines()
        number, value = change
        lines[number % len(lines)] = f"{lines[number % len(lines)].partition(' = ')[0]} = {value}"
        path.write_text("\n".join(lines))
    hostile.read_or_refuse(lambda: load(str(path)), path.stem)


@pytest.mark.parametrize("names", [["mine"], ["other", "mine"]])
def test_a_file_that_is_like_itself(tmp_path: Path, names: list[str]) -> None:
    for name, like in zip(["mine", *names], names, strict=False):
        (tmp_path / f"{name}.toml").write_text(f'like = "{like}"')
    with pytest.raises(UserError, match=rf"{['mine', *names][-2]}\.toml: like = 'mine' leads back to .*mine\.toml"):
        load(str(tmp_path / "mine.toml"))


def test_a_file_that_is_not_toml_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.toml: not a TOML file: Invalid value"):
        load(write(tmp_path, "languages = ["))
    with pytest.raises(UserError, match=r"none\.toml: cannot be read"):
        load(str(tmp_path / "none.toml"))


def test_a_test_set_that_sacrebleu_does_not_have(tmp_path: Path) -> None:
    text = """
    languages = ["en", "{}"]
    train = [{{ plain = "train" }}]
    valid = [{{ plain = "valid" }}]
    test = [{{ sacrebleu = "{}" }}]
    """
    with pytest.raises(UserError, match=r"sacrebleu = wmt99: unknown test set"):
        resolve(load(write(tmp_path, text.format("de", "wmt99"))), tmp_path)
    with pytest.raises(UserError, match=r"sacrebleu = wmt14/full: has no en-ja, only .*de-en"):
        resolve(load(write(tmp_path, text.format("ja", "wmt14/full"))), tmp_path)


@pytest.mark.slow
def test_corpus_files_agree_with_mtdata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Corpus files repeat what mtdata's index has, so that users need not wait a minute until it is built.
    pytest.importorskip("mtdata")
    from dataclasses import replace

    monkeypatch.chdir(tmp_path)
    compared = 0
    for name in PAIRS:
        corpus = load(name)
        known = [part for part in corpus.parts if part.mtdata]
        asked = resolve(replace(corpus, parts=tuple(replace(part, sides={}) for part in known)), tmp_path)
        for ours, theirs in zip(known, asked.parts, strict=True):
            for language, side in ours.sides.items():
                other = theirs.sides[language]
                assert side.download and other.download
                assert (side.download.url, side.member, side.column) == (
                    other.download.url,
                    other.member,
                    other.column,
                ), ours.name
                compared += 1
    assert compared >= 16


def test_corpus_files_are_found_in_a_checkout() -> None:
    assert FOLDERS[1].name == "data-prep" and (FOLDERS[1] / "README.md").is_file()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('languages = ["x/../../../victim.txt", "yy"]', "languages = 'x/../../../victim.txt'"),
        ('languages = ["/tmp/x", "yy"]', "languages = '/tmp/x'"),
        ('train = [{ plain = "../elsewhere" }]', "train 1: plain = '../elsewhere'"),
        ('train = [{ url = "http://h/a.tgz", files = { de = "/etc/passwd", en = "a" } }]', "files = '/etc/passwd'"),
        ('train = [{ url = "http://h/a.tgz", files = { de = "a/../../b", en = "a" } }]', "files = 'a/../../b'"),
        ('train = [{ url = "http://h/../../evil" }]', "url = 'http://h/../../evil'"),
        ('train = [{ url = "http://../evil" }]', "url = 'http://../evil'"),
        ('train = [{ url = "file:///etc/passwd" }]', "url = 'file:///etc/passwd'"),
        ('train = [{ url = "ftp://h/a" }]', "url = 'ftp://h/a'"),
        ('like = "../other/own"', "like = '../other/own'"),
    ],
)
def test_names_and_urls_that_lead_elsewhere(tmp_path: Path, line: str, found: str) -> None:
    given = {"languages": '["de", "en"]'} | dict.fromkeys(("train", "valid", "test"), '[{ plain = "x" }]')
    key, _, value = line.partition(" = ")
    with pytest.raises(UserError) as error:
        load(write(tmp_path, "\n".join(f"{name} = {text}" for name, text in (given | {key: value}).items())))
    assert found in str(error.value) and "expected" in str(error.value)


def test_languages_on_the_command_line_must_be_plain_names() -> None:
    with pytest.raises(UserError, match=r"languages = '\.\./x'"):
        load("own", ("../x", "en"))
    with pytest.raises(UserError, match=r"unknown corpus \.\./data-prep/own"):
        load("../data-prep/own")

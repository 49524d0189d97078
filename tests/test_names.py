"""Names and URLs in data: which become paths, and which are refused."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.errors import UserError
from fairseq_lskd.names import is_inside, is_plain, place_of_url, plain, why_no_url, within


@pytest.mark.parametrize("name", ["de", "zh-Hans", "wmt14-en-de-base", "teacher_large", "v1.2", "_x", "7b"])
def test_plain_names(name):
    assert plain(name, "recipe") == name


BAD = [
    "",
    ".",
    "..",
    ".hidden",
    "-o",
    "--out",
    "a/b",
    "../a",
    "/a",
    "a\\b",
    "a b",
    "a\n",
    "a\x00",
    "$(x)",
    "ä",
    "x" * 201,
]


@pytest.mark.parametrize("name", [*BAD, None, 7, ["de"]])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match=r"recipe .*expected a plain name"):
        plain(name, "recipe")


@pytest.mark.parametrize("name", ["train.de", "training/news.de-en.de", "./a", "a..b/c", "*.en", "a b"])
def test_places_inside_a_folder(tmp_path, name):
    assert within(tmp_path, name, "files") == tmp_path / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/../../b", "a/..", "/etc/passwd", "//a", "a\x00", "a\nb", None, 1]
)
def test_places_outside_a_folder_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"files .*expected a relative path without '\.\.'"):
        within(tmp_path, name, "files")


@given(st.text())
def test_accepted_names_stay_inside_the_folder(name):
    folder = Path("/the/folder")
    if is_inside(name):
        assert folder in Path(*(folder / name).parts).parents
        assert ".." not in (folder / name).parts
    if is_plain(name):
        assert (folder / name).parent == folder


def test_a_url_has_a_place():
    assert place_of_url("https://X.org:8080/wmt//a%2e%2e/train.tgz?raw=1#x") == PurePosixPath(
        "x.org/wmt/a%2e%2e/train.tgz"
    )
    assert why_no_url("http://[::1]/a") is None


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://x.org/a", "data:,a", "x.org/a", "/etc/passwd", "", "http:", "http:///a"),
        *("http://h/../../evil", "http://h/a/..", "http://../a", "http://.h/a", "http://h:port/a", "http://[h/a"),
        *("http://h/a\nb", "http://h/a\x00", "http:// h/a", "http://h/a b", "HTTP:/a", None, 7, ["http://h/a"]),
    ],
)
def test_other_urls_are_refused(url):
    assert why_no_url(url)
    with pytest.raises(UserError, match="url = "):
        place_of_url(url)

"""Downloads that break off, resume, have the wrong content, or are unavailable."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from pathlib import Path

import pytest

from fairseq_lskd.data.acquire.download import ATTEMPTS, fetch, fetch_one
from fairseq_lskd.data.acquire.locate import cached
from fairseq_lskd.data.corpora import Download
from fairseq_lskd.errors import UserError

from ..conftest import Site

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_a_download_resumes_where_it_broke_off(site: Site, tmp_path: Path) -> None:
    site.files["/a.tgz"], site.breaks["/a.tgz"] = DATA, [1000, 500]
    fetch_one(Download(f"{site.url}/a.tgz", len(DATA), SHA256), tmp_path / "a.tgz")
    assert (tmp_path / "a.tgz").read_bytes() == DATA
    assert site.asked == [("/a.tgz", None), ("/a.tgz", "bytes=1000-"), ("/a.tgz", "bytes=1500-")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_the_next_run_resumes(site: Site, tmp_path: Path) -> None:
    site.files["/a.tgz"], site.breaks["/a.tgz"] = DATA, [100] * ATTEMPTS
    download = Download(f"{site.url}/a.tgz", len(DATA), SHA256)
    with pytest.raises(UserError, match=r"a\.tgz \(10,240 bytes\), .* 400 bytes are kept in .*a\.tgz\.part"):
        fetch_one(download, tmp_path / "a.tgz")
    assert not (tmp_path / "a.tgz").exists()
    fetch_one(download, tmp_path / "a.tgz")
    assert (tmp_path / "a.tgz").read_bytes() == DATA and site.asked[-1] == ("/a.tgz", "bytes=400-")


def test_a_server_that_cannot_resume_sends_the_whole_file_again(site: Site, tmp_path: Path) -> None:
    site.files["/a"], site.breaks["/a"], site.resumes = DATA, [1000], False
    fetch_one(Download(f"{site.url}/a", sha256=SHA256), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_partial_file_of_another_download_is_removed(site: Site, tmp_path: Path) -> None:
    site.files["/a"] = DATA
    (tmp_path / "a.part").write_bytes(b"x" * (len(DATA) + 5))
    fetch_one(Download(f"{site.url}/a", sha256=SHA256), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sha256": "0" * 64}, r"its SHA-256 is [0-9a-f]{12}…, expected 0{12}… \(10,240 bytes\); removed"),
        ({"md5": "0" * 32}, r"its MD5 is [0-9a-f]{12}…, expected 0{12}… \(10,240 bytes\); removed"),
        ({"size": 10_000}, r"it has 10,240 bytes, expected 10,000; removed"),
    ],
)
def test_a_wrong_file_is_removed(site: Site, tmp_path: Path, known: dict, message: str) -> None:
    site.files["/a.tgz"] = DATA
    with pytest.raises(UserError, match=message):
        fetch_one(Download(f"{site.url}/a.tgz", **known), tmp_path / "a.tgz")
    assert not list(tmp_path.iterdir())


def test_all_failed_downloads_are_reported_at_once_and_the_others_kept(site: Site, tmp_path: Path, capsys) -> None:
    site.files |= {"/good": DATA, "/bad": b"x"}
    downloads = [
        Download(f"{site.url}/gone", 5_000_000),
        Download(f"{site.url}/good", len(DATA), SHA256),
        Download(f"{site.url}/bad", len(DATA), SHA256),
    ]
    with pytest.raises(UserError) as error:
        fetch(downloads, tmp_path, "corpus")
    message = str(error.value)
    assert message.startswith("2 of 3 files")
    assert f"gone (5 MB), {site.url}/gone: HTTP 404" in message and "bad (10,240 bytes)" in message
    assert "Run again" in message and "--raw" in message
    assert cached(tmp_path, downloads[1]).read_bytes() == DATA
    plan = capsys.readouterr().err
    assert plan.startswith("corpus: downloading 3 files, 5 MB, to ")
    assert f"  gone (5 MB): {site.url}/gone" in plan


def test_server_errors_are_retried(site: Site, tmp_path: Path) -> None:
    site.status["/a"] = 503
    with pytest.raises(UserError, match="HTTP 503"):
        fetch_one(Download(f"{site.url}/a"), tmp_path / "a")
    assert len(site.asked) == ATTEMPTS


def test_a_broken_tls_connection_is_retried(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, broken = http.client.HTTPResponse.read, iter([True, False, False])

    def once_broken(self: http.client.HTTPResponse, *size: int) -> bytes:
        if next(broken, False):
            raise ssl.SSLError("record layer failure")
        return read(self, *size)

    monkeypatch.setattr(http.client.HTTPResponse, "read", once_broken)
    site.files["/a"] = DATA
    fetch_one(Download(f"{site.url}/a", len(DATA), SHA256), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA and len(site.asked) == 2


def test_without_a_network_there_is_one_attempt(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.tgz \(size unknown\), http://127\.0\.0\.1:9/a\.tgz: .*refused"):
        fetch_one(Download("http://127.0.0.1:9/a.tgz"), tmp_path / "a.tgz")


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_redirects_only_lead_to_the_web(site: Site, tmp_path: Path, place: str) -> None:
    site.leads["/a"] = place
    with pytest.raises(UserError, match=f"http.*'{place}'"):
        fetch_one(Download(f"{site.url}/a"), tmp_path / "a")
    site.files["/b"], site.leads["/a"] = DATA, f"{site.url}/b"
    fetch_one(Download(f"{site.url}/a"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA

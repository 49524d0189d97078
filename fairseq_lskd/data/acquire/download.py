"""Download files to the cache, verify them, and resume interrupted downloads."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...errors import UserError
from ...names import why_no_url
from ...reading import shown
from ..corpora import Download
from .locate import cached, size

ATTEMPTS = 4
PAUSE = 2.0  # seconds before the second attempt; the pause doubles with each attempt
TIMEOUT = 60  # seconds without data
CHUNK = 1 << 20


def fetch(downloads: Sequence[Download], cache: Path, name: str) -> None:
    """Download all files. Successful downloads are kept if others fail.

    Raises:
        UserError: at the end, with every file that could not be downloaded or verified.
    """
    downloads = [_with_size(download) for download in downloads]
    known = sum(download.size or 0 for download in downloads)
    unknown = ", and files of unknown size" if any(download.size is None for download in downloads) else ""
    print(f"{name}: downloading {len(downloads)} files, {size(known)}{unknown}, to {cache}:", file=sys.stderr)
    for download in downloads:
        print(f"  {download.name} ({size(download.size)}): {download.url}", file=sys.stderr)
    problems = []
    for download in downloads:
        try:
            fetch_one(download, cached(cache, download))
        except UserError as error:
            problems.append(str(error))
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(
            f"{len(problems)} of {len(downloads)} files could not be downloaded:\n  {listed}\n"
            "Run again to resume, or get the files elsewhere and give their folder with --raw"
        )


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Only follows redirects to URLs of the web."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if problem := why_no_url(newurl.replace(" ", "%20")):
            raise UserError(f"{req.full_url} redirects to {shown(newurl)}: {problem}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for URLs of the web, which uses the proxies of the environment."""
    return urllib.request.build_opener(_WebOnly)


def _with_size(download: Download) -> Download:
    """Return the download with its size, asking the server if the size is unknown."""
    if download.size is not None:
        return download
    request = urllib.request.Request(download.url, headers={"User-Agent": "fairseq_lskd"}, method="HEAD")
    try:
        with _opener().open(request, timeout=10) as answer:
            return replace(download, size=int(answer.headers["Content-Length"]))
    except (OSError, http.client.HTTPException, TypeError, ValueError):
        return download


def fetch_one(download: Download, path: Path) -> None:
    """Download one file to `path`, in several attempts. It is called `NAME.part` until it is complete and verified."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache {path.parent} cannot be created ({error.strerror}): give another --cache, or --raw"
        ) from None
    label = f"{download.name} ({size(download.size)}), {download.url}"
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            _attempt(download, part)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # range not satisfiable: the partial file belongs to another file
                part.unlink(missing_ok=True)
            elif error.code < 500:
                raise UserError(f"{label}: HTTP {error.code} {error.reason}") from error
            failure = f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            failure = str(getattr(error, "reason", None) or error or type(error).__name__)
            if isinstance(getattr(error, "reason", None), OSError) and not part.exists():
                raise UserError(f"{label}: {failure}") from error
    else:
        there = part.stat().st_size if part.exists() else 0
        raise UserError(f"{label}: {failure}; the first {size(there)} are kept in {part}")
    if problem := wrong(part, download):
        part.unlink()
        raise UserError(f"{label}: {problem}; removed")
    part.replace(path)


def _attempt(download: Download, part: Path) -> None:
    """Request the bytes that `part` lacks, and append them."""
    there = part.stat().st_size if part.exists() else 0
    if there and there == download.size:
        return
    request = urllib.request.Request(download.url, headers={"User-Agent": "fairseq_lskd"})
    if there:
        request.add_header("Range", f"bytes={there}-")
    with _opener().open(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        there = there if resumed else 0
        length = answer.headers.get("Content-Length")
        total = there + int(length) if length else download.size
        bar = tqdm(
            total=total,
            initial=there,
            desc=download.name,
            unit="B",
            unit_scale=True,
            delay=2,
            disable=None,
            leave=False,
        )
        with part.open("ab" if resumed else "wb") as stream, bar:
            while chunk := answer.read(CHUNK):
                stream.write(chunk)
                bar.update(len(chunk))
                there += len(chunk)
    if total is not None and there < total:
        raise http.client.IncompleteRead(b"", total - there)


def wrong(path: Path, download: Download) -> str | None:
    """Return how a file differs from the expected size or digest; None if it does not."""
    if download.sha256 or download.md5:
        kind, expected = ("sha256", download.sha256) if download.sha256 else ("md5", download.md5)
        assert expected is not None
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if found != expected:
            label = {"sha256": "SHA-256", "md5": "MD5"}[kind]
            return f"its {label} is {found[:12]}…, expected {expected[:12]}… ({path.stat().st_size:,} bytes)"
    elif download.size is not None and path.stat().st_size != download.size:
        return f"it has {path.stat().st_size:,} bytes, expected {download.size:,}"
    return None

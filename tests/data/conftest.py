"""A local web server, whose files break off and resume as a test wants."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest


@dataclass
class Site:
    """The server's files, the number of bytes before a connection breaks (once per path), and the requests it received.

    `leads` are its redirections.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)
    resumes: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    from fairseq_lskd.data.acquire import download

    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(405)

        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            found.asked.append((self.path, wanted))
            if self.path in found.leads:
                self.send_response(302)
                self.send_header("Location", found.leads[self.path])
                self.end_headers()
                return
            if self.path in found.status or self.path not in found.files:
                self.send_error(found.status.get(self.path, 404))
                return
            data = found.files[self.path]
            first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and found.resumes else 0
            if first >= len(data) > 0:
                self.send_error(416)
                return
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(data) - first))
            self.end_headers()
            breaks = found.breaks.get(self.path)
            self.wfile.write(data[first : first + breaks.pop(0)] if breaks else data[first:])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()

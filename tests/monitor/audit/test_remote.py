"""Transcripts behind a URL or a pipe are read as those in a file, and what fails is said in one line."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from undertow.errors import InputError
from undertow.monitor.audit import audit, read
from undertow.monitor.audit.reopen import reopen
from undertow.monitor.trace import Trace, Unreadable
from undertow.testing import scripted_monitor

LINES = b"".join(b'{"id": "%d", "reasoning": "Fine [neutral]."}\n' % n for n in range(50))


class Files(BaseHTTPRequestHandler):
    """Serves the lines plain, without a length, or packed; refuses everything else."""

    def do_HEAD(self) -> None:
        """Send the head."""
        self.do_GET()

    def do_GET(self) -> None:
        """Send the head, and the data if they are asked for."""
        data = {"/a.jsonl": LINES, "/stream.jsonl": LINES, "/a.jsonl.gz": gzip.compress(LINES)}.get(self.path)
        self.send_response(404 if self.path == "/none.jsonl" else 403 if data is None else 200)
        if self.path != "/stream.jsonl":
            self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server on this machine, of HTTP/1.0, which knows no ranges."""
    for package in ("fsspec", "aiohttp"):
        pytest.importorskip(package, reason="URLs need the extra `remote` and aiohttp")
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.jsonl", "stream.jsonl", "a.jsonl.gz"])
def test_a_file_behind_a_url_is_read(url: str, name: str) -> None:
    """Plain or packed, and where the server does not say how long it is."""
    records = list(read(f"{url}/{name}"))
    assert [record.id for record in records if isinstance(record, Trace)] == [str(n) for n in range(50)]


@pytest.mark.parametrize(
    ("name", "message"), [("none.jsonl", "there is no such file"), ("secret.jsonl", "403")]
)
def test_what_a_server_refuses_is_an_error_of_input(url: str, name: str, message: str) -> None:
    """File systems raise errors of their own, none of which is a crash."""
    with pytest.raises(InputError, match=f"cannot read {url}/{name}: .*{message}"):
        list(read(f"{url}/{name}"))


def test_a_url_in_a_verdict_is_not_fetched_unasked(url: str, tmp_path: Path) -> None:
    """A file of verdicts may name any URL: it is read again if the user names it, too."""
    saved = tmp_path / "v.jsonl"
    audit(f"{url}/a.jsonl", monitor=scripted_monitor(), out=saved)
    unasked = [record for record, _ in reopen(saved)]
    assert {record.problem.detail for record in unasked if isinstance(record, Unreadable)} == {
        f"{url}/a.jsonl is a URL, which is read again only if --transcripts names it"
    }
    asked = [record for record, _ in reopen(saved, transcripts=[f"{url}/a.jsonl"])]
    assert all(isinstance(record, Trace) for record in asked)


def test_a_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    """Transcripts are read twice, and a pipe only once: it is copied."""
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(LINES))
    writer.start()
    records = list(read(pipe))
    writer.join()
    assert [(record.id, record.origin.path) for record in records[:1]] == [("0", str(pipe))]
    assert len(records) == 50

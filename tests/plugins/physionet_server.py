"""A web server with files in PhysioNet's layout, which can be told to misbehave."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PREFIX = "/files/database/1.0.3/"


class Library(ThreadingHTTPServer):
    """Serves files from a dictionary.

    Attributes:
        files: Content by path.
        faults: By path, what happens to the next requests for it: `"cut"` after half of what is asked for,
            `"whole"` without regard to Range, `"elsewhere"`: another part than the one asked for, or
            a status such as `"503"` or `"429 2"` (with Retry-After).
        requests: What was asked for: method, path, Range.
        sent: Bytes of content that were sent.
        most: The most requests that were answered at one time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.requests: list[tuple[str, str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.sent = 0
        self.now = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{PREFIX}"

    def add_sums(self, *more: str) -> None:
        """Lists every file with its digest, apart by one space as PhysioNet does it."""
        lines = [
            f"{hashlib.sha256(content).hexdigest()} {path}" for path, content in sorted(self.files.items())
        ]
        self.files["SHA256SUMS.txt"] = "\n".join([*lines, *more, ""]).encode()

    def asked(self, path: str) -> list[str | None]:
        """The Range headers with which a file was fetched."""
        return [wanted for method, asked, wanted in self.requests if (method, asked) == ("GET", path)]

    @property
    def fetched(self) -> list[str]:
        """The files that were fetched, but for the list of checksums."""
        return [path for method, path, _ in self.requests if method == "GET" and path != "SHA256SUMS.txt"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Library

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            self.answer(body=True)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def answer(self, *, body: bool) -> None:
        path = unquote(self.path).removeprefix(PREFIX)
        wanted = self.headers.get("Range")
        with self.server.lock:
            self.server.requests.append((self.command, path, wanted))
            self.server.headers.append(dict(self.headers))
            fault = self.server.faults[path].pop(0) if body and self.server.faults[path] else ""
        content = self.server.files.get(path)
        if content is None:
            fault = "404"
        if fault[:1].isdigit():
            code, _, after = fault.partition(" ")
            self.status(int(code), {"Retry-After": after} if after else {})
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and fault != "whole" else 0
        if wanted and start >= len(content):
            self.status(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        if fault == "elsewhere":
            start = max(0, start - 7)
        part = content[start:]
        self.send_response(206 if wanted and fault != "whole" else 200)
        self.send_header("Content-Length", str(len(part)))
        if wanted and fault != "whole":
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        part = part[: len(part) // 2] if fault == "cut" else part
        self.wfile.write(part)
        with self.server.lock:
            self.server.sent += len(part)
        if fault == "cut":
            self.wfile.flush()
            self.close_connection = True

    def status(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def load_real(library: Library, real: Path, sources: tuple[str, ...]) -> None:
    """Takes real records into the server, with the RECORDS lists that PhysioNet has."""
    for source in sources:
        folder = real / "training" / source / "g1"
        names = []
        for path in sorted(folder.iterdir()):
            library.files[f"training/{source}/g1/{path.name}"] = path.read_bytes()
            names += [path.stem] if path.suffix == ".hea" else []
        library.files[f"training/{source}/g1/RECORDS"] = "\n".join(names).encode()
    library.files["LICENSE.txt"] = b"Creative Commons Attribution 4.0 International Public License"
    library.files["RECORDS"] = "\n".join(f"training/{source}/g1/" for source in sources).encode()
    library.add_sums()

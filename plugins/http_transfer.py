"""One server: requests that resume where they were cut, retry, and slow down when asked to."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import scalelab

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

ATTEMPTS = 6
"""Requests for one file that bring nothing new, before it is given up."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; each further wait is twice as long, half to one and a half of that."""
LONGEST_WAIT = 60.0
LONGEST_ASKED_WAIT = 600.0
"""The longest `Retry-After` that is waited for."""
TIMEOUTS = (15.0, 30.0)
"""Seconds for connecting, and for silence while reading; what was cut goes on from there."""
_CHUNK = 1 << 13
"""Bytes read at once; so many are lost where a connection is cut."""
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class Unavailable(Exception):
    """A file could not be downloaded; its text says why.

    Attributes:
        silent: Whether the server did not answer, or only with errors of its own.
    """

    def __init__(self, why: str, *, silent: bool = False) -> None:
        super().__init__(why)
        self.silent = silent


class Stopped(Exception):
    """Somebody called `Server.stop`."""


class _TryAgain(Exception):
    """A failure that may pass; `after` is what the server asked to wait, in seconds."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Server:
    """A folder of files on a web server; safe to use from several threads.

    Args:
        base: Address of the folder.
    """

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/") + "/"
        self._local = threading.local()
        self._stopped = threading.Event()
        self._not_before = 0.0

    def url(self, path: str) -> str:
        """Returns the address of a file."""
        return self.base + quote(path)

    def stop(self) -> None:
        """Ends all transfers at their next bytes."""
        self._stopped.set()

    def text(self, path: str) -> str:
        """Returns a text file.

        Raises:
            Unavailable: It could not be downloaded.
        """

        def get() -> str:
            with self._request("GET", path) as response:
                return response.content.decode("utf-8", errors="replace")

        return self._persist(get, lambda: 0)

    def size(self, path: str) -> int | None:
        """Returns a file's size in bytes, or `None` where the server does not say."""

        def head() -> int | None:
            with self._request("HEAD", path) as response:
                length = response.headers.get("Content-Length", "")
                return int(length) if length.isdecimal() else None

        try:
            return self._persist(head, lambda: 0)
        except Unavailable:
            return None

    def transfer(self, path: str, part: Path, count: Callable[[int], None]) -> None:
        """Brings a file into `part`, going on behind what is in it.

        Args:
            path: The file on the server.
            part: Where to; its content is checked by the caller.
            count: Called with the number of bytes received; negative where it starts again.

        Raises:
            Unavailable: It could not be downloaded.
            Stopped: The server was stopped.
        """
        count(_size(part))
        self._persist(lambda: self._transfer(path, part, count), lambda: _size(part))

    def _transfer(self, path: str, part: Path, count: Callable[[int], None]) -> None:
        there = _size(part)
        headers = {"Range": f"bytes={there}-"} if there else {}
        with self._request("GET", path, headers, expected=416 if there else 200) as response:
            if response.status_code == 416:
                # Nothing behind what is there: whole, or of another file. The checksum tells.
                return
            goes_on = response.status_code == 206 and _starts_at(response) == there
            if there and not goes_on:
                count(-there)
                if response.status_code == 206:
                    part.unlink()
                    raise _TryAgain("the server sent a different range from the one requested")
            with part.open("ab" if goes_on else "wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    if self._stopped.is_set():
                        raise Stopped
                    file.write(chunk)
                    count(len(chunk))

    def _persist(self, action: Callable[[], Result], arrived: Callable[[], int]) -> Result:
        """Calls an action until it succeeds; gives up after some attempts that brought no bytes."""
        attempt = 0
        while True:
            before = arrived()
            self._wait_until(self._not_before)
            try:
                return action()
            except _TryAgain as failure:
                attempt = 0 if arrived() > before else attempt + 1
                if attempt >= ATTEMPTS:
                    raise Unavailable(f"{failure}, {ATTEMPTS} times", silent=True) from failure
                # A request to wait holds for all threads.
                self._not_before = max(self._not_before, time.monotonic() + failure.after)
                pause = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.5)
                self._wait_until(time.monotonic() + pause)

    def _wait_until(self, moment: float) -> None:
        if self._stopped.wait(max(0.0, moment - time.monotonic())):
            raise Stopped

    @contextmanager
    def _request(
        self, method: str, path: str, headers: dict[str, str] | None = None, *, expected: int = 200
    ) -> Iterator[requests.Response]:
        """Opens an answer; whatever goes wrong with the connection until it is closed may be tried again."""
        import requests
        from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema

        try:
            with self._session().request(
                method, self.url(path), headers=headers, stream=True, timeout=TIMEOUTS
            ) as response:
                if not response.ok and response.status_code != expected:
                    why = f"{response.status_code} {response.reason}"
                    if response.status_code in _TEMPORARY:
                        raise _TryAgain(why, _retry_after(response.headers.get("Retry-After", "")))
                    raise Unavailable(why)
                yield response
        except (InvalidSchema, InvalidURL, MissingSchema) as error:
            raise scalelab.DataError(f"{self.base} is not the address of a web server") from error
        except requests.Timeout as error:
            raise _TryAgain("the server is silent") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise _TryAgain("the connection was cut") from error
        except requests.RequestException as error:
            raise _TryAgain(f"no connection ({type(error).__name__})") from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            import requests

            session = self._local.session = requests.Session()
            # Compressed, a range of bytes would be one of something else than the file.
            session.headers.update(
                {"User-Agent": f"scalelab/{scalelab.__version__}", "Accept-Encoding": "identity"}
            )
        return session


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _starts_at(response: requests.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _retry_after(value: str) -> float:
    """Returns the seconds that a server asks to wait: it says a number or a date."""
    if value.isdecimal():
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return min(max(0.0, seconds), LONGEST_ASKED_WAIT)

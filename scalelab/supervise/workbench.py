"""The worker's side of a supervised process: what it keeps between orders, and how it serves."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import ScalelabError, plain_line, text_of
from scalelab.jsonable import jsonable
from scalelab.measure.models import params_of
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import Frozen, canonical_json
from scalelab.supervise.descriptors import PIPE_BYTES, private, write_whole
from scalelab.supervise.process import GRACE_SECONDS

if TYPE_CHECKING:
    from scalelab.components import OpenDataset

INTERRUPT_LINE = "interrupt"


class Selection(Frozen):
    """The plugins that a coordinator sees, for its workers to see the same.

    Attributes:
        dirs: Folders of single-file plugins.
        select: The plugin selection (`SCALELAB_PLUGINS`), or `None`.
    """

    dirs: tuple[str, ...] = ()
    select: str | None = None

    @classmethod
    def of(cls, catalog: Catalog) -> Selection:
        """Returns what a catalog was loaded from."""
        return cls(dirs=tuple(map(str, catalog.plugins_dirs)), select=catalog.select)


class Workbench:
    """What a worker keeps between orders: its plugins and its open datasets.

    Invariant: one thread uses it. Datasets are read-only memory maps, which workers share.

    Args:
        catalog: The plugins to use whatever is asked for; by default those of each order.
    """

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._given = catalog
        self._catalogs: dict[Selection, Catalog] = {}
        self._datasets: dict[str, OpenDataset] = {}

    def catalog(self, plugins: Selection) -> Catalog:
        """Returns the plugins of a selection, loaded once."""
        if self._given is not None:
            return self._given
        if plugins not in self._catalogs:
            self._catalogs[plugins] = load_plugins(
                plugins_dirs=[Path(folder) for folder in plugins.dirs], select=plugins.select
            )
        return self._catalogs[plugins]

    def dataset(
        self, plugins: Selection, name: str, options: dict[str, Any], fingerprint: str
    ) -> OpenDataset:
        """Opens a dataset, or returns it where it is open already.

        Raises:
            ScalelabError: It cannot be opened, or its content is no longer what was asked for.
        """
        key = canonical_json([plugins.model_dump(), name, options])
        if key not in self._datasets:
            component = self.catalog(plugins).dataset(name)
            self._datasets[key] = component.open(params_of(component, options))
        data = self._datasets[key]
        if data.fingerprint != fingerprint:
            raise ScalelabError(
                f"dataset {name!r} changed since the study was planned (fingerprint {data.fingerprint[:12]}, "
                f"expected {fingerprint[:12]}); run the study again"
            )
        return data


def serve(work: Callable[[str, Callable[[Frozen], None], Callable[[], bool]], None]) -> None:
    """Does what a `Supervised` orders, line after line, until its orders end.

    Orders and events go through the pipes that the command line names. The thread that waits for orders
    holds no lock, so that a child may be forked at any time.

    Args:
        work: `work(line, send, should_stop)` follows one order and sends events; `should_stop()` becomes true
            when the coordinator asks all work to end early.
    """
    _end_with_the_parent()
    _heed_orders_alone()
    orders, events = private(int(sys.argv[1]), "rb"), private(int(sys.argv[2]), "wb")
    del sys.argv[1:]
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        torn = b""
        with contextlib.suppress(OSError):  # somebody closed all descriptors of this process
            while said := orders.read(PIPE_BYTES):
                *lines, torn = (torn + said).split(b"\n")
                for line in lines:
                    if line == INTERRUPT_LINE.encode():
                        stop.set()
                    else:
                        waiting.put(line.decode())
        waiting.put(None)
        time.sleep(GRACE_SECONDS / 2)
        os._exit(0)

    def send(event: Frozen) -> None:
        flush_prints()
        # Nobody listens: the coordinator has died, with which this process ends. Or it is a forked child.
        with contextlib.suppress(BrokenPipeError, ValueError):
            write_whole(events, _line_of(event))

    threading.Thread(target=listen, daemon=True).start()
    prints = [os.dup(number) for number in (1, 2)]
    while (line := waiting.get()) is not None:
        for number, kept in enumerate(prints, start=1):  # which a plugin may have closed
            os.dup2(kept, number)
        work(line, send, stop.is_set)


def flush_prints() -> None:
    """Writes out what Python or a native library printed, so that it is there before what comes next."""
    import ctypes

    with contextlib.suppress(Exception):  # whatever a plugin has put in its place
        sys.stdout.flush()
    with contextlib.suppress(ValueError):  # a C library that calls it otherwise
        libc = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        libc.fflush(ctypes.c_void_p.in_dll(libc, name))


def _heed_orders_alone() -> None:
    """Lets signals pass by that a cluster sends to all processes of a job: its coordinator heeds them.

    Children that this process forks end of them as always, or `multiprocessing` could not end its own.
    """
    import signal

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
    masks = threading.local()

    def hold() -> None:  # a child that is asked to end before it heeds that would never end
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def go_on() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def heed_again() -> None:
        for number in numbers:
            if signal.getsignal(number) is _pass_by:
                signal.signal(number, usual[number])
        go_on()

    usual = {number: signal.signal(number, _pass_by) for number in numbers}
    os.register_at_fork(before=hold, after_in_parent=go_on, after_in_child=heed_again)


def _pass_by(_number: int, _frame: object) -> None:
    pass


def _end_with_the_parent() -> None:
    """Asks Linux to kill this process with its parent, and before it when memory runs out.

    Its children, and this process elsewhere, are ended by `scalelab.supervise.group.Guard`.
    """
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500", encoding="utf-8")


def one_line(error: BaseException) -> str:
    """Returns an error as one line, with the place where it is not one of scalelab's own.

    The line is plain whatever the error says, see `scalelab.errors.plain_line`.
    """
    text = plain_line(text_of(error))
    if isinstance(error, ScalelabError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    remedy = (
        "; install it for the Python that runs scalelab" if isinstance(error, ModuleNotFoundError) else ""
    )
    return plain_line(f"{type(error).__name__}{': ' if text else ''}{text}{remedy}{where}", limit=1000)


def _line_of(event: Frozen) -> bytes:
    """Returns an event as one line of JSON; in texts that JSON cannot say, what it cannot is escaped."""
    try:
        return event.model_dump_json().encode() + b"\n"
    except ValueError:
        return canonical_json(_sayable(event.model_dump())).encode() + b"\n"


def _sayable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_sayable(text_of(key)): _sayable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(one) for one in value]
    try:
        known = jsonable(value)
    except Exception:  # what is foreign may raise whatever is asked of it
        known = text_of(value)
    return known.encode("utf-8", "backslashreplace").decode() if isinstance(known, str) else known

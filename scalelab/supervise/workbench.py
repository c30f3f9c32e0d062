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

from scalelab.errors import ScalelabError
from scalelab.measure.models import params_of
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import Frozen, canonical_json
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
    """Does what standard input says, line after line, until it ends.

    Standard output is for events alone: whatever else is printed goes to standard error.

    Args:
        work: `work(line, send, should_stop)` follows one order and sends events; `should_stop()` becomes true
            when the coordinator asks all work to end early.
    """
    _end_with_the_parent()
    # Not to be closed before the process ends: the coordinator takes the end of its events for its end.
    events = os.fdopen(os.dup(1), "w", buffering=1, closefd=False)
    os.dup2(2, 1)
    orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == INTERRUPT_LINE:
                stop.set()
            else:
                orders.put(line)
        orders.put(None)
        time.sleep(GRACE_SECONDS / 2)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while (line := orders.get()) is not None:
        work(line, lambda event: print(event.model_dump_json(), file=events), stop.is_set)


def _end_with_the_parent() -> None:
    """Asks Linux to kill this process with its parent, and before it when memory runs out.

    Elsewhere the end of standard input must do.
    """
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500", encoding="utf-8")


def one_line(error: BaseException) -> str:
    """Returns an error as one line, with the place where it is not one of scalelab's own."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, ScalelabError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"

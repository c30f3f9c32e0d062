"""The commands that `kills.py` kills: how each is started, and which of its processes a signal may hit."""

from __future__ import annotations

import ctypes
import io
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from store import record

ROOT = Path(__file__).parents[1]
NEW_MOUNTS, NEW_HOSTNAME = 0x00020000, 0x04000000
PRIVATE, BIND, RECURSIVE = 1 << 18, 1 << 12, 1 << 14
OLD = "c968a68:examples/mitbih-design.duckdb"
"""A store of an older schema, from the project's own history."""
SIGNALS = (*[signal.SIGKILL] * 6, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGSTOP)
Target = Callable[[int], None]
"""Sends a signal."""
STUDY = """
name = "{name}"
seeds = [{seeds}]
[dataset]
name = "toy-blobs"
options = {{ n_train = 32, n_validation = 16 }}
[[architecture]]
name = "toy-conv"
space = {{ width = {{ type = "doubling", low = 2, high = 8 }} }}
[[optimizer]]
name = "toy-sgd"
[training]
length = {{ steps = {steps} }}
batch_size = 8
precision = "fp32"
validations = 3
"""
_libc = ctypes.CDLL(None, use_errno=True)


def _system(call: Callable[..., int], *args: object) -> None:
    if call(*args):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def forked(action: Callable[[], int], log: Path, *, host: str = "", cwd: Path | None = None) -> int:
    """Starts an action in a process of its own, which has all libraries loaded already; returns its id.

    Args:
        action: Returns the exit code.
        log: What it prints goes there.
        host: The name that the machine has for it and its children; its own without.
        cwd: Its working folder.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        # Whatever this script heeds or was told to ignore, as after `nohup … &`.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        if host:
            _system(_libc.unshare, NEW_HOSTNAME)
            socket.sethostname(host)
        os.chdir(cwd or "/")
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, mode, closefd=False), write_through=True)
            for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        code = action()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    except KeyboardInterrupt:
        code = 130  # before or after the command, which is this script's own part of it
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def command(*argv: object) -> Callable[[], int]:
    """Returns an action that calls the command line."""

    def call() -> int:
        from scalelab.cli import main

        sys.argv = ["scalelab", *map(str, argv)]
        main()
        return 0

    return call


@dataclass
class Lab:
    """A store, the ways to it, and the study that is under way on it.

    Attributes:
        folder: Holds everything.
        hosts: Names of machines.
        dice: Of the run's seed.
        study: The file of the present study.
        imported: Rows of each imported table whose import came to its end.
        merged: Stores that were to be merged, with their records.
        n: How many things were named.
    """

    folder: Path
    hosts: list[str]
    dice: random.Random
    study: Path = Path()
    imported: dict[str, Path] = field(default_factory=dict)
    merged: dict[Path, set[str]] = field(default_factory=dict)
    n: int = 0

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.folder / "real" / "store.duckdb"

    @property
    def plugins(self) -> Path:
        """The folder with the toy plugin."""
        return self.folder / "plugins"

    def number(self) -> int:
        """Returns a number that was not given before."""
        self.n += 1
        return self.n

    def prepare(self) -> list[tuple[Path, Path]]:
        """Makes the folders; returns the ways to the store: a path, and the working folder it is used from.

        They are direct, over a link, and by a bind mount, which this process and its children alone see;
        where that is not allowed, a relative path.
        """
        from scalelab.testing.toys import write_toy_plugin

        real, link, bound = (self.folder / name for name in ("real", "link", "bound"))
        real.mkdir(parents=True)
        bound.mkdir()
        link.symlink_to(real)
        write_toy_plugin(self.plugins)
        ways = [(self.store, self.folder), (link / "store.duckdb", self.folder)]
        try:
            _system(_libc.unshare, NEW_MOUNTS)
            _system(_libc.mount, b"none", b"/", None, RECURSIVE | PRIVATE, None)
            _system(_libc.mount, bytes(real), bytes(bound), None, BIND, None)
        except OSError as error:
            print(f"no bind mount here ({error}): a relative path instead", file=sys.stderr)
            return [*ways, (Path("../real/store.duckdb"), link)]
        return [*ways, (bound / "store.duckdb", self.folder)]

    def new_study(self, n_trials: int, steps: int) -> None:
        """Makes the next study the present one."""
        first = 1000 * self.number()
        self.study = self.folder / f"study-{first}.toml"
        seeds = ", ".join(str(first + k) for k in range(max(1, n_trials // 3)))
        self.study.write_text(STUDY.format(name=self.study.stem, seeds=seeds, steps=steps))

    def run(self, store: Path, *more: object) -> Callable[[], int]:
        """Returns the training of the present study."""
        options = ("--store", store, "--plugins-dir", self.plugins, "--threads", 1)
        return command("run", self.study, *options, *more)


def children_of(words: str) -> Callable[[Lab, int], list[Target]]:
    """Returns what finds the children of a process with these words in their command line."""

    def found(_: Lab, pid: int) -> list[Target]:
        return [partial(os.kill, child) for child in _children(pid) if words in _words(child)]

    return found


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _words(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _itself(_: Lab, pid: int) -> list[Target]:
    return [partial(os.kill, pid)]


@dataclass(frozen=True)
class Victim:
    """What is killed.

    Attributes:
        start: Returns what to start on a store, by its path. Victims of one `start` are killed by turns.
        targets: Returns what a signal may go to, by the process that was started.
        wait: Seconds, at most, from its start (or the last signal) to the next one.
        alone: Whether it runs in one lane at a time.
        signals: What it gets, each as often as it stands there.
    """

    start: Callable[[Lab, Path], Callable[[], int]]
    targets: Callable[[Lab, int], list[Target]] = _itself
    wait: float = 1.5
    alone: bool = False
    signals: Sequence[int] = SIGNALS


def _inline(lab: Lab, store: Path) -> Callable[[], int]:
    return lab.run(store, "--workers", 0)


def _with_workers(lab: Lab, store: Path) -> Callable[[], int]:
    return lab.run(store, "--workers", 1)


def _rebuild(_: Lab, store: Path) -> Callable[[], int]:
    return command("store", "rebuild", "--store", store)


def _import(lab: Lab, store: Path) -> Callable[[], int]:
    name = f"table-{lab.number()}"
    file = lab.folder / f"{name}.csv"
    rows = [f"{n},{1 + 1 / n + lab.dice.random()}" for n in range(1, 401)]
    file.write_text("\n".join(["n_params,loss", *rows]))
    lab.imported[name] = file
    return command("import", file, "--study", name, "--store", store)


def _bench(lab: Lab, store: Path) -> Callable[[], int]:
    sizes = ",".join(str(lab.number()) for _ in range(3))
    options = ("--targets", "toy-eager:cpu", "--time-limit", 0.1, "--threads", 1, "--batch-sizes", sizes)
    return command("bench", lab.study, *options, "--plugins-dir", lab.plugins, "--store", store)


def _merge(lab: Lab, store: Path) -> Callable[[], int]:
    other = Path(tempfile.mkdtemp(prefix="other-", dir=lab.folder)) / "other.duckdb"
    made = [record(1_000_000 + lab.number()) for _ in range(30)]
    lab.merged[other] = {one.id for one in made}

    def filled() -> int:
        from scalelab.store import open_store

        opened = open_store(other, create=True)
        for one in made:
            opened.journal.write(one, durable=False)
        opened.ingest()
        return 0

    os.waitpid(forked(filled, lab.folder / "making.txt"), 0)
    return command("store", "merge", other, "--store", store)


def _migrate(lab: Lab, _: Path) -> Callable[[], int]:
    shown = subprocess.run(["git", "show", OLD], cwd=ROOT, capture_output=True, check=True)
    folder = Path(tempfile.mkdtemp(prefix="old-", dir=lab.folder))
    (folder / "old.duckdb").write_bytes(shown.stdout)
    return command("store", "migrate", "--store", folder / "old.duckdb")


VICTIMS = {
    "coordinator": Victim(_inline, wait=2.0),
    "worker": Victim(_with_workers, children_of("scalelab.execute.worker"), wait=4.0),
    "coordinator with workers": Victim(_with_workers, wait=4.0),
    "rebuild": Victim(_rebuild),
    "import": Victim(_import, wait=1.0),
    "migration": Victim(_migrate, wait=0.6),
    "bench": Victim(_bench, wait=4.0),
    "bench worker": Victim(_bench, children_of("scalelab.bench.worker"), wait=4.0),
    "merge": Victim(_merge, wait=1.0),
}
"""By name; `kill_clusters.py` has those of clusters."""


def missing() -> Iterator[str]:
    """Yields the victims that this checkout has not."""
    if subprocess.run(["git", "cat-file", "-e", OLD], cwd=ROOT, capture_output=True, check=False).returncode:
        yield "migration"

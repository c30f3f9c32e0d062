"""Hostile inputs to the command line: none may end in a traceback, a hang, or an exit code of no meaning.

    python benchmarks/fuzz.py [--inputs 10000] [--seed 0] [--only studies,tables] [--case N]

Study files, tables to import, plugins, journal files and command lines are made wrong by a seeded generator
(`fuzz_inputs.py`), and the commands called as `scalelab` calls them, in child processes that serve many
inputs each. A child that says nothing for `--limit` seconds is killed and counts as a hang; one that dies
counts as a traceback. `--only KIND --case N` makes one input again and shows what its commands said.

Exit code 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from fuzz_inputs import KINDS, prepare
from fuzz_quick import begin, hurry

MEANT = {0, 1, 2, 3}
IDLE_SECONDS = 10
"""A process that does nothing for so long waits for something, and not for the processor."""
SERVES = 400
"""Inputs of one child, so that what leaks does not add up."""


@dataclass
class Answer:
    """What a command of a case did."""

    argv: list[str]
    code: int | str | None
    out: str
    err: str

    @property
    def faults(self) -> list[tuple[str, str]]:
        """What is wrong with it: a kind of fault, and a line that tells one from another."""
        if isinstance(self.code, str):
            return [("traceback", self.code)]
        found = []
        if "Traceback (most recent call last)" in self.err + self.out:
            found.append(("traceback", "printed: " + self.err.strip().splitlines()[-1][:200]))
        if self.code not in MEANT:
            found.append(("exit code", f"exit code {self.code}"))
        elif self.code in (2, 3) and (reason := unclear(self.err)):
            found.append(("unclear", reason))
        return found


def unclear(err: str) -> str | None:
    """Returns why the errors of a command that refused its input are not one clear line."""
    said = [line for line in err.splitlines() if re.match(r"error: |Error: ", line)]
    if len(said) != 1:
        # `store check` and the like refuse in their own output.
        return f"{len(said)} lines of error" if len(said) > 1 else None
    if not said[0].isprintable():
        return f"unprintable: {said[0][:80]!r}"
    if len(said[0]) > 1500:
        return f"a line of {len(said[0])} characters: {said[0][:80]}"
    return None


def called(argv: list[str]) -> Answer:
    """Calls the command line in this process, with streams as strict as a terminal's."""
    from scalelab.cli import main

    code: int | str | None = 0
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["scalelab", *argv]
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException as error:
            code = signature(error)
            traceback.print_exc()
    said, narrated = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return Answer(argv, code, said, narrated)


def signature(error: BaseException) -> str:
    """Returns an error and the last lines of ours that it went through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/scalelab/" in frame.filename]
    way = " < ".join(
        f"{frame.filename.split('/scalelab/')[-1]}:{frame.lineno}" for frame in reversed(frames[-3:])
    )
    text = "".join(c if c.isprintable() else "?" for c in str(error)[:120])
    return f"{type(error).__name__}: {text} @ {way}"


def answers(kind: str, case: int, seed: int, root: Path) -> list[Answer]:
    """Makes an input in a folder of its own and calls its commands there."""
    folder = root / "cases" / f"{kind}-{case}" / "here"
    folder.mkdir(parents=True)
    os.chdir(folder)
    sys.stdin = open(os.devnull)  # noqa: SIM115 - for as long as the case takes
    begin(case)
    rng = random.Random(f"{seed}-{kind}-{case}")
    found = [called(argv) for argv in KINDS[kind](rng, folder, root / "template")]
    os.chdir(root)
    return found


def serve(pipe: Connection, seed: int, root: Path) -> None:
    """Takes cases until there are no more, and tells the faults of each."""
    hurry()
    while (order := pipe.recv()) is not None:
        kind, case = order
        start = time.process_time()
        found = answers(kind, case, seed, root)
        faults = [fault for answer in found for fault in answer.faults]
        pipe.send(([answer.code for answer in found], faults, time.process_time() - start))
        shutil.rmtree(root / "cases" / f"{kind}-{case}", ignore_errors=True)


@dataclass
class Tally:
    """What the inputs of a kind came to."""

    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, case: int, codes: list[int | str], faults: list[tuple[str, str]], seconds: float) -> None:
        """Notes the outcome of an input."""
        self.inputs += 1
        self.refused += any(code in (2, 3) for code in codes)
        self.seconds += seconds
        for name in {fault[0] for fault in faults}:
            self.faults[name] += 1
        for fault in set(faults):
            self.examples.setdefault(fault, []).append(case)


class Child:
    """A process that serves cases, replaced when it hangs, dies or is worn out."""

    def __init__(self, seed: int, root: Path) -> None:
        self._seed, self._root, self._served = seed, root, SERVES
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def ask(self, kind: str, case: int, limit: float) -> tuple[list[int | str], list[tuple[str, str]], float]:
        """Returns the exit codes and the faults of an input, and what it took of a core in seconds."""
        if self._served >= SERVES:
            self.end()
            context = multiprocessing.get_context("forkserver")
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=serve, args=(other, self._seed, self._root))
            self._process.start()
            other.close()
            self._served = 0
        self._served += 1
        assert self._pipe is not None
        assert self._process is not None
        self._pipe.send((kind, case))
        try:
            if self._answers(limit):
                return self._pipe.recv()
            fault = ("hang", f"nothing for {limit:.0f} s")
        except EOFError:
            self._process.join()
            fault = ("traceback", f"the process died: {self._process.exitcode}")
        self._served = SERVES
        return [], [fault], 0.0

    def _answers(self, limit: float) -> bool:
        """Waits for an answer; where others have the processor, for as much of the process's own time."""
        assert self._pipe is not None
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        start = time.monotonic()
        used = [sum(process.cpu_times()[:2])]
        while not self._pipe.poll(1.0):
            used.append(sum(process.cpu_times()[:2]))
            if time.monotonic() - start > limit and not used[0] + limit > used[-1] > used[-IDLE_SECONDS]:
                return False
        return True

    def end(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def batch(
    queue: Iterator[tuple[str, int]], tallies: dict[str, Tally], options: argparse.Namespace, root: Path
) -> None:
    """Asks a child for one input after another, until there are no more."""
    child = Child(options.seed, root)
    for kind, case in queue:
        codes, faults, seconds = child.ask(kind, case, options.limit)
        tallies[kind].add(case, codes, faults, seconds)
        for fault in set(faults):
            if len(tallies[kind].examples[fault]) == 1:
                print(f"--only {kind} --case {case}: {': '.join(fault)}", file=sys.stderr, flush=True)
    child.end()


class Shared(Iterator[tuple[str, int]]):
    """An iterator that threads may share, and that can be told to end."""

    def __init__(self, items: Iterator[tuple[str, int]]) -> None:
        self._items, self._turn = items, threading.Lock()

    def __next__(self) -> tuple[str, int]:
        with self._turn:
            return next(self._items)

    def end(self, *_: object) -> None:
        """Lets nobody have more."""
        self._items = iter(())


def shown(tallies: dict[str, Tally], limit: float) -> str:
    """Returns the table, and what was wrong, each kind of fault with the cases that show it."""
    names = ("traceback", "hang", "exit code", "unclear")
    heads = ("inputs of", "inputs", "refused", "tracebacks", f"hangs over {limit:.0f} s", "wrong exit codes")
    lines = ["| " + " | ".join((*heads, "unclear errors", "ms of a core")) + " |", "|---" * 8 + "|"]
    for kind, tally in tallies.items():
        counts = [tally.inputs, tally.refused, *(tally.faults[name] for name in names)]
        each = 1000 * tally.seconds / max(1, tally.inputs)
        lines.append(f"| {kind} | " + " | ".join(f"{count:,}" for count in counts) + f" | {each:.0f} |")
    for kind, tally in tallies.items():
        for (name, line), cases in sorted(tally.examples.items(), key=lambda item: -len(item[1])):
            lines.append(f"{kind}: {len(cases)} x {name}: {line} (cases {', '.join(map(str, cases[:5]))})")
    return "\n".join(lines)


def one(kind: str, case: int, seed: int, root: Path) -> None:
    """Makes one input again, shows what its commands said, and leaves its folder there."""
    for answer in answers(kind, case, seed, root):
        print(f"$ scalelab {' '.join(map(ascii, answer.argv))}\n{answer.out}{answer.err}-> {answer.code}")
    print(f"in {root / 'cases' / f'{kind}-{case}' / 'here'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, as a,b")
    parser.add_argument("--case", type=int, help="one input of one kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds after which an input hangs")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    kinds = options.only.split(",")
    root = Path(tempfile.mkdtemp(prefix="scalelab-fuzz-"))
    os.environ |= {"SCALELAB_CACHE": str(root / "cache"), "OMP_NUM_THREADS": "1"}
    # No cluster that is here: no job may outlive its input.
    os.environ |= {"RAY_ADDRESS": "127.0.0.1:9", "SLURM_CONF": str(root / "none")}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["fuzz_inputs", "torch._dynamo", "scalelab.cli.app", "scalelab.api.answers"]
    )
    maker = context.Process(target=prepare, args=(root / "template",))
    maker.start()
    maker.join()
    if maker.exitcode:
        sys.exit("the template could not be made")
    if options.case is not None:
        one(kinds[0], options.case, options.seed, root)
        return
    each = range(options.first, options.first + options.inputs // len(kinds))
    queue = Shared(iter([(kind, case) for case in each for kind in kinds]))
    signal.signal(signal.SIGINT, queue.end)  # the table is of what was done until then
    signal.signal(signal.SIGTERM, queue.end)
    tallies = {kind: Tally() for kind in kinds}
    threads = [
        threading.Thread(target=batch, args=(queue, tallies, options, root)) for _ in range(options.children)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(shown(tallies, options.limit))
    shutil.rmtree(root, ignore_errors=True)
    sys.exit(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    main()

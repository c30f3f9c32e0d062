"""Kills at random moments: every acknowledged record is in the store once, and every study completes.

    python benchmarks/kills.py [--kills 1000] [--seed 0] [--kind coordinator,worker] [--batch 50]

Three lanes at once, each with a host name and a path to the one store of its own, run what `kill_victims.py`
lists. At seeded moments one of a command's processes gets SIGKILL, SIGTERM, SIGINT, or SIGSTOP and SIGCONT.
A record counts as acknowledged when its file has its name in the journal, which is watched from outside.
After each batch the study is run to its end and everything is compared: with what was acknowledged, with what
the study declares, and bit for bit with a run that nobody disturbed.

Needs Linux. Host names and the bind mount need root; else one name and a relative path are used. Exit code 1
where anything was lost, doubled, or ended in a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_victims import VICTIMS, Lab, Victim, command, forked, missing

SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGSTOP]
FINISH_SECONDS = 300
TRIALS = 30


@dataclass
class Tally:
    """What was done to one kind of victim, and what came of it."""

    kills: int = 0
    stopped: int = 0
    tracebacks: int = 0


class Watch:
    """Notes what appears in a journal, from outside.

    Attributes:
        seen: By a file's name, the SHA-256 of its content.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.seen: dict[str, str] = {}

    def look(self) -> None:
        """Reads what is new."""
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.journal / "new"):
                if entry.name not in self.seen:
                    with suppress(FileNotFoundError):  # taken in just now: it is found in `kept`
                        self.seen[entry.name] = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()

    def sleep(self, seconds: float) -> None:
        """Looks for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.002)

    def faults(self) -> tuple[list[str], list[str]]:
        """Returns the files that are gone or changed, and those that are there twice."""
        places: dict[str, list[Path]] = {}
        for folder in ("new", "kept"):
            for path in (self.journal / folder).rglob("*.json"):
                places.setdefault(path.name, []).append(path)
        lost = [
            name
            for name, digest in self.seen.items()
            if not any(
                hashlib.sha256(path.read_bytes()).hexdigest() == digest for path in places.get(name, ())
            )
        ]
        return lost, [name for name, paths in places.items() if len(paths) > 1]


@dataclass
class Lane:
    """One host's way to the store, and what runs there now."""

    host: str
    store: Path
    cwd: Path
    log: Path
    kind: str = ""
    pid: int = 0
    strike_at: float = 0.0
    started: float = 0.0

    def start(self, kind: str, lab: Lab) -> None:
        """Starts a victim."""
        self.kind = kind
        action = VICTIMS[kind].start(lab, self.store)
        self.pid = forked(action, self.log, host=self.host, cwd=self.cwd)
        self.started = time.monotonic()
        self.strike_at = self.started + lab.dice.uniform(0, VICTIMS[kind].wait)

    def ended(self) -> bool:
        """Whether what ran here has ended."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
        return not self.pid


@dataclass
class Torture:
    """A run of kills.

    Attributes:
        lab: The store and the study.
        lanes: Where victims run.
        watch: Sees what is acknowledged.
        tallies: By kind of victim.
        lost: What was acknowledged, or must be there, and is not.
        doubled: What is there twice.
        wrong: Anything else that is not as it should be.
    """

    lab: Lab
    lanes: list[Lane]
    watch: Watch
    tallies: dict[str, Tally]
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def strike(self, lane: Lane) -> None:
        """Sends a random signal to a process of a lane's victim."""
        victim: Victim = VICTIMS[lane.kind]
        dice = self.lab.dice
        lane.strike_at = time.monotonic() + dice.uniform(0.3, victim.wait)
        targets = victim.targets(lane.pid)
        if not targets:
            return
        target, what = dice.choice(targets), dice.choice(SIGNALS)
        with suppress(ProcessLookupError):
            os.kill(target, what)
            self.tallies[lane.kind].kills += 1
            if what == signal.SIGSTOP:
                self.tallies[lane.kind].stopped += 1
                self.watch.sleep(dice.uniform(0.1, 1.0))
                os.kill(target, signal.SIGCONT)

    def batch(self, kills: int) -> None:
        """Strikes so many times, then lets everything come to its end and compares."""
        self.lab.new_study(TRIALS)
        kinds = list(self.tallies)
        goal = sum(tally.kills for tally in self.tallies.values()) + kills
        while sum(tally.kills for tally in self.tallies.values()) < goal:
            for lane in self.lanes:
                if lane.ended():
                    self.read(lane)
                    fewest = min(kinds, key=lambda kind: (self.tallies[kind].kills, self.lab.dice.random()))
                    pick = self.lab.dice.choice(kinds) if self.lab.dice.random() < 0.5 else fewest
                    lane.start(pick, self.lab)
                elif time.monotonic() > lane.strike_at:
                    self.strike(lane)
            self.watch.sleep(0.005)
        self.end()
        self.compare()

    def read(self, lane: Lane) -> None:
        """Looks for a traceback in what a victim said."""
        said = lane.log.read_text(encoding="utf-8", errors="replace") if lane.log.exists() else ""
        if "Traceback (most recent call last)" in said:
            self.tallies[lane.kind].tracebacks += 1
            print(f"{lane.kind} on {lane.host}:\n{said[-3000:]}", file=sys.stderr)
        lane.log.unlink(missing_ok=True)

    def end(self) -> None:
        """Asks what still runs to end, and ends what does not."""
        for lane in self.lanes:
            deadline = time.monotonic() + 30
            with suppress(ProcessLookupError):
                if lane.pid:
                    os.kill(lane.pid, signal.SIGINT)
                while not lane.ended():
                    self.watch.sleep(0.02)
                    if time.monotonic() > deadline:
                        ran = time.monotonic() - lane.started
                        print(f"{lane.kind}, begun {ran:.0f} s ago, did not end at SIGINT", file=sys.stderr)
                        os.kill(lane.pid, signal.SIGKILL)
                        deadline += 30
            self.read(lane)

    def call(self, action: Any, lane: Lane) -> tuple[int, str]:
        """Calls an action in a lane to its end; returns its exit code and what it said."""
        pid = forked(action, lane.log, host=lane.host, cwd=lane.cwd)
        deadline = time.monotonic() + FINISH_SECONDS
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            self.watch.sleep(0.01)
        said = lane.log.read_text(encoding="utf-8", errors="replace") if lane.log.exists() else ""
        lane.log.unlink(missing_ok=True)
        return os.waitstatus_to_exitcode(status), said

    def must(self, what: str, action: Any, lane: Lane, *codes: int) -> str:
        """Calls an action that has to succeed."""
        code, said = self.call(action, lane)
        if code not in (codes or (0,)) or "Traceback" in said:
            self.wrong.append(f"{what} on {lane.host}: exit code {code}: {said[-1500:]}")
        return said

    def compare(self) -> None:
        """Completes the study, the imports and the merges, and looks at everything that must be there."""
        lab, first = self.lab, self.lanes[0]
        # What died on a host is known to be dead there.
        for lane in [*self.lanes, first]:
            self.must("run", lab.run(lane.store, "--workers", 0, "--retry-failed"), lane)
        for name, file in lab.imported.items():
            options = ("--study", name, "--store", first.store)
            self.must("import", command("import", file, *options), first)
        for other in lab.merged:
            self.must("merge", command("store", "merge", other, "--store", first.store), first)
        self.must("check", command("store", "check", "--store", first.store), first)
        alone = lab.folder / f"{lab.study.stem}.duckdb"
        self.must("undisturbed run", lab.run(alone, "--workers", 0), first)
        there, undisturbed = (self.content(path) for path in (lab.store, alone))
        if there and undisturbed:
            self.judge(there, undisturbed)
        lab.imported.clear()
        lab.merged.clear()

    def content(self, store: Path) -> dict[str, Any]:
        """Returns what a store holds."""
        lab = self.lab

        def read() -> int:
            from scalelab.store import Store

            opened = Store(store)
            asked = {
                "records": "select trial_id || '-' || attempt, count(*) from records group by 1",
                "measurements": "select measurement_id || '-' || attempt, count(*) from measurements "
                "group by 1",
                "done": "select trial_id, count(*) from records where status = 'done' group by 1",
                "imports": "select study, count(*) from runs where study like 'table-%' group by 1",
                "losses": "select trial_id, loss, objective, test_loss from runs where planned and study = "
                f"'{lab.study.stem}'",
            }
            print(json.dumps({name: opened.rows(query)[1] for name, query in asked.items()}))
            return 0

        said = self.must("reading", read, self.lanes[0])
        return json.loads(said.splitlines()[-1]) if said.startswith("{") else {}

    def judge(self, there: dict[str, Any], undisturbed: dict[str, Any]) -> None:
        """Compares what is there with what must be."""
        lab = self.lab
        lost, doubled = self.watch.faults()
        self.lost += lost
        self.doubled += doubled
        for name in ("records", "measurements", "done"):
            self.doubled += [f"{name}: {row[0]}" for row in there[name] if row[1] != 1]
        held = {row[0] for name in ("records", "measurements") for row in there[name]}
        attempts = {
            name.split(".")[0]
            for name in self.watch.seen
            if not name.endswith((".study.json", ".import.json"))
        }
        self.lost += sorted(attempts - held)
        self.lost += [
            f"{other.parent.name}: {name}" for other, ids in lab.merged.items() for name in ids - held
        ]
        rows = dict(there["imports"])
        self.lost += [name for name in lab.imported if rows.get(name) != 400]
        if sorted(there["losses"]) != sorted(undisturbed["losses"]):
            differ = {row[0] for row in there["losses"]} ^ {row[0] for row in undisturbed["losses"]}
            self.wrong.append(f"{lab.study.stem}: other trials or losses than undisturbed; trials: {differ}")

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled, or wrong."""
        tracebacks = sum(tally.tracebacks for tally in self.tallies.values())
        return not (self.lost or self.doubled or self.wrong or tracebacks)

    def table(self) -> str:
        """Returns what was done and what came of it."""
        lines = ["| victim | kills | of these suspended | tracebacks | lost | doubled |", "|---" * 6 + "|"]
        total: Counter[str] = Counter()
        for kind, tally in self.tallies.items():
            lines.append(f"| {kind} | {tally.kills:,} | {tally.stopped:,} | {tally.tracebacks} | | |")
            total.update(kills=tally.kills, stopped=tally.stopped, tracebacks=tally.tracebacks)
        counts = (*total.values(), len(self.lost), len(self.doubled))
        lines.append(f"| all | {' | '.join(f'{count:,}' for count in counts)} |")
        hosts = len({lane.host for lane in self.lanes})
        lines += [
            "",
            f"{hosts} host names, {len(self.lanes)} paths to the store; {len(self.watch.seen):,} files were "
            "acknowledged",
            *(f"lost: {name}" for name in self.lost[:20]),
            *(f"doubled: {name}" for name in self.doubled[:20]),
            *(f"wrong: {what}" for what in self.wrong[:20]),
        ]
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default=",".join(VICTIMS), help="victims, as a,b")
    parser.add_argument("--batch", type=int, default=50, help="signals between two comparisons")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scalelab-kills-"))
    os.environ |= {"SCALELAB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    # Children have these loaded. Ctrl-C while PyTorch initializes ends in its own words.
    import torch  # noqa: F401

    import scalelab.api.answers
    import scalelab.execute.worker
    import scalelab.testing.toys  # noqa: F401

    absent = set(missing())
    kinds = [kind for kind in options.kind.split(",") if kind not in absent]
    for kind in absent & set(options.kind.split(",")):
        print(f"{kind}: not in this version or on this machine, left out", file=sys.stderr)
    hosts = [f"kills-{name}" for name in "abc"] if os.geteuid() == 0 else [""] * 3
    if not hosts[0]:
        print(f"not root: one host name, {socket.gethostname()}", file=sys.stderr)
    lab = Lab(folder, hosts, random.Random(options.seed))
    lanes = [
        Lane(host, *way, log=folder / f"log-{k}.txt")
        for k, (host, way) in enumerate(zip(hosts, lab.prepare(), strict=True))
    ]
    watch = Watch(Path(f"{lab.store}.journal"))
    torture = Torture(lab, lanes, watch, {kind: Tally() for kind in kinds})
    start = time.monotonic()
    while (done := sum(tally.kills for tally in torture.tallies.values())) < options.kills:
        torture.batch(min(options.batch, options.kills - done))
        said = "well" if torture.good else "NOT well"
        print(f"{done + options.batch} kills, {time.monotonic() - start:.0f} s: {said}", file=sys.stderr)
    print(torture.table())
    if torture.good:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(not torture.good)


if __name__ == "__main__":
    main()

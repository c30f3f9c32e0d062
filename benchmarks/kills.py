"""Kills at random moments: every acknowledged record is in the store once, and every study completes.

    python benchmarks/kills.py [--kills 1000] [--seed 0] [--kind coordinator,worker] [--on slurm,ray]

Three lanes at once, each with a host name and a path to the one store of its own, run what `kill_victims.py`
lists. At seeded moments one of a command's processes gets SIGKILL, SIGTERM, SIGINT, or SIGSTOP and SIGCONT.
A record counts as acknowledged when its file has its name in the journal, which is watched from outside.
After each batch the study is run to its end and everything is compared: with what was acknowledged, with what
the study declares, and bit for bit with a run that nobody disturbed. `--on` adds clusters of two nodes, which
are started here: their jobs, the workers of these, and coordinators, whose runs the next one joins.

Needs Linux. Host names and the bind mount need root; else one name and a relative path are used. Exit code 1
where anything was lost, doubled, or ended in a traceback.
"""

from __future__ import annotations

import argparse
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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kill_clusters
from kill_victims import VICTIMS, Lab, command, forked, missing
from kill_watch import Watch

FINISH_SECONDS = 600
END_SECONDS = 30
TRIALS, STEPS = 30, 50
ON_CLUSTERS = 150, 50
"""Trials of a batch with clusters, whose jobs serve many each, and their steps."""


@dataclass
class Tally:
    """What was done to one kind of victim, and what came of it."""

    kills: int = 0
    stopped: int = 0
    tracebacks: int = 0


@dataclass
class Lane:
    """One host's way to the store, and what runs there now."""

    host: str
    store: Path
    cwd: Path
    log: Path
    kind: str = ""
    pid: int = 0
    code: int | None = None
    strike_at: float = 0.0
    started: float = 0.0

    def start(self, kind: str, lab: Lab) -> None:
        """Starts a victim."""
        self.kind = kind
        action = VICTIMS[kind].start(lab, self.store)
        self.pid, self.code = forked(action, self.log, host=self.host, cwd=self.cwd), None
        self.started = time.monotonic()
        self.strike_at = self.started + lab.dice.uniform(0, VICTIMS[kind].wait)

    def ended(self) -> bool:
        """Whether what ran here has ended."""
        if self.pid:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid, self.code = 0, os.waitstatus_to_exitcode(status)
        return not self.pid


@dataclass
class Torture:
    """A run of kills.

    Attributes:
        lab: The store and the study.
        lanes: Where victims run.
        watch: Sees what is acknowledged.
        tallies: By kind of victim.
        on: Clusters, as `--on` names them.
        lost: What was acknowledged, or must be there, and is not.
        doubled: What is there twice.
        wrong: Anything else that is not as it should be.
    """

    lab: Lab
    lanes: list[Lane]
    watch: Watch
    tallies: dict[str, Tally]
    on: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def n_kills(self) -> int:
        """Signals so far."""
        return sum(tally.kills for tally in self.tallies.values())

    def strike(self, lane: Lane) -> None:
        """Sends a random signal to a process of a lane's victim."""
        dice = self.lab.dice
        same = [kind for kind in self.tallies if VICTIMS[kind].start is VICTIMS[lane.kind].start]
        lane.kind = self.pick(same)
        victim, tally = VICTIMS[lane.kind], self.tallies[lane.kind]
        lane.strike_at = time.monotonic() + dice.uniform(0.3, victim.wait)
        targets = victim.targets(self.lab, lane.pid)
        if not targets:
            return
        send, what = dice.choice(targets), dice.choice(victim.signals)
        with suppress(ProcessLookupError):
            send(what)
            tally.kills += 1
            if what == signal.SIGSTOP:
                tally.stopped += 1
                self.watch.sleep(dice.uniform(0.1, 1.0))
                send(signal.SIGCONT)

    def pick(self, kinds: list[str]) -> str:
        """Returns one of some kinds, rather one that had few kills."""
        dice = self.lab.dice
        if dice.random() < 0.5:
            return dice.choice(kinds)
        return min(kinds, key=lambda kind: (self.tallies[kind].kills, dice.random()))

    def batch(self, kills: int) -> None:
        """Strikes so many times, then lets everything come to its end and compares."""
        self.lab.new_study(*(ON_CLUSTERS if self.on else (TRIALS, STEPS)))
        goal, over = self.n_kills + kills, False
        while self.n_kills < goal and not over:
            for lane in self.lanes:
                if lane.ended():
                    self.read(lane)
                    # On a cluster there is nothing to kill once the study is complete.
                    over |= lane.code == 0 and VICTIMS[lane.kind].alone
                    lane.code = None
                    if free := self.free():
                        lane.start(self.pick(free), self.lab)
                elif time.monotonic() > lane.strike_at:
                    self.strike(lane)
            self.watch.sleep(0.005)
        self.end()
        self.compare()

    def free(self) -> list[str]:
        """Returns the victims that may be started."""
        there = [VICTIMS[lane.kind].start for lane in self.lanes if lane.pid]
        return [kind for kind in self.tallies if not (VICTIMS[kind].alone and VICTIMS[kind].start in there)]

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
            # The jobs of a cluster write their checkpoints first.
            patience = END_SECONDS * (4 if self.on else 1)
            deadline = time.monotonic() + patience
            with suppress(ProcessLookupError):
                if lane.pid:
                    os.kill(lane.pid, signal.SIGINT)
                while not lane.ended():
                    self.watch.sleep(0.02)
                    if time.monotonic() > deadline:
                        ran = time.monotonic() - lane.started
                        print(f"{lane.kind}, begun {ran:.0f} s ago, did not end at SIGINT", file=sys.stderr)
                        os.kill(lane.pid, signal.SIGKILL)
                        deadline += patience
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
        for on, lane in zip(self.on, self.lanes, strict=False):
            self.must(f"run on {on}", lab.run(lane.store, "--on", on, "--slots", 2, "--retry-failed"), lane)
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


def asked() -> argparse.Namespace:
    """Returns the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default=",".join(VICTIMS), help="victims, as a,b; may be empty with --on")
    parser.add_argument("--batch", type=int, default=50, help="signals between two comparisons, at most")
    parser.add_argument("--on", default="", help="clusters, whose victims are added, as slurm,ray")
    options = parser.parse_args()
    options.kind, options.on = ([*filter(None, text.split(","))] for text in (options.kind, options.on))
    unknown = {*options.kind} - VICTIMS.keys() | {*options.on} - {"slurm", "ray"}
    if unknown or not (options.kind or options.on):
        parser.error(f"no such victim or cluster: {', '.join(unknown)}; there are {', '.join(VICTIMS)}")
    reasons = dict.fromkeys(missing(), "not in this checkout")
    reasons |= {kind: reason for kind in ("slurm", "ray") if (reason := kill_clusters.why_not(kind))}
    for name in [*options.kind, *options.on]:
        if name in reasons:
            print(f"{name}: left out, {reasons[name]}", file=sys.stderr)
    options.kind = [name for name in options.kind if name not in reasons]
    options.on = [name for name in options.on if name not in reasons]
    return options


def tortured(options: argparse.Namespace, folder: Path, ends: ExitStack) -> Torture:
    """Returns what came of all kills; clusters end with `ends`."""
    hosts = [f"kills-{name}" for name in "abc"] if os.geteuid() == 0 else [""] * 3
    if not hosts[0]:
        print(f"not root: one host name, {socket.gethostname()}", file=sys.stderr)
    lab = Lab(folder, hosts, random.Random(options.seed))
    lanes = [
        Lane(host, *way, log=folder / f"log-{k}.txt")
        for k, (host, way) in enumerate(zip(hosts, lab.prepare(), strict=True))
    ]
    on = [ends.enter_context(kill_clusters.cluster(kind)) for kind in options.on]
    for name in on:
        VICTIMS.update(kill_clusters.victims(name))
    kinds = [*options.kind, *(kind for kind in VICTIMS if VICTIMS[kind].alone)]
    watch = Watch(Path(f"{lab.store}.journal"))
    torture = Torture(lab, lanes, watch, {kind: Tally() for kind in kinds}, on)
    start = time.monotonic()
    while (done := torture.n_kills) < options.kills:
        torture.batch(min(options.batch, options.kills - done))
        said = "well" if torture.good else "NOT well"
        print(f"{torture.n_kills} kills, {time.monotonic() - start:.0f} s: {said}", file=sys.stderr)
    return torture


def main() -> None:
    options = asked()
    folder = Path(tempfile.mkdtemp(prefix="scalelab-kills-"))
    os.environ |= {"SCALELAB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    # Children have these loaded. Ctrl-C while PyTorch initializes ends in its own words.
    import torch  # noqa: F401

    import scalelab.api.answers
    import scalelab.execute.worker
    import scalelab.testing.toys  # noqa: F401

    for number in (signal.SIGINT, signal.SIGTERM):  # the clusters end with this script
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    with ExitStack() as ends:
        torture = tortured(options, folder, ends)
    print(torture.table())
    if torture.good:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(not torture.good)


if __name__ == "__main__":
    main()

"""Two stores that went apart become one: what another store holds is taken over, each content once.

All that could be refused is looked at before anything is written. Then contents become files of the
journal, the database takes them in, and what belongs to trials (weights, checkpoints, logs) is copied where
it is lacking. Every file appears whole or not at all and is told from those that are there by its content, so
that a merge that was cut off is completed by the next one.

Attempts are told apart by what they say, not by their numbers: an attempt that both stores made under one
number but with different results is kept as a further one, and a second merge finds it there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError, StoreDamagedError
from scalelab.records import FINAL_STATUSES
from scalelab.store.connection import rebuild_command
from scalelab.store.envelope import TornError
from scalelab.store.files import copy_new, locked, writing
from scalelab.store.imports import nothing, parts
from scalelab.store.ingest import ingest
from scalelab.store.kind import Attempts, as_bytes
from scalelab.store.kinds import IMPORTS, MEASUREMENTS, PREDICTIONS, RECORDS, REGISTRATIONS
from scalelab.store.other import Other, by_study, registered, trained
from scalelab.store.salvage import PIECE, salvage

if TYPE_CHECKING:
    from scalelab.store.questions import Questions


_CLASH = (
    "{study!r} is a study that was run in {trained} and an imported table in {imported}; import the table "
    "again under another name (--study), remove it, and merge then"
)


@dataclass
class MergeReport:
    """What a merge took over.

    Attributes:
        store: The store that took over.
        other: The store that it was taken from.
        records: Records that are new.
        renumbered: By id the new id of those whose number was taken by another attempt.
        measurements: Measurements on hardware that are new.
        registrations: Versions of studies that are new.
        imports: Versions of imported tables that are new.
        predictions: Registered predictions that are new.
        weights: Trained weights that were copied.
        checkpoints: States of unfinished trainings that were copied.
        logs: Logs that were copied.
        changed: Studies whose text is not the same in both; the one that was run last holds.
        replaced: Imported tables that the other store's took the place of.
        unreadable: Files of the other journal that are not what a store wrote, and why.
    """

    store: Path
    other: Path
    records: int = 0
    renumbered: dict[str, str] = field(default_factory=dict)
    measurements: int = 0
    registrations: int = 0
    imports: int = 0
    predictions: int = 0
    weights: int = 0
    checkpoints: int = 0
    logs: int = 0
    changed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """What is new, by what it is called; without what is not."""
        found = {
            "records": self.records,
            "registrations": self.registrations,
            "imported tables": self.imports,
            "measurements": self.measurements,
            "predictions": self.predictions,
            "weights": self.weights,
            "checkpoints": self.checkpoints,
            "logs": self.logs,
        }
        return {what: count for what, count in found.items() if count}


def merge(store: Questions, other: Other | Path | str, *, replace: bool = False) -> MergeReport:
    """Takes over what another store holds; the other one is not changed.

    Args:
        store: The store that takes over.
        other: The other store's file, or what was read of it.
        replace: Whether of two different imported tables of one name the one imported last may hold.

    Raises:
        InputError: It is the same store, no file, or a name means different things in both.
        StoreLockedError: Somebody uses one of the two for too long.
        StoreError: One of them cannot be read or written.
    """
    path = other.path if isinstance(other, Other) else Path(other)
    if os.path.realpath(path) == str(store.path) or _same_file(path, store.path):
        raise InputError(f"{path} is the store {store.path} itself; name another one to merge")
    wait, folder = store.database.wait, store.database.journal.folder
    other = other if isinstance(other, Other) else Other(path, wait)
    refusal = f"another merge into {store.path} has been going on for {wait:g} s; run again after it"
    with locked(folder / "merge.lock", wait, refusal):
        return _Merge(store, other, replace).run()


def _same_file(one: Path, two: Path) -> bool:
    return one.exists() and two.exists() and one.samefile(two)


class _Merge:
    """One merge, under way."""

    def __init__(self, store: Questions, other: Other, replace: bool) -> None:
        self.store = store
        self.journal = store.database.journal
        self.other = other
        self.replace = replace
        self.report = MergeReport(store.path, other.path)

    def run(self) -> MergeReport:
        ingest(self.store.database)
        tables = self._checked()
        # From here on all contents of this store are files, with which others can be compared.
        found = salvage(self.store.database, self.store.database.wait)
        if found.problem:
            raise StoreDamagedError(f"{found.problem}; run {rebuild_command(self.store.path)}, then merge")
        versions = self.other.names(REGISTRATIONS) - self._ours(REGISTRATIONS)
        expected = len(self.other.names(RECORDS) - self._ours(RECORDS)) + len(versions)
        durable = expected <= PIECE
        self.report.registrations = self._add(REGISTRATIONS, versions, durable)
        self.report.imports = self._add(IMPORTS, tables - self._ours(IMPORTS), durable)
        told = self.other.names(PREDICTIONS) - self._ours(PREDICTIONS)
        self.report.predictions = self._add(PREDICTIONS, told, durable)
        self.report.measurements = len(self._add_attempts(MEASUREMENTS, durable)[1])
        names, new = self._add_attempts(RECORDS, durable)
        self.report.records = len(new)
        self.report.renumbered = {name: names[name] for name in new if names[name] != name}
        if not durable:
            os.sync()
        ingest(self.store.database)
        self._copy_files(names)
        self.report.unreadable = self.other.unreadable
        return self.report

    def _ours(self, kind: Any) -> set[str]:
        return {path.name.removesuffix(kind.suffix) for path in self.journal.files(kind)}

    def _checked(self) -> set[str]:
        """Refuses what cannot be merged; returns the names of the imported tables to take over."""
        theirs = self.other.texts()
        tables = self.other.tables()
        with self.store.database.read() as connection:
            ours, ran = registered(connection), trained(connection) | set(registered(connection))
            own = by_study(IMPORTS.held(connection) | self._ours(IMPORTS))
            imported = set(by_study(IMPORTS.held(connection)))
        here, there = self.store.path, self.other.path
        for study in sorted(ran.intersection(tables)):
            raise InputError(_CLASH.format(study=study, trained=here, imported=there))
        for study in sorted(imported.intersection(theirs)):
            raise InputError(_CLASH.format(study=study, trained=there, imported=here))
        self.report.changed = [
            study for study in sorted(theirs) if study in ours and ours[study][1] != theirs[study][1]
        ]
        return {name for study, names in tables.items() for name in self._table(study, names, own)}

    def _table(self, study: str, theirs: list[str], own: dict[str, list[str]]) -> list[str]:
        """Returns which versions of an imported table to take over."""
        ours = own.get(study, [])
        if not ours:
            return theirs
        last, other_last = ours[-1], theirs[-1]
        digest, other_digest = parts(last)[1], parts(other_last)[1]
        removed = digest == nothing(study).digest
        if digest == other_digest or (removed and last > other_last):
            return []
        # Where one is an earlier version of the other, the stores agree which is the later one.
        follows = digest in {parts(name)[1] for name in theirs} or other_digest in {
            parts(name)[1] for name in ours
        }
        if not follows and not self.replace:
            raise InputError(
                f"{self.store.path} and {self.other.path} have different imported tables {study!r}; with "
                "--replace the one imported last holds, or import one of them under another name (--study)"
            )
        if last < other_last:
            self.report.replaced.append(study)
        return theirs

    def _add(self, kind: Any, names: set[str], durable: bool) -> int:
        """Takes over contents of new names; returns how many."""
        return sum(
            self.journal.adopt(name, text, kind, durable=durable)
            for name, text in self.other.contents(kind, names)
        )

    def _add_attempts(self, kind: Attempts[Any, Any], durable: bool) -> tuple[dict[str, str], list[str]]:
        """Takes over attempts.

        Returns:
            By the name of each attempt in the other store its name in this one, and which of them are new.
        """
        theirs = _numbers(self.other.names(kind))
        ours = _numbers(self._ours(kind))
        claimed = [claim.record_id for claim in self.store.claims.live()] if kind is RECORDS else []
        taken = _numbers(claimed)
        owners: dict[str, _Owner] = {}
        names: dict[str, str] = {}
        new: list[str] = []
        wanted = {f"{owner}-{number}" for owner, numbers in theirs.items() for number in numbers}
        for name, sealed in self.other.contents(kind, wanted):
            owner, number = _split(name)
            if owner not in owners:
                texts = {
                    one: path.read_bytes()
                    for one in sorted(ours.get(owner, ()))
                    if (path := self.journal.find(f"{owner}-{one}", kind)) is not None
                }
                owners[owner] = _Owner(kind, owner, texts, taken.get(owner, set()), theirs[owner])
            text = as_bytes(sealed)
            try:
                here = owners[owner].find(number, text)
            except TornError as error:
                raise StoreDamagedError(
                    f"an attempt at {owner} in the journal of {self.store.path} cannot be used: {error}; "
                    f"run {rebuild_command(self.store.path)}, then merge"
                ) from error
            if here is None:
                new.append(name)
                here = owners[owner].free(number)
                while not self._put(kind, owner, here, number, text, durable):
                    here = owners[owner].free(number)
            names[name] = f"{owner}-{here}"
        return names, new

    def _put(
        self, kind: Attempts[Any, Any], owner: str, here: int, number: int, text: bytes, durable: bool
    ) -> bool:
        content = text if here == number else kind.renumbered(text, here)
        return self.journal.adopt(f"{owner}-{here}", content, kind, durable=durable)

    def _copy_files(self, names: dict[str, str]) -> None:
        """Copies what is lacking of weights, logs, and checkpoints of trials that are not finished here."""
        self.report.weights = self._copy("weights", {})
        self.report.logs = self._copy("logs", {f"{name}.txt": f"{here}.txt" for name, here in names.items()})
        done = {
            f"{trial_id}.pt"
            for trial_id, outcome in self.store.outcomes().items()
            if outcome.status in FINAL_STATUSES
        }
        self.report.checkpoints = self._copy("checkpoints", {}, done)

    def _copy(self, folder: str, renamed: Mapping[str, str], without: Collection[str] = ()) -> int:
        target = self.journal.folder / folder
        copied = 0
        for path in self.other.folder(folder):
            if path.name in without:
                continue
            with writing(target):
                copied += copy_new(path, target / renamed.get(path.name, path.name))
        return copied


class _Owner:
    """The attempts at one trial or benchmark that this store has; each is one of the other's at most.

    Args:
        kind: Of the attempts.
        name: Of the trial or benchmark.
        texts: Of those there are, by number.
        claimed: Numbers under which attempts are under way here.
        theirs: Numbers of the other store.
    """

    def __init__(
        self,
        kind: Attempts[Any, Any],
        name: str,
        texts: dict[int, bytes],
        claimed: set[int],
        theirs: set[int],
    ) -> None:
        self._kind = kind
        self._name = name
        self._texts = texts
        self._taken = {*texts, *claimed}
        self._theirs = theirs
        self._said: dict[int, str] = {}

    def find(self, number: int, text: bytes) -> int | None:
        """Returns the number that an attempt of the other store has here, which is then no other's.

        Raises:
            TornError: An attempt that was to be compared is damaged here.
        """
        if self._texts.get(number) == text:
            found: int | None = number
        else:
            own = said(self._kind, text) if self._texts else ""
            same = [one for one in self._texts if self._said_by(one) == own]
            found = min(same, key=lambda one: (one != number, one), default=None)
        if found is not None:
            del self._texts[found]
        return found

    def free(self, number: int) -> int:
        """Returns a number for an attempt that is new here, by preference its own."""
        free = number if number not in self._taken else max(self._taken | self._theirs) + 1
        self._taken.add(free)
        return free

    def _said_by(self, number: int) -> str:
        if number not in self._said:
            self._kind.open(f"{self._name}-{number}", self._texts[number])
            self._said[number] = said(self._kind, self._texts[number])
        return self._said[number]


def said(kind: Attempts[Any, Any], text: bytes) -> str:
    """Returns a digest of what an attempt says: the same whatever its number, and from file and database."""
    members = kind.unsealed(text)
    content = json.loads(members[-1].text)
    content.pop("attempt", None)
    # What is missing, null or empty differs between versions of scalelab, and says nothing.
    told = _without_nothing([members[0].value, *(one.value for one in members[2:-1]), content])
    # A forged one may hold what canonical JSON has not: half a character, a NaN.
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        told = {key: _without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in told.items() if item not in (None, [], {})}
    return [_without_nothing(item) for item in value] if isinstance(value, list) else value


def _split(name: str) -> tuple[str, int]:
    owner, _, number = name.rpartition("-")
    return owner, int(number)


def _numbers(names: Iterable[str]) -> dict[str, set[int]]:
    """Returns the numbers of attempts by what they are attempts at; other names are left out."""
    found: dict[str, set[int]] = {}
    for name in names:
        owner, _, number = name.rpartition("-")
        if owner and number.isascii() and number.isdecimal():
            found.setdefault(owner, set()).add(int(number))
    return found

"""The four kinds of content that a store keeps: each is a kind of journal file and has a table of its own.

A row of `KINDS` says all that tells one kind from another; journal, ingestion, rebuild, salvage and check
walk the list. It is in the order in which content goes into a database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from scalelab.records import Measurement, Record
from scalelab.store import imports, measurements, registrations, stored_records
from scalelab.store.envelope import Member, TornError, seal, unseal

if TYPE_CHECKING:
    import duckdb

M = TypeVar("M")
E = TypeVar("E")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind(Generic[M, E]):
    """One kind of content.

    Attributes:
        name: What messages call one of it.
        plural: What messages call several.
        model: The class of what is written.
        suffix: Of its files.
        folder: Of its files in `kept`; `None` for folders by the first two digits of their names.
        name_of: Returns the name of a file without the suffix.
        members: Returns the JSON text of each member of a file.
        keys: The members' names.
        parse: Returns what is inserted, given the file's name and members.
        table: Has a row for each.
        key: SQL of the name of a row's file without the suffix.
        insert: Puts contents, by name, into a database, each once; returns the names that were new there.
        rows: A query for the rows to be restored; `{piece}` stands for the condition.
        restore: Returns what is to be written again of a row, given by column.
        missing: Returns what the table lacks, given the names of the files that it has taken in, oldest
            first, and the names that it holds; `None` where that is unknown.
    """

    name: str
    plural: str
    model: type[M]
    suffix: str
    folder: str | None
    name_of: Callable[[M], str]
    members: Callable[[M], dict[str, str]]
    keys: tuple[str, ...]
    parse: Callable[[str, list[Member]], E]
    table: str
    key: str
    insert: Callable[[duckdb.DuckDBPyConnection, Mapping[str, E]], set[str]]
    rows: str
    restore: Callable[[duckdb.DuckDBPyConnection, dict[str, Any]], M]
    missing: Callable[[duckdb.DuckDBPyConnection, list[str], set[str]], list[str]] | None

    def seal(self, content: M) -> bytes:
        """Returns the text of a file.

        Raises:
            ValueError: A value in it cannot be said in JSON or does not fit the database.
        """
        return seal(self.members(content))

    def open(self, name: str, text: bytes) -> E:
        """Reads a file.

        Raises:
            TornError: It is truncated, was changed, or is something else.
        """
        members = unseal(text, self.keys, self.name)
        try:
            return self.parse(name, members)
        except TornError:
            raise
        except ValueError as error:
            raise TornError(
                f"its content is not a valid {self.name}: {str(error).splitlines()[0]}"
            ) from error


def _difference(_: duckdb.DuckDBPyConnection, taken: list[str], there: set[str]) -> list[str]:
    return sorted(set(taken) - there)


REGISTRATIONS = Kind(
    name="registration",
    plural="registrations",
    model=registrations.Registration,
    suffix=".study.json",
    folder="studies",
    name_of=registrations.name_of,
    members=registrations.members,
    keys=("registration",),
    parse=registrations.parse,
    table="studies",
    key="registration",
    insert=registrations.insert,
    rows="select *, epoch_us(registered_at) / 1e6 as at from studies where {piece}",
    restore=registrations.restore,
    # The table has the last one of each study, and the names of files do not tell whose they are.
    missing=None,
)
IMPORTS = Kind(
    name="imported table",
    plural="imported tables",
    model=imports.ImportedTable,
    suffix=imports.SUFFIX,
    folder="imports",
    name_of=imports.name_of,
    members=imports.members,
    keys=("import", "rows"),
    parse=imports.parse,
    table="imports",
    key=f"left(journal_file, -{len(imports.SUFFIX)})",
    insert=imports.insert,
    rows="select *, epoch_us(imported_at) / 1e6 as at from imports where {piece}",
    restore=imports.restore,
    missing=imports.missing,
)
MEASUREMENTS = Kind(
    name="measurement",
    plural="measurements",
    model=Measurement,
    suffix=".latency.json",
    folder="latencies",
    name_of=lambda measurement: measurement.id,
    members=measurements.members,
    keys=("measurement_id", "attempt", "measurement"),
    parse=measurements.parse,
    table="measurements",
    key="measurement_id || '-' || attempt",
    insert=measurements.insert,
    rows="select content from measurements where {piece}",
    restore=measurements.restore,
    missing=_difference,
)
RECORDS = Kind(
    name="record",
    plural="records",
    model=Record,
    suffix=".json",
    folder=None,
    name_of=lambda record: record.id,
    members=stored_records.members,
    keys=("trial_id", "attempt", "features", "trial", "record"),
    parse=stored_records.parse,
    table="records",
    key="trial_id || '-' || attempt",
    insert=stored_records.insert,
    rows=stored_records.ROWS,
    restore=stored_records.restore,
    missing=_difference,
)
KINDS: tuple[Kind[Any, Any], ...] = (REGISTRATIONS, IMPORTS, MEASUREMENTS, RECORDS)


def kind_of_file(name: str) -> Kind[Any, Any]:
    """Returns the kind of a journal file; a record's suffix, the shortest, is the last in the list."""
    return next((kind for kind in KINDS if name.endswith(kind.suffix)), RECORDS)


def kind_of(content: object) -> Kind[Any, Any]:
    """Returns the kind of what is to be written."""
    return next(kind for kind in KINDS if isinstance(content, kind.model))

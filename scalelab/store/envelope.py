"""The text of a journal file: one JSON object whose checksum tells a torn file from a whole one.

A record reads `{"format":1,"sha256":…,"trial_id":…,"attempt":…,"features":{…},"trial":{…},"record":{…}}`, a
registration `{"format":1,"sha256":…,"registration":{…}}`, an imported table
`{"format":1,"sha256":…,"import":{…},"rows":{…}}`, a measurement
`{"format":1,"sha256":…,"measurement_id":…,"attempt":…,"measurement":{…}}`. The checksum covers everything
after it.

Trade-off: the keys stand in this order and without spaces, so that taking in 100,000 files (or a table of a
million rows) need not parse their curves (its rows) in Python; a file that somebody edited by hand is
refused, which an immutable record should be.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from scalelab.records import Frozen, Measurement, Record, Trial, canonical_json

FORMAT = 1
_HEAD = re.compile(r'\{"format":(\d+),"sha256":"([0-9a-f]{64})",')
_NAME = re.compile(r'"trial_id":"([0-9a-f]{16})","attempt":(\d+),"features":')
_MEASUREMENT = re.compile(r'"measurement_id":"([0-9a-f]{16})","attempt":(\d+),"measurement":')
_WHOLE = ("attempt", "best_step", "n_params", "n_params_body", "n_steps", "peak_memory_bytes")
_DECODER = json.JSONDecoder()


class TornError(ValueError):
    """A journal file is not what scalelab wrote."""


class Registration(Frozen):
    """What a study asked for when it was last run.

    Attributes:
        study: The study's name.
        text: The study file.
        registered_at: Seconds since the epoch.
        trials: The trials that it asks for, in order.
        former: Trials that an earlier version of it asked for.
    """

    study: str
    text: str
    registered_at: float
    trials: tuple[Trial, ...]
    former: tuple[Trial, ...] = ()


class ImportHead(Frozen):
    """What is known of an imported table beside its rows.

    Attributes:
        study: The name under which its rows are runs.
        source: The file's name, or `DataFrame`.
        imported_at: Seconds since the epoch.
        n_runs: Rows; none where the import takes an earlier one of that name away.
        mapping: By column of `runs`, the expression that gave it.
        condition: Which rows of the file were taken; `None` for all.
        columns: Names and types of the columns that `scalelab.store.schema.imported_columns` shows.
    """

    study: str
    source: str
    imported_at: float
    n_runs: int
    mapping: dict[str, str]
    condition: str | None = None
    columns: dict[str, Literal["NULL", "BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"]]


@dataclass(frozen=True, slots=True)
class ImportedTable:
    """An imported table as the journal holds it.

    Attributes:
        head: What is known of it beside its rows.
        rows: JSON of its columns: an object of equally long lists.
    """

    head: ImportHead
    rows: str

    @property
    def digest(self) -> str:
        """Changes when the name, the values or the columns' types do; not with time, file or expressions."""
        columns = canonical_json(self.head.columns)
        content = "\0".join([self.head.study, columns, self.rows])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the journal holds it.

    Attributes:
        trial_id: Names the trial.
        attempt: Number of the attempt.
        trial: Canonical JSON of the trial's content.
        content: The same, parsed.
        features: The record's features.
        record: JSON of the record without its trial and its features.
    """

    trial_id: str
    attempt: int
    trial: str
    content: dict[str, Any]
    features: dict[str, Any]
    record: str

    @property
    def id(self) -> str:
        """The record's id."""
        return f"{self.trial_id}-{self.attempt}"

    def to_record(self) -> Record:
        """Returns the record itself."""
        content = {**json.loads(self.record), "trial": self.content, "features": self.features}
        return Record.model_validate(content)


class MeasurementEntry(NamedTuple):
    """A measurement as the journal holds it.

    Attributes:
        measurement_id: Names the benchmark.
        attempt: Number of the attempt.
        study: For which it was made.
        status: How it ended.
        content: Canonical JSON of all of it.
    """

    measurement_id: str
    attempt: int
    study: str
    status: str
    content: str

    @property
    def id(self) -> str:
        """The measurement's id."""
        return f"{self.measurement_id}-{self.attempt}"


def _seal(rest: str) -> bytes:
    digest = hashlib.sha256(rest.encode()).hexdigest()
    return f'{{"format":{FORMAT},"sha256":"{digest}",{rest}}}\n'.encode()


def _unseal(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise TornError("it is not text") from error
    head = _HEAD.match(text)
    if head is None or not text.endswith("}\n"):
        raise TornError(
            "it is torn" if text[:10] == '{"format":'[: len(text[:10])] else "it is no journal file"
        )
    if int(head[1]) != FORMAT:
        raise TornError(f"its format is {head[1]}, this scalelab reads {FORMAT}")
    rest = text[head.end() : -2]
    if hashlib.sha256(rest.encode()).hexdigest() != head[2]:
        raise TornError("its checksum does not match its content")
    return rest


def seal_record(record: Record) -> bytes:
    """Returns the text of a record's journal file.

    Raises:
        ValueError: A value in it cannot be said in JSON or does not fit the database.
    """
    _check_sizes(record)
    trial = canonical_json(record.trial.model_dump(mode="json"))
    features = canonical_json(record.features)
    body = record.model_dump_json(exclude={"trial", "features"})
    return _seal(
        f'"trial_id":"{record.trial.id}","attempt":{record.attempt},"features":{features},'
        f'"trial":{trial},"record":{body}'
    )


def _check_sizes(record: Record) -> None:
    _check_trial(record.trial)
    numbers = {name: getattr(record, name) for name in _WHOLE}
    numbers["step"] = max((point.step for point in record.curve), default=None)
    numbers["n_seen"] = max((point.n_seen for point in record.curve), default=None)
    _check_fit(numbers)


def _check_trial(trial: Trial) -> None:
    _check_fit({"n_examples": trial.n_examples, "data_seed": trial.data_seed})


def _check_fit(numbers: Mapping[str, int | None]) -> None:
    for name, value in numbers.items():
        if value is not None and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} = {value} does not fit 64 bits")


def open_record(content: bytes) -> Entry:
    """Reads a record's journal file.

    Raises:
        TornError: It is torn, was changed, or is something else.
    """
    rest = _unseal(content)
    name = _NAME.match(rest)
    if name is None:
        raise TornError("it holds no record")
    features, end = _DECODER.raw_decode(rest, name.end())
    start = end + len(',"trial":')
    trial, end = _DECODER.raw_decode(rest, start)
    record = rest[end + len(',"record":') :]
    return Entry(name[1], int(name[2]), rest[start:end], trial, features, record)


def seal_registration(registration: Registration) -> bytes:
    """Returns the text of a registration's journal file.

    Raises:
        ValueError: A value in it cannot be said in JSON or does not fit the database.
    """
    for trial in registration.trials:
        _check_trial(trial)
    return _seal(f'"registration":{canonical_json(registration.model_dump(mode="json"))}')


def open_registration(content: bytes) -> Registration:
    """Reads a registration's journal file.

    Raises:
        TornError: It is torn, was changed, or is something else.
    """
    rest = _unseal(content)
    if not rest.startswith('"registration":'):
        raise TornError("it holds no registration")
    try:
        return Registration.model_validate_json(rest[len('"registration":') :])
    except ValueError as error:
        raise TornError(f"its content is not a registration: {str(error).splitlines()[0]}") from error


def seal_import(table: ImportedTable) -> bytes:
    """Returns the text of an imported table's journal file.

    Raises:
        ValueError: A value in its head cannot be said in JSON.
    """
    return _seal(f'"import":{canonical_json(table.head.model_dump(mode="json"))},"rows":{table.rows}')


def open_import(content: bytes) -> ImportedTable:
    """Reads an imported table's journal file.

    Raises:
        TornError: It is torn, was changed, or is something else.
    """
    rest = _unseal(content)
    if not rest.startswith('"import":'):
        raise TornError("it holds no imported table")
    head, end = _DECODER.raw_decode(rest, len('"import":'))
    try:
        return ImportedTable(ImportHead.model_validate(head), rest[end + len(',"rows":') :])
    except ValueError as error:
        raise TornError(f"its content is not an imported table: {str(error).splitlines()[0]}") from error


def seal_measurement(measurement: Measurement) -> bytes:
    """Returns the text of a measurement's journal file.

    Raises:
        ValueError: A value in it cannot be said in JSON.
    """
    content = canonical_json(measurement.model_dump(mode="json"))
    name = f'"measurement_id":"{measurement.benchmark.id}","attempt":{measurement.attempt}'
    return _seal(f'{name},"measurement":{content}')


def open_measurement(content: bytes) -> MeasurementEntry:
    """Reads a measurement's journal file.

    Raises:
        TornError: It is torn, was changed, or is something else.
    """
    rest = _unseal(content)
    name = _MEASUREMENT.match(rest)
    if name is None:
        raise TornError("it holds no measurement")
    text = rest[name.end() :]
    parsed = json.loads(text)
    return MeasurementEntry(name[1], int(name[2]), str(parsed["study"]), str(parsed["status"]), text)

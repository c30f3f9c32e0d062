"""Registered predictions as content of a store: file, row and back; see `scalelab.store.kinds`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.predictions import RegisteredPrediction
from scalelab.records import canonical_json
from scalelab.store.envelope import Member, TornError
from scalelab.store.kind import Kind, timed
from scalelab.store.schema import transaction

if TYPE_CHECKING:
    import duckdb


class Predictions(Kind[RegisteredPrediction, RegisteredPrediction]):
    """Registered predictions as content of a store; none ever goes or changes."""

    name = "prediction"
    model = RegisteredPrediction
    suffix = ".prediction.json"
    folder = "predictions"
    keys = ("prediction",)
    table = "predictions"
    key = "registration"
    rows = "select * from predictions where {piece}"

    def name_of(self, prediction: RegisteredPrediction) -> str:
        """Returns the name of its file: the time, so that names sort by it, and its id."""
        return f"{timed(prediction.registered_at)}-{prediction.id}"

    def members(self, prediction: RegisteredPrediction) -> dict[str, str]:
        """Returns the members of its file."""
        return {"prediction": canonical_json(prediction.model_dump(mode="json"))}

    def parse(self, name: str, members: list[Member]) -> RegisteredPrediction:
        """Reads its file."""
        prediction = RegisteredPrediction.model_validate_json(members[0].text)
        if self.name_of(prediction) != name:
            raise TornError(f"it holds prediction {self.name_of(prediction)}")
        return prediction

    def insert(
        self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, RegisteredPrediction]
    ) -> set[str]:
        """Inserts the predictions that the table does not have; returns their names."""
        held = self.held(connection)
        new = {name: one for name, one in entries.items() if name not in held}
        if new:
            with transaction(connection):
                connection.executemany(
                    f"insert into predictions values (?, ?, make_timestamp(?){', ?' * 12})",
                    [_row(name, one) for name, one in new.items()],
                )
        return set(new)

    def restore(self, _: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> RegisteredPrediction:
        """Returns the prediction of a row."""
        return RegisteredPrediction.model_validate_json(row["prediction"])


def _row(name: str, one: RegisteredPrediction) -> tuple[object, ...]:
    """Returns the values of the table's columns, in order; the time in microseconds."""
    return (
        *(name, one.id, int(one.registered_at * 1e6), json.dumps(one.source.studies)),
        *(one.dataset, one.architecture, one.optimizer, canonical_json(one.at)),
        *(one.source.law, one.level, one.law.value, one.law.lower, one.law.upper, one.source.data_hash),
        canonical_json(one.model_dump(mode="json")),
    )

"""What studies ask for, as content of a store: file, row and back; see `scalelab.store.kinds`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import Field

from scalelab.records import Frozen, Trial, canonical_json
from scalelab.store.envelope import Member
from scalelab.store.insert import check_trial, insert_trials, new_trials
from scalelab.store.kind import Latest, timed
from scalelab.store.schema import one, transaction

if TYPE_CHECKING:
    import duckdb


class Registration(Frozen):
    """What a study asked for when it was last run.

    Attributes:
        study: The study's name.
        text: The study file.
        registered_at: Seconds since the epoch.
        trials: The trials that it asks for, in order.
        former: Trials that an earlier version of it asked for.
        precision: What its trials of precision `"auto"` are trained in, decided when it was first run.
        tuned: By trial the option of its optimizer that a sweep of the study varies.
        refitted: The trials of the best design, trained again.
    """

    study: str
    text: str
    registered_at: float = Field(ge=0, lt=9e10)
    trials: tuple[Trial, ...]
    former: tuple[Trial, ...] = ()
    precision: str | None = None
    tuned: dict[str, str] = Field(default_factory=dict)
    refitted: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when the study's name, its text, its precision or its trials do."""
        decided = [] if self.precision is None else [self.precision]
        content = "\0".join([self.study, self.text, *decided, *(trial.id for trial in self.trials)])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


class Registrations(Latest[Registration]):
    """Registrations as content of a store."""

    name = "registration"
    model = Registration
    suffix = ".study.json"
    folder = "studies"
    keys = ("registration",)
    table = "studies"
    key = "registration"
    rows = "select *, epoch_us(registered_at) / 1e6 as at from studies where {piece}"

    def name_of(self, registration: Registration) -> str:
        """Returns the name of its file: the time, so that names sort by it, and the digest."""
        return f"{timed(registration.registered_at)}-{registration.digest}"

    def members(self, registration: Registration) -> dict[str, str]:
        """Returns the members of its file."""
        for trial in registration.trials:
            check_trial(trial)
        return {"registration": canonical_json(registration.model_dump(mode="json"))}

    def parse(self, name: str, members: list[Member]) -> Registration:
        """Reads its file."""
        self.check_name(name)
        return Registration.model_validate_json(members[0].text)

    def apply(self, connection: duckdb.DuckDBPyConnection, registration: Registration, name: str) -> bool:
        """Notes what a study asks for; a registration older than its last one adds trials only."""
        trials = {trial.id: trial for trial in (*registration.trials, *registration.former)}
        contents = {key: trial.model_dump(mode="json") for key, trial in trials.items()}
        rows = new_trials(
            connection, {key: (canonical_json(value), value) for key, value in contents.items()}
        )
        study = registration.study
        with transaction(connection):
            insert_trials(connection, rows)
            last = self.last_of(connection, study)
            newest = last is None or last < name
            if newest:
                _replace(connection, registration, name)
            connection.execute(
                "insert into study_trials (study, trial_id, position, planned) "
                "select ?, trial_id, null, false from (select unnest(?) as trial_id) "
                "anti join (select trial_id from study_trials where study = ?) using (trial_id)",
                [study, list(trials), study],
            )
        return newest

    def restore(self, connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Registration:
        """Returns the registration of a row."""
        members = connection.execute(
            "select m.planned, t.content, m.tuned, m.refitted "
            "from study_trials m join trials t using (trial_id) "
            "where m.study = ? order by m.position",
            [row["study"]],
        ).fetchall()
        trials = [(planned, Trial.model_validate_json(content)) for planned, content, *_ in members]
        tuned = {trial.id: own[2] for (_, trial), own in zip(trials, members, strict=True) if own[2]}
        return Registration(
            study=row["study"],
            text=row["text"],
            registered_at=row["at"],
            trials=tuple(trial for planned, trial in trials if planned),
            former=tuple(trial for planned, trial in trials if not planned),
            precision=row["precision"],
            tuned=tuned,
            refitted=tuple(trial.id for (_, trial), own in zip(trials, members, strict=True) if own[3]),
        )

    def missing(self, *_: object) -> None:
        """The table has the last one of each study, and the names of files do not tell whose they are."""


def ran(connection: duckdb.DuckDBPyConnection, study: str) -> bool:
    """Whether a study of that name was registered or has a record."""
    query = "select 1 from study_trials where study = $1 union select 1 from studies where study = $1"
    return connection.execute(query, [study]).fetchone() is not None


def _replace(connection: duckdb.DuckDBPyConnection, registration: Registration, name: str) -> None:
    study = registration.study
    asked = list(dict.fromkeys(trial.id for trial in registration.trials))
    # What was decided first holds, whoever was registered later.
    decided = one(connection.execute("select precision from studies where study = ?", [study]))
    precision = decided or registration.precision
    connection.execute("delete from studies where study = ?", [study])
    connection.execute(
        "insert into studies by name select ? as study, ? as text, ? as n_trials, ? as registration, "
        "make_timestamp((? * 1e6)::bigint) as registered_at, ? as precision",
        [study, registration.text, len(asked), name, registration.registered_at, precision],
    )
    # A value that was swept once stays a value of the sweep, whatever the study asks for later.
    marks = "select trial_id, tuned from study_trials where study = ? and tuned is not null"
    tuned = dict(connection.execute(marks, [study]).fetchall()) | registration.tuned
    connection.execute(
        "delete from study_trials where study = ? and trial_id in (select unnest(?))", [study, asked]
    )
    connection.execute("update study_trials set planned = false, position = null where study = ?", [study])
    connection.execute(
        "insert into study_trials by name select ? as study, unnest(?) as trial_id, "
        "unnest(range(?)) as position, true as planned, unnest(?::varchar[]) as tuned, "
        "unnest(?::boolean[]) as refitted",
        [
            *(study, asked, len(asked), [tuned.get(trial_id) for trial_id in asked]),
            [True if trial_id in registration.refitted else None for trial_id in asked],
        ],
    )

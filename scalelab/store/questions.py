"""What a store is asked: each question is a method that opens the database for reading, once and briefly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from scalelab.errors import InputError, suggest
from scalelab.measurements import Measurement
from scalelab.predictions import RegisteredPrediction
from scalelab.reached import Reached
from scalelab.records import Machine, Trial
from scalelab.store.answers import (
    Outcome,
    StoredStudy,
    StudySummary,
    Timing,
    Tried,
    reached_of,
)
from scalelab.store.claims import Claims
from scalelab.store.connection import Database, load_duckdb
from scalelab.store.schema import first_column

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

T = TypeVar("T")
Files = Literal["none", "read", "any"]
_NULLABLE = {f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)}
_AMONG = "in (select unnest(?::varchar[]))"


class Questions:
    """The questions of a `Store`; all of them raise a `StoreError` where it cannot be read.

    Attributes:
        path: The store's file.
        database: Opens it.
        claims: Who is at which trial.
    """

    path: Path
    database: Database
    claims: Claims

    def study(self, name: str | None = None) -> StoredStudy:
        """Returns a study that was run.

        Args:
            name: Its name; may be left out where the store has one only.

        Raises:
            InputError: There is none of that name, or the store has none or several.
        """
        there = {study.name: study for study in self.stored_studies()}
        names = ", ".join(sorted(there)) or "none"
        if name is None and len(there) != 1:
            raise InputError(f"which study? give its file, or --study NAME ({self.path} has {names})")
        if name is not None and name not in there:
            raise InputError(
                f"{self.path} has no study {name!r} that was run{suggest(name, there)}; it has {names}"
            )
        return there[name] if name is not None else next(iter(there.values()))

    def stored_studies(self, *, trial_id: str | None = None) -> list[StoredStudy]:
        """Returns the studies that were run, the one that was registered last at the end.

        Args:
            trial_id: Only those that ask for this trial, or did.
        """
        only = "" if trial_id is None else "semi join (from study_trials where trial_id = ?) using (study)"
        query = f"select study, text, {_PRECISION} from studies {only} order by registered_at, study"
        return [StoredStudy(*row) for row in self._ask(query, *([] if trial_id is None else [trial_id]))]

    def studies(self) -> list[StudySummary]:
        """Returns how far all studies have come, imported ones among them, by name."""
        live = self.claims.live()
        rows = self._ask(_SUMMARIES, [one.trial_id for one in live], [one.study for one in live])
        return [StudySummary(*row) for row in rows]

    def trial(self, trial_id: str) -> Trial | None:
        """Returns a trial; `None` where the store has none of that id, or an imported run."""
        rows = self._ask("select content from trials where trial_id = ?", trial_id)
        return Trial.model_validate_json(rows[0][0]) if rows else None

    def outcomes(self, trial_ids: Iterable[str] | None = None) -> dict[str, Outcome]:
        """Returns how far trials have come, by id; those without a record are left out.

        Args:
            trial_ids: The trials; by default all.
        """
        only, values = ("", []) if trial_ids is None else (f"where trial_id {_AMONG}", [list(trial_ids)])
        return self._by_id(
            Outcome,
            "select trial_id, any_value(r.status) filter (r.attempt = b.attempt), max(r.attempt), "
            "any_value(r.error) filter (r.attempt = b.attempt), "
            "any_value(r.wall_seconds) filter (r.attempt = b.attempt), "
            "any_value(r.loss) filter (r.attempt = b.attempt), "
            "any_value(r.objective) filter (r.attempt = b.attempt), "
            "any_value(r.direction) filter (r.attempt = b.attempt), "
            "any_value(r.precision) filter (r.attempt = b.attempt) "
            f"from records r join best_attempts b using (trial_id) {only} group by trial_id",
            *values,
        )

    def reached(self, trial_ids: Iterable[str]) -> dict[str, Reached]:
        """Returns what finished trials reached, by id."""
        return reached_of(self.outcomes(trial_ids))

    def libraries(self, trial_ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Returns the versions behind finished trials, by id; those that do not say theirs are left out."""
        rows = self._ask(
            "select trial_id, libraries from records semi join best_attempts using (trial_id, attempt) "
            f"where status in ('done', 'diverged') and libraries is not null and trial_id {_AMONG}",
            list(trial_ids),
        )
        return {trial_id: json.loads(found) for trial_id, found in rows}

    def timings(self, fingerprint: str, batch_size: int) -> list[Timing]:
        """Returns how long the last thousand finished trials on some data took, those that say so."""
        rows = self._ask(
            "select content, machine, precision, train_flops / n_steps, "
            "(wall_seconds - validation_seconds) / n_steps, "
            "validation_seconds / passed, greatest(finished_at - started_at - wall_seconds, 0) "
            "from records semi join best_attempts using (trial_id, attempt) join trials using (trial_id) "
            "join (select trial_id, attempt, sum(n_validated) as passed from curve_points group by all) "
            "using (trial_id, attempt) "
            "where status = 'done' and attempt = 1 and wall_seconds > validation_seconds and passed > 0 "
            "and n_steps > 0 and machine is not null and fingerprint = ? and batch_size = ? "
            "order by finished_at desc limit 1000",
            fingerprint,
            batch_size,
        )
        return [
            Timing(Trial.model_validate_json(content), Machine.model_validate_json(machine), *rest)
            for content, machine, *rest in rows
        ]

    def measurement(self, benchmark_id: str) -> Measurement | None:
        """Returns the measurement of a benchmark that counts: the last successful one, else the last.

        Returns:
            The measurement; `None` where the benchmark was never attempted.
        """
        rows = self._ask(
            "select content from measurements semi join latencies using (measurement_id, attempt) "
            "where measurement_id = ?",
            benchmark_id,
        )
        return Measurement.model_validate_json(rows[0][0]) if rows else None

    def tried(self, benchmark_ids: Iterable[str]) -> dict[str, Tried]:
        """Returns how far benchmarks have come, by id; those that were never attempted are left out."""
        return self._by_id(
            Tried,
            "select measurement_id, l.status, max(m.attempt), l.reason "
            "from latencies l join measurements m using (measurement_id) "
            f"where measurement_id {_AMONG} group by all",
            list(benchmark_ids),
        )

    def runs(self, study: str | None = None) -> pd.DataFrame:
        """Returns a row for each attempted trial of a study, or of all studies: the view `runs`.

        Raises:
            InputError: There is no such study.
        """
        return self._view("runs", "study, started_at, trial_id", study)

    def curves(self, study: str | None = None, trial_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Returns a row for each validation of the runs: the view `curves`.

        Args:
            study: Only this study.
            trial_ids: Only these trials.

        Raises:
            InputError: There is no such study.
        """
        return self._view("curves", "study, trial_id, step", study, "trial_id", trial_ids)

    def latencies(self, study: str | None = None, benchmark_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Returns a row for each benchmark that was attempted: the view `latencies`.

        Args:
            study: Only those that were made for this study.
            benchmark_ids: Only these.
        """
        order = "target, batch_size, architecture, n_params, measurement_id"
        return self._view("latencies", order, study, "measurement_id", benchmark_ids)

    def predictions(self) -> list[RegisteredPrediction]:
        """Returns the registered predictions in order; one that two stores had has its first time."""
        rows = self._ask("select prediction_id, prediction from predictions order by registration")
        first = dict(reversed(rows))
        return [RegisteredPrediction.model_validate_json(first[key]) for key in dict(rows)]

    def begun(self) -> dict[str, float]:
        """Returns by trial when its first attempt began, in seconds since the epoch."""
        return dict(self._ask("select trial_id, min(started_at) from records group by trial_id"))

    def n_measured(self) -> int:
        """Returns how many measurements of latency there are, those that failed not counted."""
        ((count,),) = self._ask("select count(*) from latencies where status = 'ok'")
        return int(count)

    def sql(self, query: str) -> pd.DataFrame:
        """Returns the result of a query, which can change neither the store nor another file.

        Raises:
            InputError: The query is wrong, or would change the store.
        """
        with self._asked(query) as result:
            return frame(result)

    def rows(self, query: str, *, files: Files = "read") -> tuple[list[str], list[tuple[object, ...]]]:
        """Returns the result of a query as names of columns and rows, exactly and without pandas.

        Columns of one name are told apart as DuckDB does it for dataframes: `loss`, `loss_1`.

        Args:
            query: One statement; the store itself is read only.
            files: What it may do with other files: `none`, `read` them, or `any`, writing included.

        Raises:
            InputError: The query is wrong, would change the store, or do more than it may.
        """
        with self._asked(query, files) as result:
            return distinct([column[0] for column in result.description or []]), result.fetchall()

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return connection.execute(query, values).fetchall()

    def _by_id(self, answer: Callable[..., T], query: str, *values: object) -> dict[str, T]:
        """Returns an answer for each row of a query, by the row's first column."""
        return {key: answer(*row) for key, *row in self._ask(query, *values)}

    def _view(
        self, view: str, order: str, study: str | None, key: str = "", ids: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Returns the rows of a view, of one study or all, of some ids or all."""
        conditions = {"study = ?": study, f"{key} {_AMONG}": None if ids is None else list(ids)}
        given = {condition: value for condition, value in conditions.items() if value is not None}
        where = f"where {' and '.join(given)}" if given else ""
        with self.database.read() as connection:
            # A study that was only measured has no runs.
            if study is not None and view != "latencies":
                require_study(connection, study, self.path)
            query = f"select * from {view} {where} order by {order}"
            return frame(connection.execute(query, list(given.values())))

    @contextmanager
    def _asked(self, query: str, files: Files = "read") -> Iterator[duckdb.DuckDBPyConnection]:
        """Runs a user's query, and tells what is wrong with it from what is wrong with the store."""
        load_duckdb()
        import duckdb

        with self.database.read(confined=files == "none") as connection:
            try:
                # Opened for reading only, the database stays as it is; so must all other files.
                statements = connection.extract_statements(query)
                if files != "any" and any(map(_writes, statements)):
                    raise InputError("the query would write a file; scalelab export writes tables as Parquet")
                if any(map(_answers, statements[:-1])):
                    raise InputError(
                        f"the query has {len(statements)} statements, of which only the last would be "
                        "shown; give them one by one"
                    )
                result: duckdb.DuckDBPyConnection | None = connection.execute(query)
                if result is None or result.description is None:
                    raise InputError("the query is empty; give one such as: select * from runs limit 5")
                yield result
            except (duckdb.InterruptException, duckdb.FatalException, duckdb.InternalException):
                raise
            except duckdb.Error as error:
                if files == "none" and any(sign in str(error) for sign in _REFUSED):
                    raise InputError(_CONFINED) from error
                if "corrupt" in str(error).lower() or str(self.path) in str(error):
                    raise
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                helps = lines[1:2] and lines[1].startswith(("Candidate", "Did you mean"))
                shown = " ".join(lines[: 2 if helps else 1])
                raise InputError(f"the query cannot be run: {shown}") from error


# How DuckDB says that a query would leave the store, and what it is told then.
_REFUSED = ("disabled by configuration", "disabled through configuration", "configuration has been locked")
_CONFINED = (
    "the query would use other files, extensions or settings, but reaches only the store; "
    "give --unsafe if it is your own"
)


def _answers(statement: duckdb.Statement) -> bool:
    """Whether a statement has rows to show."""
    import duckdb

    return duckdb.ExpectedResultType.QUERY_RESULT in statement.expected_result_type


def _writes(statement: duckdb.Statement) -> bool:
    """Tells whether a statement may write a file; what is prepared or explained hides its own type."""
    kind = statement.type.name
    hidden = kind == "EXPLAIN" and re.search(r"\b(copy|export)\b", statement.query, re.IGNORECASE)
    return kind in ("COPY", "EXPORT", "PREPARE", "EXECUTE") or bool(hidden)


# Studies that were run before it was noted have it from most of their runs.
_PRECISION = """coalesce(precision, (
    select mode(r.precision) from study_trials m join records r using (trial_id) where m.study = studies.study
))"""

_SUMMARIES = """
with claimed as (select unnest($1::varchar[]) as trial_id, unnest($2::varchar[]) as study),
members as (
    select m.study, false as imported, r.status, m.trial_id in (select trial_id from claimed) as running
    from study_trials m
    left join best_attempts b on b.trial_id = m.trial_id
    left join records r on r.trial_id = b.trial_id and r.attempt = b.attempt
    where m.planned
    union all select study, true, status, false from imported_runs
    union all select study, false, null, true from claimed anti join study_trials using (study, trial_id)),
named as (
    select study, false as imported, registered_at as since, null as source from studies
    union all select study, true, imported_at, source from imports)
select study, count(running),
       count(*) filter (status = 'done'),
       count(*) filter (status = 'diverged'),
       count(*) filter (status = 'failed' and not running),
       count(*) filter (status = 'interrupted' and not running),
       count(*) filter (running and (status is null or status in ('failed', 'interrupted'))),
       count(*) filter (status is null and not running),
       strftime(any_value(since), '%Y-%m-%dT%H:%M:%SZ'), any_value(source)
from members full join named using (study, imported)
group by study, imported
order by study
"""


def require_study(connection: duckdb.DuckDBPyConnection, study: str, path: Path) -> None:
    """Makes sure that a store knows a study.

    Raises:
        InputError: It does not; the message names close matches and what there is.
    """
    found = connection.execute("select study from study_trials union select study from imports order by 1")
    names = first_column(found)
    if study not in names:
        there = ", ".join(names[:10]) + (" …" if len(names) > 10 else "") or "none"
        raise InputError(f"the store {path} has no study {study!r}{suggest(study, names)} (studies: {there})")


def distinct(names: Iterable[str]) -> list[str]:
    """Returns names of columns, each once: where `loss` comes again it is `loss_1`, and then `loss_2`.

    Example:
        >>> distinct(["loss", "seed", "loss", "loss_1"])
        ['loss', 'seed', 'loss_1', 'loss_1_1']
    """
    found: list[str] = []
    for name in names:
        own, number = name, 0
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


def frame(result: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Returns a result as a DataFrame with NumPy's types: whole numbers with gaps become floats with NaN."""
    table = result.df()
    gaps = {name: "float64" for name, dtype in table.dtypes.items() if str(dtype) in _NULLABLE}
    # Each column comes in a block of its own, and pandas warns of more than a hundred; a copy joins them.
    return table.astype(gaps).copy()

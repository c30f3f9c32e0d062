"""What callers ask a store, as functions of an open connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scalelab.errors import InputError, suggest
from scalelab.records import Status, Trial
from scalelab.store.schema import one

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


_NULLABLE = {f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)}


class Outcome(NamedTuple):
    """How far a trial has come.

    Attributes:
        status: That of the attempt that counts: the last one that is done or diverged, else the last.
        attempts: The highest number of an attempt so far; the next attempt gets one more.
        error: The reason, where the attempt that counts failed or was interrupted.
    """

    status: Status
    attempts: int
    error: str | None


class StudySummary(NamedTuple):
    """How far a study has come; each planned trial counts once.

    Attributes:
        study: Its name.
        planned: Trials that it asks for.
        done: Trials with a finished attempt.
        diverged: Trials whose loss stopped being finite.
        failed: Trials that could not be trained.
        interrupted: Trials that were stopped and are to be attempted again.
        running: Trials that a living process is at.
        pending: Trials that were not attempted yet.
        registered_at: When it was last registered, as ISO 8601 in UTC; `None` where it never was.
        imported_from: The file that it was imported from; `None` where it was run here.
    """

    study: str
    planned: int
    done: int
    diverged: int
    failed: int
    interrupted: int
    running: int
    pending: int
    registered_at: str | None
    imported_from: str | None = None


def outcomes(connection: duckdb.DuckDBPyConnection, trial_ids: Iterable[str] | None) -> dict[str, Outcome]:
    """Returns how far trials have come; those without a record are left out."""
    only = "" if trial_ids is None else "semi join (select unnest(?) as trial_id) using (trial_id)"
    rows = connection.execute(
        "select trial_id, r.status, b.last, r.error from ("
        "  select trial_id, max(attempt) as last,"
        "         max(attempt + case when status in ('done', 'diverged') then 2147483648 else 0 end)"
        "             % 2147483648 as attempt"
        f"  from records {only} group by trial_id) b join records r using (trial_id, attempt)",
        [] if trial_ids is None else [list(trial_ids)],
    ).fetchall()
    return {trial_id: Outcome(status, last, error) for trial_id, status, last, error in rows}


def studies(connection: duckdb.DuckDBPyConnection, running: Collection[str]) -> list[StudySummary]:
    """Returns all studies, imported ones among them, by name.

    Args:
        connection: Of a store.
        running: Ids of the trials that a living process is at.
    """
    rows = connection.execute(
        """
        with members as (
            select m.study, m.trial_id, r.status, m.trial_id in (select unnest(?)) as running
            from study_trials m
            left join best_attempts b on b.trial_id = m.trial_id
            left join records r on r.trial_id = b.trial_id and r.attempt = b.attempt
            where m.planned),
        counts as (
            select study, count(*) as planned,
                   count(*) filter (status = 'done') as done,
                   count(*) filter (status = 'diverged') as diverged,
                   count(*) filter (status = 'failed' and not running) as failed,
                   count(*) filter (status = 'interrupted' and not running) as interrupted,
                   count(*) filter (running and (status is null or status in ('failed', 'interrupted')))
                       as running,
                   count(*) filter (status is null and not running) as pending
            from members group by study)
        select coalesce(c.study, s.study), coalesce(planned, 0), coalesce(done, 0), coalesce(diverged, 0),
               coalesce(failed, 0), coalesce(interrupted, 0), coalesce(running, 0), coalesce(pending, 0),
               strftime(s.registered_at, '%Y-%m-%dT%H:%M:%SZ'), null
        from counts c full join studies s on s.study = c.study
        union all
        select i.study, count(*),
               count(*) filter (status = 'done'), count(*) filter (status = 'diverged'),
               count(*) filter (status = 'failed'), count(*) filter (status = 'interrupted'), 0, 0,
               strftime(any_value(i.imported_at), '%Y-%m-%dT%H:%M:%SZ'), any_value(i.source)
        from imports i join imported_runs r on r.study = i.study group by i.study
        order by 1
        """,
        [list(running)],
    ).fetchall()
    return [StudySummary(*row) for row in rows]


def require_study(connection: duckdb.DuckDBPyConnection, study: str, path: Path) -> None:
    """Makes sure that a store knows a study.

    Raises:
        InputError: It does not; the message names close matches and what there is.
    """
    found = connection.execute("select study from study_trials union select study from imports order by 1")
    names = [row[0] for row in found.fetchall()]
    if study not in names:
        there = ", ".join(names[:10]) + (" …" if len(names) > 10 else "") or "none"
        raise InputError(f"the store {path} has no study {study!r}{suggest(study, names)} (studies: {there})")


def imported(connection: duckdb.DuckDBPyConnection, study: str) -> str | None:
    """Returns the journal file of the imported table of a name, `None` where there is none."""
    file = one(connection.execute("select max(journal_file) from imports where study = ?", [study]))
    return None if file is None else str(file)


def runs(connection: duckdb.DuckDBPyConnection, study: str | None) -> pd.DataFrame:
    """Returns the view `runs`, of one study or all."""
    where = "" if study is None else "where study = ?"
    return frame(
        connection.execute(
            f"select * from runs {where} order by study, started_at, trial_id",
            [] if study is None else [study],
        )
    )


def curves(
    connection: duckdb.DuckDBPyConnection, study: str | None, trial_ids: Iterable[str] | None
) -> pd.DataFrame:
    """Returns the view `curves`, of one study or all, of some trials or all."""
    conditions, values = [], []
    if study is not None:
        conditions.append("study = ?")
        values.append(study)
    if trial_ids is not None:
        conditions.append("trial_id in (select unnest(?::varchar[]))")
        values.append(list(trial_ids))  # type: ignore[arg-type]
    where = f"where {' and '.join(conditions)}" if conditions else ""
    return frame(connection.execute(f"select * from curves {where} order by study, trial_id, step", values))


def frame(result: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Returns a result as a DataFrame with NumPy's types: whole numbers with gaps become floats with NaN."""
    table = result.df()
    gaps = {name: "float64" for name, dtype in table.dtypes.items() if str(dtype) in _NULLABLE}
    return table.astype(gaps) if gaps else table


def trial(connection: duckdb.DuckDBPyConnection, trial_id: str) -> Trial | None:
    """Returns a trial, or `None` where the store does not know it."""
    row = connection.execute("select content from trials where trial_id = ?", [trial_id]).fetchone()
    return Trial.model_validate_json(row[0]) if row else None

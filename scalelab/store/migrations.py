"""The steps from one schema to the next, as statements; `scalelab.store.schema` runs them.

Step n makes schema n from schema n - 1. A step never changes once a store has been through it.
"""

from scalelab.store.latency_view import MEASUREMENTS

FIRST = """
create table scalelab_schema (version bigint, scalelab_version varchar, applied_at timestamp);

create table studies (
    study varchar, text varchar, n_trials bigint, registration varchar, registered_at timestamp
);

create table study_trials (study varchar, trial_id varchar, position bigint, planned boolean);

create table trials (
    trial_id varchar, dataset varchar, architecture varchar, optimizer varchar, n_examples bigint,
    seed bigint, data_seed bigint, batch_size bigint, schedule varchar, fingerprint varchar, content json
);

create table records (
    trial_id varchar, attempt bigint, study varchar, status varchar, error varchar,
    metric varchar, direction varchar,
    loss double, loss_last double, objective double, objective_last double, best_step bigint, metrics json,
    n_params bigint, n_params_body bigint, forward_flops double, train_flops double,
    n_steps bigint, epochs double, precision varchar,
    wall_seconds double, peak_memory_bytes bigint,
    device varchar, device_name varchar, host varchar, threads bigint, machine json,
    plugins json, features json, scalelab_version varchar, started_at double, finished_at double
);

create table curve_points (
    trial_id varchar, attempt bigint, step bigint, n_seen bigint, train_flops double, wall_seconds double,
    lr double, train_loss double, loss double, metrics json
);

create table parameters (column_name varchar, holder varchar, pointer varchar, kind varchar);
"""

IMPORTS = """
create table imports (
    study varchar, source varchar, condition varchar, mapping json, columns json, n_runs bigint,
    journal_file varchar, imported_at timestamp
);

create table imported_runs (
    study varchar, position bigint, trial_id varchar, status varchar, error varchar,
    dataset varchar, architecture varchar, optimizer varchar, seed bigint,
    n_params double, n_params_body double, n_examples double, forward_flops double, train_flops double,
    n_steps bigint, epochs double, loss double, objective double, metric varchar, direction varchar,
    batch_size bigint, wall_seconds double, extra json
);
"""

# The view `latencies` gained columns; the last step makes all views again.
CALL_LATENCY = "drop view if exists latencies"

VALIDATED = """
alter table records add column n_validated bigint;
alter table records add column validation_seconds double;
alter table curve_points add column n_validated bigint;
"""

CONSTANT = "alter table records add column constant_loss double"

TESTED = """
alter table records add column test_loss double;
alter table records add column test_objective double;
alter table records add column test_metrics json;
alter table records add column n_tested bigint;
alter table imported_runs add column test_loss double;
alter table imported_runs add column test_objective double;
"""

TOLD = """
alter table studies add column precision varchar;
alter table study_trials add column tuned varchar;
"""

MADE_WITH = """
alter table records add column uncounted json;
alter table records add column libraries json;
"""

CALIBRATED = """
alter table records add column n_windows bigint;
alter table records add column calibration json;
alter table study_trials add column refitted boolean;
"""

SCRIPTED = "alter table records add column n_examples bigint"

PREDICTED = """
create table predictions (
    registration varchar, prediction_id varchar, registered_at timestamp, studies json,
    dataset varchar, architecture varchar, optimizer varchar, scale json, law varchar, level double,
    loss double, lower double, upper double, data_hash varchar, prediction json
);
"""

AVAILABLE = "alter table records add column n_available bigint"

STEPS = (
    FIRST, IMPORTS, MEASUREMENTS, CALL_LATENCY, VALIDATED, CONSTANT, TESTED, TOLD, MADE_WITH,
    CALIBRATED, SCRIPTED, PREDICTED, AVAILABLE,
)  # fmt: skip

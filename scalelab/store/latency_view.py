"""The table `measurements` and the view `latencies` over it, as SQL.

The table holds every measurement as the JSON of its journal file; the view gives its fields names and types,
so that a field more in a later scalelab costs a line here and an empty migration.
"""

from __future__ import annotations

MEASUREMENTS = """
create table measurements (
    measurement_id varchar, attempt bigint, study varchar, status varchar, content json
);
"""

# Column of the view, its type, and where its value lies in the JSON of a measurement.
_COLUMNS = (
    ("reason", "varchar", "$.reason"),
    ("architecture", "varchar", "$.benchmark.architecture.name"),
    ("target", "varchar", ""),
    ("backend", "varchar", "$.benchmark.backend.name"),
    ("device", "varchar", "$.benchmark.device"),
    ("precision", "varchar", "$.benchmark.backend.params.precision"),
    ("batch_size", "bigint", "$.benchmark.batch_size"),
    ("threads", "bigint", "$.threads"),
    ("host", "varchar", "$.benchmark.host"),
    ("n_params", "bigint", "$.footprint.n_params"),
    ("forward_flops", "double", "$.footprint.forward_flops"),
    ("grouped_flops", "double", "$.footprint.grouped_flops"),
    ("activation_bytes", "double", "$.footprint.activation_bytes"),
    ("n_ops", "bigint", "$.footprint.n_ops"),
    ("n_layers", "bigint", "$.footprint.n_layers"),
    ("latency", "double", "$.latency"),
    ("latency_low", "double", "$.latency_low"),
    ("latency_high", "double", "$.latency_high"),
    ("p90", "double", "$.p90"),
    ("p99", "double", "$.p99"),
    ("call_latency", "double", "$.call_latency"),
    ("n_calls", "bigint", "$.n_calls"),
    ("n_rounds", "bigint", "$.n_rounds"),
    ("settled", "boolean", "$.settled"),
    ("throughput", "double", "$.throughput"),
    ("throughput_async", "double", "$.throughput_async"),
    ("convert_seconds", "double", "$.seconds.convert"),
    ("quantize_seconds", "double", "$.seconds.quantize"),
    ("compile_seconds", "double", "$.seconds.compile"),
    ("load_seconds", "double", "$.seconds.load"),
    ("model_bytes", "bigint", "$.model_bytes"),
    ("peak_memory_bytes", "bigint", "$.peak_memory_bytes"),
    ("max_abs_error", "double", "$.max_abs_error"),
    ("relative_error", "double", "$.relative_error"),
    ("rms_error", "double", "$.rms_error"),
    ("agreement", "double", "$.agreement"),
    ("n_compared", "bigint", "$.n_compared"),
    ("objective_f32", "double", "$.objective_f32"),
    ("objective_here", "double", "$.objective_here"),
    ("weights", "varchar", "$.benchmark.weights"),
)
_JSON_COLUMNS = (
    ("scores_f32", "$.scores_f32"),
    ("scores_here", "$.scores_here"),
    ("options", "$.benchmark.architecture.params"),
    ("input_shape", "$.benchmark.input_shape"),
    ("backend_options", "$.benchmark.backend.params"),
    ("packages", "$.benchmark.packages"),
    ("facts", "$.facts"),
    ("machine", "$.machine"),
    ("environment", "$.environment"),
    ("plugins", "$.provenance"),
)
_TARGET = (
    "concat_ws(':', content->>'$.benchmark.backend.name', content->>'$.benchmark.device', "
    "content->>'$.benchmark.backend.params.precision')"
)


def _value(name: str, kind: str, path: str) -> str:
    value = _TARGET if name == "target" else f"content->>'{path}'"
    return f"({value})::{kind} as {name}"


_VALUES = ",\n       ".join(
    [
        *(_value(*column) for column in _COLUMNS),
        *(f"content->'{path}' as {name}" for name, path in _JSON_COLUMNS),
    ]
)

# The attempt that counts is the last successful one, else the last one. The objective is the best that
# training this very network on these very data reached, as a mean over seeds.
LATENCIES = f"""
create or replace view latencies as
with counted as (
    select measurement_id, count(*) as attempts,
           max(attempt + case when status = 'ok' then 2147483648 else 0 end) % 2147483648 as attempt
    from measurements group by measurement_id),
designs as (
    select t.fingerprint, (t.content->'$.architecture')::varchar as network, r.metric, r.direction,
           avg(r.objective) as objective, case r.direction when 'maximize' then -1 else 1 end as sign,
           arg_min(r.trial_id, case r.direction when 'maximize' then -r.objective else r.objective end)
               as trial_id
    from records r join trials t using (trial_id)
    where r.status = 'done' and r.objective is not null
    group by 1, 2, 3, 4, t.n_examples, (t.content->'$.optimizer')::varchar,
             (t.content->'$.training')::varchar),
outcomes as (
    select fingerprint, network, metric, direction,
           arg_min(trial_id, sign * objective) as trial_id, arg_min(objective, sign * objective) as objective
    from designs group by 1, 2, 3, 4),
measured as (
    select measurement_id, study, status, attempt, content->>'$.benchmark.fingerprint' as fingerprint,
           (content->'$.benchmark.architecture')::varchar as network,
       {_VALUES},
           content->>'$.scalelab_version' as scalelab_version,
           make_timestamp(((content->>'$.finished_at')::double * 1e6)::bigint) as finished_at
    from measurements)
select m.* exclude (network, fingerprint), c.attempts, o.metric, o.direction, o.objective, o.trial_id,
       left(md5(concat_ws('|', m.network, m.input_shape::varchar)), 16) as network_id
from measured m
join counted c on c.measurement_id = m.measurement_id and c.attempt = m.attempt
left join outcomes o on o.fingerprint = m.fingerprint and o.network = m.network
"""

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

_STEPS = ("convert", "quantize", "compile", "load")
# Columns of the view, in order: their type, where their values lie in the JSON of a measurement, their names;
# {} stands for the name.
_COLUMNS = (
    ("varchar", "$.{}", "reason"),
    ("varchar", "$.benchmark.{}.name", "architecture"),
    ("varchar", "", "target"),
    ("varchar", "$.benchmark.{}.name", "backend"),
    ("varchar", "$.benchmark.{}", "device"),
    ("varchar", "$.benchmark.backend.params.{}", "precision"),
    ("bigint", "$.benchmark.{}", "batch_size"),
    ("bigint", "$.{}", "threads"),
    ("varchar", "$.benchmark.{}", "host"),
    ("bigint", "$.footprint.{}", "n_params"),
    ("double", "$.footprint.{}", "forward_flops", "grouped_flops", "activation_bytes"),
    ("bigint", "$.footprint.{}", "n_ops", "n_layers"),
    ("double", "$.{}", "latency", "latency_low", "latency_high", "p90", "p99", "call_latency"),
    ("bigint", "$.{}", "n_calls", "n_rounds"),
    ("boolean", "$.{}", "settled"),
    ("double", "$.{}", "throughput", "throughput_async"),
    *(("double", f"$.seconds.{step}", f"{step}_seconds") for step in _STEPS),
    ("bigint", "$.{}", "model_bytes", "peak_memory_bytes"),
    ("double", "$.{}", "max_abs_error", "relative_error", "rms_error", "agreement"),
    ("bigint", "$.{}", "n_compared"),
    ("double", "$.{}", "objective_f32", "objective_here"),
    ("varchar", "$.benchmark.{}", "weights"),
    ("json", "$.{}", "scores_f32", "scores_here"),
    ("json", "$.benchmark.architecture.params", "options"),
    ("json", "$.benchmark.{}", "input_shape"),
    ("json", "$.benchmark.backend.params", "backend_options"),
    ("json", "$.benchmark.{}", "packages"),
    ("json", "$.{}", "facts", "machine", "environment"),
    ("json", "$.provenance", "plugins"),
)
_TARGET = (
    "concat_ws(':', content->>'$.benchmark.backend.name', content->>'$.benchmark.device', "
    "content->>'$.benchmark.backend.params.precision')"
)


def _value(name: str, kind: str, path: str) -> str:
    if kind == "json":
        return f"content->'{path}' as {name}"
    value = _TARGET if name == "target" else f"content->>'{path}'"
    return f"({value})::{kind} as {name}"


_VALUES = ",\n       ".join(
    _value(name, kind, path.format(name)) for kind, path, *names in _COLUMNS for name in names
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
             (t.content->'$.training')::varchar, (t.content->'$.trainer')::varchar),
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

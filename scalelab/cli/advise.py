"""`scalelab advise`: the best use of a training budget, or the best network within a latency limit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scalelab.amounts import amount
from scalelab.cli import options as opt
from scalelab.cli.context import Context, filters_of, print_json, say, tell
from scalelab.errors import InputError, brief
from scalelab.jsonable import json_object

if TYPE_CHECKING:
    from scalelab.analysis.families.advice import Advice
    from scalelab.propose.budget import Proposal
    from scalelab.propose.script import ScriptProposal

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def advise(
    ctx: typer.Context,
    budget: opt.Budget = None,
    max_latency: opt.MaxLatency = None,
    device: opt.LimitDevice = None,
    batch_size: opt.LimitBatch = 1,
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.Studies = None,
    dataset: opt.Dataset = None,
    architecture: opt.Architecture = None,
    optimizer: opt.Optimizer = None,
    where: opt.Where = None,
    estimator: opt.Estimator = "log-huber",
    level: opt.Level = 0.9,
    on: opt.On = "validation",
    charge: opt.Charge = "last",
    price_per_flop: opt.PricePerFlop = None,
    price_per_hour: opt.PricePerHour = None,
    write: opt.Write = None,
    source: opt.StudyFile = None,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Recommend what to train with a budget, or within a latency limit, and what to expect of it.

    The best family comes first, with the share of refits in which it is the best. Where the runs do not say
    how to split compute between size and training, the advice follows their compute-efficient frontier.
    """
    import scalelab
    from scalelab.api.proposals import new_file
    from scalelab.report.outcomes import meaning

    if source is not None and write is None:
        raise InputError("--from goes with --write: it says where the new study's settings come from")
    if write is not None:
        new_file(write)
    if (budget is None) == (max_latency is None):
        raise InputError("give either --budget FLOPS or --max-latency TIME with --device TARGET")
    only = filters_of(study, dataset, architecture, optimizer, where, on, charge)
    runs = scalelab.finished_runs(store, **only)
    if max_latency is not None:
        given = {"store": store, "runs": runs, "study_file": source, "catalog": ctx.obj.catalog(plugins_dir)}
        _within(ctx.obj, max_latency, device, batch_size, write, json, **given)
        return
    assert budget is not None
    flops = amount(budget, "--budget")
    advice = scalelab.advise(runs, flops, estimator=estimator, level=level)
    cost = scalelab.price_of(flops, runs, per_flop=price_per_flop, per_hour=price_per_hour)
    proposal = None
    if write is not None:
        catalog = ctx.obj.catalog(plugins_dir)
        proposal = scalelab.propose_run(advice, runs, store, write, study_file=source, catalog=catalog)
    if json:
        _print_json(advice, cost, proposal)
        return
    _print(ctx.obj, advice, cost, meaning(on, charge))
    if proposal is not None:
        _print_proposal(proposal, advice, store)


def _print_json(
    advice: Advice, cost: dict[str, float | None], proposal: Proposal | ScriptProposal | None
) -> None:
    import scalelab

    written = None
    if proposal is not None:
        written = {**json_object(proposal), "loss": scalelab.expected_loss(advice, proposal)}
    print_json("advise", {**json_object(advice), "cost": cost, "study": written})


def _print(context: Context, advice: Advice, cost: dict[str, float | None], meant: Iterable[str]) -> None:
    from scalelab.report.numbers import duration
    from scalelab.report.sections.advise import advice_tables

    context.show(*advice_tables(advice))
    for words in meant:
        tell(words)
    if cost["seconds"] is not None:
        tell(f"about {duration(cost['seconds'])} at the pace of the runs nearest in compute")
    if cost["price"] is not None:
        tell(f"cost: {cost['price']:.3g}")


def _print_proposal(proposal: Proposal | ScriptProposal, advice: Advice, store: Path) -> None:
    import scalelab
    from scalelab.propose.script import ScriptProposal
    from scalelab.report.numbers import interval, short

    if isinstance(proposal, ScriptProposal):
        chosen = ", ".join(f"{name} = {value:,}" for name, value in proposal.chosen.items())
        tell(
            f"{proposal.path}: {proposal.trial.dataset.name} with {chosen}: about {short(proposal.n_params)} "
            f"parameters, {short(proposal.n_seen)} examples seen; "
            f"loss {interval(scalelab.expected_loss(advice, proposal))}"
        )
        if proposal.passes is not None:
            times = f"{proposal.passes:.3g} pass{'es' * (proposal.passes != 1)} over its examples"
            say(f"no parameter decides how long it trains: {times}, as all runs made")
        say("its other parameters are those of the best run; the best of them may change with size")
        tell(f"next: scalelab plan {proposal.path} --store {store}")
        return
    trial = proposal.trial
    passes = proposal.n_seen / proposal.an_epoch
    tell(
        f"{proposal.path}: {trial.architecture.name} of {proposal.cost.n_params:,} parameters with "
        f"{trial.optimizer.name}, {proposal.n_seen:,} examples seen ({passes:.3g} passes over "
        f"{trial.n_examples:,}), {proposal.train_flops:.3g} training FLOPs; "
        f"loss {interval(scalelab.expected_loss(advice, proposal))}"
    )
    if proposal.tuned:
        tell(
            f"{proposal.tuned} is tuned there, as it was in the study: {proposal.n_trials} runs of the "
            "budget to begin with, more until the best value is bracketed"
        )
    elif proposal.n_trials > 1:
        tell(
            f"{proposal.n_trials} runs of the budget, for the best learning rate may change with size: "
            "that of the best run, and those a factor of two beside it"
        )
    else:
        say("optimizer settings are those of the best run; the best learning rate may change with size")
    tell(f"next: scalelab plan {proposal.path} --store {store}")


def seconds_of(text: str) -> float:
    """Returns a duration such as `5ms`, `0.02s` or `800us` in seconds.

    Raises:
        InputError: It is not a duration.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(s|ms|us|µs)\s*", text)
    try:
        value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    except ValueError:
        value = 0.0
    if value <= 0:
        raise InputError(f"--max-latency {brief(text)}: must be a time such as 5ms, 0.02s or 800us")
    return value


def _within(
    context: Context,
    limit: str,
    device: str | None,
    batch_size: int,
    write: Path | None,
    json: bool,
    **given: Any,
) -> None:
    """Prints the networks within a limit, best first, and writes the study of the best one."""
    import scalelab
    from scalelab.report.sections.latency import within_table

    seconds = seconds_of(limit)
    if device is None:
        raise InputError("--max-latency needs --device, such as openvino:CPU:int8")
    folder = write.absolute().parent if write is not None else None
    advice = scalelab.advise_latency(
        seconds=seconds, device=device, batch_size=batch_size, folder=folder, **given
    )
    written = None
    if write is not None:
        text = scalelab.propose_network(advice, path=write, limit=limit, **given)
        written = {"path": write, "text": text}
    if json:
        print_json("advise-latency", {**json_object(advice), "study": written})
        return
    context.show(within_table(advice, limit))
    if write is not None:
        tell(f"next: scalelab plan {write} --store {given['store']}")

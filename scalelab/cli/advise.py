"""`scalelab advise`: the best use of a training budget, as a study file that can be run."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab.cli.context import (
    DEFAULT_STORE,
    JsonOption,
    PluginsDirOption,
    StoreOption,
    duration,
    say,
    write_study,
)
from scalelab.cli.finished import (
    ArchitectureOption,
    DatasetOption,
    EstimatorOption,
    LevelOption,
    OptimizerOption,
    StudyOption,
    finished,
)
from scalelab.jsonable import json_object, jsonable

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.families.advice import Advice, FamilyAdvice
    from scalelab.plugins import Catalog
    from scalelab.propose.budget import Proposal
    from scalelab.store import Store

WRITE_HELP = "Write the best family's run as a study file that plan and run take."
FROM_HELP = "The study file of these runs, where the store's copy cannot find its dataset."
LIMIT_HELP = "Instead of --budget: the best network whose calls take no longer, such as 5ms."
PRICE_HELP = "Price of an hour on the machine that made the runs."


def advise(
    ctx: typer.Context,
    budget: Annotated[
        float | None, typer.Option("--budget", help="Training FLOPs of the run to make.", show_default=False)
    ] = None,
    max_latency: Annotated[str | None, typer.Option("--max-latency", help=LIMIT_HELP)] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="With --max-latency: such as openvino:CPU:int8.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="With --max-latency: examples a call.")
    ] = 1,
    store: StoreOption = DEFAULT_STORE,
    study: StudyOption = None,
    dataset: DatasetOption = None,
    architecture: ArchitectureOption = None,
    optimizer: OptimizerOption = None,
    estimator: EstimatorOption = "log-huber",
    level: LevelOption = 0.9,
    cost_per_flop: Annotated[
        float | None, typer.Option("--cost-per-flop", help="Price of a FLOP, in any currency.")
    ] = None,
    price: Annotated[float | None, typer.Option("--price", help=PRICE_HELP)] = None,
    write: Annotated[Path | None, typer.Option("--write", help=WRITE_HELP)] = None,
    source: Annotated[Path | None, typer.Option("--from", help=FROM_HELP)] = None,
    plugins_dir: PluginsDirOption = None,
    json: JsonOption = False,
) -> None:
    """Say what to train with a budget, or within a latency limit, and what to expect of it.

    The best family stands first, with the share of refits in which it is the best. Where the runs do not say
    how to split compute between size and training, the advice follows their compute-efficient frontier.
    """
    from scalelab.analysis.families.advice import advise as advise_runs
    from scalelab.analysis.families.advice import price_of
    from scalelab.analysis.runs.designs import designs
    from scalelab.errors import InputError

    if source is not None and write is None:
        raise InputError("--from goes with --write: it says where the new study's settings come from")
    if write is not None and write.exists():
        raise InputError(f"{write} is there already; choose another name, or remove it first")
    only = {"dataset": dataset, "architecture": architecture, "optimizer": optimizer}
    if (budget is None) == (max_latency is None):
        raise InputError("give either --budget FLOPS or --max-latency TIME with --device TARGET")
    opened: Store = ctx.obj.store(store)
    runs = finished(opened, store, study, only)
    if max_latency is not None:
        from scalelab.cli.advise_latency import advise_within

        advise_within(
            opened,
            runs,
            limit=max_latency,
            device=device,
            batch_size=batch_size,
            write=write,
            source=source,
            catalog=ctx.obj.catalog(plugins_dir),
            plain=ctx.obj.plain,
            json=json,
        )
        return
    assert budget is not None
    advice = advise_runs(designs(runs), budget, estimator=estimator, level=level)
    cost = price_of(budget, runs, cost_per_flop=cost_per_flop, hourly=price)
    proposal = None
    if write is not None:
        proposal = _written(advice, runs, opened, write, source, ctx.obj.catalog(plugins_dir))
    if json:
        _print_json(advice, cost, proposal)
        return
    from scalelab.report.sections.advise import advice_tables
    from scalelab.report.terminal import show

    for table in advice_tables(advice):
        show(table, plain=ctx.obj.plain)
    for line in _cost_lines(cost):
        print(line)
    if proposal is not None:
        _print_proposal(proposal, advice, store)


def _written(
    advice: Advice, runs: pd.DataFrame, store: Store, path: Path, source: Path | None, catalog: Catalog
) -> Proposal:
    """Writes the study of the best family's run."""
    from scalelab.analysis.families.advice import best_run
    from scalelab.errors import InputError
    from scalelab.propose.budget import known_run, propose

    best = advice.families[0]
    if "trial_id" not in runs.columns:
        raise InputError("these runs have no trials to take settings from; --write needs runs of a study")
    start, known = known_run(store, best_run(best, runs), path.absolute().parent, source)
    proposal = propose(
        start,
        known,
        path,
        n_params=best.n_params.value,
        n_examples=best.n_examples,
        budget=advice.budget,
        catalog=catalog,
    )
    write_study(path, proposal.text)
    return proposal


def _cost_lines(cost: dict[str, float | None]) -> list[str]:
    lines = []
    if cost["seconds"] is not None:
        lines.append(f"about {duration(cost['seconds'])} at the pace of the runs nearest in compute")
    if cost["price"] is not None:
        lines.append(f"cost: {cost['price']:.3g}")
    return lines


def _expected(best: FamilyAdvice, proposal: Proposal, level: float) -> Any:
    return best.expect(proposal.cost.n_params, proposal.n_seen, proposal.train_flops, level)


def _print_proposal(proposal: Proposal, advice: Advice, store: Path) -> None:
    from scalelab.report.numbers import interval

    trial, best = proposal.trial, advice.families[0]
    passes = proposal.n_seen / trial.n_examples
    print(
        f"{proposal.path}: {trial.architecture.name} of {proposal.cost.n_params:,} parameters with "
        f"{trial.optimizer.name}, {proposal.n_seen:,} examples seen ({passes:.3g} passes over "
        f"{trial.n_examples:,}), {proposal.train_flops:.3g} training FLOPs; "
        f"loss {interval(_expected(best, proposal, advice.level))}"
    )
    if best.n_examples > proposal.available:
        print(
            f"the optimum asks for {best.n_examples:,.0f} different examples and the dataset has "
            f"{proposal.available:,}: they are repeated, and the loss will be higher than the law says"
        )
    say("optimizer settings are those of the best run; a learning rate may want to change with size")
    print(f"next: scalelab plan {proposal.path} --store {store}")


def _print_json(advice: Advice, cost: dict[str, float | None], proposal: Proposal | None) -> None:
    study: dict[str, Any] | None = None
    if proposal is not None:
        study = {
            "path": str(proposal.path),
            "text": proposal.text,
            "n_params": proposal.cost.n_params,
            "n_examples": proposal.trial.n_examples,
            "examples_seen": proposal.n_seen,
            "examples_available": proposal.available,
            "train_flops": proposal.train_flops,
            "loss": _expected(advice.families[0], proposal, advice.level),
        }
    document = {**json_object(advice), "cost": cost, "study": study}
    print(json_module.dumps(jsonable(document), indent=2))

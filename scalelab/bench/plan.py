"""What a bench would measure: which networks of a study, on which targets, and what is done already.

A network is an architecture with its options. Trials that train the same one (other optimizers, data sizes,
seeds) share its latency, so that it is measured once; the best of them gives its objective, and its trained
weights where they were kept.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from scalelab.bench.jobs import BenchJob
from scalelab.components import BackendParams
from scalelab.errors import InputError, suggest
from scalelab.measure.costs import Costs
from scalelab.measure.targets import Target
from scalelab.measurements import Benchmark
from scalelab.reached import Reached
from scalelab.records import ComponentRef, Trial, canonical_json
from scalelab.study import Study, expand
from scalelab.study.opened import Opened
from scalelab.study.resolve import refuse_command
from scalelab.supervise.workbench import Selection

if TYPE_CHECKING:
    from scalelab.components import Backend
    from scalelab.plugins import Catalog
    from scalelab.store import Store


@dataclass(frozen=True)
class Network:
    """A network of a study, to be measured.

    Attributes:
        architecture: Component and options.
        objective: The best that one of them reached; `None` where none is done.
        weights: The trial whose trained weights are there, `None` where none were kept.
        weights_file: Where they are.
        opened: The data that go in.
    """

    architecture: ComponentRef
    objective: float | None
    weights: str | None
    weights_file: str | None
    opened: Opened


@dataclass(frozen=True)
class Networks:
    """The networks of a study.

    Attributes:
        study: The study.
        plugins: What provides all of it.
        networks: In the order of the study; of each architecture the best first, where only those were asked
            for.
        notes: What was left out, a line each.
    """

    study: Study
    plugins: Selection
    networks: list[Network]
    notes: list[str]


@dataclass
class TargetPlan:
    """One target, and what it is measured in.

    Attributes:
        target: Backend, device and precision.
        backend: What the plugin describes.
        params: The backend's options.
    """

    target: Target
    backend: Backend
    params: BackendParams


def networks_of(study: Study, catalog: Catalog, store: Store, *, top: int | None = None) -> Networks:
    """Returns the networks that a study asks for.

    Args:
        study: The study.
        catalog: The plugins.
        store: Where to look for objectives and weights.
        top: Only so many of each architecture, those with the best objective.

    Raises:
        InputError: The study is wrong, or the best were asked for and none is trained.
        StoreError: The store cannot be read.
    """
    refuse_command(study)
    expansion = expand(study, catalog, cost=Costs(catalog), reached=store.reached)
    groups: dict[str, list[Trial]] = {}
    for trial in expansion.trials:
        named = [trial.architecture.model_dump(mode="json"), trial.dataset.model_dump(mode="json")]
        groups.setdefault(canonical_json(named), []).append(trial)
    reached = store.reached([trial.id for trial in expansion.trials])
    sign = -1.0 if any(one.direction == "maximize" for one in reached.values()) else 1.0
    networks = [_network(trials, expansion.opened(trials[0]), reached, store) for trials in groups.values()]
    best = (networks, []) if top is None else _best(networks, top, sign, study)
    return Networks(study, Selection.of(catalog), *best)


def _network(trials: list[Trial], opened: Opened, reached: Mapping[str, Reached], store: Store) -> Network:
    done = [trial.id for trial in trials if trial.id in reached and reached[trial.id].objective is not None]
    ranked = sorted(done, key=lambda one: reached[one].score)
    weights = next((one for one in ranked if store.journal.weights(one).is_file()), None)
    return Network(
        architecture=trials[0].architecture,
        objective=reached[ranked[0]].objective if ranked else None,
        weights=weights,
        weights_file=str(store.journal.weights(weights)) if weights else None,
        opened=opened,
    )


def _best(networks: list[Network], top: int, sign: float, study: Study) -> tuple[list[Network], list[str]]:
    """Returns the best of each architecture, and a line on what cannot be ranked."""
    by_name: dict[str, list[tuple[float, Network]]] = {}
    for network in networks:
        if network.objective is not None:
            by_name.setdefault(network.architecture.name, []).append((sign * network.objective, network))
    if not by_name:
        raise InputError(
            f"no trial of {study.name!r} has finished, so there is no best network; omit --top to measure "
            "untrained networks, or run the study first"
        )
    best = [sorted(ranked, key=lambda pair: pair[0])[:top] for ranked in by_name.values()]
    untrained = sum(network.objective is None for network in networks)
    note = f"left out: {untrained} networks without a finished trial have no objective"
    return [network for ranked in best for _, network in ranked], [note] if untrained else []


def plan_targets(
    targets: Sequence[Target],
    precisions: Sequence[str] | None,
    catalog: Catalog,
    *,
    threads: int,
    options: Mapping[str, str] | None = None,
) -> tuple[list[TargetPlan], list[str]]:
    """Returns each target in each precision, once, and a line on each combination that there is not.

    Args:
        targets: Where to measure; one that names a precision is measured in that one only.
        precisions: For the other targets; each backend's default one by default.
        catalog: The plugins.
        threads: CPU threads.
        options: Further options of backends, for those that know them.

    Raises:
        InputError: A backend, a precision or an option is unknown, or there is no target left.
    """
    plans: dict[str, TargetPlan] = {}
    notes: list[str] = []
    unknown = set(options or {})
    for given in targets:
        backend = catalog.backend(given.backend)
        fields = backend.params.model_fields
        known = {name: value for name, value in (options or {}).items() if name in fields}
        unknown -= set(known)
        wanted = [given.precision] if given.precision else [*(precisions or backend.precisions[:1])]
        for precision in wanted:
            target = Target(given.backend, given.device, precision)  # type: ignore[arg-type]
            try:
                params = target.params(backend, threads=threads, **known)
            except InputError as error:
                if given.precision or precision in backend.precisions:
                    raise
                notes.append(f"left out: {error}")
                continue
            plans.setdefault(str(target), TargetPlan(target, backend, params))
    if unknown:
        name = min(unknown)
        there = {field for given in targets for field in catalog.backend(given.backend).params.model_fields}
        raise InputError(f"no target's backend has an option {name!r}{suggest(name, there)}")
    if not plans:
        raise InputError("; ".join(notes) or "no device can be used here; scalelab bench --list shows why")
    return list(plans.values()), notes


def package_versions(backend: Backend) -> dict[str, str]:
    """Returns the versions of what a runtime is made of; what is not installed is left out."""
    found = {}
    for name in backend.packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def jobs_of(
    networks: Networks, plan: TargetPlan, batch_sizes: Sequence[int], time_limit: float
) -> list[BenchJob]:
    """Returns what is to be measured on one target: every network at every batch size."""
    params, packages = plan.params.model_dump(mode="json"), package_versions(plan.backend)
    backend = ComponentRef(name=plan.backend.name, version=plan.backend.version, params=params)
    return [
        BenchJob(
            benchmark=Benchmark(
                architecture=network.architecture,
                input_shape=tuple(network.opened.data.task.input_shape),
                n_outputs=network.opened.data.task.n_outputs,
                fingerprint=network.opened.data.fingerprint,
                weights=network.weights,
                backend=backend,
                device=plan.target.device,
                batch_size=batch_size,
                host=platform.node(),
                packages=packages,
            ),
            study=networks.study.name,
            dataset=networks.study.dataset.name,
            dataset_options=network.opened.params.model_dump(mode="json"),
            weights=network.weights_file,
            time_limit=time_limit,
            plugins=networks.plugins,
        )
        for network in networks.networks
        for batch_size in batch_sizes
    ]

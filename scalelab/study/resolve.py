"""A study's components and options against the plugins: what exists, what is allowed, what varies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scalelab.components import Architecture, Dataset, Optimizer
from scalelab.constraints import Constraint
from scalelab.errors import PluginError, StudyError, brief, suggest
from scalelab.records import ScheduleOptions
from scalelab.study.messages import first_problem, join_keys, one_line
from scalelab.study.model import ComponentEntry, OptimizerEntry, Study, TrainerEntry
from scalelab.study.resolved import Resolved, ResolvedStudy
from scalelab.study.rules import COUNTS, Rule, rule_of
from scalelab.study.validate import Key, ends_of, validated
from scalelab.trainers import Trainer

if TYPE_CHECKING:
    from scalelab.plugins import Catalog


def refuse_command(study: Study) -> None:
    """Makes sure that scalelab trains the trials of a study.

    Raises:
        StudyError: They are runs of a command.
    """
    if study.command is not None:
        raise StudyError(
            f"{study.source}: its trials are runs of a command, of which scalelab knows what it reports: "
            "there is no network to build or to time, no space of a component to write"
        )


def resolve(study: Study, catalog: Catalog) -> ResolvedStudy:
    """Looks up every component of a study and checks every option, dimension, rule and constraint.

    Raises:
        StudyError: An option, a dimension, a rule or a constraint is wrong.
        PluginError: A component is unknown, or its plugin is broken.
    """
    refuse_command(study)
    entries: list[tuple[Key, ComponentEntry | TrainerEntry]] = [(("dataset",), study.dataset)]
    for kind, own in (("architecture", study.architectures), ("optimizer", study.optimizers)):
        entries += [((kind, index), entry) for index, entry in enumerate(own)]
    if study.trainer is not None:
        entries.append((("trainer",), study.trainer))
    components = [_component(catalog, key, entry, study) for key, entry in entries]
    kinds = [str(key[0]) for key, _ in entries]
    found: list[Any] = [
        _resolve(component, entry, study, key, tuple(zip(kinds, components, strict=True)))
        for component, (key, entry) in zip(components, entries, strict=True)
    ]
    _refuse_unknown(found)
    n, m = 1 + len(study.architectures), 1 + len(study.architectures) + len(study.optimizers)
    trainer = found[m] if study.trainer is not None else None
    if trainer is not None:
        _refuse_ignored(study, trainer.component)
    return ResolvedStudy(found[0], tuple(found[1:n]), tuple(found[n:m]), trainer)


def _refuse_ignored(study: Study, trainer: Trainer) -> None:
    """Refuses options of training that the trainer would not heed, where they are not at their default."""
    said: list[tuple[str, ScheduleOptions]] = [("training", study.training)]
    said += [(f"optimizer[{index}].training", own.training) for index, own in enumerate(study.optimizers)]
    for table, options in said:
        for name in sorted(options.model_fields_set & set(trainer.ignores)):
            if getattr(options, name) != type(options).model_fields[name].default:
                what = f"{table}.{name}: trainer {trainer.name!r} does not heed it"
                raise StudyError(f"{study.source}: {what}; leave it out")


def _component(catalog: Catalog, key: Key, entry: ComponentEntry | TrainerEntry, study: Study) -> Any:
    try:
        return getattr(catalog, str(key[0]))(entry.name)
    except PluginError as error:
        where = f"{study.source}: {join_keys(*key)}.name = {brief(entry.name)}"
        raise PluginError(one_line(f"{where}: {error}")) from error


def _resolve(
    component: Any,
    entry: ComponentEntry | TrainerEntry,
    study: Study,
    key: Key,
    all_of_them: Sequence[tuple[str, Any]],
) -> Resolved[Any]:
    where = f"{study.source}: {join_keys(*key)}"
    tune = entry.tune if isinstance(entry, OptimizerEntry) else {}
    known = component.params.model_fields
    space = {} if isinstance(entry, TrainerEntry) else entry.space
    if space == "default":
        default = getattr(component, "space", {})
        if not default:
            raise StudyError(f"{where}.space = 'default': {component.name!r} has no default space")
        space = {name: value for name, value in default.items() if name not in (*entry.options, *tune)}
    rules: dict[str, Rule] = {}
    for name, value in entry.options.items():
        try:
            rule = rule_of(value, join_keys(*key, "options", name))
        except StudyError as error:
            raise StudyError(one_line(f"{study.source}: {error}")) from error
        if rule is not None:
            rules[name] = rule
    for table, names in (("space", space), ("tune", tune), ("options", rules)):
        for name in names:
            if name not in known:
                raise StudyError(one_line(f"{where}.{join_keys(table, name)}: {no_option(component, name)}"))
    for table, names in (("space", space), ("tune", tune)):
        twice = {"options": entry.options, "space": space if table == "tune" else {}}
        for name in names:
            for other, there in twice.items():
                if name in there:
                    what = (
                        "an option is a constant or varies" if table == "space" else "a sweep sets it alone"
                    )
                    raise StudyError(f"{where}.{table}.{name}: is in {other} too; {what}")
    options = {name: value for name, value in entry.options.items() if name not in rules}
    constraints = _own_constraints(component, where)
    if not isinstance(entry, TrainerEntry):
        constraints += entry.constraints
    resolved = Resolved(component, key, options, rules, space, constraints, tune, study)
    _check_names(resolved, all_of_them)
    _check_values(resolved)
    return resolved


def _check_names(resolved: Resolved[Any], all_of_them: Sequence[tuple[str, Any]]) -> None:
    """Refuses a constraint or a rule that names what is not there, or not known when it is needed."""
    own = resolved.component.params.model_fields
    everything = {name for _, component in all_of_them for name in component.params.model_fields}
    # A rule of an optimizer follows every architecture; one of an architecture only what is there before.
    network = ("dataset", "architecture")
    before = {"dataset": (), "architecture": ("dataset",), "optimizer": network, "trainer": network}
    for constraint in resolved.constraints:
        what = f"{resolved.where}.constraints: {constraint.text!r} names"
        for name in sorted(constraint.names - everything):
            raise StudyError(one_line(f"{what} {name!r}: {no_option(resolved.component, name, everything)}"))
        outer = {name for name, rule in resolved.rules.items() if rule.scale not in own}
        for name in sorted(constraint.names & {*outer, *resolved.tune}):
            how = "tune" if name in resolved.tune else "its rule"
            raise StudyError(
                f"{what} {name!r}, which {how} sets; only constants and what varies are compared"
            )
    rules: list[tuple[tuple[str, ...], Rule]] = [
        (("options", name), rule) for name, rule in resolved.rules.items()
    ]
    rules += [(("tune", name, "start"), rule) for name, tune in resolved.tune.items() if (rule := tune.rule)]
    for path, rule in rules:
        where = f"{resolved.where}.{join_keys(*path)}.scale = {brief(rule.scale)}"
        counts = _counts(resolved)
        if rule.scale in (*counts, *own) and rule.scale not in (*resolved.rules, *resolved.tune):
            continue
        if rule.scale in own:
            raise StudyError(f"{where}: it is not known before; follow a constant or what varies")
        asked = [component for kind, component in all_of_them if kind in before[str(resolved.key[0])]]
        having = [component for component in asked if rule.scale in component.params.model_fields]
        architectures = [component for component in asked if isinstance(component, Architecture)]
        lacking = [component.name for component in architectures if component not in having]
        if not having:
            there = {*own, *counts, *(name for one in asked for name in one.params.model_fields)}
            raise StudyError(one_line(f"{where}: there is no such number{suggest(rule.scale, there)}"))
        if lacking and not any(isinstance(one, Dataset) for one in having):
            raise StudyError(f"{where}: architecture {lacking[0]!r} has no such option; follow n_params")


def _counts(resolved: Resolved[Any]) -> tuple[str, ...]:
    """Returns the counts that are known where a component's rules are followed."""
    kind = resolved.key[0]
    if kind in ("optimizer", "trainer"):
        return COUNTS
    # isoFLOP sampling chooses networks before their data, and data are there before any size of them.
    before_data = kind == "dataset" or resolved.study.sampling.method == "isoflop"
    return ("batch_size",) if before_data else ("n_examples", "batch_size")


def _refuse_unknown(found: Sequence[Resolved[Any]]) -> None:
    """Refuses a constraint that names an option which a sweep or a rule of another component sets."""
    for other in found:
        fields = other.component.params.model_fields
        sets = {name: "a rule" for name, rule in other.rules.items() if rule.scale not in fields}
        sets |= dict.fromkeys(other.tune, "tune")
        for resolved in (one for one in found if one is not other):
            own = resolved.component.params.model_fields
            for constraint in resolved.constraints:
                for name in sorted(constraint.names & sets.keys() - own.keys()):
                    what = f"{resolved.where}.constraints: {constraint.text!r}"
                    raise StudyError(
                        f"{what} names {name!r}, set by {sets[name]} of {join_keys(*other.key)}; "
                        "only constants and what varies are compared"
                    )


def _own_constraints(
    component: Dataset | Architecture | Optimizer | Trainer, where: str
) -> tuple[Constraint, ...]:
    try:
        return tuple(map(Constraint.parse, getattr(component, "constraints", ())))
    except StudyError as error:
        raise PluginError(
            one_line(f"{where}: {component.name!r} brings a wrong constraint: {error}")
        ) from error


def no_option(component: Any, name: str, known: Iterable[str] | None = None) -> str:
    """Returns that a component (or none of several) has no such option, and what there is."""
    own = list(component.params.model_fields)
    listed = f"it has {', '.join(own)}" if own else "it has none"
    return f"{component.name!r} has no such option{suggest(name, known or own)} ({listed})"


def _check_values(resolved: Resolved[Any]) -> None:
    """Checks constants, and every dimension at its ends, before anything is drawn.

    A relation between options that a model refuses as a whole may hold elsewhere in the space: where
    something varies, it is checked point by point when points are drawn.
    """
    space = resolved.space
    first = {name: rule.first for name, rule in resolved.rules.items()} | resolved.tuned
    first |= {name: dimension.from_unit(0.0) for name, dimension in space.items()}
    apart = (*space, *resolved.tune, *resolved.rules)
    _refuse(resolved, first, lambda path: not apart if not path else path[0] not in apart, "options")
    for name in (name for name, tune in resolved.tune.items() if tune.rule is None):
        _refuse(resolved, first, _about(name), "tune", ("start",))
    for name, dimension in space.items():
        for key, value in ends_of(dimension).items():
            _refuse(resolved, {**first, name: value}, _about(name), "space", key)


def _about(name: str) -> Callable[[Key], bool]:
    return lambda path: path[:1] == (name,)


def _refuse(
    resolved: Resolved[Any],
    point: Mapping[str, Any],
    accept: Callable[[Key], bool],
    table: str,
    end: Key = (),
) -> None:
    """Raises where the model refuses a point for a reason that `accept` wants to hear of."""
    try:
        validated(resolved.component, {**resolved.options, **point})
    except ValidationError as error:
        problem = first_problem(error, resolved.component.params, accept)
        if problem is not None:
            inside = (table, *problem.path[:1], *end, *problem.path[1:]) if problem.path else ()
            message = problem.at(*resolved.key, *inside)
            raise StudyError(one_line(f"{resolved.study.source}: {message}")) from error

"""The study file as pydantic models: one field a key, bounds and defaults beside it.

Values are checked strictly: a string is no number, a Boolean no count. What needs the plugins (do the
component and its options exist?) is checked in `scalelab.study.resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, PrivateAttr, SerializeAsAny, model_validator
from pydantic_core import PydanticCustomError

from scalelab.constraints import Constraint, is_number
from scalelab.errors import StudyError, brief
from scalelab.records import Direction, Frozen, ScheduleOptions, TrainingOptions
from scalelab.script_reports import check_metric
from scalelab.space import Dimension, parse_dimension
from scalelab.study.rules import Lookup, Rule, rule_of

MAX_TRIALS = 100_000
SWEEP_WARMUP = 0.2
"""The part of the steps that a study with a sweep warms up for at least, and its default."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]


def located(message: str) -> PydanticCustomError:
    """Returns an error whose message continues where the key path of its field ends: `[2].low = 3: …`."""
    # braces are pydantic's placeholders, so the message travels in the context
    return PydanticCustomError("located", "{message}", {"message": message})


def check_name(value: str) -> str:
    """Returns a name for a study, after making sure that it is one.

    Raises:
        ValueError: It is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(
            "must be letters, digits, '-', '_' and '.', 100 at most, the first a letter or a digit"
        )
    return value


def _id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16}", value):
        raise ValueError("must be the id of a trial, 16 hexadecimal digits; plan --json shows them")
    return value


def _space(value: Any) -> Literal["default"] | dict[str, Dimension]:
    if value == "default":
        return "default"
    if not isinstance(value, dict):
        raise located(f" = {brief(value)}: must be 'default' or a table of dimensions")
    dimensions = {}
    for key, described in value.items():
        try:
            dimensions[key] = parse_dimension(described, f".{key}")
        except StudyError as error:
            raise located(str(error)) from None
    return dimensions


def _constraint(value: Any) -> Constraint:
    try:
        return Constraint.parse(value)
    except StudyError as error:
        raise located(f" = {error}") from None


def _size(value: Any) -> int | float | Literal["all"]:
    if value == "all":
        return "all"
    if is_number(value):
        if isinstance(value, int) and value >= 1:
            return value
        if isinstance(value, float) and 0 < value < 1:
            return value
    raise located(f" = {brief(value)}: must be a fraction between 0 and 1, a count of 1 or more, or 'all'")


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    seen = set()
    for index, value in enumerate(values):
        if (type(value), value) in seen:
            raise located(f"[{index}] = {brief(value)}: is listed twice")
        seen.add((type(value), value))
    return values


_OF_SCHEDULE = {"schedule", "final_lr", "warmup", "cooldown"}
TrialId = Annotated[str, AfterValidator(_id)]
DataSize = Annotated[int | float | Literal["all"], PlainValidator(_size)]


class ComponentEntry(Frozen):
    """The table `[dataset]`, or one of `[[architecture]]`."""

    name: str = Field(min_length=1, max_length=200, description="which dataset, architecture or optimizer")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="its options, constants or rules; the rest take their defaults",
    )
    space: Annotated[Literal["default"] | dict[str, Dimension], PlainValidator(_space)] = Field(
        default_factory=dict,
        description="a dimension for each option that varies, or the component's own space",
    )
    constraints: tuple[Annotated[Constraint, PlainValidator(_constraint)], ...] = Field(
        (), max_length=100, description="relations that every point must satisfy, beside the component's own"
    )


class CommandEntry(ComponentEntry):
    """The table `[command]`: trials are runs of somebody's own command.

    Here `name` is that of the family of runs, which stands for dataset and architecture.
    """

    name: Annotated[str, AfterValidator(check_name)] = Field(
        "", description="of the family of runs; left out, the study's"
    )
    run: tuple[Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")], ...] = Field(
        min_length=1, max_length=1000, description="program and arguments, parameters in braces"
    )
    axes: dict[str, str] = Field(
        default_factory=dict, description="which parameter is n_params, n_examples, epochs and the like"
    )
    version: Annotated[int | str, Field(union_mode="left_to_right")] | None = Field(
        None, description="another one makes other trials of all"
    )
    files: tuple[str, ...] | None = Field(
        None, max_length=1000, description="files whose content is part of each trial; default those in run"
    )
    folder: str = Field(".", min_length=1, description="where it runs, taken from the study file's folder")
    environment: dict[
        Annotated[str, Field(pattern=r"^[^=\x00]+$")], Annotated[str, Field(pattern=r"^[^\x00]*$")]
    ] = Field(default_factory=dict, description="variables that it has beside others")
    time_limit: float | None = Field(None, gt=0, description="seconds that it may take")
    stop_seconds: float = Field(
        30.0, ge=0, le=86400, description="seconds that it has to write a checkpoint, asked by SIGTERM"
    )
    metric: Annotated[str, AfterValidator(check_metric)] = Field(
        "loss", description="what it reports that counts"
    )
    direction: Direction = Field("minimize", description="which way that is better")


def _start(value: Any) -> float | Rule:
    try:
        rule = rule_of(value, "")
    except StudyError as error:
        raise located(str(error)) from None
    if isinstance(rule, Lookup):
        for key, one in rule.values.items():
            if not (is_number(one) and one > 0):
                raise located(f".values.{key} = {brief(one)}: must be a number above 0")
    elif rule is not None and rule.at <= 0:
        raise located(f".at = {rule.at:g}: must be above 0")
    if rule is not None:
        return rule
    if is_number(value) and value > 0:
        return float(value)
    raise located(f" = {brief(value)}: must be a number above 0, or a rule that gives one")


class Tune(Frozen):
    """How a sweep varies an option of an optimizer, for each size and everything else on its own."""

    start: SerializeAsAny[Annotated[float | Rule, PlainValidator(_start)]] = Field(
        description="the value in the middle, or a rule for it"
    )
    factor: float = Field(2.0, ge=1.05, le=100, description="between one value and the next")
    first: int = Field(3, ge=3, le=99, description="values to begin with, around start")
    most: int = Field(9, ge=3, le=99, description="values at most, where the best stays at an end")

    @model_validator(mode="after")
    def _most_holds_first(self) -> Self:
        if self.most < self.first:
            raise located(f".most = {self.most}: must be at least first, which is {self.first}")
        return self

    @property
    def rule(self) -> Rule | None:
        """The rule that gives the value in the middle, where there is one."""
        return None if isinstance(self.start, float) else self.start

    @property
    def middle(self) -> float:
        """A value that stands for all of them."""
        return self.start if isinstance(self.start, float) else float(self.start.first)


def _one_option(tune: dict[str, Tune]) -> dict[str, Tune]:
    if len(tune) > 1:
        names = ", ".join(tune)
        raise located(f": tunes {len(tune)} options ({names}); one at most, the others may vary in space")
    return tune


class OptimizerEntry(ComponentEntry):
    """A table of `[[optimizer]]`."""

    tune: Annotated[dict[str, Tune], AfterValidator(_one_option)] = Field(
        default_factory=dict,
        description="an option, and how a sweep varies it until its best is bracketed",
    )
    training: ScheduleOptions = Field(
        default_factory=ScheduleOptions,
        description="its own schedule, warmup, cooldown, final_lr and clip_norm, in place of [training]'s",
    )

    @property
    def own_training(self) -> dict[str, Any]:
        """The options of training that stand in its entry, by name."""
        return {name: getattr(self.training, name) for name in sorted(self.training.model_fields_set)}


class TrainerEntry(Frozen):
    """The table `[trainer]`."""

    name: str = Field(min_length=1, max_length=200, description="which trainer")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="its options, constants or rules; the rest take their defaults",
    )


class Refit(Frozen):
    """The table `[refit]`: what is done with the design that is best by the mean of the runs' objective."""

    dataset: dict[str, Any] = Field(
        min_length=1,
        description="options of the dataset in which the best design's new trials differ",
    )
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_distinct)] | None = Field(
        None, min_length=1, max_length=10_000, description="one new trial each; default the study's"
    )


class DataOptions(Frozen):
    """The table `[data]`."""

    sizes: Annotated[tuple[DataSize, ...], AfterValidator(_distinct)] = Field(
        ("all",), min_length=1, max_length=1000, description="training subsets"
    )
    seed: Seed | Literal["run"] = Field(
        0, description="of the permutation whose first n examples are the subset of n; run: each run's own"
    )

    def seed_of(self, seed: int) -> int:
        """Returns the seed of the permutation of a run.

        Args:
            seed: The run's own.
        """
        return seed if self.seed == "run" else self.seed


class Sampling(Frozen):
    """The table `[sampling]`."""

    method: Literal["grid", "random", "sobol", "isoflop"] = Field("grid", description="how points are chosen")
    n: int | None = Field(
        None, ge=1, le=MAX_TRIALS, description="points drawn, or in a grid points of a continuous dimension"
    )
    seed: Seed = Field(0, description="of the draws")
    budgets: Annotated[tuple[Annotated[float, Field(gt=0)], ...], AfterValidator(_distinct)] = Field(
        (), max_length=1000, description="isoflop: training FLOPs of each profile"
    )
    models: int = Field(7, ge=1, le=1000, description="isoflop: models of each budget")
    min_steps: int = Field(20, ge=1, description="isoflop: a budget must leave this many optimizer steps")
    max_epochs: float = Field(
        100.0, gt=0, description="isoflop: a budget must not need more passes than this"
    )

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        isoflop_keys = {"budgets", "models", "min_steps", "max_epochs"}
        if self.method != "isoflop":
            for key in sorted(isoflop_keys & self.model_fields_set):
                raise located(f".{key}: only method = 'isoflop' uses it; the method is {self.method!r}")
            if self.method != "grid" and self.n is None:
                raise located(f".n: missing; method = {self.method!r} needs the number of points to draw")
        elif not self.budgets:
            raise located(
                ".budgets: missing; method = 'isoflop' needs a list of FLOP budgets such as [1e12, 1e13]"
            )
        return self


class Study(Frozen):
    """What one study file asks for: a finite set of trials.

    Made by `scalelab.load_study`; it never changes. Attributes are the keys of the file, with the plural
    `architectures` and `optimizers` for its lists of tables.
    """

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="names the study in the store and in reports"
    )
    description: str = Field("", max_length=10_000, description="one line of description")
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_distinct)] = Field(
        (0,), min_length=1, max_length=10_000, description="every point is trained once with each"
    )
    dataset: ComponentEntry
    data: DataOptions = DataOptions()
    architectures: tuple[ComponentEntry, ...] = Field(
        min_length=1, max_length=1000, validation_alias="architecture", description="families of models"
    )
    optimizers: tuple[OptimizerEntry, ...] = Field(
        min_length=1, max_length=1000, validation_alias="optimizer", description="optimizers"
    )
    training: TrainingOptions = TrainingOptions()
    trainer: TrainerEntry | None = Field(None, description="what trains, in place of scalelab's own loop")
    sampling: Sampling = Sampling()
    refit: Refit | None = Field(None, description="how the best design is trained again")
    command: CommandEntry | None = Field(None, description="what trains the trials, in place of components")
    trials: Annotated[tuple[TrialId, ...], AfterValidator(_distinct)] | None = Field(
        None, min_length=1, max_length=MAX_TRIALS, description="the ids of those that are meant; default all"
    )

    _text: str = PrivateAttr("")
    _path: Path | None = PrivateAttr(None)
    _source: str = PrivateAttr("")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for kind, entries in (("architecture", self.architectures), ("optimizer", self.optimizers)):
            _refuse_repetition(kind, entries)
        for index, optimizer in enumerate(self.optimizers):
            self._check_training(index, optimizer)
        if self.command is not None and self.sampling.method == "isoflop":
            raise located("sampling.method = 'isoflop': the FLOPs of a command are not known before it runs")
        if self.sampling.method == "isoflop" and "length" in self.training.model_fields_set:
            raise located("training.length: leave it out; with isoflop sampling the budgets set it")
        if self.refit is not None and (self.sampling.method == "isoflop" or len(self.data.sizes) > 1):
            what = "isoflop sampling compares" if len(self.data.sizes) == 1 else "several data.sizes compare"
            raise located(f"refit: {what} sizes; one size is what a best design is chosen at")
        if self.trials is not None and (self.refit is not None or any(one.tune for one in self.optimizers)):
            what = "tune" if self.refit is None else "[refit]"
            raise located(f"trials: goes not with {what}, which asks for trials by what others gave")
        return self

    def _check_training(self, index: int, optimizer: OptimizerEntry) -> None:
        """Refuses what the options of training are together with those of an optimizer's entry."""
        own = optimizer.own_training
        training = self.training.model_copy(update=own)
        key = f"optimizer[{index}].training" if own.keys() & _OF_SCHEDULE else "training"
        if training.schedule == "exponential" and training.final_lr == 0:
            raise located(f"{key}: schedule = 'exponential' needs final_lr above 0: it never reaches 0")
        if training.schedule == "linear-cooldown" and training.warmup + training.cooldown > 1 + 1e-9:
            raise located(
                f"{key}: warmup = {training.warmup:g} and cooldown = {training.cooldown:g} overlap: "
                "together they may be 1, all of the steps, at most"
            )
        if optimizer.tune and training.warmup < SWEEP_WARMUP:
            key = f"optimizer[{index}].training" if "warmup" in own else "training"
            raise located(
                f"{key}.warmup = {training.warmup:g}: a sweep needs {SWEEP_WARMUP:g} or more: "
                "with less, small networks stick at the classes' entropy at rates that are good otherwise"
            )

    @property
    def text(self) -> str:
        """The TOML text that the study was read from."""
        return self._text

    @property
    def path(self) -> Path | None:
        """The study file; `None` for a study that was read from a text."""
        return self._path

    @property
    def source(self) -> str:
        """What error messages call the study: its path where it has one."""
        return self._source or f"study {self.name!r}"

    def read_from(self, text: str, source: str | Path) -> Study:
        """Returns the same study with the text and the file (or the name) that it was read from."""
        study = self.model_copy()
        study._text, study._source = text, str(source)
        study._path = source if isinstance(source, Path) else None
        return study


def _refuse_repetition(kind: str, entries: Sequence[ComponentEntry]) -> None:
    for index, entry in enumerate(entries):
        if entry in entries[:index]:
            first = entries.index(entry)
            raise located(
                f"{kind}[{index}].name = {brief(entry.name)}: the same as {kind}[{first}], options and all; "
                "give it other options or leave it out"
            )

"""Short names for trials: what tells one from the others of its study, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scalelab.records import DEFAULT_TRAINER, ComponentRef, ScheduleOptions, Trial, canonical_json

_SCHEDULE = tuple(ScheduleOptions.model_fields)
"""Options of training that an optimizer of a study may have of its own."""


class TrialNames:
    """Says in a few words what tells a trial from the others of its study.

    Attributes:
        datasets: Whether the trials are on several datasets.

    Args:
        trials: All trials of the study.
    """

    def __init__(self, trials: Sequence[Trial] = ()) -> None:
        seen: dict[tuple[str, str], set[str]] = {}
        there: Counter[str] = Counter()
        having: Counter[tuple[str, str]] = Counter()
        for trial in trials:
            for component in (trial.dataset, trial.architecture, trial.optimizer, trial.trainer):
                there[component.name] += 1
                for option, value in component.params.items():
                    seen.setdefault((component.name, option), set()).add(str(value))
                    having[component.name, option] += 1
            for option in _SCHEDULE:
                own = str(getattr(trial.training, option))
                seen.setdefault((trial.optimizer.name, f"training.{option}"), set()).add(own)
        # An option that came later is absent where it has its default.
        for (name, option), count in having.items():
            if count < there[name]:
                seen[name, option].add("")
        self._varying = {key for key, values in seen.items() if len(values) > 1}
        self.datasets = len({canonical_json(trial.dataset.model_dump()) for trial in trials}) > 1
        self._sizes = len({trial.n_examples for trial in trials}) > 1
        self._seeds = len({trial.seed for trial in trials}) > 1

    def describe(self, trial: Trial) -> str:
        """Returns components with the options that vary, then data size and seed where they vary."""
        if trial.script is not None:
            seed = [f"seed={trial.seed}"] if self._seeds else []
            return " ".join([self.script(trial), *seed])
        words = [self.component(trial.architecture), self.optimizer(trial)]
        if trial.trainer != DEFAULT_TRAINER:
            words.append(self.component(trial.trainer))
        if self.datasets:
            words.insert(0, self.component(trial.dataset))
        if self._sizes:
            words.append(f"n={trial.n_examples:,}")
        if self._seeds:
            words.append(f"seed={trial.seed}")
        return " ".join(words)

    def component(self, component: ComponentRef) -> str:
        """Returns a component with the options that vary."""
        return _named(component.name, self._options(component))

    def script(self, trial: Trial) -> str:
        """Returns the parameters of a script that vary; its name where none does."""
        return " ".join(self._options(trial.architecture)) or trial.dataset.name

    def optimizer(self, trial: Trial) -> str:
        """Returns the optimizer of a trial likewise, those of its schedule among the options."""
        own = [
            f"{option}={_short(getattr(trial.training, option))}"
            for option in _SCHEDULE
            if (trial.optimizer.name, f"training.{option}") in self._varying
        ]
        return _named(trial.optimizer.name, [*self._options(trial.optimizer), *own])

    def _options(self, component: ComponentRef) -> list[str]:
        return [
            f"{option}={_short(value)}"
            for option, value in component.params.items()
            if (component.name, option) in self._varying
        ]


def _named(name: str, options: Sequence[str]) -> str:
    return f"{name}({', '.join(options)})" if options else name


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "-".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)

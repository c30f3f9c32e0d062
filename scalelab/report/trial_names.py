"""Short names for trials: what tells one from the others of its study, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scalelab.records import ComponentRef, Trial, canonical_json


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
            for component in (trial.dataset, trial.architecture, trial.optimizer):
                there[component.name] += 1
                for option, value in component.params.items():
                    seen.setdefault((component.name, option), set()).add(str(value))
                    having[component.name, option] += 1
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
        words = [self.component(trial.architecture), self.component(trial.optimizer)]
        if self.datasets:
            words.insert(0, self.component(trial.dataset))
        if self._sizes:
            words.append(f"n={trial.n_examples:,}")
        if self._seeds:
            words.append(f"seed={trial.seed}")
        return " ".join(words)

    def component(self, component: ComponentRef) -> str:
        """Returns a component with the options that vary."""
        options = [
            f"{option}={_short(value)}"
            for option, value in component.params.items()
            if (component.name, option) in self._varying
        ]
        return f"{component.name}({', '.join(options)})" if options else component.name


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "-".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)

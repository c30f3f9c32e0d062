"""One precision a study: what `precision = "auto"` means is decided once, by the machine that runs it first.

A GPU with bf16 units takes bf16. A CPU with such units takes it where the study's networks are faster in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from scalelab.errors import InputError
from scalelab.execute.jobs import Job
from scalelab.supervise.workbench import Selection

if TYPE_CHECKING:
    import torch

    from scalelab.execute.crew import Crew
    from scalelab.plugins import Catalog
    from scalelab.records import Trial
    from scalelab.store import Store
    from scalelab.study import Expansion, Study
    from scalelab.train.device import Precision


@dataclass(frozen=True)
class Decided:
    """What a study's trials are trained in.

    Attributes:
        precision: The precision.
        why: Where it comes from, in a few words.
    """

    precision: Precision
    why: str

    def __str__(self) -> str:
        return f"{self.precision} ({self.why})"


def decided(
    study: Study,
    store: Store | None,
    device: str,
    trials: Sequence[Trial],
    expansion: Expansion,
    catalog: Catalog,
    crew: Crew,
    on_timing: Callable[[], None],
    *,
    elsewhere: bool = False,
) -> Decided | None:
    """Returns what a study is trained in, and makes sure that this machine can.

    That is `None` where a command trains it, and where nothing is to be trained.

    Args:
        study: The study.
        store: Where an earlier run may have noted it.
        device: Where it is to be trained.
        trials: What is to be trained.
        expansion: What they are of.
        catalog: The plugins.
        crew: Who would train them.
        on_timing: Called before networks are timed, if any are.
        elsewhere: Whether the device is one of another machine, which sees for itself that it can.

    Raises:
        InputError: The device does not exist or cannot compute in it.
    """
    if study.command is not None or not trials:
        return None
    asked = study.training.precision
    known = _known(study, store, expansion) if asked == "auto" else (asked, "as the study asks")
    if known and known[0] == "fp32":
        # Every device can; torch, which takes seconds to import, is not asked.
        return Decided(*known)
    if elsewhere and device != "cpu":
        return Decided(*known) if known else Decided("bf16", "auto, decided for the cluster's GPUs")
    from scalelab.train.device import resolve_device, resolve_precision

    where = resolve_device(device)
    if known is None:
        here = "auto, decided here for all runs of the study"
        if where.type != "cpu":
            return Decided(resolve_precision("auto", where), here)
        from scalelab.execute.faster import faster

        job_of = partial(
            Job.of, expansion=expansion, study=study.name, attempt=1, store="", device=device, crew=crew,
            plugins=Selection.of(catalog),
        )  # fmt: skip
        precision, why = faster(trials, expansion, job_of, on_timing)
        return Decided(precision, f"{here}: {why}")
    return _able(study, *known, where)


def _able(study: Study, precision: Precision, why: str, where: torch.device) -> Decided:
    """Returns what is known already, where this machine can compute in it.

    Raises:
        InputError: It cannot.
    """
    from scalelab.train.device import cpu_has_bf16, resolve_precision

    try:
        resolve_precision(precision, where)
    except InputError as error:
        raise InputError(
            f"{study.source}: {error}; it is trained in bf16 {why}: train on another device, or write "
            "precision = 'fp32' into [training], which makes other trials of all"
        ) from error
    slow = where.type == "cpu" and not cpu_has_bf16()
    return Decided(precision, f"{why}; this CPU emulates it, which is slow" if slow else why)


def noted(study: Study, store: Store) -> Precision | None:
    """Returns what the first run of a study decided, `None` where there was none."""
    found = next((one.precision for one in store.stored_studies() if one.name == study.name), None)
    return None if found is None else _named(found)


def _known(study: Study, store: Store | None, expansion: Expansion) -> tuple[Precision, str] | None:
    """Returns what a study that leaves it open was trained in so far, and how one knows."""
    if store is None:
        return None
    first = noted(study, store)
    if first is not None:
        return first, "as its first run decided"
    # Another study may have asked for some of its trials.
    outcomes = store.outcomes([trial.id for trial in expansion.trials]).values()
    done = Counter(one.precision for one in outcomes if one.reached is not None and one.precision is not None)
    return (_named(done.most_common(1)[0][0]), "as its trials that are done were trained") if done else None


def _named(precision: str) -> Precision:
    return "bf16" if precision == "bf16" else "fp32"

"""One precision a study: what `precision = "auto"` means is decided by the machine that runs it first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.errors import InputError

if TYPE_CHECKING:
    from scalelab.store import Store
    from scalelab.study import Study
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


def decided(study: Study, store: Store | None, device: str, *, elsewhere: bool = False) -> Decided:
    """Returns what a study is trained in, and makes sure that this machine can.

    Args:
        study: The study.
        store: Where an earlier run may have noted it.
        device: Where it is to be trained.
        elsewhere: Whether that is a device of another machine, which sees for itself that it can.

    Raises:
        InputError: The device does not exist or cannot compute in it.
    """
    asked = study.training.precision
    noted = None
    if asked == "auto" and store is not None:
        noted = next((one.precision for one in store.stored_studies() if one.name == study.name), None)
    why = "as the study asks" if noted is None else "as its first run decided"
    if asked == "fp32" or noted == "fp32":
        # Every device can; torch, which takes seconds to import, is not asked.
        return Decided("fp32", why)
    if elsewhere and device != "cpu":
        return Decided(
            "bf16", "auto, decided for the cluster's GPUs" if asked == "auto" and not noted else why
        )
    from scalelab.train.device import cpu_has_bf16, resolve_device, resolve_precision

    where = resolve_device(device)
    try:
        precision = resolve_precision(asked, where, "bf16" if noted else None)
    except InputError as error:
        since = "the study asks for it" if noted is None else "the study's first run decided on it"
        raise InputError(
            f"{study.source}: {error}; {since}: train on another device, or write precision = 'fp32' into "
            "[training], which makes other trials of all"
        ) from error
    if asked == "auto" and noted is None:
        return Decided(precision, "auto, decided here for all runs of the study")
    slow = where.type == "cpu" and not cpu_has_bf16()
    return Decided(precision, f"{why}; this CPU emulates it, which is slow" if slow else why)

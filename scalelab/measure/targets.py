"""What to measure on, as text: `backend:device` or `backend:device:precision`.

A device's name may hold colons itself (`cuda:0`, `AUTO:CPU`), so the first part is the backend, and the
last one is a precision only where it is the name of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from pydantic import ValidationError

from scalelab.components import Backend, BackendParams, Device, Precision
from scalelab.errors import InputError, brief, suggest
from scalelab.plugins import Catalog
from scalelab.study.messages import describe

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Target:
    """A backend, one of its devices and a precision.

    Attributes:
        backend: The backend's name.
        device: The device's name; as the runtime spells it, once `find_device` has found it.
        precision: What to compute in; `None` leaves it to the backend.
    """

    backend: str
    device: str
    precision: Precision | None = None

    def __str__(self) -> str:
        return ":".join(part for part in (self.backend, self.device, self.precision) if part)

    def params(self, backend: Backend, **options: Any) -> BackendParams:
        """Returns the backend's options: the target's precision and those given; `None` is the default.

        Raises:
            InputError: The backend does not offer the precision, or does not know or refuses an option.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if self.precision is not None:
            if self.precision not in backend.precisions:
                raise InputError(
                    f"{self}: backend {self.backend} does not offer {self.precision}; "
                    f"it offers {', '.join(backend.precisions)}"
                )
            given["precision"] = self.precision
        try:
            return backend.params.model_validate(given)
        except ValidationError as error:
            raise InputError(f"{self}: {describe(error, backend.params, 'options')}") from None


def parse_target(text: str, catalog: Catalog | None = None) -> Target:
    """Returns the target that a text names.

    Args:
        text: `backend:device` or `backend:device:precision`, such as `openvino:CPU:int8`.
        catalog: Where to look for the backend and its device; without one only the form is checked.

    Raises:
        InputError: The form is wrong, or the backend has no such device; the message has close matches. A
            device that is known but cannot be used here is not an error.
        PluginError: There is no such backend.
    """
    backend, _, rest = text.strip().partition(":")
    device, _, last = rest.rpartition(":")
    precision: Precision | None = None
    if last.lower() in PRECISIONS:
        precision = cast("Precision", last.lower())
    else:
        device = rest
    if not backend or not device:
        close = suggest(last, PRECISIONS) if device else ""
        raise InputError(
            f"{brief(text)} is not a target: write backend:device or backend:device:precision, such as "
            f"openvino:CPU:int8{close}"
        )
    target = Target(backend, device, precision)
    if catalog is None:
        return target
    return replace(target, device=find_device(target, catalog.backend(backend).devices()).name)


def find_device(target: Target, devices: Iterable[Device]) -> Device:
    """Returns a target's device as the runtime spells it, whether it can be used here or not.

    Upper and lower case are the same, and a name without a number is the first of its kind: `cuda` is
    `cuda:0`.

    Raises:
        InputError: There is no such device; the message has close matches.
    """
    by_name = {device.name.lower(): device for device in devices}
    wanted = target.device.lower()
    for name in (wanted, f"{wanted}:0", f"{wanted}.0"):
        if name in by_name:
            return by_name[name]
    family, _, last = wanted.rpartition(":")
    if family in by_name and last not in PRECISIONS:
        hint = suggest(last, PRECISIONS) or f"; precisions are {', '.join(PRECISIONS)}"
        raise InputError(f"{target}: {last!r} is not a precision{hint}")
    names = [device.name for device in by_name.values()]
    hint = suggest(target.device, names) or suggest(wanted, by_name) or f"; it has {', '.join(names)}"
    raise InputError(f"{target}: backend {target.backend} has no device {target.device!r}{hint}")

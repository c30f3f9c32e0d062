"""What a user says of a cluster: which one, how many trials at once, and what each of them may take."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from scalelab.errors import InputError, brief, suggest
from scalelab.records import Frozen

KINDS = ("ray", "slurm")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]?\d):([0-5]?\d)")
_BYTES = {
    "M": 10**6,
    "MB": 10**6,
    "G": 10**9,
    "GB": 10**9,
    "MiB": 2**20,
    "GiB": 2**30,
    "T": 10**12,
    "TB": 10**12,
}
_SBATCH_NAME = re.compile(r"[a-z][a-z-]*")
_OWN = ("array", "job-name", "output", "error", "signal", "requeue", "no-requeue", "time", "mem", "partition",
        "cpus-per-task", "open-mode", "wait", "wrap", "parsable", "nodes", "ntasks", "ntasks-per-node",
        "ntasks-per-socket", "ntasks-per-core", "ntasks-per-gpu", "tasks-per-node")  # fmt: skip
"""What scalelab asks for itself or cannot work without: each of several tasks would act as the job."""


class Cluster(Frozen):
    """A cluster, and what the jobs there are to be like.

    Attributes:
        on: `"ray"`, `"ray:ADDRESS"`, `"slurm"` or `"slurm:PARTITION"`. Ray without an address is the cluster
            that `RAY_ADDRESS` names or that runs on this machine, else one that is started here for the run.
        slots: Trials at once, each in a job of its own; at most as many as trials. By default 8, on Ray as
            many as its CPUs allow.
        cpus_per_trial: CPU cores of each, which are also its threads.
        gpus_per_trial: GPUs of each; on Ray a fraction shares one.
        time_limit: Seconds that a job may take, or text such as `"30min"`, `"2h"`, `"1-12:00:00"`. A job
            serves trials until then; what is not finished writes a checkpoint and goes on in the next job.
        memory: Bytes that a job may use, or text such as `"4GB"`.
        array_size: Jobs in one array of SLURM at most.
        sbatch: Further options of `sbatch` by name, such as `{"account": "ecg", "qos": "low"}`.
        setup: Lines of shell that a SLURM job runs first, such as `module load python`.
        shared_folder: Whether the cluster's machines see the store's folder under the same path. Without it
            records, checkpoints and weights travel through Ray; SLURM needs it.
        at_stop: What Ctrl-C does with the jobs: `"cancel"` has trials write a checkpoint and ends the jobs;
            `"leave"` hands them all trials that are left and lets them go on.
    """

    on: str
    slots: int | None = Field(None, ge=1, le=100_000)
    cpus_per_trial: int = Field(1, ge=1, le=4096)
    gpus_per_trial: Annotated[float, Field(ge=0, le=64, allow_inf_nan=False)] = 0.0
    time_limit: float | None = Field(None, ge=60.0, le=366 * 86400.0)
    memory: int | None = Field(None, ge=10**8, le=10**15)
    array_size: int = Field(1000, ge=1, le=1_000_000)
    sbatch: dict[str, str] = Field(default_factory=dict)
    setup: tuple[str, ...] = ()
    shared_folder: bool = True
    at_stop: Literal["cancel", "leave"] = "cancel"

    @classmethod
    def of(cls, on: str | Cluster, **rest: Any) -> Self:
        """Returns a cluster, given as text or as it is.

        Raises:
            InputError: A value is wrong.
        """
        if isinstance(on, cls):
            return on
        try:
            return cls(on=on, **{name: value for name, value in rest.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = "on" if not first["loc"] else str(first["loc"][0])
            said = first["msg"].removeprefix("Value error, ")
            given = rest.get(name)
            shown = "" if name == "on" or isinstance(given, (dict, list)) else f" = {brief(str(given))}"
            unit = " seconds" if name == "time_limit" and said[-1].isdigit() else ""
            raise InputError(f"--{name.replace('_', '-')}{shown}: {said}{unit}") from error

    @property
    def kind(self) -> str:
        """`"ray"` or `"slurm"`."""
        return self.on.partition(":")[0]

    @property
    def where(self) -> str:
        """The address or the partition; empty for the cluster's own choice."""
        return self.on.partition(":")[2]

    def device(self, asked: str) -> str:
        """Returns where its jobs are to train: on GPUs where they were asked for, else on CPUs."""
        if asked != "auto":
            return asked
        return "cuda" if self.gpus_per_trial else "cpu"

    def sharers(self, device: str) -> int:
        """Returns how many jobs share what they train on: 1 with whole GPUs, 0 where nobody can say."""
        if device == "cpu" or not self.gpus_per_trial:
            return 0
        return max(1, int(1 / self.gpus_per_trial + 1e-9))

    @field_validator("on")
    @classmethod
    def _known(cls, on: str) -> str:
        kind, colon, where = on.partition(":")
        if kind not in KINDS:
            raise ValueError(
                f"{brief(on)} is not a cluster: give ray, ray:ADDRESS, slurm or slurm:PARTITION"
                + suggest(kind, KINDS)
            )
        if colon and not where.strip():
            raise ValueError(
                f"nothing follows the colon of {brief(on)}: give an address or a partition, or {kind} alone"
            )
        if not on.isprintable() or any(c.isspace() for c in on):
            raise ValueError(f"{brief(on)} has spaces or control characters")
        return on

    @field_validator("time_limit", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return _seconds(value) if isinstance(value, str) else value

    @field_validator("memory", mode="before")
    @classmethod
    def _bytes(cls, value: object) -> object:
        return _bytes(value) if isinstance(value, str) else value

    @field_validator("sbatch")
    @classmethod
    def _options(cls, given: dict[str, str]) -> dict[str, str]:
        for name, value in given.items():
            if not _SBATCH_NAME.fullmatch(name):
                raise ValueError(
                    f"{brief(name)} is not an option of sbatch: give NAME=VALUE, such as account=ecg"
                )
            if any(own.startswith(name) for own in _OWN):  # sbatch takes beginnings of names, too
                raise ValueError(
                    f"{name} is set by scalelab; see --slots, --time-limit, --memory, --cpus-per-trial, --on"
                )
            if not value.isprintable():
                raise ValueError(f"the value of {name} has control characters")
        return given

    @model_validator(mode="after")
    def _together(self) -> Self:
        slurm = self.kind == "slurm"
        if not slurm and (self.sbatch or self.setup):
            raise ValueError("sbatch and setup are of SLURM, and this is Ray")
        if slurm and not self.shared_folder:
            raise ValueError("SLURM needs a folder that its machines share; only Ray can do without")
        if slurm and self.gpus_per_trial % 1:
            raise ValueError("SLURM gives whole GPUs: --gpus-per-trial must be a whole number")
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError("gpus_per_trial: above 1 it must be a whole number")
        return self


def _seconds(text: str) -> float:
    clock = _CLOCK.fullmatch(text.strip())
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip())
    if not found or found[2] not in _UNITS:
        raise ValueError("must be a time such as 30min, 2h, 1.5d or 12:00:00 (hours:minutes:seconds)")
    return float(found[1]) * _UNITS[found[2]]


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if not found or found[2] not in _BYTES:
        raise ValueError("must be an amount such as 500MB, 4GB or 16GiB")
    return round(float(found[1]) * _BYTES[found[2]])

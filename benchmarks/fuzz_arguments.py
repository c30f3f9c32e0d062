"""Command lines of `fuzz.py`: any command, any of its options, any value."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from fuzz_values import FRACTIONS, WHOLE, WORDS


def _commands() -> list[tuple[list[str], Any]]:
    import typer.main

    from scalelab.cli.app import app

    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [([name, sub], each) for sub, each in inner.items()] if inner else [([name], command)]
    return found


SENSIBLE = {
    "--store": ["s.duckdb", "none.duckdb", "."],
    "--plugins-dir": ["plugins", "none"],
    "--workers": ["0", "0", "-1", "x", "1e9", "nan"],
    "--records": ["0", "1", "-3", "x", "1e9"],
    "--seconds": ["1", "0", "-1", "nan", "inf", "x"],
    "--rate": ["100", "0", "-1", "nan", "inf", "x"],
    "--jobs": ["1", "0", "-1", "x", "100000000000"],
    "--time-limit": ["0.01", "0", "-1", "nan", "inf", "x"],
    "--targets": ["toy-eager:cpu", "toy-eager", "toy-eager:cpu:f32:x", ":", "torch:cuda:9", "x"],
    "--url": ["http://127.0.0.1:9/", "file:///etc/passwd", "x", "", "http://"],
    "--study": ["toys", "table", "t"],
    "--law": ["auto", "power", "chinchilla", "E + A*n_params^-a", "1/0", "n_params^n_params^n_params"],
    "--at": [
        "n_params=1M",
        "n_params=1e9",
        "n_params=",
        "n_params=-1",
        "n_params=nan",
        "x=1",
        "n_params=1e400",
    ],
    "--axis": ["n_params", "n_examples", "joint", "lr", "width"],
    "--reach": ["0.1", "1e-300", "-1", "nan", "inf"],
    "--budget": ["1e9", "1e400", "-1", "nan", "1P", "1e"],
    "--max-latency": ["5ms", "1us", "-1ms", "5", "nan ms", "1e400s"],
    "--on": [
        "best",
        "last",
        "x",
        "ray",
        "ray:x",
        "ray:",
        "ray:127.0.0.1:9",
        "ray:none.invalid:1",
        "ray:[::1]:99999",
        "slurm",
        "slurm:",
        "slurm:none",
    ],
    "--slots": ["1", "0", "-1", "100000000000", "x"],
    "--memory": ["4GB", "1", "-1GB", "nanGB", "1e400GB", "x"],
    "--sbatch": ["account=x", "array=1-9", "=", "x=\n", "a b=c"],
    "--at-stop": ["leave", "cancel", "x"],
    "--level": ["0.9", "0", "1", "-1", "nan", "1e-300"],
}
ARGUMENTS = {
    "study": ["toys.toml", "none.toml", "s.duckdb"],
    "study_file": ["toys.toml", "none.toml"],
    "other": ["other/s.duckdb", "other/s.duckdb", "s.duckdb", "none.duckdb", "table.csv", "other"],
    "file": ["table.csv", "s.duckdb", "toys.toml", "none.csv"],
    "query": [
        "select 1",
        "select * from runs",
        "selec",
        "select 1; select 2",
        "drop table runs",
        "-",
        "from nothing",
    ],
    "folder": ["out", "toys.toml"],
    "dataset": ["toy-blobs", "synthetic-ecg", "mitbih", "physionet2021", "ptbxl", "x"],
    "name": ["my-plugin", "My Plugin", "1x", "class"],
}
PATHS = [
    "",
    ".",
    "..",
    "toys.toml",
    "s.duckdb",
    "/dev/null",
    "/dev/full",
    "/proc/self/mem",
    "n" * 300,
    "out/a/b",
    "a\nb",
]


def _hostile(rng: random.Random, names: list[str]) -> str:
    words = [
        *WORDS,
        *PATHS,
        *map(str, WHOLE),
        *map(str, FRACTIONS),
        "\udcff",
        "a=b",
        "a=",
        "=",
        "a,b",
        ",",
        "[[",
        "1_0",
    ]
    sensible = next((SENSIBLE[name] for name in names if name in SENSIBLE), None)
    bounded = {
        "--workers",
        "--records",
        "--seconds",
        "--rate",
        "--jobs",
        "--time-limit",
        "--url",
        "--to",
        "--on",
    } & set(names)
    if "--to" in bounded:
        sensible = ["out", "toys.toml", "/dev/null", "", "n" * 300]
    if sensible and (bounded or rng.random() < 0.6):
        return rng.choice(sensible)
    word = rng.choice([*PATHS, *words]).replace("\0", "")
    # As root, nothing may be written outside the case's folder.
    return word if word not in ("/", "../..", "--") else "x"


def arguments(rng: random.Random, folder: Path, template: Path) -> list[list[str]]:
    """A command line: any command, some of its options, each with some value."""
    shutil.copytree(template / "store", folder, dirs_exist_ok=True)
    shutil.copytree(template / "plugins", folder / "plugins")
    shutil.copy(template / "toys.toml", folder)
    shutil.copy(template / "table.csv", folder)
    way, command = rng.choice(_commands())
    if way == ["store", "merge"]:
        shutil.copytree(template / "store", folder / "other")
    given: list[str] = []
    for parameter in command.params:
        name = parameter.name or ""
        if parameter.param_type_name == "argument":
            # Without a file, run trains the embedded study, for minutes.
            if way[0] in ("run", "plan"):
                given.append(rng.choice([*ARGUMENTS[name], "toys.toml/x", "n" * 300, "\udcff"]))
            elif rng.random() < 0.9:
                usual = ARGUMENTS.get(name, PATHS)
                given.append(rng.choice(usual) if rng.random() < 0.8 else _hostile(rng, []))
        elif name != "help" and rng.random() < rng.choice([0.05, 0.3]):
            given.append(rng.choice([*parameter.opts, *parameter.secondary_opts]))
            if not getattr(parameter, "is_flag", False):
                given.append(_hostile(rng, parameter.opts))
    if rng.random() < 0.1:
        given.insert(
            rng.randrange(len(given) + 1), rng.choice(["--no-such", "-", "-x", "--json=1", "\udcff", "--"])
        )
    options = {option for parameter in command.params for option in parameter.opts}
    last = []
    if "--workers" in options and not {"--workers", "--on"} & set(given):
        last += ["--workers", "0"]
    if "--store" in options and "--store" not in given:
        last += ["--store", "s.duckdb"]
    if "--plugins-dir" in options and "--plugins-dir" not in given:
        last += ["--plugins-dir", "plugins"]
    if way == ["bench"]:
        last += ["--targets", "toy-eager:cpu"] if "--targets" not in given and "--list" not in given else []
        last += ["--dry-run"] if "--measured" not in given and "--list" not in given else []
    return [[*way, *last, *given]]

"""The hostile inputs of `fuzz.py`: each kind makes files in a folder and says which commands get them."""

from __future__ import annotations

import json
import os
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzz_arguments import arguments
from fuzz_plugins import plugins
from fuzz_values import FRACTIONS, WHOLE, WORDS

ROOT = Path(__file__).parents[1]
STUDY = """
name = "toys"
seeds = [0, 1]
[dataset]
name = "toy-blobs"
options = { n_train = 32, n_validation = 8 }
[data]
sizes = [8, "all"]
[[architecture]]
name = "toy-conv"
options = {}
space = { width = { type = "doubling", low = 2, high = 8 } }
constraints = ["width <= 8"]
[[optimizer]]
name = "toy-sgd"
options = { momentum = 0.5 }
space = { lr = [0.1, 0.2] }
[sampling]
method = "sobol"
n = 2
seed = 0
[training]
length = { steps = 3 }
batch_size = 8
validations = 2
warmup = 0.1
"""
EDITS = "x0[]{}=\"'.,#\n\x00\x7f\u202e\ufeff129eE-+_naif \\"


def value(rng: random.Random, depth: int = 0) -> Any:
    """Returns a value of any type that JSON and TOML know, seldom a sensible one."""
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(WORDS),
        lambda: rng.choice(WHOLE),
        lambda: rng.choice(FRACTIONS),
        lambda: rng.random() < 0.5,
    ]
    if depth < 3:
        kinds += [
            lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))],
            lambda: {rng.choice(WORDS): value(rng, depth + 1) for _ in range(rng.randrange(4))},
        ]
    return rng.choice(kinds)()


def places(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the way to every value of a tree."""
    if here:
        yield here
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, inner in items:
        yield from places(inner, (*here, key))


def changed(tree: Any, rng: random.Random) -> Any:
    """Changes some values of a tree: another one, none, one more, under another name."""
    tree = json.loads(json.dumps(tree, default=str))
    for _ in range(rng.choice([1, 1, 1, 1, 3])):
        *way, last = rng.choice(list(places(tree)))
        inner = tree
        for key in way:
            inner = inner[key]
        match rng.randrange(5):
            case 0:
                del inner[last]
            case 1 if isinstance(inner, dict):
                inner[rng.choice([*WORDS, "lr", "depth"])] = inner.pop(last)
            case 2 if isinstance(inner, dict):
                inner[rng.choice(WORDS)] = value(rng)
            case 3:
                inner[last] = [inner[last]] if rng.random() < 0.5 else {"low": inner[last]}
            case _:
                inner[last] = value(rng)
        if not list(places(tree)):
            break
    return tree


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Changes some bytes, leaves a piece out, repeats one, cuts the end, or says another encoding."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        at, to = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        match rng.randrange(9):
            case 0:
                content = content[:at]
            case 1:
                content = content[:at] + content[to:]
            case 2:
                content = content[:to] + content[at:to] * rng.choice([1, 3]) + content[to:]
            case 3:
                content = content[:at] + rng.randbytes(rng.choice([1, 2, 16])) + content[at + 1 :]
            case 4:
                content = rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\x1f\x8b", b"PAR1"]) + content
            case 5:
                content = content.decode("utf-8", "ignore").encode(rng.choice(["utf-16", "utf-32", "utf-7"]))
            case 6:
                content = content[:at] + rng.choice(["é", "\xad"]).encode("latin-1") + content[at:]
            case _:
                content = content[:at] + rng.choice(EDITS).encode() + content[at + 1 :]
    return content


def toml(tree: Any) -> str:
    """Returns TOML of a tree, in one line each."""
    if isinstance(tree, bool):
        return str(tree).lower()
    if isinstance(tree, str):
        return json.dumps(tree).replace("\x7f", "\\u007f")
    if isinstance(tree, list):
        return "[" + ", ".join(map(toml, tree)) + "]"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in tree.items()) + "}"
    if tree is None:
        return "null"
    return repr(tree)


def studies(rng: random.Random, folder: Path, template: Path) -> list[list[str]]:
    """A study file, mostly of toys: its values, its text or its bytes changed."""
    files = [STUDY] * 6 + [path.read_text() for path in sorted((ROOT / "examples").glob("*.toml"))]
    files += [(ROOT / "scalelab/study/quickstart.toml").read_text()]
    text = rng.choice(files)
    if rng.random() < 0.6:
        tree = changed(tomllib.loads(text), rng)
        content = "\n".join(f"{toml(key)} = {toml(item)}" for key, item in tree.items()).encode(
            errors="replace"
        )
        if rng.random() < 0.1:
            content += b"\nseeds = " + b"[" * rng.choice([100, 1000, 100_000])
    else:
        content = damaged(text.encode(), rng)
    file = folder / "study.toml"
    file.write_bytes(content)
    return [
        [
            "plan",
            str(file),
            "--store",
            "none.duckdb",
            "--plugins-dir",
            str(template / "plugins"),
            "--threads",
            "1",
        ]
    ]


def _write(file: Path, columns: dict[str, list[Any]], rng: random.Random) -> None:
    import duckdb
    import pandas as pd

    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if file.suffix == ".parquet":
        try:
            frame = pd.DataFrame(columns)
            duckdb.sql("from frame").write_parquet(str(file))
            return
        except (duckdb.Error, ValueError, OverflowError, UnicodeError):
            pass  # what it cannot hold is written as JSON, under the wrong name
    if file.suffix in ("", ".csv", ".txt"):
        frame = pd.DataFrame(columns)
        frame.to_csv(file, index=False, sep=rng.choice(",,,;\t"), errors="replace")
    else:
        file.write_text("\n".join(map(json.dumps, rows)), errors="replace")


def tables(rng: random.Random, folder: Path, _template: Path) -> list[list[str]]:
    """A table to import: CSV, JSON lines or Parquet, with odd cells and columns, or odd bytes."""
    n = rng.choice([0, 1, 2, 5, 30])
    columns: dict[str, list[Any]] = {
        "n_params": [10 ** rng.uniform(3, 7) // 1 for _ in range(n)],
        "n_examples": [rng.choice([100, 1000, 10_000]) for _ in range(n)],
        "loss": [0.3 + rng.random() for _ in range(n)],
        "optimizer": [rng.choice(["a", "b"]) for _ in range(n)],
        "lr": [rng.choice([0.1, 0.2]) for _ in range(n)],
    }
    odd = rng.choice(list(columns))
    for _ in range(rng.randrange(4)):
        columns[
            rng.choice([*WORDS, odd, odd.upper(), "state", "seed", "step", "train_flops", "trial_id"])
        ] = [value(rng) if rng.random() < 0.3 else rng.choice(WORDS[2:8]) for _ in range(n)]
    for _ in range(rng.choice([0, 1, 3]) if n else 0):
        columns[odd][rng.randrange(n)] = value(rng)
    file = folder / ("table" + rng.choice([".csv", ".jsonl", ".parquet", ".csv", ".ndjson", ".txt", ""]))
    _write(file, columns, rng)
    if rng.random() < 0.3:
        file.write_bytes(damaged(file.read_bytes(), rng))
    words = [
        json.dumps(rng.choice(WORDS))[1:-1],
        "loss",
        "n_params * 6",
        "loss <",
        "1/0",
        "sqrt(-loss)",
        "optimizer",
    ]
    more: list[str] = []
    if rng.random() < 0.4:
        more += ["--map", f"{rng.choice(['loss', 'n_examples', 'x', ''])}={rng.choice(words)}"]
    if rng.random() < 0.1:
        more += ["--only", rng.choice(words)]
    if rng.random() < 0.1:
        more += ["--study", rng.choice(WORDS).replace("\0", "")]
    if rng.random() < 0.2:
        more += ["--metric", rng.choice([*columns, "loss"]).replace("\0", ""), "--direction", "minimize"]
    then = [["store", "check"]]
    if rng.random() < 0.2:
        then += [["status"], ["export", "out"], ["analyze", "--json"], ["predict", "--at", "n_params=1e8"]]
    return [
        ["import", str(file), "--store", "s.duckdb", *more],
        *([*command, "--store", "s.duckdb"] for command in then),
    ]


def journals(rng: random.Random, folder: Path, template: Path) -> list[list[str]]:
    """Journal files of a finished study: bytes changed, or values, with a checksum that fits."""
    from scalelab.store.envelope import seal

    shutil.copytree(template / "store", folder, dirs_exist_ok=True)
    journal = folder / "s.duckdb.journal"
    files = sorted(path for path in journal.rglob("*.*") if {"kept", "new"} & set(path.parts))
    if rng.random() < 0.2:
        _forge_notes(rng, journal)
    for path in rng.sample(files, rng.choice([1, 1, 2, 4])):
        content = path.read_bytes()
        name = path.name
        members = _members(content)
        if members and rng.random() < 0.7:
            names = [key for key in members if key not in ("format", "sha256")]
            tree = changed({key: members[key] for key in names}, rng)
            if rng.random() < 0.8:
                tree = {key: tree.get(key) for key in names}
            content = seal({json.dumps(key)[1:-1]: json.dumps(item) for key, item in tree.items()})
            if path.suffixes == [".json"] and rng.random() < 0.7:
                name = (
                    f"{tree.get('trial_id')}-{tree.get('attempt')}.json"[:200]
                    .replace("/", "_")
                    .replace("\0", "_")
                )
        else:
            content = damaged(content, rng)
        if rng.random() < 0.3:
            name = rng.choice(
                [path.name, f"00112233445566aa-{rng.choice([1, '010', 2**70, 'x'])}.json", "x.json"]
            )
        place = journal / "new" if rng.random() < 0.7 else path.parent
        place.mkdir(exist_ok=True)
        (place / os.fsencode(name).decode(errors="replace")).write_bytes(content)
    run = [
        "run",
        str(template / "toys.toml"),
        "--workers",
        "0",
        "--plugins-dir",
        str(template / "plugins"),
        "--threads",
        "1",
    ]
    commands = [
        ["store", "check"],
        run,
        ["status"],
        ["store", "rebuild"],
        ["store", "merge", str(template / "store" / "s.duckdb")],
        ["export", "out", *rng.choice([[], ["--anonymous"]])],
        ["analyze", "--json"],
    ]
    chosen = [*rng.sample(commands[:5], 2), *(commands[5:] if rng.random() < 0.05 else [])]
    return [[*command, "--store", "s.duckdb"] for command in chosen]


def _members(content: bytes) -> dict[str, object]:
    """Returns the members of a file that is JSON as a whole, which the rows of an imported table are not."""
    try:
        return json.loads(content)
    except ValueError:
        return {}


def _forge_notes(rng: random.Random, journal: Path) -> None:
    """Writes a claim, and what a run on a cluster notes of itself and its jobs, each with a value changed."""
    trial_id = f"{rng.randrange(16**16):016x}"
    process = {"host": "h/b/p", "pid": 77, "pid_start": "b:1.00"}
    claim = {
        "trial_id": trial_id, "study": "toys", "attempt": 1, **process, "worker_pid": None,
        "worker_start": None, "started_at": 1.0, "run": rng.choice([None, "r"]),
    }  # fmt: skip
    facts = {
        "run": "r", "study": "toys", "on": "ray", "cluster": {"on": "ray"}, "address": "", "place": "h/b/p",
        "host": "h", "pid": 77, "pid_start": "b:1.00", "began": 1.0, "standing": "", "waiting": 3, "at": {},
    }  # fmt: skip
    heart = {"agent": "j", "job": "j", "host": "h", "place": "h/b/p", "pid": 77, "began": 1.0}
    notes = {f"claims/{trial_id}.json": claim, "cluster/r/run.json": facts, "cluster/r/hearts/j.json": heart}
    for name, note in notes.items():
        path = journal / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(changed(note, rng) if rng.random() < 0.7 else note).encode()
        path.write_bytes(damaged(text, rng) if rng.random() < 0.2 else text)


KINDS = {
    "studies": studies,
    "tables": tables,
    "plugins": plugins,
    "journals": journals,
    "arguments": arguments,
}


def prepare(template: Path) -> None:
    """Makes what the cases begin with: a plugin of toys, a study that was run, an imported table."""
    from fuzz import called

    from scalelab.testing.toys import write_toy_plugin

    template.mkdir()
    write_toy_plugin(template / "plugins")
    (template / "toys.toml").write_text(STUDY)
    rows = [
        f"{n},{d},{0.3 + 40 * n**-0.4 + 9 * d**-0.4}" for n in (1e4, 1e5, 1e6, 1e7) for d in (1e3, 1e4, 1e5)
    ]
    (template / "table.csv").write_text("\n".join(["n_params,n_examples,loss", *rows]))
    (template / "store").mkdir()
    store = ["--store", str(template / "store" / "s.duckdb")]
    toys = ["--plugins-dir", str(template / "plugins")]
    bench = [
        "bench",
        str(template / "toys.toml"),
        "--targets",
        "toy-eager:cpu",
        "--time-limit",
        "0.05",
        "--threads",
        "1",
    ]
    for argv in (
        ["run", str(template / "toys.toml"), "--workers", "0", "--threads", "1", *toys],
        ["import", str(template / "table.csv"), "--study", "table"],
        [*bench, *toys],
    ):
        answer = called([*argv, *store])
        if answer.code:
            raise SystemExit(f"{argv}: {answer.code}\n{answer.out}{answer.err}")

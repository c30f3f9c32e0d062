"""Plugins whose functions return what they should not, for `fuzz.py`."""

from __future__ import annotations

import random
from pathlib import Path

VALUES = r"""
None
True
0
-1
3
2**70
10**400
0.5
float("nan")
float("inf")
""
"x"
"\udcff"
"a\x00b"
"y" * 1_000_000
b"\xff"
1j
[]
[1, 2, {"b": 3}]
{}
{1: 2}
{"": 1}
{"a": None}
{"a": float("nan")}
{"a": float("inf")}
{"a": 2**80}
{"a": [1, 2]}
{"a": object()}
{"a": "\udcff", "b\x00": 1}
{"a": np.float32(3), "b": np.int64(4)}
{"a": np.array([1, 2])}
{"A": 1, "a": 2, "loss": 3, "trial_id": 4}
{"x" * 500: 1}
{"a": {"b": {"c": 1}}}
{f"k{i}": i for i in range(300)}
{"a": True, "b": "text"}
object()
Odd()
(x for x in [1])
lambda *a, **k: None
np.float32(3)
np.float64("nan")
np.int64(4)
np.zeros(0)
np.zeros((3, 3))
np.array(1.5)
np.array("x")
np.full(4, np.nan, np.float32)
np.array([None, 1])
np.datetime64("now")
datetime.datetime.now()
decimal.Decimal("1.5")
fractions.Fraction(1, 3)
pathlib.Path("/x")
torch.tensor(1.0)
torch.tensor(float("nan"))
torch.zeros(3)
torch.zeros(0)
torch.zeros(2, 2, dtype=torch.int64)
torch.nn.Identity()
torch.nn.Linear(1, 1)
torch.nn.Module()
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
scalelab.Split(np.zeros((4, 2, 64), "float32"), np.zeros(4, "int64"))
fail(ValueError("bad \udcff text \x00 nul \x1b[31m red\nline"))
fail(ValueError("y" * 5_000_000))
fail(ValueError())
fail(KeyError("\udcff"))
fail(MemoryError("no memory"))
fail(RecursionError())
fail(SystemExit(0))
fail(SystemExit("words"))
fail(GeneratorExit())
fail(StopIteration())
fail(AssertionError())
fail(Unsayable())
fail(scalelab.InputError("two\nlines"))
fail(OSError(28, "No space left on device"))
fail(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"))
fail(BaseException("base"))
fail(ExceptionGroup("many", [ValueError(1)]))
recursive()
""".strip().splitlines()
"""Python expressions."""

SLOTS = [
    "features",
    "flops",
    "build.net",
    "build.forward",
    "evaluations",
    "optimizer.build",
    "optimizer.step",
    "open.inputs",
    "open.targets",
    "open.windows",
    "open.test",
    "open.whole",
    "open.fingerprint",
    "open.prepare",
    "open.augment",
    "task.shape",
    "task.outputs",
    "task.loss",
    "task.metrics",
    "task.objective",
    "task.classes",
    "loss",
    "metric",
    "metric.direction",
    "metric.bounds",
    "hook.datasets",
    "hook.architectures",
    "hook.optimizers",
    "hook.laws",
    "hook.backends",
    "arch.space",
    "arch.constraints",
    "arch.name",
    "arch.version",
    "arch.head",
    "arch.params",
    "arch.summary",
    "option.default",
    "devices",
]
"""Where a value stands: what a function returns, or a field."""

PLUGIN = '''
import datetime, decimal, fractions, pathlib
import numpy as np
import torch
import scalelab
from scalelab.testing.toys import toy_backend, write_toy_plugin, toy_dataset, toy_architecture, toy_optimizer
from dataclasses import replace


class Odd:
    def __repr__(self): raise RuntimeError("repr fails")
    def __eq__(self, other): raise RuntimeError("eq fails")
    def __bool__(self): raise RuntimeError("bool fails")
    __hash__ = None
    def __str__(self): raise RuntimeError("str fails")
    def __len__(self): return -1
    def __float__(self): raise RuntimeError("float fails")


class Unsayable(Exception):
    def __str__(self): raise RuntimeError("str fails")
    __repr__ = __str__


def fail(error): raise error
def recursive(): return recursive()


SLOT = {slot!r}


def hostile(): return {value}


def at(slot, usual):
    """Returns the hostile value in its slot, and what is usual in all others."""
    return hostile() if slot == SLOT else usual() if callable(usual) else usual


class P(scalelab.Params):
    width: int = 4
    odd: object = None if SLOT != "option.default" else hostile()


def build(params, shape, n):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(shape[0] * shape[1], n)
        def forward(self, x):
            return at("build.forward", lambda: self.head(x.flatten(1)))
    return at("build.net", Net)


def loss(outputs, targets):
    return at("loss", lambda: torch.nn.functional.cross_entropy(outputs, targets))


def open_it(params):
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = (rng.normal(size=(24, 2, 16)) + y[:, None, None]).astype("float32")
    def metric():
        return scalelab.Metric(
            name="m", compute=lambda o, t: at("metric", 0.5),
            direction=at("metric.direction", "maximize"), bounds=at("metric.bounds", (None, None)))
    task = scalelab.Task(
        input_shape=at("task.shape", (2, 16)), n_outputs=at("task.outputs", 2),
        loss=at("task.loss", lambda: loss if SLOT == "loss" else "cross-entropy"),
        metrics=at("task.metrics", lambda: ("accuracy", metric())), objective=at("task.objective", "m"),
        classes=at("task.classes", ("a", "b")),
    )
    split = scalelab.Split(at("open.inputs", x), at("open.targets", y), at("open.windows", None))
    usual = scalelab.Split(x, y)
    return at("open.whole", lambda: scalelab.OpenDataset(
        task=task, train=split, validation=usual, test=at("open.test", usual),
        fingerprint=at("open.fingerprint", "f"),
        prepare=lambda b: at("open.prepare", lambda: b), augment=lambda b, g: at("open.augment", lambda: b)))


class Sgd(torch.optim.SGD):
    def step(self, closure=None):
        return at("optimizer.step", lambda: super(Sgd, self).step(closure))


datasets = lambda: [scalelab.Dataset(name="odd", summary="x", open=open_it)]
architectures = lambda: [scalelab.Architecture(
    name=at("arch.name", "odd"), summary=at("arch.summary", "x"), build=build,
    params=at("arch.params", lambda: P), space=at("arch.space", dict), head=at("arch.head", "head"),
    constraints=at("arch.constraints", ()), version=at("arch.version", 1),
    features=lambda p, s, n: at("features", dict),
    flops=(lambda p, s, n: at("flops", 1e3)) if SLOT == "flops" else None)]
optimizers = lambda: [scalelab.Optimizer(
    name="odd", summary="x", build=lambda p, m: at("optimizer.build", lambda: Sgd(m.parameters(), lr=0.1)),
    **(dict(closure="after", evaluations=lambda p: hostile()) if SLOT == "evaluations" else {{}}))]
backends = lambda: [replace(toy_backend, devices=lambda: at("devices", toy_backend.devices))]


@scalelab.hookimpl
def scalelab_datasets(): return at("hook.datasets", datasets)
@scalelab.hookimpl
def scalelab_architectures(): return at("hook.architectures", architectures)
@scalelab.hookimpl
def scalelab_optimizers(): return at("hook.optimizers", optimizers)
@scalelab.hookimpl
def scalelab_backends(): return at("hook.backends", backends)
@scalelab.hookimpl
def scalelab_laws(): return at("hook.laws", list)
'''

STUDY = """
name = "odd"
seeds = [0]
[dataset]
name = "odd"
[[architecture]]
name = "odd"
[[optimizer]]
name = "odd"
[training]
length = { steps = 3 }
batch_size = 8
validations = 2
"""


def plugins(rng: random.Random, folder: Path, _template: Path) -> list[list[str]]:
    """A plugin with one hostile value in one place; it is planned, trained with and timed."""
    (folder / "plugins").mkdir()
    text = PLUGIN.format(slot=rng.choice(SLOTS), value=rng.choice(VALUES))
    (folder / "plugins" / f"odd_{folder.parent.name.replace('-', '_')}.py").write_text(text)
    (folder / "study.toml").write_text(STUDY)
    toys = ["--plugins-dir", "plugins"]
    store = ["--store", "s.duckdb"]
    run = ["run", "study.toml", "--workers", "0", "--threads", "1", *store, *toys]
    first = rng.choice(
        [["plan", "study.toml", *store, *toys, "--workers", "0"], ["plugins", "--verbose", *toys], run]
    )
    then = [["store", "check", *store], ["analyze", "--json", *store]] if rng.random() < 0.1 else []
    return [first, run, *then]

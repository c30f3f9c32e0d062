"""Whatever the file holds: a `Study` or one line of a `ScalelabError`, never anything else."""

import contextlib
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from study_toys import CATALOG, toml, toy_cost
from test_study_expand import GRID
from test_study_parse import FULL

from scalelab.errors import ScalelabError
from scalelab.study import Study, embedded_study_path, expand, load_study, parse_study

ISOFLOP = toml(
    '[sampling]\nmethod = "isoflop"\nbudgets = [1e9]\nmodels = 3\n[training]\nbatch_size = 8',
    architecture='[[architecture]]\nname = "mlp"\nspace = "default"\nconstraints = ["width >= depth"]',
)
VALID = (FULL, GRID, ISOFLOP, toml(), embedded_study_path().read_text(encoding="utf-8"))
MANY = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYS = st.text(max_size=5) | st.sampled_from(
    re.findall(
        r"\S+",
        "name seeds dataset data architecture optimizer training sampling options space constraints sizes"
        " seed length steps epochs method n budgets type low high step log values width depth lr {}",
    )
)
SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["mlp", "adam", "sgd", "blips", "all", "default", "grid", "sobol", "int", "float", "a > 1"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def to_toml(value):
    """Inline TOML of a Python value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def only_a_study_or_one_line(text):
    """Parses without and with plugins, and expands what is left standing."""
    study = None
    for catalog in (None, CATALOG):
        with one_line_errors():
            study = parse_study(text, "fuzz.toml", catalog)
            assert isinstance(study, Study)
    if study is not None and len(study.seeds) < 100:
        with one_line_errors():
            expand(study, CATALOG, cost=toy_cost)


@contextlib.contextmanager
def one_line_errors(source="fuzz.toml"):
    line = f"{source}: "
    try:
        yield
    except ScalelabError as error:
        line = str(error)
    assert line.startswith(f"{source}: ")
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line) < 1000


@MANY
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_random_toml(values):
    only_a_study_or_one_line("\n".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in values.items()))


def tables(keys, values=VALUES):
    return st.dictionaries(st.sampled_from(keys.split()), values, max_size=3)


NEAR_DIMENSIONS = st.fixed_dictionaries(
    {"type": st.sampled_from(["int", "float", "doubling", "choice"])},
    optional={"low": SCALARS, "high": SCALARS, "step": SCALARS, "log": SCALARS, "values": VALUES},
)
NEAR_STUDIES = st.fixed_dictionaries(
    {},
    optional={
        "seeds": VALUES,
        "data": tables("sizes seed"),
        "training": tables("length batch_size warmup schedule"),
        "sampling": tables("method n seed budgets models", SCALARS),
        "options": VALUES,
        "space": st.just("default") | tables("width depth norm depths dropout lr", VALUES | NEAR_DIMENSIONS),
        "constraints": st.lists(
            st.sampled_from(["width > depth", "norm > 1", "lr > 0"]) | SCALARS, max_size=2
        ),
    },
)


@MANY
@given(NEAR_STUDIES)
def test_nearly_valid_studies(values):
    component = {
        "name": "mlp",
        **{key: values.pop(key) for key in ("options", "space", "constraints") if key in values},
    }
    whole = {
        "name": "fuzz",
        "dataset": {"name": "blips"},
        "architecture": [component],
        "optimizer": [{"name": "adam"}],
        **values,
    }
    only_a_study_or_one_line("\n".join(f"{key} = {to_toml(item)}" for key, item in whole.items()))


@MANY
@given(st.sampled_from(VALID), st.randoms(use_true_random=False), st.integers(1, 4))
def test_mutated_valid_studies(text, rng, n_edits):
    for _ in range(n_edits):
        text = mutated(text, rng)
    only_a_study_or_one_line(text)


def mutated(text: str, rng: random.Random) -> str:
    """Drops, repeats, swaps or overwrites a piece of a line, a line, or a character."""
    lines = text.split("\n")
    index = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[index]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[index])
        case 2:
            at = rng.randrange(len(text))
            return text[:at] + rng.choice("[]{}=\"'.,#\n\0\x7f\u202e0129eE-+_xnaif ") + text[at + 1 :]
        case 3:
            at, length = rng.randrange(len(text)), rng.randrange(1, 30)
            return text[:at] + text[at + length :]
        case 4:
            key, _, _ = lines[index].partition("=")
            junk = [
                "0",
                "-1",
                "1e400",
                "nan",
                "true",
                "[]",
                "{}",
                '""',
                "1979-05-27",
                "0xff",
                '"default"',
                "[[1]]",
            ]
            lines[index] = f"{key}= {rng.choice(junk)}"
        case _:
            words = lines[index].split(" ")
            rng.shuffle(words)
            lines[index] = " ".join(words)
    return "\n".join(lines)


@MANY
@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_random_bytes(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzz-bytes.toml"
    path.write_bytes(content)
    with one_line_errors(str(path)):
        load_study(path, CATALOG)


@pytest.mark.parametrize(
    "text", ["\ud800", 'name = "\ud800"', "\0", "\r", "=", "[a]\n[a]", 'a."b".c = 1\na.b = 2']
)
def test_texts_that_are_odd_on_purpose(text):
    only_a_study_or_one_line(text)

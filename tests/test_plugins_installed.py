"""Plugins as users have them: distributions that pip installed, found in a process of its own."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile

import pytest

DATASET = """
import scalelab

def open_nothing(params):
    raise scalelab.DataError("no data")

def dataset(name, **fields):
    return scalelab.Dataset(name=name, summary="For a test", open=open_nothing, **fields)
"""
HOOK = """
@scalelab.hookimpl
def scalelab_datasets():
    return {returned}
"""


def gives(returned, change=("", "")):
    """The text of a plugin whose hook returns an expression, with something replaced."""
    return (DATASET + HOOK.format(returned=returned)).replace(*change)


LOOSE = """
import pydantic
class Loose(pydantic.BaseModel):
    x: int = 1
"""
OBJECT = """
class Plugin:
    @scalelab.hookimpl
    def scalelab_datasets(self):
        return [dataset("from-object")]
plugin = Plugin()
"""
FAKES = {
    # distribution: (entry point, module text)
    "fake-good": ("good", gives('[dataset("blips")]')),
    "fake-import": ("imports", "import scalelab\nimport not_installed_anywhere\n"),
    "fake-syntax": ("syntax", "def broken(:\n    pass\n"),
    "fake-exit": ("exits", "import sys\nsys.exit('no license')\n"),
    "fake-misspelled": ("misspelled", gives('[dataset("lost")]', ("scalelab_datasets", "scalelab_dataset"))),
    "fake-unmarked": ("unmarked", gives('[dataset("unseen")]', ("@scalelab.hookimpl", ""))),
    "fake-nothing": ("nothing", "x = 1\n"),
    "fake-twin-a": ("twin-a", gives('[dataset("twin"), dataset("only-a")]')),
    "fake-twin-b": ("twin-b", gives('[dataset("twin")]')),
    "fake-dict": ("gives-dict", gives('{"d": dataset("d")}')),
    "fake-none": ("gives-none", gives("None")),
    "fake-strings": ("gives-text", gives('[dataset("fine"), "mitbih"]')),
    "fake-raises": ("raises", gives('[dataset("x", color=1)]')),
    "fake-argument": ("argument", gives("[]", ("datasets()", "datasets(config)"))),
    "fake-options": ("options", LOOSE + gives('[dataset("typed", params=Loose)]')),
    "fake-chatty": ("chatty", "print('hello from chatty')\n" + gives('[dataset("chat")]')),
    "fake-object": ("object", DATASET + OBJECT),
}


def write_wheel(folder, distribution, version, module, text, entry_point):
    """Writes a wheel as build backends do: module, METADATA, WHEEL, entry points, RECORD."""
    stem = f"{distribution.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{module}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[scalelab]\n{entry_point}\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(body.encode())}"
        for path, body in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, body in files.items():
            wheel.writestr(name, body)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has installed every fake distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels = []
    for distribution, (name, text) in FAKES.items():
        module = distribution.replace("-", "_") + "_plugin"
        target = f"{module}:plugin" if name == "object" else module
        wheels.append(write_wheel(folder, distribution, "1.2.3", module, text, f"{name} = {target}"))
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", site, *wheels], check=True, capture_output=True, timeout=120)
    return site


def run(site, *command, select=""):
    env = {**os.environ, "PYTHONPATH": str(site), "SCALELAB_PLUGINS": select}
    return subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, timeout=120, cwd=site
    )


PROBE = """
import json, sys
from scalelab.errors import PluginError
from scalelab.plugins import load_plugins

catalog = load_plugins()

def error(kind, name, catalog=catalog):
    try:
        catalog.find(kind, name)
    except PluginError as error:
        return str(error)

def select(text):
    try:
        return list(load_plugins(select=text).names("dataset"))
    except PluginError as error:
        return str(error)

print(json.dumps({
    "plugins": {
        i.name: [
            i.status, i.problem, i.distribution, i.version, list(i.hooks),
            {kind: list(names) for kind, names in i.components.items()},
        ]
        for i in catalog.plugins
    },
    "names": list(catalog.names("dataset")),
    "warnings": list(catalog.warnings),
    "blips": catalog.provenance("dataset", "blips").model_dump(),
    "errors": {name: error("dataset", name) for name in ("blisp", "twin", "typed", "lost", "adamw", "zzz")},
    "selected": {text: select(text) for text in (
        "good,twin-a", "-twin-b,-scalelab_absent", "-twin-b", "good,-twin-b", "goood", "twin-a@fake-twin-a",
    )},
    "blocked": error("dataset", "blips", load_plugins(select="-good")),
    "torch": "torch" in sys.modules,
    "imported": "fake_import_plugin" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def seen(site):
    """What a process sees that has all the fake distributions installed."""
    result = run(site, "-c", PROBE)
    assert result.returncode == 0, result.stderr
    assert "hello from chatty" in result.stderr
    return json.loads(result.stdout)


def test_good_plugin_is_found_with_its_provenance(seen):
    assert seen["plugins"]["good"] == [
        "healthy", None, "fake-good", "1.2.3", ["scalelab_datasets"], {"dataset": ["blips"]},
    ]  # fmt: skip
    assert seen["blips"] == {"plugin": "good", "distribution": "fake-good", "version": "1.2.3"}


def test_bundled_plugins_are_found_the_same_way(seen):
    assert seen["plugins"]["mitbih"][2] == "scalelab"
    assert not seen["torch"], "loading every plugin must not load torch"


def test_only_sound_plugins_provide(seen):
    bundled = {"mitbih", "physionet2021", "ptbxl", "synthetic-ecg"}
    assert set(seen["names"]) - bundled == {"blips", "only-a", "chat", "from-object"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imports", ["raised ModuleNotFoundError", "not_installed_anywhere", "_plugin.py, line 2"]),
        ("syntax", ["importing it raised SyntaxError", "fake_syntax_plugin.py, line 1"]),
        ("exits", ["importing it raised SystemExit: no license", "fake_exit_plugin.py, line 2"]),
        ("misspelled", ["scalelab_dataset(), which is not a hook; did you mean 'scalelab_datasets'?"]),
        ("unmarked", ["scalelab_datasets() is not marked as a hook; put @scalelab.hookimpl above it"]),
        ("nothing", ["it implements no hook; the hooks are scalelab_datasets, scalelab_architectures"]),
        ("gives-dict", ["scalelab_datasets() returned dict {'d':", "expected a list of scalelab.Dataset"]),
        ("gives-none", ["scalelab_datasets() returned None, expected a list of scalelab.Dataset"]),
        ("gives-text", ["element 1 is str 'mitbih', expected a scalelab.Dataset"]),
        ("raises", ["scalelab_datasets() raised TypeError", "'color'", "fake_raises_plugin.py, line "]),
        ("argument", ["its hooks do not fit", "config"]),
        ("options", ["dataset 'typed': params must be a subclass of scalelab.Params, got the class Loose"]),
    ],
)  # fmt: skip
def test_broken_plugin_says_what_is_wrong(seen, name, words):
    status, problem, *_ = seen["plugins"][name]
    assert status == "broken"
    assert "\n" not in problem
    for word in words:
        assert word in problem
    assert any(w.startswith(f"plugin {name} (fake-") and problem in w for w in seen["warnings"])


def test_two_providers_of_one_name_are_both_refused(seen):
    for name in ("twin-a", "twin-b"):
        status, problem, *_ = seen["plugins"][name]
        assert status == "conflict"
        assert "twin-a (fake-twin-a 1.2.3) and twin-b (fake-twin-b 1.2.3)" in problem
    error = seen["errors"]["twin"]
    assert "dataset 'twin' is provided by plugins twin-a (fake-twin-a 1.2.3) and twin-b" in error
    assert "block one: SCALELAB_PLUGINS=-twin-a or SCALELAB_PLUGINS=-twin-b" in error
    assert sum("dataset 'twin'" in warning for warning in seen["warnings"]) == 1


def test_unknown_name_answers_with_close_matches_and_the_broken_plugins(seen):
    error = seen["errors"]["blisp"]
    assert error.startswith(
        "there is no dataset 'blisp'; did you mean 'blips' of plugin good (fake-good 1.2.3)?"
    )
    assert "plugin imports (fake-import 1.2.3) is broken: importing it raised ModuleNotFoundError" in error
    assert "\n" not in error
    assert "'adamw' is the name of an optimizer" in seen["errors"]["adamw"]
    assert "known datasets: " in seen["errors"]["zzz"]


def test_name_of_a_broken_plugin_answers_with_its_problem(seen):
    error = seen["errors"]["typed"]
    assert error.startswith("there is no dataset 'typed'") or error.startswith(
        "dataset 'typed' cannot be used"
    )
    assert "params must be a subclass of scalelab.Params" in error


def test_selection(seen):
    chosen = seen["selected"]
    assert set(chosen["good,twin-a"]) == {"blips", "only-a", "twin"}
    assert "twin" in chosen["-twin-b"]
    assert chosen["twin-a@fake-twin-a"] == ["only-a", "twin"]
    assert chosen["-twin-b,-scalelab_absent"].startswith(
        "SCALELAB_PLUGINS names the plugin 'scalelab_absent'"
    )
    assert "'goood', which does not exist; did you mean 'good'?" in chosen["goood"]
    assert "mixes allowed and blocked names" in chosen["good,-twin-b"]
    assert "not loaded because of SCALELAB_PLUGINS=-good: good" in seen["blocked"]


def test_blocked_plugin_is_not_imported(site):
    code = (
        "import sys; from scalelab.plugins import load_plugins; c = load_plugins();"
        "print([i.status for i in c.plugins if i.name == 'chatty'], 'fake_chatty_plugin' in sys.modules)"
    )
    result = run(site, "-c", code, select="-chatty")
    assert result.stdout.split("\n")[0] == "['blocked'] False"
    assert "hello from chatty" not in result.stderr


def test_command_shows_health(site):
    result = run(site, "-m", "scalelab.cli", "plugins", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    status = {plugin["name"]: plugin["status"] for plugin in document["plugins"]}
    assert (status["good"], status["exits"], status["twin-a"]) == ("healthy", "broken", "conflict")
    assert {"kind": "dataset", "name": "blips"}.items() <= next(
        c for c in document["components"] if c["name"] == "blips"
    ).items()
    assert "warning: plugin exits (fake-exit 1.2.3) is broken" in result.stderr


def test_unknown_selection_is_one_line_and_exit_code_2(site):
    result = run(site, "-m", "scalelab.cli", "plugins", select="goood")
    assert result.returncode == 2
    assert result.stderr.strip() == (
        "error: SCALELAB_PLUGINS names the plugin 'goood', which does not exist; did you mean 'good'?"
    )


def test_loading_the_bundled_plugins_imports_none_of_their_libraries(site):
    code = textwrap.dedent("""
        import sys
        from scalelab.plugins import load_plugins
        load_plugins(select="mitbih,synthetic-ecg,physionet2021,ptbxl,convnext1d,regnet1d,resnet1d,ssm1d,"
                            "optimizers,torch-backend,openvino-backend,onnxruntime-backend")
        heavy = {"torch", "wfdb", "openvino", "onnxruntime", "nncf", "pandas", "scipy", "duckdb", "requests"}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert run(site, "-c", code).stdout.strip() == "[]"

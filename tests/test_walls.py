"""The walls of docs/design.md: who imports whom, what loads when, how big a room is."""

import ast
import fnmatch
import importlib.util
import re
import subprocess
import sys
import tomllib

import pytest
from house import CORE, EXAMPLES, FILES, PLUGINS, ROOT, circles, file_of, graph, imports, python_files

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FLOORS = {
    "errors": 0, "constraints": 0, "space": 0, "params": 0, "components": 0, "records": 0, "cache": 0,
    "law": 0, "lazy": 0, "heap": 0, "arrays": 0, "version": 0, "jsonable": 0, "schedules": 0, "subsets": 0,
    "permissions": 0, "amounts": 0, "measurements": 0,
    "predictions": 0, "file_plugins": 0, "regular_files": 0,
    "reached": 0, "script_log": 0, "script_reports": 0, "script_files": 0, "trainers": 0,
    "hookspecs": 1,
    "plugins": 2, "study": 2,
    "train": 3, "measure": 3, "store": 3,
    "supervise": 4,
    "analysis": 5, "execute": 5, "bench": 5, "propose": 5,
    "report": 6,
    "api": 7,
    "cli": 8,
}  # fmt: skip
"""The floor of each room. A room imports from floors below its own; floor 0 is one room."""
ANALYSIS = {
    "estimate": 0, "cores": 0, "kept": 0, "laws": 0, "fitting": 1, "inference": 2, "fits": 3,
    "runs": 4, "next": 4, "families": 5, "latency": 5, "trees": 5, "designspace": 6,
    "analyze": 7,
}  # fmt: skip
"""The floors inside `analysis`; rooms of one floor may import each other's files, without a circle."""
ALLOWED_BESIDE = {("study", "plugins")}
"""Rooms of one floor that may be imported all the same."""
HEAVY = {*PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"], "scipy"}

spec = importlib.util.spec_from_file_location("code_lines", ROOT / "benchmarks" / "code_lines.py")
code_lines = importlib.util.module_from_spec(spec)
spec.loader.exec_module(code_lines)


def room_of(module):
    """The room of scalelab that a module lies in, `None` for scalelab itself and other packages."""
    parts = (module or "").split(".")
    return parts[1] if parts[0] == "scalelab" and len(parts) > 1 else None


CORE_FILES = [path for path in python_files(CORE) if path != CORE / "__init__.py"]


def test_hidden_imports_are_seen(tmp_path):
    (tmp_path / "room.py").write_text(
        "import scalelab.cli\n"
        "def f():\n    from scalelab import fit_law, plugins\n"
        "if TYPE_CHECKING:\n    from scalelab.report.terminal import show\n"
        "importlib.import_module('scalelab.execute.worker')\n"
        "import torch\n"
    )
    rooms = {room_of(file_of(name)) for _, name in imports(tmp_path / "room.py")}
    assert rooms == {"cli", "analysis", "plugins", "report", "execute", None}


def test_every_room_has_a_floor():
    rooms = {path.relative_to(CORE).parts[0].removesuffix(".py") for path in CORE_FILES}
    assert rooms - {"testing"} == set(FLOORS), "give a new room its floor, here and in docs/design.md"
    inside = {
        path.relative_to(CORE / "analysis").parts[0].removesuffix(".py")
        for path in python_files(CORE / "analysis")
    }
    assert inside - {"__init__"} == set(ANALYSIS), "give a new room of analysis its floor"


def test_circles_are_found():
    edges = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": []}
    assert circles(edges) == [["a", "b", "c"]]


def test_no_circle_among_files():
    assert circles(graph()) == []


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_import_goes_up_a_floor(path):
    room = path.relative_to(CORE).parts[0].removesuffix(".py")
    # Contract tests use what can be measured, trained and fitted, and stand beside the house.
    floor = 5.5 if room == "testing" else FLOORS[room]
    for line, name in imports(path):
        other = room_of(file_of(name))
        if other in (None, room) or (room, other) in ALLOWED_BESIDE:
            continue
        assert other != "testing", f"line {line}: {name}: only tests import scalelab.testing"
        below = FLOORS[other] < floor or FLOORS[other] == floor == 0
        assert below, f"line {line}: {room} (floor {floor}) imports {name} (floor {FLOORS[other]})"


@pytest.mark.parametrize(
    "path", python_files(CORE / "analysis"), ids=lambda path: str(path.relative_to(CORE / "analysis"))
)
def test_no_import_goes_up_a_floor_of_analysis(path):
    room = path.relative_to(CORE / "analysis").parts[0].removesuffix(".py")
    for line, name in imports(path):
        parts = (file_of(name) or "").split(".")
        if parts[:2] == ["scalelab", "analysis"] and len(parts) > 2 and room != "__init__":
            assert ANALYSIS[parts[2]] <= ANALYSIS[room], f"line {line}: {room} imports {name}"


@pytest.mark.parametrize("path", python_files(CORE / "analysis" / "fitting"), ids=lambda path: path.name)
def test_the_numeric_core_knows_no_tables(path):
    for line, name in imports(path):
        assert name.split(".")[0] != "pandas", f"line {line}: {name}"
        assert room_of(file_of(name)) != "store", f"line {line}: {name}"


def test_rooms_other_than_the_command_line_import_no_front_door():
    for path in CORE_FILES:
        if path.relative_to(CORE).parts[0] not in ("cli", "testing"):
            for line, name in imports(path):
                assert name != "scalelab", f"{path}:{line}: import what is needed from its room"


def test_core_names_no_bundled_plugin():
    for path in CORE.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert "scalelab_plugins" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("room", ["analysis", "report"])
def test_stores_can_be_analyzed_where_no_plugin_is_installed(room):
    for path in python_files(CORE / room):
        for line, name in imports(path):
            other = room_of(file_of(name))
            assert other not in ("components", "plugins", "hookspecs"), f"{path}:{line}: {name}"


SQL = re.compile(
    r"\bselect\b.+\bfrom\b|\binsert\s+into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b|\bcopy\s*\(|"
    r"\b(create|alter|drop)\s+(or\s+replace\s+)?(temp\s+|temporary\s+)?(table|view)\b",
    re.IGNORECASE | re.DOTALL,
)


def sql_in(source):
    """Every text of a file that is an SQL statement, with the line; f-strings count, docstrings do not."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            text = "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            text = node.value
        else:
            continue
        # A help text may show the user a query: it then shows the command that runs it, too.
        if SQL.search(text) and "scalelab store sql" not in text:
            yield node.lineno, text


def test_sql_is_seen():
    seen = [
        "f'select {x} from runs'", "'select a, b ' 'from runs'", "'INSERT INTO t values (1)'",
        "f'update {table} set a = 1'", "'create or replace temp view v as'", "'delete from runs'",
        "f'COPY ({query}) to {path}'",
    ]  # fmt: skip
    for code in seen:
        assert list(sql_in(f"x = {code}")), code
    unseen = [
        "'choose from these'",
        "'select one'",
        "'for example: scalelab store sql \"select 1 from runs\"'",
    ]
    for code in unseen:
        assert not list(sql_in(f"x = {code}")), code
    assert not list(sql_in("def f():\n    'select a from runs'\n"))


def test_sql_is_written_in_the_store_alone():
    for path in [*python_files(CORE), *python_files(PLUGINS), *python_files(EXAMPLES)]:
        if CORE / "store" not in path.parents:
            found = [f"{path}:{line}: {text}" for line, text in sql_in(path.read_text(encoding="utf-8"))]
            assert not found, f"ask the store instead: {found}"


def loaded_by(code):
    """The heavy modules that are loaded after running some code in a new process."""
    code = f"import sys\n{code}\nprint('loaded', *sorted(m for m in {sorted(HEAVY)} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split()[1:])


def test_help_loads_nothing_heavy():
    code = (
        "sys.argv = ['scalelab', '--help']\n"
        "from scalelab.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert loaded_by(code) == set()


def test_importing_scalelab_loads_nothing_heavy():
    assert loaded_by("import scalelab; dir(scalelab)") == set()


def test_loading_the_catalog_loads_nothing_heavy():
    code = "from scalelab.plugins import load_plugins\nassert load_plugins(select='').names('dataset')"
    assert loaded_by(code) == set()


def test_bundled_plugins_are_healthy():
    from scalelab.plugins import load_plugins

    bundled = PYPROJECT["project"]["entry-points"]["scalelab"]
    catalog = load_plugins(select=",".join(bundled))
    assert catalog.warnings == ()
    found = {plugin.name: plugin.origin for plugin in catalog.plugins if plugin.status == "healthy"}
    assert found == bundled


def package_folders():
    for folder, package in ((CORE, "scalelab"), (PLUGINS, "scalelab_plugins")):
        for path in sorted({file.parent for file in python_files(folder)}):
            yield ".".join([package, *path.relative_to(folder).parts]), path


def test_every_package_is_in_the_wheel():
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(name for name, _ in package_folders()), "fix packages in pyproject.toml"
    for _, path in package_folders():
        assert (path / "__init__.py").is_file(), f"{path} has no __init__.py"


def test_every_data_file_is_in_the_wheel():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    for folder, package in ((CORE, "scalelab"), (PLUGINS, "scalelab_plugins")):
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                globs = [pattern.removeprefix("**/") for pattern in patterns.get(package, [])]
                assert any(fnmatch.fnmatch(path.name, glob) for glob in globs), f"{inside}: fix package-data"


@pytest.mark.parametrize("path", FILES.values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= code_lines.LONGEST_FILE, "find the rooms in it"
    assert not list(code_lines.long_functions(text)), "find the steps in them"

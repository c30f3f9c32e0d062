"""`scalelab import`: the page's walkthrough, published tables, refusals."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from scalelab.store.parameters import PREFIXES
from scalelab.store.targets import KNOWN_AS, TARGETS
from scalelab.store.trackers.known import TRACKERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
REFERENCE = ROOT.parent / "shared" / "reference"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the published tables are not at {REFERENCE}; they come with the project"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = re.findall(r"Say `(\w+\.csv)`.*?```csv\n(.*?)```", PAGE, re.DOTALL)
    assert len(tables) == 4
    for name, table in tables:
        (tmp_path / name).write_text(table)
    return tmp_path


def alike(shown: str, printed: str) -> bool:
    """Whether two lines differ in no more than a number's last digit and in spaces."""
    if "".join(NUMBER.sub("#", shown).split()) != "".join(NUMBER.sub("#", printed).split()):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(
        float(a.replace(",", "")) == pytest.approx(float(b.replace(",", "")), rel=0.02) for a, b in pairs
    )


def test_the_walkthrough_prints_what_the_page_shows(here, scalelab_command):
    sessions = "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
    steps = re.split(r"^\$ scalelab ", sessions, flags=re.MULTILINE)[1:]
    assert len(steps) == 8
    for step in steps:
        command, *shown = step.splitlines()
        answer = scalelab_command(*shlex.split(command))
        assert answer.code == 0, answer.err
        printed = answer.out.splitlines()
        for line in shown:
            if line.strip() not in ("", "…"):
                assert any(alike(line, other) for other in printed), line


def test_the_python_of_the_page_runs(here):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert len(names["runs"]) == 19


def test_the_page_lists_every_known_name():
    rows = dict(re.findall(r"^\| (`.*?`) \| (.*) \|$", PAGE, re.MULTILINE))
    own = {name for names, known in rows.items() if known == "their own only" for name in names.split(", ")}
    assert own == {f"`{name}`" for name in TARGETS if KNOWN_AS[name] == (name,)}
    for name, known in KNOWN_AS.items():
        if known != (name,):
            assert rows[f"`{name}`"] == ", ".join(f"`{other}`" for other in known)
    (families,) = [row for row, known in rows.items() if known == "every name that begins so"]
    assert {f"`{prefix}_…`" for prefix in PREFIXES} == set(families.split(", "))


def test_json_and_the_cases_of_one_name(here, scalelab_command):
    Path("t.csv").write_text("N,D,loss\n1,2,3\n4,5,6\n", encoding="utf-8")
    store = here / "x.duckdb"
    dry = scalelab_command("import", "t.csv", "--store", store, "--dry-run", "--json")
    assert json.loads(dry.out)["outcome"] == "read"
    assert not store.exists()
    first = json.loads(scalelab_command("import", "t.csv", "--store", store, "--json").out)
    assert (first["outcome"], first["n_rows"], first["n_runs"]) == ("imported", 2, 2)
    assert {"column": "n_params", "expression": '"N"', "how": "by name"} in first["mapped"]
    assert "already holds these runs" in scalelab_command("import", "t.csv", "--store", store).out
    other = ["import", "t.csv", "--store", store, "--only", "N > 1"]
    refused = scalelab_command(*other)
    assert (refused.code, refused.out) == (2, "")
    assert "--replace" in refused.err
    assert "1 run replaced in" in scalelab_command(*other, "--replace").out
    status = scalelab_command("--plain", "status", "--store", store).out
    assert re.search(r"imported from\n.*\nt .* t\.csv", status)
    assert "1 run removed" in scalelab_command("import", "--remove", "t", "--store", store).out
    assert "holds no studies" in scalelab_command("status", "--store", store).out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a file to import, or --remove NAME"),
        (["sizes.csv", "--remove", "x"], "give a file to import or --remove NAME, not both"),
        (["sizes.csv", "--map", "loss"], "must be COLUMN="),
        (["sizes.csv", "--map", "loss=a", "--map", "loss=b"], "is given twice"),
        (["sizes.csv"], "no column named loss"),
        (["none.csv"], "there is no file none.csv"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(here, scalelab_command, arguments, says):
    answer = scalelab_command("import", *arguments)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not list(here.glob("*.duckdb"))


def test_every_tracker_is_on_the_page():
    for tracker in TRACKERS:
        assert f"(`{tracker.name}`)" in PAGE, f"docs/importing.md has no row for {tracker.title}"


def test_what_a_tracker_left_is_recognized_and_said(here, scalelab_command):
    folder = here / "mlruns" / "7"
    for key, status in (("a" * 32, 3), ("b" * 32, 5), ("c" * 32, 3)):
        for name in ("params", "metrics"):
            (folder / key / name).mkdir(parents=True)
        (folder / key / "params" / "n_params").write_text("1000")
        (folder / key / "metrics" / "val_loss").write_text("1 3.5 0\n2 3.0 1\n")
        (folder / key / "meta.yaml").write_text(f"run_id: {key}\nstatus: {status}\n")
    (folder / "meta.yaml").write_text("name: sizes\n")
    (folder / ("c" * 32) / "meta.yaml").write_text("run_id: [")
    dry = scalelab_command("import", "mlruns", "--dry-run")
    assert "mlruns: a folder of MLflow, 'sizes': 2 of 2 runs" in dry.out
    assert re.search(r"status .*\n· done +FINISHED +1 ×\n· interrupted +KILLED +1 ×", dry.out)
    assert f"7/{'c' * 32}: meta.yaml is torn, or no YAML" in dry.err
    assert "left out of mlruns, or not whole: 1" in dry.err
    told = json.loads(scalelab_command("import", "mlruns", "--json").out)
    assert (told["study"], told["outcome"], len(told["problems"])) == ("sizes", "imported", 1)
    assert {"word": "KILLED", "status": "interrupted", "n_runs": 1} in told["states"]
    (folder / ("b" * 32) / "meta.yaml").write_text(f"run_id: {'b' * 32}\nstatus: 3\n")
    again = scalelab_command("import", "mlruns")
    assert "study sizes: updated in experiments.duckdb: 1 changed, 1 unchanged" in again.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--kind", "mlflo"], "kind 'mlflo'; did you mean 'mlflow'"),
        (["--experiment", "x"], "is a table, not divided into experiments"),
        (["--join", "run_id"], "there is sizes.csv alone"),
        (["sizes.csv"], "say which column joins their rows"),
    ],
)
def test_options_of_trackers_that_do_not_fit(here, scalelab_command, options, says):
    answer = scalelab_command("import", "sizes.csv", *options)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert says in answer.err


def test_help_and_errors_load_no_duckdb():
    import subprocess

    code = (
        "import sys; sys.argv = ['scalelab', 'import', '--map', 'x']\n"
        "from scalelab.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 2\n"
        "assert not {'duckdb', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def laws(scalelab_command, *arguments) -> list[dict]:
    answer = scalelab_command("analyze", *arguments, "--axis", "joint", "--no-trees", "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["laws"]


@needs_reference
@pytest.mark.parametrize(
    ("estimator", "published", "digits"),
    [
        ("log-huber", {"A": 477.83, "B": 2143.4, "E": 1.81722, "alpha": 0.34731, "beta": 0.36717}, 0.05),
        ("lad", {"A": 482.01, "B": 2085.43, "E": 1.81686, "alpha": 0.34781, "beta": 0.36585}, 0.02),
    ],
)
def test_the_published_chinchilla_fits_from_the_published_table(
    here, scalelab_command, estimator, published, digits
):
    answer = scalelab_command(
        "import", REFERENCE / "chinchilla" / "epoch_svg_extracted.csv", "--study", "chinchilla",
        "--map", "n_examples=flops / (6 * n_params)",
        "--only", "row_number() over (order by loss desc) > 5",
    )  # fmt: skip
    assert "240 of 245 rows" in answer.out
    (law,) = laws(scalelab_command, "--law", "chinchilla", "--estimator", estimator)
    assert law["refusal"] is None
    assert len(law["points"]) == 240
    for name, value in published.items():
        tolerance = digits if name in "AB" else 1e-5
        assert law["params"][name]["value"] == pytest.approx(value, abs=tolerance), name
    if estimator == "log-huber":
        assert law["fit"]["objective"] <= 0.00101827403


@needs_reference
def test_isoflops_are_four_laws_of_all_their_runs(here, scalelab_command):
    path = REFERENCE / "isoflops" / "isoflops.csv"
    scalelab_command("import", path, "--map", "dataset=experiment", "--map", "architecture=model")
    found = laws(scalelab_command, "--law", "chinchilla", "--estimator", "huber")
    assert sorted(len(law["points"]) for law in found) == [123, 124, 133, 176]
    assert all(law["refusal"] is None for law in found)


@needs_reference
@pytest.mark.parametrize(("name", "n_runs"), [("hot", 220), ("slim_chinchilla", 28)])
def test_gemstones(here, scalelab_command, name, n_runs):
    folder = REFERENCE / "gemstones"
    scalelab_command(
        "import", folder / f"wandb_df_for_fitting_{name}.jsonl", "--map", "n_params=params_active_precise"
    )
    (law,) = laws(scalelab_command, "--law", "chinchilla")
    published = json.loads((folder / f"published_delta1e-3_{name}.json").read_text(encoding="utf-8"))
    assert len(law["points"]) == n_runs
    assert law["fit"]["objective"] <= published["loss"]["0"] + 0.5e-10


@needs_reference
def test_a_table_of_another_metric_has_fronts_and_a_refusal_of_laws(here, scalelab_command):
    scalelab_command(
        "import", REFERENCE / "ecg-paper" / "pareto_fronts.csv", "--map", "forward_flops=flops",
        "--metric", "physionet_accuracy", "--direction", "maximize",
    )  # fmt: skip
    answer = scalelab_command("analyze", "--no-trees", "--json")
    assert answer.code == 0, answer.err
    analysis = json.loads(answer.out)
    assert {front["optimizer"] for front in analysis["fronts"]} == {"adamw", "sgd", "sgdm"}
    assert sum(len(front["points"]) for front in analysis["fronts"]) == 25
    assert all("no finished run records its loss" in law["refusal"] for law in analysis["laws"])


def test_a_table_without_a_scale_is_told_what_to_map(tmp_path, scalelab_command):
    table = tmp_path / "runs.csv"
    table.write_text("width,model,loss\n8,a,2.0\n16,b,1.5\n32,a,1.2\n")
    store = tmp_path / "s.duckdb"
    bare = scalelab_command("import", str(table), "--store", str(store))
    assert "scalelab analyze" not in bare.out
    assert "--map n_params=COLUMN" in bare.out.splitlines()[-1]
    mapped = ("--replace", "--map", "n_params=width * 1e6", "--map", "architecture=model")
    assert (
        "next: scalelab analyze" in scalelab_command("import", str(table), "--store", str(store), *mapped).out
    )

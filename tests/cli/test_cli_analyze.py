import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.records import ComponentRef, CurvePoint, Record, Trial
from scalelab.store import Journal, open_store

SIZES = (1_000, 4_000, 16_000, 64_000)
DATA_SIZES = (500, 2_000, 8_000, 32_000)


def _records(study):
    for width, n_params in enumerate(SIZES):
        for n_examples in DATA_SIZES:
            for seed in (0, 1):
                loss = 0.1 + 5.0 * n_params**-0.4 + 4.0 * n_examples**-0.35
                loss *= 1.002 if seed else 0.998
                flops = 600.0 * n_params * n_examples
                point = CurvePoint(
                    step=10,
                    n_seen=640,
                    train_flops=flops,
                    wall_seconds=1.0,
                    lr=0.1,
                    train_loss=loss,
                    loss=loss,
                )
                yield Record(
                    trial=Trial(
                        dataset=ComponentRef(name="toy", params={"split": "random"}),
                        fingerprint="0",
                        architecture=ComponentRef(name="net", params={"widths": [8 * 2**width, 16]}),
                        optimizer=ComponentRef(name="sgd", params={"lr": 0.1}),
                        n_examples=n_examples,
                        seed=seed,
                    ),
                    study=study,
                    attempt=1,
                    status="done",
                    metric="accuracy",
                    direction="maximize",
                    loss=loss,
                    objective=1 / (1 + loss),
                    curve=(point.model_copy(update={"step": 5, "train_flops": flops / 2}), point),
                    n_params=n_params,
                    forward_flops=200.0 * n_params,
                    train_flops=flops,
                    started_at=0.0,
                    finished_at=1.0,
                )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "toy.duckdb"
    opened = open_store(path, create=True)
    records = list(_records("grid"))
    opened.register("grid", "", [record.trial for record in records])
    for record in records:
        Journal(path).write(record)
    opened.ingest()
    opened.register("later", "", [records[0].trial.model_copy(update={"seed": 99})])
    return path


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "scalelab.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_tables_go_to_stdout_narration_to_stderr_and_torch_is_not_loaded(store):
    script = (
        "import sys\n"
        "from scalelab.cli import main\n"
        f"sys.argv = ['scalelab', 'analyze', '--store', {str(store)!r}, '--axis', 'n_params', '--no-trees']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Scaling laws of the loss" in done.stdout
    assert (
        "L(N): power-offset, L = E + A * x^-alpha, 4 model sizes at D = 32,000 (the largest)" in done.stdout
    )
    assert "falls as N^-0.4" in done.stdout
    assert "analyzing " in done.stderr
    assert "\x1b" not in done.stdout


def test_json_page_figures_and_tables(store, tmp_path):
    options = ("--study", "grid", "--axis", "joint", "--json", "--html", "-", "--figures", "drawn")
    options += ("--tables", "tables")
    done = run("analyze", "--store", store, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (law,) = document["laws"]
    assert law["params"]["alpha"]["value"] == pytest.approx(0.4, rel=0.05)
    assert law["params"]["beta"]["value"] == pytest.approx(0.35, rel=0.05)
    assert "refusal" in document["trees"][0]
    page = (tmp_path / "toy-report.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert f"scalelab analyze --store {store} --study grid --axis joint --figures DIR" in page
    assert "as a study it cannot be written here: " in page
    assert {path.suffix for path in (tmp_path / "tables").glob("laws.*")} == {".md", ".tex", ".csv"}
    assert (tmp_path / "drawn" / "grid.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name for path in (tmp_path / "drawn").glob("*.png")} == {
        "grid.png",
        "isoflops.png",
        "optimum.png",
        "front.png",
        "curves.png",
    }


def test_a_law_of_a_plugin_is_asked_for_by_name(store):
    done = run("analyze", "--store", store, "--law", "mmf", "--axis", "n_examples", "--no-trees", "--json")
    assert done.returncode == 0, done.stderr
    (law,) = json.loads(done.stdout)["laws"]
    assert law["law"] == "mmf"
    assert "mmf" in (law["refusal"] or law["fit"]["provenance"]["law"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--study", "gird"), "did you mean 'grid'"),
        (("--study", "later"), "has no finished runs yet; next: scalelab run"),
        (("--law", "powr"), "did you mean 'power'"),
        (("--law", "weibul"), "did you mean 'weibull'"),
        (("--axis", "parms"), "unknown axis 'parms'"),
        (("--level", "90"), "between 0 and 1"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(store, options, words):
    done = run("analyze", "--store", store, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--html", "STORE"), "it is --store; choose another file"),
        (("--markdown", "STORE"), "it is --store; choose another file"),
        (("--markdown", "FOLDER/same", "--html", "FOLDER/./same"), "it is --html; choose another file"),
        (("--html", "FOLDER"), "it is a folder; choose another file"),
    ],
)
def test_no_output_takes_the_place_of_something_else(store, tmp_path, options, words):
    before = Path(store).read_bytes()
    given = [each.replace("STORE", str(store)).replace("FOLDER", str(tmp_path)) for each in options]
    done = run("analyze", "--store", store, *given)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(words)
    assert Path(store).read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_says_what_to_do(tmp_path):
    path = tmp_path / "empty.duckdb"
    open_store(path, create=True)
    done = run("analyze", "--store", path)
    assert done.returncode == 2
    assert "has no finished runs yet; next: scalelab run STUDY.toml" in done.stderr


def test_filters_are_said_in_the_heading_of_every_report(scalelab_command, tmp_path):
    store = Path(__file__).parents[2] / "examples/mitbih-convnext.duckdb"
    page, text = tmp_path / "page.html", tmp_path / "report.md"
    only = ["--optimizer", "sgd", "--where", "n_examples < 5000 and n_params > 5e4"]
    files = ["--html", page, "--markdown", text]
    code, _, err = scalelab_command("analyze", "--store", store, "--no-trees", *only, *files)
    assert code == 0
    said = "only runs with optimizer sgd where n_examples < 5000 and n_params > 5e4"
    assert f"warning: {said}: 9 of 48 finished runs" in err
    assert said.replace("<", "&lt;").replace(">", "&gt;") in page.read_text("utf-8")
    assert "optimizer sgd where" in text.read_text("utf-8").splitlines()[0]


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_report_replaces_no_file_of_another_kind(store, tmp_path, option):
    other = tmp_path / "other.duckdb"
    other.write_bytes(b"somebody's runs")
    done = run("analyze", "--store", store, option, other)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "it is a file already, and none that ends with ." in line
    assert other.read_bytes() == b"somebody's runs"

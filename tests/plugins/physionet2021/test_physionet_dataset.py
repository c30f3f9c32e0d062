"""The dataset as studies use it: its contract, the real records, and a run of each through the engine."""

from pathlib import Path

import numpy as np
import pytest
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, write
from scalelab_plugins.physionet2021 import (
    Physionet2021Params,
    challenge_metric,
    record_index,
    scalelab_datasets,
)
from scalelab_plugins.physionet2021.classes import ABBREVIATIONS, CLASS_OF_CODE, SINUS_RHYTHM
from scalelab_plugins.physionet2021.prepare import load

import scalelab
from scalelab.testing import DatasetContract

STUDY = """
name = "records"
[dataset]
name = "physionet2021"
options = {{ path = "{path}", window = {window}, stride = {window}, length = 256, threshold = "per-class" }}
[[architecture]]
name = "convnext1d"
options = {{ width = 4 }}
[[optimizer]]
name = "adamw"
[training]
length = {{ steps = 3 }}
batch_size = 8
validations = 1
"""


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty synthetic records of two seconds, every class in two or three of them."""
    folder = tmp_path_factory.mktemp("records")
    codes = list(CLASS_OF_CODE)
    for i in range(60):
        samples = limb_consistent(1000, i)
        lines = [
            f"# Dx: {codes[i % 30]},{codes[7 * i % 30]}" if "Dx" in line else line
            for line in header_lines(f"R{i}", samples)
        ]
        write(folder / "training" / "georgia" / "g1", f"R{i}", samples, lines)
    return folder


class TestContract(DatasetContract):
    @pytest.fixture
    def dataset(self):
        return scalelab_datasets()[0]

    @pytest.fixture
    def params(self, folder):
        return Physionet2021Params(path=folder, window=2, stride=2, length=256, threshold="per-class")


def test_task(folder):
    task = scalelab_datasets()[0].open(Physionet2021Params(path=folder, window=2, stride=2)).task
    assert task.input_shape == (12, 1024)
    assert task.classes == ABBREVIATIONS
    assert task.objective == "challenge-metric"
    assert callable(task.loss)
    bce = Physionet2021Params(path=folder, window=2, stride=2, loss="bce")
    assert scalelab_datasets()[0].open(bce).task.loss == "bce"


def run(path, folder, window):
    (folder / "study.toml").write_text(STUDY.format(path=path, window=window))
    summary = scalelab.run_study(folder / "study.toml", folder / "store.duckdb", workers=0)
    assert summary.complete
    return scalelab.open_store(folder / "store.duckdb").runs("records").iloc[0]


def test_a_study_trains_on_made_up_records(folder, tmp_path):
    done = run(folder, tmp_path, 2.0)
    assert done.status == "done"
    assert np.isfinite(done.loss)


@needs_real
def test_a_study_trains_on_the_real_records(tmp_path):
    done = run(REAL / "training", tmp_path, 10.0)
    assert done.status == "done"
    assert np.isfinite(done.loss)
    assert (done.n_examples, done.n_windows) == (68, 95)
    assert done.n_examples + done.n_validated + done.n_tested == 113


@needs_real
def test_all_real_records_are_used():
    params = Physionet2021Params(path=REAL / "training")
    index = record_index(params)
    prepared = load(params)
    assert index.record.nunique() == 113
    assert index.row.notna().all()
    assert len(prepared.inputs) == len(index) == 140
    assert np.isfinite(prepared.inputs).all()
    counts = index.drop_duplicates("record").source.value_counts()
    assert counts.to_dict() == {
        "georgia": 30, "ningbo": 30, "ptb-xl": 20, "chapman_shaoxing": 10, "cpsc_2018": 10,
        "cpsc_2018_extra": 10, "ptb": 3,
    }  # fmt: skip
    records = index.set_index("record")
    assert records.signal["E07509"] == records.signal["E07510"]
    for seed in range(5):
        folds = record_index(params.model_copy(update={"seed": seed})).set_index("record").fold
        assert folds["E07509"] == folds["E07510"]
    flat = prepared.inputs[int(records.row["JS45542"])]
    assert (flat == 0).all(axis=1).sum() == 6
    minutes = index[index.source == "ptb"].groupby("record").start.max()
    assert (minutes >= 20).all(), "PTB's records of minutes give several windows"


@needs_real
def test_always_answering_sinus_rhythm_scores_nothing_on_the_real_records():
    targets = load(Physionet2021Params(path=REAL / "training")).targets
    answers = np.zeros_like(targets)
    answers[:, SINUS_RHYTHM] = 1
    assert challenge_metric(targets, answers) == 0


@needs_real
def test_the_study_in_examples_is_a_study():
    study = Path(__file__).resolve().parents[3] / "examples" / "physionet2021.toml"
    assert scalelab.load_study(study, scalelab.load_plugins()).name == "physionet2021-convnext"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('path = "nowhere"', "there is no folder"),
        ('path = ".", rate = 20', "rate"),
        ('path = ".", window = 50.0', "no records"),
        ('path = ".", trheshold = "global"', "threshold"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(options, says, tmp_path, capsys, monkeypatch):
    from scalelab.cli import main

    text = STUDY.replace("options = {{ path", f"options = {{{{ {options} }}}} # {{{{ path")
    text = text.format(path="X", window=1.0)
    (tmp_path / "study.toml").write_text(text)
    arguments = ["scalelab", "run", str(tmp_path / "study.toml"), "--store", str(tmp_path / "store.duckdb")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert says in errors[0]

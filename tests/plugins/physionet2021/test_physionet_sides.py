"""Some sources train and validate, others test: who stands where, laws in and out of distribution."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from physionet_samples import REAL, header_lines, limb_consistent, needs_real, params, write
from pydantic import ValidationError
from scalelab_plugins.gathered import Gathered
from scalelab_plugins.physionet2021 import open_physionet2021, record_index
from scalelab_plugins.physionet2021.prepare import load

import scalelab
from scalelab import DataError
from scalelab.arrays import rows_of
from scalelab.train.soundness import check_data

SOURCES = ("georgia", "ningbo", "ptb-xl")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty records of three sources, of one or two windows."""
    folder = tmp_path_factory.mktemp("records")
    codes = ("426783006", "39732003", "164889003")
    for i in range(60):
        samples = limb_consistent(1000 * (1 + i % 2), i)
        lines = header_lines(f"R{i:02}", samples)
        lines = [f"# Dx: {codes[i % 3]}" if "Dx" in line else line for line in lines]
        write(folder / SOURCES[i % 3] / "g1", f"R{i:02}", samples, lines)
    return folder


def records(folder, split, **options):
    """The records of a split, found by their windows."""
    index = record_index(params(folder, **options))
    names = {row.tobytes(): name for row, name in zip(load(params(folder)).inputs, index.record, strict=True)}
    found = [names[np.asarray(row).tobytes()] for row in np.asarray(split.inputs)]
    starts = np.cumsum(split.windows) - split.windows
    return [found[start] for start in starts]


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_sides_are_the_sources_that_are_asked_for(folder, fold):
    data = open_physionet2021(params(folder, test_on=("ningbo",), fold=fold))
    index = record_index(params(folder)).drop_duplicates("record").set_index("record")
    sides = {name: records(folder, getattr(data, name)) for name in ("train", "validation", "test")}
    assert set(sides["test"]) == set(index.index[index.source == "ningbo"])
    for name in ("train", "validation"):
        assert set(index.source[sides[name]]) == {"georgia", "ptb-xl"}
    assert set(index.fold[sides["validation"]]) == {fold}
    assert fold not in set(index.fold[sides["train"]])
    assert 3 in set(index.fold[sides["train"]])
    assert sum(map(len, sides.values())) == len(set().union(*sides.values()))
    for name, side in sides.items():
        split = getattr(data, name)
        labels = [row.sum() for row in split.targets]
        assert labels == [len(index.classes[record].split(",")) for record in side]


def test_what_is_in_the_test_too_does_not_train(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "records")
    write(tmp_path / "records" / "ningbo" / "g1", "TWIN", limb_consistent(1000, 0))  # R00 of georgia
    (tmp_path / "groups.csv").write_text("record,group\nR03,a\nR04,a\n")  # of georgia and of ningbo
    asked = {"groups": tmp_path / "groups.csv"}
    index = record_index(params(tmp_path / "records", **asked)).drop_duplicates("record")
    counts = index.source.value_counts()
    for one, other in (("georgia", "ningbo"), ("ningbo", "georgia")):
        data = open_physionet2021(params(tmp_path / "records", train_on=(one,), test_on=(other,), **asked))
        assert len(data.train) + len(data.validation) == counts[one] - 2
        assert len(data.test) == counts[other]
        tested = {row.tobytes() for row in np.asarray(data.test.inputs)}
        assert not tested & {row.tobytes() for row in np.asarray(data.train.inputs)}


def test_all_choices_of_sources_share_one_entry_and_have_fingerprints_of_their_own(folder):
    choices = [
        {},
        *({"test_on": (name,)} for name in SOURCES),
        {"train_on": SOURCES[:1], "test_on": SOURCES[1:]},
    ]
    assert len({load(params(folder, **choice)).key for choice in choices}) == 1
    assert len({open_physionet2021(params(folder, **choice)).fingerprint for choice in choices}) == len(
        choices
    )


def test_sources_that_cannot_be_are_one_line(folder):
    for options, says in (
        ({"train_on": ("georgia",)}, "train_on needs test_on"),
        ({"train_on": ("georgia", "ningbo"), "test_on": ("ningbo",)}, "ningbo cannot be both in"),
        ({"sources": ("georgia",), "test_on": ("ningbo",)}, "ningbo of train_on or test_on is not among"),
    ):
        with pytest.raises(ValidationError, match=says):
            params(folder, **options)
    for options, says in (
        ({"test_on": ("gorgia",)}, "test_on: no record of the source 'gorgia' can be used; there are geor"),
        ({"train_on": ("ptb",), "test_on": ("ningbo",)}, "train_on: no record of the source 'ptb'"),
        ({"test_on": SOURCES}, "test_on takes every source"),
    ):
        with pytest.raises(DataError, match=says) as caught:
            open_physionet2021(params(folder, **options))
        assert "\n" not in str(caught.value)


def test_a_side_without_records_is_one_line(tmp_path):
    for i in range(12):
        write(tmp_path / "georgia" / "g1", f"R{i:02}", limb_consistent(1000, i))
    write(tmp_path / "ningbo" / "g1", "JS1", limb_consistent(1000, 50))
    for fold in range(3):
        try:
            open_physionet2021(params(tmp_path, train_on=("ningbo",), test_on=("georgia",), fold=fold))
        except DataError as error:
            assert "the records of ningbo leave the" in str(error)  # noqa: PT017 - either side may be empty
            continue
        pytest.fail("one record cannot both train and validate")


def test_an_empty_fourth_fold_does_not_matter_where_a_source_tests(tmp_path):
    """Three patients of georgia and three of ningbo: too few for a fold of a tenth."""
    for i in range(12):
        source = "georgia" if i % 2 else "ningbo"
        write(tmp_path / source / "g1", f"R{i:02}", limb_consistent(1000, i))
    table = tmp_path / "groups.csv"
    table.write_text("record,group\n" + "".join(f"R{i:02},{i % 6}\n" for i in range(12)))
    own, elsewhere = params(tmp_path, groups=table), params(tmp_path, groups=table, test_on=("ningbo",))
    assert np.bincount(load(own).folds, minlength=4).tolist() == [4, 4, 4, 0]
    with pytest.raises(DataError, match=r"12 records in 6 groups of one .* leave the test fold .10% of them"):
        open_physionet2021(own)
    data = open_physionet2021(elsewhere)
    assert [len(side) for side in (data.train, data.validation, data.test)] == [4, 2, 6]
    assert load(elsewhere).key == load(own).key


def test_gathered_rows_are_those_of_the_array():
    array = np.arange(60, dtype=np.float16).reshape(20, 3)
    rows = np.array([3, 17, 4, 0])
    found = Gathered(array, rows)
    expected = array[rows]
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(found[1:3], expected[1:3])
    np.testing.assert_array_equal(found[2], expected[2])
    np.testing.assert_array_equal(rows_of(found, np.array([2, 0, 2])), expected[[2, 0, 2]])
    assert (found.shape, found.dtype, len(found), found.size) == ((4, 3), np.float16, 4, 12)


def test_gathered_rows_that_are_not_finite_are_found_before_training(folder):
    data = open_physionet2021(params(folder, test_on=("ningbo",)))
    check_data(data)
    array = np.array(data.train.inputs)
    array[5, 3, 7] = np.nan
    rows = np.arange(len(array))[::-1]
    broken = scalelab.Split(Gathered(array, rows), data.train.targets, data.train.windows)
    place = len(array) - 1 - 5
    with pytest.raises(DataError, match=rf"training inputs are not finite: nan at \[{place}, 3, 7\]"):
        check_data(replace(data, train=broken))


STUDY = """
name = "sources"
[dataset]
name = "physionet2021"
options = {{ path = "{path}", window = {window}, stride = {window}, length = 256 }}
space = {{ test_on = [["georgia"], ["ptb-xl"]] }}
[data]
sizes = [8, "all"]
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


def command(*arguments, folder):
    done = subprocess.run(
        [sys.executable, "-m", "scalelab.cli", *map(str, arguments)],
        capture_output=True, text=True, cwd=folder, timeout=300, check=False,
    )  # fmt: skip
    return done


def leave_one_out(path, tmp_path, window, sources=("georgia", "ptb-xl")):
    text = STUDY.format(path=path, window=window)
    (tmp_path / "study.toml").write_text(
        text.replace('[["georgia"], ["ptb-xl"]]', json.dumps([[s] for s in sources]))
    )
    done = command("run", "study.toml", "--workers", 0, "--store", "s.duckdb", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = scalelab.open_store(tmp_path / "s.duckdb").runs("sources")
    assert len(runs) == 4
    assert (runs.status == "done").all()
    assert np.isfinite(runs.loss).all()
    assert np.isfinite(runs.test_loss).all()
    return runs


def synthesize(folder, source, records, seconds, seed):
    done = command(
        "data", "synthesize", "synthetic-ecg", "--wfdb", "--to", folder, "--source", source,
        "--records", records, "--rate", 200, "--seconds", seconds, "--seed", seed, folder=folder.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_leaving_out_a_source_is_an_axis_of_a_study(tmp_path):
    """Synthetic records of the command line, half an hour of one patient among them."""
    for seed, (source, records, seconds) in enumerate(
        [("georgia", 24, 4), ("ningbo", 24, 4), ("st_petersburg_incart", 1, 1800)]
    ):
        synthesize(tmp_path / "synthetic", source, records, seconds, seed)
    runs = leave_one_out(tmp_path / "synthetic", tmp_path, 2.0, ("georgia", "st_petersburg_incart"))
    assert runs.fingerprint.nunique() == 2
    on_incart = runs.dataset_test_on == '["st_petersburg_incart"]'
    assert set(runs.n_tested[on_incart]) == {1}
    assert set(runs.n_tested[~on_incart]) == {24}
    whole = runs[runs.n_examples > 8]
    assert (whole.n_windows[on_incart] == 2 * whole.n_examples[on_incart]).all()
    assert (whole.n_examples[on_incart] + whole.n_validated[on_incart] == 48).all()
    assert (whole.n_examples[~on_incart] + whole.n_validated[~on_incart] == 25).all()
    again = command("run", "study.toml", "--workers", 0, "--store", "s.duckdb", folder=tmp_path)
    assert again.returncode == 0
    assert len(scalelab.open_store(tmp_path / "s.duckdb").runs("sources")) == 4
    for arguments in (("analyze",), ("analyze", "--on", "test")):
        done = command(*arguments, "--store", "s.duckdb", "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)


@needs_real
def test_leaving_out_a_source_of_the_real_records(tmp_path):
    runs = leave_one_out(REAL / "training", tmp_path, 10.0)
    assert sorted(set(runs.n_tested)) == [20, 30]


def test_a_wrong_source_is_exit_code_2(folder, tmp_path):
    text = STUDY.format(path=folder, window=2.0).replace('["georgia"]', '["gorgia"]')
    (tmp_path / "study.toml").write_text(text)
    done = command("plan", "study.toml", "--store", "s.duckdb", folder=tmp_path)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "'gorgia'" in errors[0]
    assert "Traceback" not in done.stderr

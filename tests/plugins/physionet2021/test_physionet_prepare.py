"""From records to windows: the cache entry, its index, kills, and bad input."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import psutil
import pytest
import scalelab_plugins.physionet2021.prepare as preparing
from physionet_samples import header_lines, limb_consistent, params, write
from pydantic import ValidationError
from scalelab_plugins.physionet2021 import Physionet2021Params, open_physionet2021, record_index
from scalelab_plugins.physionet2021.prepare import load
from scalelab_plugins.physionet2021.records import read_record
from scipy.signal import butter, sosfiltfilt

from scalelab import DataError

CODES = ("426783006", "39732003", "164889003", "164865005")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(folder, name, *, n=1000, seed=0, rate=500, codes=CODES[:1], samples=None):
    samples = limb_consistent(n, seed) if samples is None else samples
    lines = [
        f"# Dx: {','.join(codes)}" if "Dx" in line else line.replace("Age: 56", f"Age: {20 + seed}")
        for line in header_lines(name, samples, rate=rate)
    ]
    return write(folder, name, samples, lines)


@pytest.fixture
def folder(tmp_path):
    """Forty records of two seconds, of two sources and three labels."""
    folder = tmp_path / "records"
    for i in range(40):
        source = "georgia" if i % 2 else "ptb"
        put(folder / source / "g1", f"R{i:03d}", seed=i, codes=(CODES[i % 3],))
    return folder


def test_a_record_is_what_scipy_makes_of_it(folder):
    index = record_index(params(folder))
    prepared = load(params(folder))
    for row in (0, 13, 39):
        line = index.iloc[row]
        record = read_record(folder / line.source / "g1" / f"{line.record}.hea")
        expected = sosfiltfilt(butter(3, (1, 47), "bandpass", fs=500, output="sos"), record.signal, axis=1)
        expected -= expected.mean(axis=1, keepdims=True)
        expected /= expected.std(axis=1, keepdims=True)
        np.testing.assert_allclose(prepared.inputs[row], expected, atol=4e-3)  # float16 near 5
        assert prepared.inputs.dtype == np.float16
        assert line.signal == hashlib.sha256(record.signal.tobytes()).hexdigest()


def test_long_records_become_windows_of_one_fold(folder):
    put(folder / "incart" / "g1", "LONG", n=257 * 19, rate=257, seed=99)
    index = record_index(params(folder, stride=1.5))
    long = index[index.record == "LONG"]
    assert long.start.tolist() == [1.5 * i for i in range(12)]
    assert long.fold.nunique() == 1
    assert long.row.diff().dropna().eq(1).all()
    prepared = load(params(folder, stride=1.5))
    np.testing.assert_allclose(prepared.inputs.std(axis=2, dtype=np.float32), 1, atol=1e-2)


def test_incart_shape(tmp_path):
    for i in range(10):
        put(tmp_path / "records" / "g1", f"I{i:02d}", n=5140, rate=257, seed=i)
    put(tmp_path / "records" / "g1", "I99", n=462_600, rate=257, seed=99)
    prepared = load(Physionet2021Params(path=tmp_path / "records"))
    assert prepared.inputs.shape == (10 * 2 + 180, 12, 5000)
    assert np.isfinite(prepared.inputs).all()


def test_short_records_are_padded_or_dropped(folder):
    put(folder / "cpsc_2018" / "g1", "SHORT", n=600, seed=98)
    index = record_index(params(folder))
    row = int(index[index.record == "SHORT"].row.iloc[0])
    window = load(params(folder)).inputs[row]
    assert (window[:, :200] == 0).all()
    assert (window[:, 800:] == 0).all()
    np.testing.assert_allclose(window[:, 200:800].std(axis=1, dtype=np.float32), 1, atol=1e-2)
    dropped = record_index(params(folder, short="drop"))
    assert "SHORT" in dropped[dropped.row.isna()].record.tolist()
    assert dropped[dropped.row.isna()].reason.tolist() == ["length: shorter than the window of 2 s"]


def test_what_is_left_out_and_why(folder):
    base = folder / "georgia" / "g1"
    put(base, "NOCODES", codes=(), seed=70)
    put(base, "UNSCORED", codes=CODES[3:], seed=71)
    put(base, "FLAT", samples=np.full((1000, 12), 7, dtype="<i2"))
    broken = put(base, "BROKEN", seed=72)
    broken.with_suffix(".mat").write_bytes(broken.with_suffix(".mat").read_bytes()[:-2000])
    put(base, "SLOW", n=400, rate=80, seed=73)
    kept, dropped = (record_index(params(folder, unscored=choice)) for choice in ("keep", "drop"))
    reasons = kept[kept.row.isna()].set_index("record").reason
    assert sorted(reasons.index) == ["BROKEN", "FLAT", "NOCODES", "SLOW"]
    assert reasons["NOCODES"] == "labels: none at all"
    assert reasons["SLOW"] == "rate: 80 Hz cannot hold frequencies up to 47 Hz"
    assert kept.set_index("record").loc["UNSCORED"].classes == ""
    assert set(dropped[dropped.row.isna()].record) == {*reasons.index, "UNSCORED"}
    assert kept.set_index("record").status["BROKEN"] == "rejected"
    targets = load(params(folder)).targets
    assert targets[int(kept.set_index("record").row["UNSCORED"])].sum() == 0


def test_missing_samples_never_spread(folder):
    samples = limb_consistent(1000, 80)
    samples[300:320, 4] = -(2**15)
    put(folder / "ptb" / "g1", "GAP", samples=samples)
    index = record_index(params(folder)).set_index("record")
    assert index.status["GAP"] == "repaired"
    assert index.repairs["GAP"]
    window = load(params(folder)).inputs[int(index.row["GAP"])]
    assert np.isfinite(window).all()
    np.testing.assert_allclose(window.std(axis=1, dtype=np.float32), 1, atol=1e-2)


def test_index_says_what_each_row_is(folder):
    index = record_index(params(folder))
    prepared = load(params(folder))
    assert index.row.tolist() == list(range(40))
    assert index.fold.tolist() == prepared.folds.tolist()
    assert index.group.tolist() == prepared.groups.tolist()
    assert index.source.tolist() == prepared.names[prepared.sources].tolist()
    assert [sum(row) for row in prepared.targets] == [len(text.split(",")) for text in index.classes]
    assert set(index.source) == {"georgia", "ptb"}
    assert set(record_index(params(folder, sources=("ptb",))).source) == {"ptb"}


def test_identical_signals_stay_together_whatever_they_are_called(folder):
    for i in range(6):
        put(folder / "georgia" / "g2", f"TWIN{i}", seed=3, codes=(CODES[i % 3],))
    index = record_index(params(folder)).set_index("record")
    assert index.fold[[*(f"TWIN{i}" for i in range(6)), "R003"]].nunique() == 1


def test_folds_are_whole_and_apart(folder):
    whole = [open_physionet2021(params(folder, fold=fold)) for fold in range(3)]
    digests = [
        {
            name: {row.tobytes() for row in getattr(data, name).inputs}
            for name in ("train", "validation", "test")
        }
        for data in whole
    ]
    for sides in digests:
        assert len(set.union(*sides.values())) == sum(map(len, sides.values())) == 40
    assert not digests[0]["validation"] & digests[1]["validation"]
    assert digests[1]["train"] == digests[0]["validation"] | digests[2]["validation"]
    assert digests[0]["test"] == digests[1]["test"] == digests[2]["test"]
    assert len({data.fingerprint for data in whole}) == 3


def test_fingerprint_is_of_content_and_options_not_of_places(folder, tmp_path, monkeypatch):
    first = open_physionet2021(params(folder)).fingerprint
    shutil.copytree(folder, tmp_path / "elsewhere" / "deep")
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "another-cache"))
    assert open_physionet2021(params(tmp_path / "elsewhere")).fingerprint == first
    for same in ({"augment": 0}, {"loss": "bce"}, {"threshold": "global"}, {"length": 128}):
        assert open_physionet2021(params(folder, **same)).fingerprint == first
    header = next(folder.rglob("*.hea"))
    header.write_text(header.read_text(encoding="utf-8").replace("# Rx: Unknown", "# Rx: known"))
    assert open_physionet2021(params(folder)).fingerprint != first


def test_options_that_change_windows_or_folds_change_the_entry(folder, monkeypatch):
    names = ("inputs", "targets", "windows", "folds", "sources", "names", "groups")
    nothing = {name: np.zeros(5) for name in names}
    (folder / "patients.csv").write_text("record,group\nR000,1\n")
    monkeypatch.setattr(preparing, "_prepare", lambda *args: nothing)
    others = (
        {},
        {"rate": 250},
        {"low": 0.5},
        {"high": 40},
        {"window": 1.0},
        {"stride": 1.0},
        {"short": "drop"},
        {"unscored": "drop"},
        {"seed": 1},
        {"sources": ("ptb",)},
        {"windows": "first"},
        {"normalise": "record"},
        {"normalise": "none"},
        {"groups": folder / "patients.csv"},
    )
    same = ({"windows": "all"}, {"leads": 2}, {"test_on": ("ptb",)}, {"fold": 2}, {"length": 99})
    assert len({load(params(folder, **other)).key for other in ({}, *same)}) == 1
    assert len({load(params(folder, **other)).key for other in others}) == len(others)


def test_processes_make_the_same_entry(folder, cache, monkeypatch):
    monkeypatch.setattr(preparing, "CHUNK", 15)
    monkeypatch.setattr(preparing, "default_jobs", lambda: 2)
    two = load(params(folder))
    inputs = two.inputs.copy()
    shutil.rmtree(cache)
    monkeypatch.setattr(preparing, "default_jobs", lambda: 1)
    one = load(params(folder))
    assert one.key == two.key
    np.testing.assert_array_equal(one.inputs, inputs)


KILLED = """
import sys
import scalelab_plugins.physionet2021.prepare as preparing
from scalelab_plugins.physionet2021 import Physionet2021Params, open_physionet2021

made = preparing.make_chunks

def make_chunks(folder, recipe, chunks):
    if chunks[0][0] == 2:
        print("two chunks are done", flush=True)
        sys.stdin.readline()
    made(folder, recipe, chunks)

preparing.make_chunks, preparing.default_jobs, preparing.CHUNK = make_chunks, lambda: 1, 10
open_physionet2021(Physionet2021Params(path=sys.argv[1], window=2.0, stride=2.0, length=256))
"""


def test_what_a_killed_process_had_done_is_kept(folder, cache, monkeypatch):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "two chunks are done\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (chunks,) = cache.glob("*.chunks")
    assert sorted(path.name for path in chunks.glob("*.json")) == ["000000.json", "000001.json"]
    (chunks / "000002.f16").write_bytes(b"half a chunk")
    made = []

    def make_chunks(folder, recipe, todo, one=preparing.make_chunks):
        made.extend(number for number, _ in todo)
        one(folder, recipe, todo)

    monkeypatch.setattr(preparing, "CHUNK", 10)
    monkeypatch.setattr(preparing, "default_jobs", lambda: 1)
    monkeypatch.setattr(preparing, "make_chunks", make_chunks)
    resumed = load(params(folder))
    assert made == [2, 3]
    assert not chunks.exists()
    inputs = resumed.inputs.copy()
    shutil.rmtree(cache)
    np.testing.assert_array_equal(load(params(folder)).inputs, inputs)


ORPHANS = """
import sys, time
from scalelab_plugins.processes import in_processes
sys.path.insert(0, sys.argv[1])
import orphan_work
if __name__ == "__main__":
    for _ in in_processes(orphan_work.wait, [1, 2], jobs=2, size=1):
        pass
"""


WAITS = """
import threading
def wait(part):
    print("here", flush=True)
    threading.Event().wait()
"""


def test_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "orphan_work.py").write_text(WAITS)
    (tmp_path / "main.py").write_text(ORPHANS)
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline() for _ in range(2)] == ["here\n"] * 2
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_an_entry_that_is_there_is_opened_without_preparing(folder, monkeypatch):
    first = load(params(folder))
    monkeypatch.setattr(preparing, "_prepare", None)
    again = load(params(folder))
    assert isinstance(again.inputs, np.memmap)
    assert again.key == first.key
    code = textwrap.dedent("""
        import sys
        from scalelab_plugins.physionet2021 import Physionet2021Params, open_physionet2021
        open_physionet2021(Physionet2021Params(path=sys.argv[1], window=2.0, stride=2.0, length=256))
        heavy = {"torch", "scipy", "sklearn", "pandas", "duckdb", "wfdb"} & set(sys.modules)
        assert not heavy, heavy
    """)
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=os.environ)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": 20}, "rate"),
        ({"rate": 5000}, "rate"),
        ({"rate": 250, "high": 130}, "raise rate or lower high"),
        ({"low": 15, "high": 12}, "must be below high"),
        ({"window": 0.1}, "window"),
        ({"fold": 3}, "fold"),
        ({"threshold": "0.4"}, "threshold"),
    ],
)
def test_silly_options_are_refused(options, says):
    with pytest.raises(ValidationError, match=says):
        Physionet2021Params(path=".", **options)


def test_bad_folders_are_one_clear_line(folder, tmp_path):
    def refused(pattern, where=folder, **options):
        with pytest.raises(DataError, match=pattern) as caught:
            open_physionet2021(params(where, **options))
        assert "\n" not in str(caught.value)

    refused("there is no folder.*data download", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("holds no records.*data download", tmp_path / "empty")
    refused("no records of the source 'gorgia'.*georgia, ptb", sources=("gorgia",))
    refused(r"window of 30 s is longer than every record .the longest has 2 s", window=30.0)
    refused("none of the 40 records .* can be used .length: shorter", window=30.0, short="drop")
    for i in range(3):
        put(tmp_path / "few" / "g1", f"R{i}", seed=i)
    refused("3 records leave .*without examples", tmp_path / "few")
    os.mkfifo(tmp_path / "few" / "g1" / "pipe.hea")
    refused("pipe.hea is not a regular file", tmp_path / "few")
    for header in folder.rglob("*.hea"):
        header.write_text("nonsense\n")
    refused("none of the 40 records .* can be used")


def test_index_is_missed_with_a_remedy(folder):
    prepared = load(params(folder))
    prepared.index.unlink()
    with pytest.raises(DataError, match="prepared again"):
        record_index(params(folder))


def test_a_full_disk_is_one_clear_line(folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        json,
        "dumps",
        lambda value, *args, original=json.dumps, **rest: (
            full()
            if isinstance(value, list) and value and isinstance(value[0], dict)
            else original(value, *args, **rest)
        ),
    )
    with pytest.raises(DataError, match=r"No space left on device.*what is done is kept"):
        load(params(folder))

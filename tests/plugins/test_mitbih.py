"""The reader, the splits and the errors, on small databases that wfdb writes."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from mitbih_databases import RATE, write_record
from pydantic import ValidationError
from scalelab_plugins.mitbih import MitbihParams, census, open_mitbih, scalelab_datasets
from scalelab_plugins.mitbih.beats import (
    AAMI,
    DS1,
    DS1_VALIDATION,
    DS2,
    PACED,
    SYMBOLS,
    labels_of,
    stratified_split,
    windows,
)
from scalelab_plugins.mitbih.reader import read

from scalelab import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mitdb")
    for seed, name in enumerate(("100", "101", "102")):
        write_record(folder, name, seed=seed)
    write_record(folder, "114", leads=("V5", "MLII"), seed=7)
    return folder


@pytest.fixture
def database(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "mitdb")


class TestWindows:
    def test_inputs_are_the_windows_around_the_peaks(self, database):
        params = MitbihParams(path=database, normalise="none", before=0.1, after=0.2)
        data = open_mitbih(params)
        assert data.task.input_shape == (2, 108)
        assert data.train.inputs.dtype == np.float16
        peak = np.asarray(data.train.inputs[:, :, 36], dtype=float)
        assert peak[:, 0].min() > 0.85  # MLII first, also in 114 whose channels are swapped
        assert peak[:, 1].max() < -0.35

    def test_leads_are_chosen_by_name(self, database):
        def peaks(leads):
            data = open_mitbih(MitbihParams(path=database, normalise="none", leads=leads))
            assert data.task.input_shape == (1, 288)
            return np.asarray(data.train.inputs[:, 0, 144], dtype=float)

        assert peaks("MLII").min() > 0.85
        assert peaks("precordial").max() < -0.35

    def test_records_without_mlii_are_left_out(self, database):
        write_record(database, "103", leads=("V5", "V2"))
        assert sum(census(MitbihParams(path=database, leads="both"))["train"].values()) > sum(
            census(MitbihParams(path=database, leads="MLII"))["train"].values()
        )

    def test_no_record_with_the_lead_at_all(self, tmp_path):
        write_record(tmp_path, "103", leads=("V5", "V2"))
        with pytest.raises(DataError, match="leads = 'both'"):
            open_mitbih(MitbihParams(path=tmp_path, leads="MLII"))

    def test_resampling_keeps_the_peak_at_its_place(self, database):
        for rate in (180, 250, 500):
            data = open_mitbih(MitbihParams(path=database, rate=rate, leads="MLII", normalise="none"))
            before = round(0.4 * rate)
            assert data.task.input_shape == (1, 2 * before)
            inputs = np.abs(np.asarray(data.validation.inputs[:, 0], dtype=float))
            assert np.abs(inputs.argmax(axis=1) - before).max() <= 1

    @pytest.mark.parametrize("normalise", ["beat", "record"])
    def test_normalization(self, database, normalise):
        inputs = np.asarray(
            open_mitbih(MitbihParams(path=database, normalise=normalise)).train.inputs, dtype=np.float64
        )
        if normalise == "beat":
            np.testing.assert_allclose(inputs.mean(axis=2), 0, atol=5e-3)
            np.testing.assert_allclose(inputs.std(axis=2), 1, atol=5e-3)
        else:
            assert np.median(inputs) == pytest.approx(0, abs=0.15)
            quartiles = np.percentile(inputs, (25, 75))
            assert np.diff(quartiles)[0] == pytest.approx(1.349, rel=0.2)

    def test_flat_leads_stay_finite(self, tmp_path):
        write_record(tmp_path, "100")
        record = wfdb.rdrecord(str(tmp_path / "100"))
        record.p_signal[:, 1] = 0
        wfdb.wrsamp(
            "100", fs=RATE, units=["mV"] * 2, sig_name=["MLII", "V1"], p_signal=record.p_signal,
            fmt=["212"] * 2, adc_gain=[200.0] * 2, baseline=[1024] * 2, write_dir=str(tmp_path),
        )  # fmt: skip
        for normalise in ("beat", "record"):
            inputs = open_mitbih(MitbihParams(path=tmp_path, normalise=normalise)).train.inputs
            assert np.isfinite(inputs).all()
            assert np.abs(inputs[:, 1]).max() == 0

    @given(st.integers(0, 30), st.integers(1, 30), st.lists(st.integers(30, 169), min_size=1, max_size=9))
    def test_windows_are_slices(self, before, after, peaks):
        signal = np.arange(400.0).reshape(2, 200)
        found = windows(signal, np.array(peaks), before, after)
        for window, peak in zip(found, peaks, strict=True):
            np.testing.assert_array_equal(window, signal[:, peak - before : peak + after])

    def test_edge_beats_are_dropped_and_counted(self, database):
        counts = census(MitbihParams(path=database, before=0.4, after=0.4))
        total = {name: sum(row.values()) for name, row in counts.items()}
        assert total["dropped"] == 3  # the first beat of each record stands at 20 samples
        assert sum(total.values()) == 3 * 120
        assert (
            sum(sum(row.values()) for row in census(MitbihParams(path=database, before=0.05)).values()) == 360
        )


class TestClasses:
    def test_every_beat_symbol_has_an_aami_class(self):
        assert set(AAMI) == set(SYMBOLS)
        expected = {"N": "NLRBejn", "S": "AaJS", "V": "VrE", "F": "F", "Q": "/fQ?"}
        assert {name: {s for s in AAMI if AAMI[s] == name} for name in "NSVFQ"} == {
            name: set(symbols) for name, symbols in expected.items()
        }
        assert not set('!+~|x"[]()') & set(AAMI)

    def test_aami4_leaves_q_out(self, database):
        five, four = (
            open_mitbih(MitbihParams(path=database, classes=classes)) for classes in ("aami5", "aami4")
        )
        assert five.task.classes == ("N", "S", "V", "F", "Q")
        assert four.task.classes == ("N", "S", "V", "F")
        assert four.task.n_outputs == 4
        assert four.train.targets.max() == 3

    def test_symbols_are_those_that_are_there(self, database):
        data = open_mitbih(MitbihParams(path=database, classes="symbols"))
        assert data.task.classes == ("N", "L", "A", "V", "F", "Q")
        counts = census(MitbihParams(path=database, classes="symbols"))
        assert sum(counts[split]["L"] for split in counts) == 60

    def test_labels_agree_with_the_annotations(self, pristine):
        beats = read(pristine, "101")
        samples, symbols = write_record(pristine, "101", seed=1)
        np.testing.assert_array_equal(beats.samples[1:], samples)
        assert list(beats.symbols[1:]) == symbols
        label_of, names = labels_of("aami5")
        assert names[label_of["L"]] == "N"


class TestSplits:
    def test_ds1_and_ds2_are_the_published_ones(self):
        assert len(set(DS1)) == len(set(DS2)) == 22
        assert not set(DS1) & set(DS2)
        assert not (set(DS1) | set(DS2)) & set(PACED)
        assert set(DS1_VALIDATION) < set(DS1)

    def test_paced_records_are_left_out_unless_asked_for(self, database):
        without, with_paced = (
            sum(len(s) for s in (d.train, d.validation, d.test))
            for d in (open_mitbih(MitbihParams(path=database, paced=paced)) for paced in (False, True))
        )
        assert with_paced == pytest.approx(without * 4 / 3, abs=2)

    def test_random_split_is_stratified_disjoint_and_seeded(self, database):
        params = MitbihParams(path=database, normalise="none", validation_fraction=0.2, test_fraction=0.1)
        counts = census(params)
        for name in ("N", "S", "V"):
            total = sum(counts[split][name] for split in ("train", "validation", "test"))
            assert counts["validation"][name] == pytest.approx(0.2 * total, abs=1)
            assert counts["test"][name] == pytest.approx(0.1 * total, abs=1)
        data = open_mitbih(params)
        beats = [x.tobytes() for split in (data.train, data.validation, data.test) for x in split.inputs]
        assert len(set(beats)) == len(beats)
        other = open_mitbih(params.model_copy(update={"seed": 1}))
        assert other.fingerprint != data.fingerprint
        assert not np.array_equal(other.validation.inputs, data.validation.inputs)

    @settings(max_examples=60)
    @given(
        st.lists(st.integers(0, 4), min_size=1, max_size=300),
        st.floats(0, 0.45),
        st.floats(0, 0.45),
    )
    def test_stratified_split_deals_every_index_once(self, labels, validation, test):
        labels = np.array(labels)
        parts = stratified_split(labels, (validation, test), np.random.default_rng(0))
        assert sorted(np.concatenate(parts)) == list(range(len(labels)))
        for label in np.unique(labels):
            n = (labels == label).sum()
            assert abs((labels[parts[1]] == label).sum() - validation * n) <= 1
            assert abs((labels[parts[2]] == label).sum() - test * n) <= 1

    def test_no_test_split_without_a_fraction(self, database):
        assert open_mitbih(MitbihParams(path=database, test_fraction=0)).test is None

    def test_inter_patient_needs_all_its_records(self, database):
        with pytest.raises(DataError, match=r"103\.hea is missing.*physionet"):
            open_mitbih(MitbihParams(path=database, split="inter-patient"))


class TestIdentity:
    def test_fingerprint_follows_content_and_options_but_not_the_place(self, database, tmp_path):
        first = open_mitbih(MitbihParams(path=database)).fingerprint
        moved = shutil.copytree(database, tmp_path / "elsewhere")
        assert open_mitbih(MitbihParams(path=moved)).fingerprint == first
        assert open_mitbih(MitbihParams(path=moved, augment=0)).fingerprint == first
        assert open_mitbih(MitbihParams(path=moved, after=0.3)).fingerprint != first
        write_record(moved, "101", seed=99)
        assert open_mitbih(MitbihParams(path=moved)).fingerprint != first

    def test_a_prepared_dataset_opens_without_wfdb_and_torch(self, database):
        open_mitbih(MitbihParams(path=database))
        script = f"""
            import sys
            from scalelab_plugins.mitbih import MitbihParams, open_mitbih
            assert "numpy" not in sys.modules
            open_mitbih(MitbihParams(path={str(database)!r}))
            assert not {{"wfdb", "torch", "scipy", "pandas"}} & set(sys.modules)
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)

    def test_descriptor_and_task(self, database):
        (dataset,) = scalelab_datasets()
        assert dataset.name == "mitbih"
        data = dataset.open(dataset.params(path=database))
        assert data.task.loss == "cross-entropy"
        assert data.task.metrics[:4] == ("accuracy", "balanced-accuracy", "macro-f1", "ece")
        assert data.train.targets.dtype == np.int64

    def test_augmentation(self, database):
        import torch

        data = open_mitbih(MitbihParams(path=database))
        batch = torch.from_numpy(np.array(data.train.inputs[:32], dtype=np.float32))
        first, again = (data.augment(batch, torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(first, again)
        assert first.shape == batch.shape
        moved = (first.abs()[:, 0].argmax(dim=1) - 144).abs()
        assert 0 < moved.max() <= 8


class TestErrors:
    @pytest.mark.parametrize(
        "options",
        [{}, {"before": -1}, {"after": 0}, {"split": "inter_patient"}, {"leads": "V9"}, {"window": 3},
         {"validation_fraction": 0.6, "test_fraction": 0.4}, {"split": "inter-patient", "paced": True},
         {"before": 0, "after": 0.001}],
    )  # fmt: skip
    def test_impossible_options_are_refused(self, options, tmp_path):
        with pytest.raises(ValidationError):
            MitbihParams(**({"path": tmp_path} | options if options else {}))

    def test_no_folder_and_no_records(self, tmp_path):
        with pytest.raises(DataError, match=r"there is no folder .*nowhere.*physionet"):
            open_mitbih(MitbihParams(path=tmp_path / "nowhere"))
        with pytest.raises(DataError, match=r"no records.*physionet"):
            open_mitbih(MitbihParams(path=tmp_path))

    def test_paced_records_only(self, tmp_path):
        write_record(tmp_path, "102")
        with pytest.raises(DataError, match="paced = true"):
            open_mitbih(MitbihParams(path=tmp_path))

    def test_a_window_longer_than_the_record(self, tmp_path):
        write_record(tmp_path, "100", symbols=["N"])
        with pytest.raises(DataError, match="shorten the window"):
            open_mitbih(MitbihParams(path=tmp_path, before=10, after=10))

    @pytest.mark.parametrize("extension", ["dat", "atr"])
    def test_a_missing_file(self, database, extension):
        (database / f"101.{extension}").unlink()
        with pytest.raises(DataError, match=rf"101\.{extension} is missing.*physionet"):
            open_mitbih(MitbihParams(path=database))

    @pytest.mark.parametrize(
        ("file", "damage"),
        [
            ("101.dat", lambda data: data[:-100]),
            ("101.dat", lambda data: b""),
            ("101.dat", lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]),
            ("101.hea", lambda data: b""),
            ("101.hea", lambda data: b"101 two 360\n"),
            ("101.hea", lambda data: b"\xff\xfe\x00rubbish\n" * 9),
            ("101.atr", lambda data: b""),
            ("101.atr", lambda data: data[:100]),
            ("101.atr", lambda data: data[:101]),
            ("101.atr", lambda data: data[:40] + b"\x00\xec\xff\x0f\x00\x00" + data[46:]),
        ],
    )
    def test_a_damaged_file_is_named_with_the_remedy(self, database, file, damage):
        path = database / file
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match="physionet") as caught:
            open_mitbih(MitbihParams(path=database))
        assert "\n" not in str(caught.value)
        assert str(database / "101") in str(caught.value)
        assert caught.value.exit_code == 2
        left = [p.name for p in (database.parent / "cache").iterdir() if not p.name.endswith(".lock")]
        assert all(name.startswith("mitbih-files-") for name in left)

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_random_damage_is_a_data_error_or_harmless(self, data, pristine, tmp_path_factory):
        folder = tmp_path_factory.mktemp("damaged")
        for extension in ("hea", "dat", "atr"):
            shutil.copy(pristine / f"100.{extension}", folder)
        path = folder / data.draw(st.sampled_from(["100.hea", "100.atr"]))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        try:
            beats = read(folder, "100")
        except DataError:
            return
        assert len(beats.samples) == len(beats.symbols)
        assert beats.samples.max() < beats.signal.shape[1]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_an_unreadable_file(self, database):
        (database / "101.dat").chmod(0)
        with pytest.raises(DataError, match=r"101\.dat cannot be read"):
            open_mitbih(MitbihParams(path=database))

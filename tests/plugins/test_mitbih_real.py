"""The whole MIT-BIH Arrhythmia Database against its published counts."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import wfdb
from scalelab_plugins.mitbih import MitbihParams, census, open_mitbih
from scalelab_plugins.mitbih.beats import AAMI, DS1, DS1_FOLDS, DS2, PACED
from scalelab_plugins.mitbih.context import UNIT

ROOT = Path(__file__).resolve().parents[2]
MITDB = ROOT.parent / "shared" / "data" / "mitdb"
pytestmark = [
    pytest.mark.skipif(not MITDB.is_dir(), reason=f"the real recordings are not at {MITDB}"),
    pytest.mark.usefixtures("own_cache"),
]

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def inter_patient():
    params = MitbihParams(path=MITDB, split="inter-patient")
    return params, open_mitbih(params), census(params)


def test_symbols_of_all_records_agree_with_the_published_counts():
    counts = census(MitbihParams(path=MITDB, classes="symbols", paced=True, before=0, after=0.03))
    total = {name: sum(row[name] for row in counts.values()) for name in counts["train"]}
    published = {
        "N": 75052, "L": 8075, "R": 7259, "V": 7130, "/": 7028, "A": 2546, "f": 982, "F": 803, "j": 229,
        "a": 150, "E": 106, "J": 83, "Q": 33, "e": 16, "S": 2,
    }  # fmt: skip
    assert total == published
    assert sum(total.values()) == 109_494


def test_ds1_and_ds2_agree_with_de_chazal_2004(inter_patient):
    """Table III of the paper, plus or minus the beats whose window leaves their record, counted here."""
    _, _, counts = inter_patient
    names = list(counts["train"])
    assert names == ["N", "S", "V", "F", "Q"]
    published = {"DS1": [45866, 944, 3788, 415, 8], "DS2": [44259, 1837, 3221, 388, 7]}
    row = {split: np.array([counts[split][name] for name in names]) for split in counts}
    missing = np.array(published["DS1"]) - row["train"] - row["validation"]
    missing += np.array(published["DS2"]) - row["test"]
    np.testing.assert_array_equal(missing, row["dropped"])
    assert row["dropped"].tolist() == [43, 0, 1, 1, 0]
    assert (row["validation"][:4] > 30).all()


def test_whole_symbol_table_of_ds1_and_ds2():
    found = {}
    for name, records in (("DS1", DS1), ("DS2", DS2)):
        symbols = [s for record in records for s in wfdb.rdann(str(MITDB / record), "atr").symbol]
        classes = [AAMI[s] for s in symbols if s in AAMI]
        found[name] = [classes.count(label) for label in "NSVFQ"]
    assert found == {"DS1": [45866, 944, 3788, 415, 8], "DS2": [44259, 1837, 3221, 388, 7]}


def test_windows_agree_with_wfdbs_own_reading(inter_patient):
    params = MitbihParams(path=MITDB, split="inter-patient", normalise="none")
    data = open_mitbih(params)
    record = wfdb.rdrecord(str(MITDB / "100"))
    notes = wfdb.rdann(str(MITDB / "100"), "atr")
    peaks = [at for at, s in zip(notes.sample, notes.symbol, strict=True) if s in AAMI and at >= 144]
    for row, peak in list(zip(data.test.inputs, peaks, strict=False))[:500]:
        np.testing.assert_allclose(row, record.p_signal[peak - 144 : peak + 144].T, atol=2e-3)


def test_swapped_leads_of_114_come_back_in_order(inter_patient):
    """114 is the only validation record whose first channel is not MLII, and validation starts with it."""
    params, _, _ = inter_patient
    data = open_mitbih(params.model_copy(update={"normalise": "none"}))
    record = wfdb.rdrecord(str(MITDB / "114"))
    assert record.sig_name == ["V5", "MLII"]
    first = next(at for at in wfdb.rdann(str(MITDB / "114"), "atr").sample if at >= 200)
    mlii = record.p_signal[first - 144 : first + 144, 1]
    assert any(np.allclose(row[0], mlii, atol=2e-3) for row in data.validation.inputs[:5])


def test_reopening_reads_no_record(inter_patient, monkeypatch):
    params, first, _ = inter_patient
    monkeypatch.setattr(wfdb, "rdrecord", None)
    monkeypatch.setattr("scalelab_plugins.file_digests._lines", None)
    again = open_mitbih(params)
    assert again.fingerprint == first.fingerprint
    assert np.asarray(again.train.targets[:50]).tolist() == np.asarray(first.train.targets[:50]).tolist()


def test_random_split_holds_every_class_on_every_side():
    counts = census(MitbihParams(path=MITDB))
    assert sum(sum(counts[split].values()) for split in counts) == 109_494 - sum(
        sum(s in AAMI for s in wfdb.rdann(str(MITDB / record), "atr").symbol) for record in PACED
    )
    for split in SPLITS:
        assert all(n > 0 for n in counts[split].values())


def test_no_exchange_of_two_patients_makes_the_folds_of_ds1_more_even():
    counts = {}
    for record in DS1:
        classes = [AAMI[s] for s in wfdb.rdann(str(MITDB / record), "atr").symbol if s in AAMI]
        counts[record] = np.array([classes.count(label) for label in "NSVF"], dtype=float)
    total = np.sum(list(counts.values()), axis=0)

    def unevenness(folds):
        shares = np.array([np.sum([counts[name] for name in fold], axis=0) / total for fold in folds])
        return ((shares - 1 / len(folds)) ** 2).sum()

    found = unevenness(DS1_FOLDS)
    for one, other in itertools.combinations(range(len(DS1_FOLDS)), 2):
        for a, b in itertools.product(DS1_FOLDS[one], DS1_FOLDS[other]):
            exchanged = [set(fold) for fold in DS1_FOLDS]
            exchanged[one] = exchanged[one] - {a} | {b}
            exchanged[other] = exchanged[other] - {b} | {a}
            assert unevenness(exchanged) >= found - 1e-9
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    for fold in DS1_FOLDS:
        row = " | ".join(f"{n:,.0f}" for n in np.sum([counts[name] for name in fold], axis=0))
        assert f"| {' '.join(fold)} | {row} |" in page


def test_rr_intervals_tell_premature_beats():
    params = {"split": "inter-patient", "test": False, "classes": "aami4", "rate": 50, "rr": True}
    data = open_mitbih(MitbihParams(path=MITDB, **params))
    ratio = np.exp(UNIT * np.asarray(data.train.inputs[:, 2:, 0], dtype=float))
    median = {name: np.median(ratio[data.train.targets == k], axis=0) for k, name in enumerate("NSV")}
    assert median["N"][0] == pytest.approx(1, abs=0.05)
    assert median["S"][0] < 0.8
    assert median["V"][0] < 0.8
    assert median["V"][1] > 1.1  # the compensatory pause

"""What tells a beat from those around it: neighbors, the median beat, RR intervals; folds of DS1; metrics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitbih_databases import RATE, write_record
from pydantic import ValidationError
from scalelab_plugins.mitbih import MitbihParams, census, open_mitbih, scalelab_datasets
from scalelab_plugins.mitbih.beats import DS1, DS1_FOLDS, DS2
from scalelab_plugins.mitbih.context import N_RR, UNIT, rr_intervals, with_neighbors
from scalelab_plugins.mitbih.metrics import metrics_of
from scalelab_plugins.mitbih.reader import read

import scalelab
from scalelab.testing import DatasetContract


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def all_records(tmp_path_factory):
    """DS1 and DS2, each record with a few beats of each class."""
    folder = tmp_path_factory.mktemp("mitdb")
    for seed, name in enumerate(DS1 + DS2):
        write_record(folder, name, symbols=["N"] * 6 + ["A"] * 3 + ["V"] * 3 + ["F", "Q"], seed=seed)
    return folder


def opened(folder, **options):
    return open_mitbih(MitbihParams(path=folder, **options))


def whole(folder, **options):
    """The inputs and targets of all beats of a folder, sorted so that two sets of options can be compared."""
    data = opened(folder, **options)
    splits = [split for split in (data.train, data.validation, data.test) if split is not None]
    inputs = np.concatenate([np.asarray(split.inputs, dtype=float) for split in splits])
    return inputs, np.concatenate([split.targets for split in splits]), data


class TestNeighbors:
    def test_nearest_first_and_the_ends_stand_in_for_what_is_beyond(self):
        windows = np.arange(5.0)[:, None, None] * np.ones((1, 2, 3))
        found = with_neighbors(windows, 5)
        assert found.shape == (5, 10, 3)
        np.testing.assert_array_equal(found[2, ::2, 0], [2, 1, 3, 0, 4])
        np.testing.assert_array_equal(found[0, ::2, 0], [0, 0, 1, 0, 2])
        np.testing.assert_array_equal(found[4, ::2, 0], [4, 3, 4, 2, 4])

    def test_each_is_the_window_at_its_own_peak(self, tmp_path):
        peaks, _ = write_record(tmp_path, "100")
        inputs, _, data = whole(tmp_path, beats=3, normalise="none", before=0.1, after=0.1)
        assert data.task.input_shape == (6, 72)
        signal = read(tmp_path, "100").signal
        for example in inputs[::17]:
            (own,) = [
                i for i, at in enumerate(peaks)
                if at >= 36 and np.allclose(signal[:, at - 36 : at + 36], example[:2], atol=1e-3)
            ]  # fmt: skip
            # The first beat of the record stands too near its beginning.
            for k, neighbor in enumerate((max(own - 1, 1), min(own + 1, len(peaks) - 1)), 1):
                at = peaks[neighbor]
                expected = signal[:, at - 36 : at + 36]
                np.testing.assert_allclose(example[2 * k : 2 * k + 2], expected, atol=1e-3)

    def test_a_beat_of_a_class_that_is_not_used_is_a_neighbor_all_the_same(self, tmp_path):
        write_record(tmp_path, "100", symbols=["N", "V"] * 20 + ["Q"] * 60)
        with_q, labels, _ = whole(tmp_path, beats=3, classes="aami5", test_fraction=0)
        without_q, _, _ = whole(tmp_path, beats=3, classes="aami4", test_fraction=0)
        rows = {row.tobytes() for row in with_q[labels != 4]}
        assert {row.tobytes() for row in without_q} == rows


class TestReference:
    @pytest.mark.parametrize("normalise", ["beat", "record", "none"])
    def test_the_difference_from_the_median_window(self, tmp_path, normalise):
        write_record(tmp_path, "100")
        inputs, _, data = whole(tmp_path, reference="median-beat", normalise=normalise)
        assert data.task.input_shape == (4, 288)
        median = np.median(inputs[:, :2], axis=0)
        np.testing.assert_allclose(inputs[:, 2:], inputs[:, :2] - median, atol=0.02)
        assert np.abs(np.median(inputs[:, 2:], axis=0)).max() < 0.02

    def test_each_record_has_its_own(self, tmp_path):
        for seed, name in enumerate(("100", "101")):
            write_record(tmp_path, name, seed=seed)
        write_record(tmp_path, "103", leads=("V5", "V2"))
        inputs, _, _ = whole(tmp_path, reference="median-beat", normalise="none")
        peak = RATE * 2 // 5
        assert set(np.sign(inputs[:, 0, peak])) == {-1, 1}
        assert np.abs(inputs[:, 2, peak]).max() < 0.15

    def test_with_neighbors_each_window_has_its_difference(self, tmp_path):
        write_record(tmp_path, "100")
        one, _, _ = whole(tmp_path, reference="median-beat")
        three, _, data = whole(tmp_path, reference="median-beat", beats=3)
        assert data.task.input_shape == (12, 288)
        np.testing.assert_array_equal(three[:, :2], one[:, :2])
        np.testing.assert_array_equal(three[:, 6:8], one[:, 2:])


class TestRR:
    def test_ratios_of_a_premature_beat(self):
        """Every interval is 100, but 60 before beat 20 and 140 after it."""
        at = np.arange(40) * 100
        at[20] -= 40
        found = np.exp(UNIT * rr_intervals(at))
        np.testing.assert_allclose(found[20], [0.6, 1.4, 0.6])
        np.testing.assert_allclose(found[21], [1.4, 1.0, 1.4])
        np.testing.assert_allclose(found[10], 1)
        np.testing.assert_allclose(found[[0, 39]], 1)  # beyond the ends the mean stands in

    def test_local_and_whole_means_differ_where_the_rate_changes(self):
        at = np.cumsum(np.r_[np.full(50, 100), np.full(50, 50)])
        found = np.exp(UNIT * rr_intervals(at))
        np.testing.assert_allclose(found[20], [100 / 75, 100 / 75, 1], rtol=0.02)
        np.testing.assert_allclose(found[80], [50 / 75, 50 / 75, 1], rtol=0.02)

    def test_a_gap_counts_as_three_intervals(self):
        at = np.arange(40) * 100
        at[20:] += 50_000
        assert np.exp(UNIT * rr_intervals(at)[20, 0]) == pytest.approx(3 / (41 / 39))

    @given(st.lists(st.integers(0, 5000), max_size=40), st.integers(1, 500))
    def test_finite_and_the_same_in_any_unit(self, steps, unit):
        at = np.cumsum(np.array(steps, dtype=np.int64))
        found = rr_intervals(at)
        assert found.shape == (len(at), N_RR)
        assert (UNIT * np.abs(found) <= 2 * np.log(3) + 1e-9).all()
        np.testing.assert_allclose(rr_intervals(at * unit), found, atol=1e-9)

    def test_constant_channels_that_normalization_leaves_alone(self, tmp_path):
        write_record(tmp_path, "100")
        values = []
        for normalise in ("beat", "record", "none"):
            inputs, _, data = whole(tmp_path, rr=True, normalise=normalise)
            assert data.task.input_shape == (2 + N_RR, 288)
            assert np.ptp(inputs[:, 2:], axis=2).max() == 0
            values.append(inputs[:, 2:, 0])
        np.testing.assert_array_equal(values[0], values[1])
        np.testing.assert_array_equal(values[0], values[2])
        assert UNIT * np.abs(values[0]).max() < 0.01  # the beats of such a record come evenly

    def test_notes_between_beats_are_no_beats(self, tmp_path):
        """A flutter wave between two beats, and a beat of a class that is not used."""
        write_record(tmp_path, "100", symbols=["N"] * 60 + ["!"] * 10 + ["Q"] * 10)
        inputs, _, _ = whole(tmp_path, rr=True, classes="aami4")
        before = np.exp(UNIT * inputs[:, 2, 0])
        assert before.max() > 1.5
        assert len(np.unique(before.round(1))) <= 4

    def test_augmentation_leaves_them_alone(self, tmp_path):
        import torch

        write_record(tmp_path, "100")
        data = opened(tmp_path, rr=True, reference="median-beat")
        plain = opened(tmp_path, reference="median-beat")
        batch = torch.from_numpy(np.array(data.train.inputs[:32], dtype=np.float32))
        found = data.augment(batch, torch.Generator().manual_seed(3))
        assert torch.equal(found[:, 4:], batch[:, 4:])
        assert torch.equal(found[:, :4], plain.augment(batch[:, :4], torch.Generator().manual_seed(3)))
        assert not torch.equal(found[:, :4], batch[:, :4])


class TestContract(DatasetContract):
    @pytest.fixture
    def dataset(self):
        return scalelab_datasets()[0]

    @pytest.fixture
    def params(self, tmp_path):
        write_record(tmp_path, "100")
        return MitbihParams(
            path=tmp_path, classes="aami4", rate=100, beats=3, reference="median-beat", rr=True
        )


class TestFolds:
    def test_each_patient_of_ds1_is_in_one(self):
        assert sorted(name for fold in DS1_FOLDS for name in fold) == sorted(DS1)

    def test_one_fold_validates_and_the_others_train(self, all_records):
        from scalelab_plugins.mitbih.prepare import load

        for fold, names in enumerate(DS1_FOLDS):
            arrays, _ = load(MitbihParams(path=all_records, split="inter-patient", fold=fold))
            assert set(arrays["validation_records"]) == set(names)
            assert set(arrays["train_records"]) == set(DS1) - set(names)
            assert set(arrays["test_records"]) == set(DS2)

    def test_without_the_test_no_file_of_ds2_is_read(self, all_records, tmp_path):
        only = tmp_path / "ds1"
        only.mkdir()
        for name in DS1:
            for file in all_records.glob(f"{name}.*"):
                (only / file.name).symlink_to(file)
        data = opened(only, split="inter-patient", test=False, fold=2)
        assert data.test is None
        assert sum(census(MitbihParams(path=only, split="inter-patient", test=False))["test"].values()) == 0
        with pytest.raises(scalelab.DataError, match=r"100\.hea is missing"):
            opened(only, split="inter-patient", fold=2)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"fold": 0}, "split = 'inter-patient'"),
            ({"test": False}, "test_fraction = 0"),
            ({"split": "inter-patient", "fold": 4}, "fold"),
            ({"split": "inter-patient", "fold": "0"}, "fold"),
            ({"beats": 2}, "beats"),
            ({"reference": "mean-beat"}, "reference"),
            ({"rr": 3}, "rr"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, tmp_path, options, reason):
        with pytest.raises(ValidationError, match=reason):
            MitbihParams(path=tmp_path, **options)

    def test_options_at_their_defaults_are_not_in_the_identity(self, tmp_path):
        said = MitbihParams(path=tmp_path, fold="none", test=True, beats=1, reference="none", rr=False)
        assert said.model_dump() == MitbihParams(path=tmp_path).model_dump()
        assert not {"fold", "test", "beats", "reference", "rr"} & said.model_dump().keys()
        other = MitbihParams(path=tmp_path, split="inter-patient", fold=0, test=False, beats=3, rr=True)
        assert other.model_dump().items() >= {"fold": 0, "test": False, "beats": 3, "rr": True}.items()


class TestMetrics:
    TARGETS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 3])
    FOUND = np.array([0, 0, 0, 1, 1, 0, 2, 2, 0, 2])

    def score(self, found, targets, classes="aami4"):
        outputs = np.eye(4)[found]
        return {metric.name: metric.compute(outputs, targets) for metric in metrics_of(classes)}

    def test_by_hand(self):
        assert self.score(self.FOUND, self.TARGETS) == pytest.approx(
            {
                "macro-f1-nsv": (6 / 9 + 2 / 4 + 4 / 6) / 3,
                "sensitivity-S": 1 / 2,
                "ppv-S": 1 / 2,
                "sensitivity-V": 2 / 3,
                "ppv-V": 2 / 3,
            }
        )

    def test_classes_that_are_not_there(self):
        score = self.score(np.zeros(4, dtype=int), np.zeros(4, dtype=int))
        assert score.pop("macro-f1-nsv") == 1
        assert all(np.isnan(value) for value in score.values())
        assert np.isnan(self.score(np.array([3]), np.array([3]))["macro-f1-nsv"])

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
    def test_agree_with_scikit_learn(self, pairs):
        from sklearn.metrics import f1_score, precision_score, recall_score

        targets, found = np.array(pairs).T
        score = self.score(found, targets)
        for label, name in ((1, "S"), (2, "V")):
            options = {"labels": [label], "average": None, "zero_division": np.nan}
            sensitivity = recall_score(targets, found, **options)[0]
            ppv = precision_score(targets, found, **options)[0]
            np.testing.assert_allclose(score[f"sensitivity-{name}"], sensitivity)
            np.testing.assert_allclose(score[f"ppv-{name}"], ppv)
        each = f1_score(targets, found, labels=[0, 1, 2], average=None, zero_division=np.nan)
        mean = each[~np.isnan(each)].mean() if not np.isnan(each).all() else np.nan
        assert score["macro-f1-nsv"] == pytest.approx(mean, nan_ok=True)

    def test_symbols_have_none(self, tmp_path):
        write_record(tmp_path, "100")
        assert all(isinstance(metric, str) for metric in opened(tmp_path, classes="symbols").task.metrics)

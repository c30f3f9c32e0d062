import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from scalelab_plugins.synthetic_ecg import SyntheticEcgParams, open_synthetic_ecg, scalelab_datasets
from scalelab_plugins.synthetic_ecg.conditions import CONDITIONS, NAMES
from scalelab_plugins.synthetic_ecg.generate import blocks, labels, make_record, records
from scalelab_plugins.synthetic_ecg.leads import LEADS, LEADS_OF_ELECTRODES, lead_names, torso

TEXTBOOK = {"difficulty": 0.0, "noise": 0.0, "label_noise": 0.0, "rate": 500}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))


def shown(name, n=12, **options):
    """The first `n` records of a condition."""
    other = next(other for other in NAMES if other != name)
    params = SyntheticEcgParams(classes=(name, other), **{**TEXTBOOK, **options})
    found = (record for record in records(20 * n, params) if record.condition == name)
    return [record for record, _ in zip(found, range(n), strict=False)]


def intervals(record):
    return np.diff(record.r_peaks)


def lead(record, name):
    return record.signal[record.leads.index(name)]


def averaged(record, name, before=0.45, after=0.65):
    """The mean beat of a lead around its R peaks, without the beats at the ends."""
    signal, rate = lead(record, name), record.rate
    inside = record.r_peaks[(record.r_peaks > before) & (record.r_peaks < len(signal) / rate - after)]
    start = np.rint((inside - before) * rate).astype(int)
    beats = np.stack([signal[s : s + round((before + after) * rate)] for s in start])
    return np.median(beats, axis=0), np.arange(beats.shape[1]) / rate - before


class TestDeterminism:
    def test_a_record_depends_on_its_number_alone(self):
        params = SyntheticEcgParams(rate=100, seconds=4)
        many = list(records(8, params))
        for index in (0, 3, 7):
            alone = make_record(params, "train", index)
            np.testing.assert_array_equal(alone.signal, many[index].signal)
            assert alone.label == many[index].label
        np.testing.assert_array_equal(next(records(1, params, start=5)).signal, many[5].signal)

    def test_blocks_and_labels_are_those_of_the_records(self):
        params = SyntheticEcgParams(seconds=2, leads=2)
        joined = np.concatenate(list(blocks(params, "validation", 200)))
        assert joined.shape == (200, 2, 200)
        expected = list(records(200, params, split="validation"))
        np.testing.assert_array_equal(
            joined, np.stack([record.signal for record in expected]).astype(np.float16)
        )
        np.testing.assert_array_equal(
            labels(params, "validation", 200), [record.label for record in expected]
        )

    def test_bit_for_bit_the_same_in_another_process_with_other_threads(self):
        script = """
            import hashlib, numpy as np
            from scalelab_plugins.synthetic_ecg import SyntheticEcgParams
            from scalelab_plugins.synthetic_ecg.generate import records
            digest = hashlib.sha256()
            for record in records(12, SyntheticEcgParams(rate=500)):
                digest.update(record.signal.tobytes())
            print(digest.hexdigest())
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        digests = {
            subprocess.run(
                command, env={"OPENBLAS_NUM_THREADS": threads}, capture_output=True, text=True, check=True
            ).stdout
            for threads in ("1", "1", "2")
        }
        assert len(digests) == 1

    def test_splits_and_seeds_differ(self):
        params = SyntheticEcgParams(seconds=2)
        signals = [
            make_record(params, split, 0).signal.tobytes() for split in ("train", "validation", "test")
        ]
        signals.append(make_record(params.model_copy(update={"seed": 1}), "train", 0).signal.tobytes())
        assert len(set(signals)) == 4

    def test_another_rate_is_the_same_heart(self):
        slow, fast = (make_record(SyntheticEcgParams(rate=rate, noise=0), "train", 3) for rate in (100, 500))
        np.testing.assert_allclose(slow.r_peaks, fast.r_peaks, atol=0.02)
        error = slow.signal - fast.signal[:, ::5]
        assert error.std() < 0.08 * fast.signal.std()

    def test_fewer_leads_are_those_of_the_whole(self):
        whole = make_record(SyntheticEcgParams(), "train", 1)
        for n in (1, 2, 3, 8):
            part = make_record(SyntheticEcgParams(leads=n), "train", 1)
            rows = [LEADS.index(name) for name in part.leads]
            np.testing.assert_allclose(part.signal, whole.signal[rows], atol=1e-5)


class TestPhysiology:
    @pytest.mark.parametrize("difficulty", [0.0, 1.0])
    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [("sinus-rhythm", 60, 100), ("sinus-bradycardia", 35, 60), ("sinus-tachycardia", 100, 155)],
    )
    def test_heart_rates(self, name, low, high, difficulty):
        rates = [60 / intervals(record).mean() for record in shown(name, 30, difficulty=difficulty)]
        assert low - 1.5 < min(rates)
        assert max(rates) < high + 1.5

    def test_rr_has_respiratory_and_mayer_rhythms(self):
        """The RR spectrum of long records is bimodal, as in McSharry et al. 2003."""
        power = np.zeros(60)
        for record in shown("sinus-rhythm", 12, seconds=60.0, leads=1, rate=100):
            at = np.arange(0, 56, 0.25) + 2
            rr = np.interp(at, record.r_peaks[1:], intervals(record))
            power += np.abs(np.fft.rfft((rr - rr.mean()) * np.hanning(len(rr)))[:60]) ** 2
        frequency = np.fft.rfftfreq(len(at), 0.25)[:60]
        inside = power[(frequency > 0.05) & (frequency < 0.4)].sum()
        mayer = power[(frequency > 0.06) & (frequency < 0.14)].mean()
        respiration = power[(frequency > 0.16) & (frequency < 0.34)].mean()
        beyond = power[frequency > 0.45].mean()
        assert inside > 0.8 * power.sum()
        assert min(mayer, respiration) > 5 * beyond

    def test_fibrillation_is_irregular_and_others_are_not(self):
        def variation(record):
            return intervals(record).std() / intervals(record).mean()

        assert min(variation(record) for record in shown("atrial-fibrillation", 25)) > 0.1
        assert max(variation(record) for record in shown("sinus-rhythm", 25)) < 0.06

    def test_fibrillation_and_flutter_have_no_p_but_waves_of_their_own(self):
        for name, low, high in (("atrial-fibrillation", 3, 9), ("atrial-flutter", 3.5, 6.5)):
            for record in shown(name, 6):
                signal = lead(record, "aVF" if name == "atrial-flutter" else "V1")
                quiet = signal.copy()
                for peak in record.r_peaks:
                    quiet[max(0, round((peak - 0.1) * 500)) : round((peak + 0.45) * 500)] = np.nan
                quiet = quiet[~np.isnan(quiet)]
                assert quiet.std() > 0.01, (name, low, high)

    def test_p_precedes_qrs_by_the_pr_interval(self):
        def p_peak(record):
            beat, time = averaged(record, "II")
            before = (time > -0.4) & (time < -0.06)
            return time[before][beat[before].argmax()]

        normal = [p_peak(record) for record in shown("sinus-rhythm", 10)]
        blocked = [p_peak(record) for record in shown("first-degree-av-block", 10)]
        assert -0.19 < np.mean(normal) < -0.1
        assert np.mean(blocked) < np.mean(normal) - 0.1

    def test_premature_beats_and_their_pauses(self):
        for record in shown("premature-ventricular-contraction", 10):
            rr = intervals(record)
            early = int(rr.argmin())
            typical = np.median(rr)
            assert rr[early] < 0.8 * typical
            if early + 1 < len(rr):  # the pause is compensatory: two intervals make up for each other
                assert rr[early] + rr[early + 1] == pytest.approx(2 * typical, rel=0.1)
        for record in shown("premature-atrial-contraction", 10):
            rr = intervals(record)
            early = int(rr.argmin())
            assert rr[early] < 0.8 * np.median(rr)
            if early + 1 < len(rr):
                assert rr[early] + rr[early + 1] < 1.99 * np.median(rr)

    def test_bundle_branch_blocks_broaden_qrs_on_their_side(self):
        def spread(record):
            """SD in seconds of the energy of the QRS complex over all leads."""
            energy = 0
            for name in ("I", "V1", "V6"):
                beat, time = averaged(record, name)
                energy = energy + np.gradient(beat, time) ** 2
            near = np.abs(time) < 0.15
            weight = energy[near] / energy[near].sum()
            return np.sqrt((weight * time[near] ** 2).sum() - (weight * time[near]).sum() ** 2)

        normal, left, right = (
            shown(name, 10)
            for name in ("sinus-rhythm", "left-bundle-branch-block", "right-bundle-branch-block")
        )
        assert np.mean([spread(r) for r in left]) > 1.4 * np.mean([spread(r) for r in normal])
        assert np.mean([spread(r) for r in right]) > 1.3 * np.mean([spread(r) for r in normal])
        for record in right:  # late R' in V1, broad S in V6
            beat, time = averaged(record, "V1")
            late = (time > 0.04) & (time < 0.12)
            assert beat[late].max() > 0.15
            assert averaged(record, "V6")[0][late].min() < 0
        for record in left:
            beat, time = averaged(record, "V1")
            assert beat[np.abs(time) < 0.12].min() < -0.3
            assert averaged(record, "V6")[0][np.abs(time) < 0.12].max() > 0.3

    def test_repolarization(self):
        def value(record, name, at):
            beat, time = averaged(record, name)
            return beat[np.abs(time - at).argmin()] - beat[np.abs(time + 0.06).argmin()]

        def t_wave(records):
            return np.mean([value(record, "V5", 0.28) for record in records])

        normal = shown("sinus-rhythm", 12)
        assert t_wave(normal) > 0.1
        assert t_wave(shown("t-wave-inversion", 12)) < -0.05
        depressed = shown("st-depression", 12)
        lowest = [min(value(r, name, 0.12) for name in ("II", "V3", "V6")) for r in depressed]
        assert np.mean(lowest) < -0.08

    def test_qt_shortens_with_the_heart_rate(self):
        def t_peak(record):
            beat, time = averaged(record, "V5")
            after = (time > 0.14) & (time < 0.36)  # before the next beat's QRS
            return time[after][beat[after].argmax()]

        slow = np.mean([t_peak(record) for record in shown("sinus-bradycardia", 8)])
        fast = np.mean([t_peak(record) for record in shown("sinus-tachycardia", 8)])
        assert fast < slow - 0.05

    def test_amplitudes_are_millivolts(self):
        peaks = [np.abs(record.signal).max() for name in NAMES for record in shown(name, 4, noise=1.0)]
        assert min(peaks) > 0.3
        assert max(peaks) < 8


class TestLeads:
    def test_einthoven_and_goldberger_hold_with_noise(self):
        record = make_record(SyntheticEcgParams(noise=3), "train", 0)
        i, ii, iii, avr, avl, avf = record.signal[:6]
        np.testing.assert_allclose(iii, ii - i, atol=1e-4)
        np.testing.assert_allclose(avr, -(i + ii) / 2, atol=1e-4)
        np.testing.assert_allclose(avl, i - ii / 2, atol=1e-4)
        np.testing.assert_allclose(avf, ii - i / 2, atol=1e-4)

    def test_a_common_potential_reaches_no_lead(self):
        np.testing.assert_allclose(LEADS_OF_ELECTRODES @ np.ones(9), 0, atol=1e-6)

    def test_challenge_lead_sets(self):
        assert lead_names(1) == ("II",)
        assert lead_names(2) == ("I", "II")
        assert lead_names(3) == ("I", "II", "V2")
        assert lead_names(12) == LEADS
        for fewer, more in pairwise(range(1, 13)):
            assert set(lead_names(fewer)) < set(lead_names(more))

    def test_a_textbook_torso_is_dowers(self):
        matrix = torso(np.random.default_rng(0), 0.0)
        np.testing.assert_allclose(matrix[0], [0.632, -0.235, 0.059], rtol=1e-6)
        np.testing.assert_allclose(matrix[2], matrix[1] - matrix[0], rtol=1e-5)


class TestLabels:
    def test_classes_are_balanced_and_labels_noisy_as_asked(self):
        params = SyntheticEcgParams(label_noise=0.1, seconds=2, leads=1, rate=50)
        found = list(records(1500, params))
        wrong = np.mean([params.classes[record.label] != record.condition for record in found])
        assert wrong == pytest.approx(0.1, abs=0.03)
        counts = np.bincount([record.label for record in found], minlength=12)
        assert counts.min() > 80
        assert counts.max() < 175

    def test_snomed_codes_are_those_of_the_label(self):
        params = SyntheticEcgParams(label_noise=0.4, seconds=2, leads=1, rate=50)
        for record in records(30, params):
            assert record.snomed == CONDITIONS[params.classes[record.label]].snomed
        assert len({condition.snomed for condition in CONDITIONS.values()}) == 12

    def test_label_noise_does_not_change_the_signals(self):
        clean, noisy = (SyntheticEcgParams(label_noise=p, classes=NAMES) for p in (0.0, 0.3))
        kept = [
            index
            for index in range(20)
            if make_record(noisy, "train", index).condition
            == params_class(noisy, make_record(noisy, "train", index))
        ]
        for index in kept[:5]:
            np.testing.assert_array_equal(
                make_record(clean, "train", index).signal, make_record(noisy, "train", index).signal
            )


def params_class(params, record):
    return params.classes[record.label]


class TestDataset:
    def test_descriptor(self):
        (dataset,) = scalelab_datasets()
        assert dataset.name == "synthetic-ecg"
        assert "ynthetic" in dataset.summary

    def test_opens_to_a_task_and_splits(self):
        params = SyntheticEcgParams(n_train=60, n_validation=20, n_test=10, leads=3, seconds=2.5, rate=200)
        data = open_synthetic_ecg(params)
        assert data.task.input_shape == (3, 500)
        assert data.task.n_outputs == 12
        assert data.task.classes == NAMES
        assert (len(data.train), len(data.validation), len(data.test)) == (60, 20, 10)
        assert data.train.inputs.dtype == np.float16
        assert isinstance(data.train.inputs, np.memmap)
        assert np.isfinite(data.train.inputs).all()
        assert open_synthetic_ecg(params).fingerprint == data.fingerprint

    def test_a_bigger_set_extends_a_smaller_one(self):
        small, big = (
            open_synthetic_ecg(SyntheticEcgParams(n_train=n, n_validation=5, n_test=0, seconds=2))
            for n in (30, 200)
        )
        np.testing.assert_array_equal(small.train.inputs, big.train.inputs[:30])
        np.testing.assert_array_equal(small.train.targets, big.train.targets[:30])
        assert small.fingerprint != big.fingerprint
        assert small.test is None

    @pytest.mark.parametrize(
        "change",
        [{"seed": 1}, {"noise": 0.5}, {"difficulty": 0.4}, {"label_noise": 0.0}, {"classes": NAMES[:5]}],
    )
    def test_every_option_but_augmentation_changes_the_fingerprint(self, change):
        few = {"n_train": 4, "n_validation": 2, "n_test": 0, "seconds": 2, "leads": 1}
        base = open_synthetic_ecg(SyntheticEcgParams(**few))
        assert open_synthetic_ecg(SyntheticEcgParams(**few, **change)).fingerprint != base.fingerprint
        assert open_synthetic_ecg(SyntheticEcgParams(**few, augment=0)).fingerprint == base.fingerprint

    @pytest.mark.parametrize(
        "options",
        [{"classes": ("sinus-rhythm",)}, {"classes": ("sinus-rhythm",) * 2}, {"leads": 13}, {"noise": -1},
         {"classes": ("sinus",)}, {"rate": 20}, {"seconds": float("nan")}, {"n_train": 0}],
    )  # fmt: skip
    def test_impossible_options_are_refused(self, options):
        with pytest.raises(ValidationError):
            SyntheticEcgParams(**options)

    def test_opening_imports_neither_torch_nor_scipy(self):
        script = """
            import sys
            from scalelab_plugins.synthetic_ecg import SyntheticEcgParams, open_synthetic_ecg
            assert "numpy" not in sys.modules
            open_synthetic_ecg(SyntheticEcgParams(n_train=4, n_validation=2, n_test=2, seconds=2))
            assert not {"torch", "scipy", "pandas"} & set(sys.modules)
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


class TestAugmentation:
    def test_is_seeded_light_and_keeps_the_shape(self):
        import torch

        params = SyntheticEcgParams(n_train=16, n_validation=2, n_test=0, seconds=2.5)
        data = open_synthetic_ecg(params)
        batch = torch.from_numpy(np.array(data.train.inputs, dtype=np.float32))
        kept = batch.clone()
        first, again, other = (data.augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(batch, kept)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.shape == batch.shape
        assert torch.isfinite(first).all()
        ratio = first.std(dim=(1, 2)) / batch.std(dim=(1, 2))
        assert ratio.min() > 0.6
        assert ratio.max() < 1.7
        none = open_synthetic_ecg(params.model_copy(update={"augment": 0.0}))
        assert none.augment is None

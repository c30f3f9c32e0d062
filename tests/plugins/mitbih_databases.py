"""Small databases in the form of MIT-BIH's, as wfdb writes them."""

import numpy as np
import wfdb

SECONDS, RATE = 60, 360


def write_record(folder, name, *, leads=("MLII", "V1"), symbols=None, seed=0):
    """A minute of two leads with a spike at each beat: +1 mV in MLII, -0.5 mV in any other lead."""
    rng = np.random.default_rng(seed)
    samples = np.arange(20, SECONDS * RATE, 180)
    symbols = symbols or ["N"] * 60 + ["L"] * 20 + ["V"] * 20 + ["A"] * 12 + ["F"] * 5 + ["Q"] * 3
    symbols = list(rng.permutation(symbols))
    samples = samples[: len(symbols)]
    signal = 0.02 * rng.normal(size=(SECONDS * RATE, 2))
    for at in samples:
        signal[at] += [1.0 if lead == "MLII" else -0.5 for lead in leads]
    wfdb.wrsamp(
        name, fs=RATE, units=["mV", "mV"], sig_name=list(leads), p_signal=signal, fmt=["212", "212"],
        adc_gain=[200.0, 200.0], baseline=[1024, 1024], write_dir=str(folder),
    )  # fmt: skip
    wfdb.wrann(
        name, "atr", np.r_[5, samples], np.array(["+", *symbols]),
        aux_note=["(N"] + [""] * len(samples), write_dir=str(folder),
    )  # fmt: skip
    return samples, symbols

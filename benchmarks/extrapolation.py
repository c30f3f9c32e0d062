"""Extrapolates 36 learning curves: each form, and `auto`, against the authors' estimators.

    python benchmarks/extrapolation.py [--folder FOLDER of the reference tables]

Alabdulmohsin et al. 2022: fit on `Training == 1`, predict `Training == 0`; the score of a curve is the
root mean square error of the log loss, and that of a law its mean over curves. All laws and `auto` run
with the defaults of `fit_law`. The authors' scores are those of `authors_rmse_36.csv`.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from scalelab.analysis.fits.fit import fit_law

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "extrapolation"
LAWS = ("power", "power-offset", "m3", "m4", "bnsl", "auto")


def show(name: str, scores: list[float], seconds: str) -> None:
    """Prints a row of the table."""
    print(f"| {name} | {np.mean(scores):.4f} | {np.median(scores):.4f} | {max(scores):.3f} | {seconds} |")


def main() -> None:
    """Prints one row per law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=REFERENCE)
    folder = parser.parse_args().folder
    curves = pd.read_csv(folder / "image_classification_36.csv")
    scores, seconds = defaultdict(list), defaultdict(float)
    for _, rows in curves.groupby(["Task", "Model"]):
        known, rest = rows[rows.Training == 1], rows[rows.Training == 0]
        for law in LAWS:
            start = time.perf_counter()
            fit = fit_law(law, {"n_examples": known["Seen Examples"]}, known.Loss)
            error = np.log(fit.predict({"n_examples": rest["Seen Examples"]}) / rest.Loss.to_numpy())
            seconds[law] += time.perf_counter() - start
            scores[law].append(float(np.sqrt(np.mean(error**2))))
    print("| law | mean score | median score | worst | s per curve |")
    print("|---|---|---|---|---|")
    for law in LAWS:
        show(law, scores[law], f"{seconds[law] / len(scores[law]):.3f}")
    authors = pd.read_csv(folder / "authors_rmse_36.csv")
    for name in ("M1", "M2", "M3", "M4"):
        show(f"{name}, the authors'", authors[name].to_list(), "")


if __name__ == "__main__":
    main()

"""docs/design-study.md says what examples/mitbih-design.duckdb holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import scalelab
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.families.fitted import FittedLaw
from scalelab.report.numbers import interval, percent, plain, short

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/design-study.md").read_text(encoding="utf-8")
SIZE = {"convnext1d": "width", "transformer1d": "width", "regnet1d": "w_0"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    copy = tmp_path_factory.mktemp("store") / "mitbih-design.duckdb"
    shutil.copy(ROOT / "examples/mitbih-design.duckdb", copy)
    return scalelab.open_store(copy)


def lines():
    return {re.sub(r"\s+", " ", line) for line in PAGE.splitlines()}


def shown(rows):
    """The rows of a table as the page has them."""
    return {"| " + " | ".join(row) + " |" for row in rows}


def sweep_rows(store):
    """Family, optimizer, size, values tried, best rate, loss with its error, and on the test split."""
    validation = scalelab.analyze(store, study="mitbih-design", axes=["n_params"], trees=False).sweeps
    test = scalelab.analyze(store, study="mitbih-design", axes=["n_params"], trees=False, on="test").sweeps
    for one, other in zip(validation, test, strict=True):
        assert one.end is None
        yield (
            f"`{one.architecture}`", one.optimizer, short(one.n_params), str(len(one.rows)), plain(one.best),
            f"{plain(one.loss)} ± {percent(one.error)}", plain(other.loss),
        )  # fmt: skip


def law_rows(store):
    """Family, optimizer and the exponent of N, or why there is none."""
    laws = scalelab.analyze(store, study="mitbih-design", axes=["n_params"], law="power", trees=False).laws
    for law in laws:
        if isinstance(law, FittedLaw):
            alpha, error = interval(law.params["alpha"]), percent(law.rms_log_error)
            yield f"`{law.family.architecture}`", law.family.optimizer, alpha, error
        else:
            family = law.subject["family"]
            p = re.search(r"\(p = ([0-9.]+)\)", law.reason)[1]
            yield f"`{family.architecture}`", family.optimizer, f"none: no trend with N (p = {p})", "–"


def depth_rows(store):
    """Optimizer, depth, best rate and loss of RegNet."""
    runs = scalelab.finished_runs(store, study="mitbih-depth")
    depth = runs.groupby("n_params")["architecture_depth"].first()
    for one in scalelab.analyze(store, study="mitbih-depth", axes=["n_params"], trees=False).sweeps:
        yield (
            one.optimizer,
            f"{depth[one.n_params]:.0f}",
            plain(one.best),
            f"{plain(one.loss)} ± {percent(one.error)}",
        )


def rate_rows(store):
    """Width, and for both parametrizations the best rate of the grid and its loss."""
    tables = []
    for study in ("mitbih-widths", "mitbih-mup"):
        runs = scalelab.finished_runs(store, study=study)
        means = runs.groupby(["architecture_width", "optimizer_lr"])["loss"].agg(["mean", "std", "size"])
        assert (means["size"] == 3).all()
        best = means["mean"].groupby("architecture_width").idxmin()
        tables.append([(width, rate, means.loc[(width, rate), "mean"]) for width, rate in best])
    for (width, rate, loss), (_, mup_rate, mup_loss) in zip(*tables, strict=True):
        yield f"{width:.0f}", f"{rate:g}", plain(loss), f"{mup_rate:g}", plain(mup_loss)


def moved(store, study):
    """How many factors of two the best rate moves over the widths."""
    runs = scalelab.finished_runs(store, study=study)
    means = runs.groupby(["architecture_width", "optimizer_lr"])["loss"].mean()
    best = [rate for _, rate in means.groupby("architecture_width").idxmin()]
    return float(np.log2(max(best) / min(best)))


def exponent(store, study):
    """The exponent of a power law of the runs at each width's best rate, whether or not there is a trend."""
    runs = scalelab.finished_runs(store, study=study)
    means = runs.groupby(["architecture_width", "optimizer_lr"])["loss"].mean()
    best = set(means.groupby("architecture_width").idxmin())
    own = runs[[at in best for at in zip(runs["architecture_width"], runs["optimizer_lr"], strict=True)]]
    fit = scalelab.fit_law("power", own["n_params"], own["loss"])
    return interval(Estimate.of(fit.params["alpha"], *fit.interval("alpha")))


@pytest.mark.parametrize("rows", [sweep_rows, law_rows, depth_rows, rate_rows])
def test_tables(store, rows):
    missing = shown(rows(store)) - lines()
    assert not missing, "\n".join(sorted(missing))


def test_exponents_and_steps_of_both_parametrizations(store):
    for study in ("mitbih-widths", "mitbih-mup"):
        steps = moved(store, study)
        assert f"| `{study}` | {exponent(store, study)} | {steps:.0f} |" in lines()
    assert moved(store, "mitbih-mup") <= 1 < moved(store, "mitbih-widths")


def test_all_trials_ran(store):
    studies = {one.study: one for one in store.studies()}
    assert set(studies) == {"mitbih-design", "mitbih-depth", "mitbih-mup", "mitbih-widths"}
    for one in studies.values():
        assert one.done + one.diverged == one.planned

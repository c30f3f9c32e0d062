"""Predicts the largest runs of published tables from the smaller ones, and counts what intervals hold.

They are those of `auto`.

    python benchmarks/larger_runs.py [--folder FOLDER of the reference tables]

Of chinchilla, isoflops and gemstones the fifth of the runs with the largest product of size and data is held
out; of scalebench the rows that it marks as test (mixtures of experts by number of experts, data-constrained
runs). The 90% intervals are those of one run. Prints a Markdown table; docs/laws.md shows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from scalelab import fit_law

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference"
_SHARE = 0.8


def tables(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields names and tables of the axes, `loss` and `held`, which rows are to be predicted."""
    rows = pd.read_csv(folder / "chinchilla" / "epoch_svg_extracted.csv").sort_values("loss").iloc[:-5]
    yield "chinchilla", _by_scale(rows.n_params, rows.flops / 6 / rows.n_params, rows.loss)
    rows = pd.read_csv(folder / "isoflops" / "isoflops.csv")
    for name, own in rows[~rows.outlier].groupby("experiment"):
        yield f"isoflops, {str(name).split('__')[0]}", _by_scale(own.params, own.tokens, own.loss)
    for name in ("hot", "slim_chinchilla"):
        rows = pd.read_json(folder / "gemstones" / f"wandb_df_for_fitting_{name}.jsonl", lines=True)
        yield f"gemstones, {name}", _by_scale(rows.params_active_precise, rows.tokens, rows.final_loss)
    rows = _scalebench(folder, "moe")
    for experts, own in rows.groupby("num_experts"):
        renamed = own.rename(columns={"dense_parameter_count": "n_params", "loss_validation": "loss"})
        yield f"scalebench, {experts:.0f} experts", renamed[["n_params", "loss", "held"]]
    rows = _scalebench(folder, "data_constrained")
    axes = {
        "n_params": rows.params,
        "n_examples": rows.unique_tokens,
        "epochs": rows.tokens / rows.unique_tokens,
    }
    yield "scalebench, data-constrained", pd.DataFrame({**axes, "loss": rows.loss, "held": rows.held})


def _by_scale(n: pd.Series, d: pd.Series, loss: pd.Series) -> pd.DataFrame:
    table = pd.DataFrame({"n_params": n.astype(float), "n_examples": d.astype(float), "loss": loss})
    scale = table.n_params * table.n_examples
    return table.assign(held=scale > scale.quantile(_SHARE))


def _scalebench(folder: Path, name: str) -> pd.DataFrame:
    parts = (folder / "scalebench" / f"{name}_{part}.parquet" for part in ("train", "test"))
    known, rest = (duckdb.read_parquet(str(part)).df() for part in parts)
    return pd.concat([known.assign(held=False), rest.assign(held=True)])


def main() -> None:
    """Prints a row a table, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=REFERENCE)
    print("| table | rows | held out | coverage of 90% | mean width | error |")
    print("|---|---|---|---|---|---|")
    everything = []
    for name, table in tables(parser.parse_args().folder):
        axes = [column for column in table if column not in ("loss", "held")]
        known, rest = table[~table.held], table[table.held]
        found = fit_law("auto", known[axes], known.loss).predict(rest[axes], 0.9, noise=True)
        loss = rest.loss.to_numpy()
        inside = (found.lower <= loss) & (loss <= found.upper)
        width, error = np.log(found.upper / found.lower), np.log(found.mean / loss)
        show(name, len(known), inside, width, error)
        everything.append((inside, width, error))
    show("**all**", "", *(np.concatenate(part) for part in zip(*everything, strict=True)))


def show(name: str, rows: object, inside: np.ndarray, width: np.ndarray, error: np.ndarray) -> None:
    """Prints a row of the table; width and error are those of the log loss."""
    rms = np.sqrt(np.mean(error**2))
    line = f"| {name} | {rows} | {inside.size} | {inside.mean():.0%} | {width.mean():.3f} | {rms:.3f} |"
    print(line, flush=True)


if __name__ == "__main__":
    main()

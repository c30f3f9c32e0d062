"""Predicts the largest runs of published tables from the smaller ones, and counts what intervals hold.

They are those of `auto`, and of a law in one line where the axes are others.

    python benchmarks/larger_runs.py [--folder FOLDER of the reference tables]

Of chinchilla, isoflops and gemstones the fifth of the runs with the largest product of size and data is held
out; of scalebench the rows that it marks as test (mixtures of experts in a law of size for each number of
experts, data-constrained runs, vocabularies, parallel streams by data set). The 90% intervals are those of
one run. Prints a Markdown table; docs/laws.md shows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd

from scalelab import fit_law

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference"
_SHARE = 0.8


class Task(NamedTuple):
    """What is to be predicted: the axes, `loss` and `held`, which rows; and by which law."""

    name: str
    table: pd.DataFrame
    law: str = "auto"


def tasks(folder: Path) -> Iterator[Task]:
    """Yields all tasks; those of one name are counted as one table."""
    rows = pd.read_csv(folder / "chinchilla" / "epoch_svg_extracted.csv").sort_values("loss").iloc[:-5]
    yield Task("chinchilla", _by_scale(rows.n_params, rows.flops / 6 / rows.n_params, rows.loss))
    rows = pd.read_csv(folder / "isoflops" / "isoflops.csv")
    for name, own in rows[~rows.outlier].groupby("experiment"):
        yield Task(f"isoflops, {str(name).split('__')[0]}", _by_scale(own.params, own.tokens, own.loss))
    for name in ("hot", "slim_chinchilla"):
        rows = pd.read_json(folder / "gemstones" / f"wandb_df_for_fitting_{name}.jsonl", lines=True)
        table = _by_scale(rows.params_active_precise, rows.tokens, rows.final_loss)
        yield Task(f"gemstones, {name}", table)
    rows = _scalebench(folder, "moe")
    rows = rows.rename(columns={"dense_parameter_count": "n_params", "loss_validation": "loss"})
    for _, own in rows.groupby("num_experts"):
        yield Task("scalebench, experts", own[["n_params", "loss", "held"]])
    rows = _scalebench(folder, "data_constrained")
    axes = {
        "n_params": rows.params,
        "n_examples": rows.unique_tokens,
        "epochs": rows.tokens / rows.unique_tokens,
    }
    yield Task("scalebench, data-constrained", pd.DataFrame({**axes, "loss": rows.loss, "held": rows.held}))
    rows = _scalebench(folder, "vocab").rename(columns={"unigram_normalized_loss": "loss"})
    axis = ["non_vocab_parameters", "num_characters", "vocab_size"]
    law = "E + A*non_vocab_parameters^-a + B*num_characters^-b + C*vocab_size^c"
    yield Task("scalebench, vocabularies", rows[[*axis, "loss", "held"]], law)
    rows = _scalebench(folder, "parallel").rename(columns={"num_params": "n_params"})
    law = "E + A*(n_params*(1 + k*log(parallel_size)))^-a"
    for _, own in rows.groupby("group"):
        yield Task("scalebench, parallel streams", own[["n_params", "parallel_size", "loss", "held"]], law)


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
    for name, same in groupby(tasks(parser.parse_args().folder), key=lambda task: task.name):
        counts, parts = zip(*map(predicted, same), strict=True)
        show(
            name,
            " to ".join(map(str, sorted({min(counts), max(counts)}))),
            *map(np.concatenate, zip(*parts, strict=True)),
        )
        everything += parts
    show("**all**", "", *map(np.concatenate, zip(*everything, strict=True)))


def predicted(task: Task) -> tuple[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns how many rows were known, and of the others which are held, the intervals' width, the error.

    The last two are of the log loss; of a loss that is negative, of the loss.
    """
    table = task.table
    axes = [column for column in table if column not in ("loss", "held")]
    known, rest = table[~table.held], table[table.held]
    found = fit_law(task.law, known[axes], known.loss).predict(rest[axes], 0.9, noise=True)
    loss = rest.loss.to_numpy()
    inside = (found.lower <= loss) & (loss <= found.upper)
    if (table.loss > 0).all():
        return len(known), (inside, np.log(found.upper / found.lower), np.log(found.mean / loss))
    return len(known), (inside, found.upper - found.lower, found.mean - loss)


def show(name: str, rows: object, inside: np.ndarray, width: np.ndarray, error: np.ndarray) -> None:
    """Prints a row of the table."""
    rms = np.sqrt(np.mean(error**2))
    line = f"| {name} | {rows} | {inside.size} | {inside.mean():.0%} | {width.mean():.3f} | {rms:.3f} |"
    print(line, flush=True)


if __name__ == "__main__":
    main()

"""The reference tables of the project, where this checkout has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference"

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the published tables are not at {REFERENCE}; they come with the project"
)


def chinchilla_rows(max_flops: float = np.inf) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The 240 runs of Besiroglu et al. (the five highest losses dropped), in units."""
    table = pd.read_csv(REFERENCE / "chinchilla" / "epoch_svg_extracted.csv")
    table = table.sort_values("loss").iloc[:-5].sort_index()
    table = table[table.flops < max_flops]
    n = table.n_params.to_numpy()
    return {"n_params": n, "n_examples": table.flops.to_numpy() / 6 / n}, table.loss.to_numpy()


def gemstones_rows(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    table = pd.read_json(REFERENCE / "gemstones" / f"wandb_df_for_fitting_{name}.jsonl", lines=True)
    x = {"n_params": table.params_active_precise.to_numpy(float), "n_examples": table.tokens.to_numpy(float)}
    return x, table.final_loss.to_numpy()


def isoflop_rows() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "isoflops" / "isoflops.csv")


def addition_rows() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "bnsl-addition" / "addition.csv")

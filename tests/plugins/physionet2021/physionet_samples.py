"""Where the real records are, and small synthetic ones that can be broken."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from scalelab_plugins.physionet2021 import Physionet2021Params
from scalelab_plugins.physionet2021.leads import LEADS

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "challenge-2021"
needs_real = pytest.mark.skipif(not (REAL / "training").is_dir(), reason=f"no real records in {REAL}")


def params(folder: Path, **options: object) -> Physionet2021Params:
    """Options for records of a few seconds: windows of two seconds, of which a model sees 256 samples."""
    short = {"window": 2.0, "stride": 2.0, "length": 256}
    return Physionet2021Params.model_validate({"path": folder, **short, **options})


def limb_consistent(n: int, seed: int = 0) -> np.ndarray:
    """int16 (n, 12) whose limb leads follow from I and II, all even so that halves are whole."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.integers(-20, 21, size=(n, 8)), axis=0) * 2
    one, two = walk[:, 0] * 2, walk[:, 1] * 2
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.stack([*limb, *walk[:, 2:].T], axis=1).clip(-30000, 30000).astype("<i2")


def matlab(samples: np.ndarray) -> bytes:
    return struct.pack("<5i4s", 30, samples.shape[1], len(samples), 0, 4, b"val") + samples.tobytes()


def header_lines(name: str, samples: np.ndarray, *, old: bool = False, rate: object = 500) -> list[str]:
    date = " 05-May-2020 14:50:55" if old else ""
    stored = "16+24 1000/mV" if old else "16x1+24 1000.0(0)/mV"
    space = "" if old else " "
    sums = samples.sum(axis=0, dtype=np.int16)
    return [
        f"{name} 12 {rate} {len(samples)}{date}",
        *(
            f"{name}.mat {stored} 16 0 {first} {total} 0 {lead}"
            for lead, first, total in zip(LEADS, samples[0], sums, strict=True)
        ),
        f"#{space}Age: 56",
        f"#{space}Sex: Female",
        f"#{space}Dx: 251146004,426783006",
        f"#{space}Rx: Unknown",
        f"#{space}Hx: Unknown",
        f"#{space}Sx: Unknown",
    ]


def write(folder: Path, name: str, samples: np.ndarray, lines: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.mat").write_bytes(matlab(samples))
    header = folder / f"{name}.hea"
    header.write_text("\n".join(header_lines(name, samples) if lines is None else lines) + "\n")
    return header

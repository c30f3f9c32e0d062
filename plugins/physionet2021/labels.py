"""From SNOMED CT codes to the 26 scored classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .classes import ABBREVIATIONS, CLASS_OF_CODE, N_CLASSES


def classes_of(codes: Iterable[str]) -> list[int]:
    """Returns the indices of the scored classes among some codes, in the official order.

    Codes that are not scored say nothing here; two equivalent codes are one class.
    """
    return sorted({CLASS_OF_CODE[code] for code in codes if code in CLASS_OF_CODE})


def targets_of(records: Sequence[Iterable[str]]) -> np.ndarray:
    """Returns the targets (n, 26), uint8 of 0 and 1, of the codes of `n` records."""
    targets = np.zeros((len(records), N_CLASSES), dtype=np.uint8)
    for row, codes in zip(targets, records, strict=True):
        row[classes_of(codes)] = 1
    return targets


def abbreviations_of(codes: Iterable[str]) -> str:
    """Returns the official abbreviations of the scored classes among some codes, such as `"AF,LAD"`."""
    return ",".join(ABBREVIATIONS[index] for index in classes_of(codes))

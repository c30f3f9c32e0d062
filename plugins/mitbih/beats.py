"""Which records and beats are used, what they are called, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

PACED = ("102", "104", "107", "217")
"""Records with paced beats, which EC57 leaves out."""

DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
    "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230",
)  # fmt: skip
DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
)  # fmt: skip

DS1_VALIDATION = ("114", "124", "205", "223")
"""Four DS1 records (17 % of its beats) that together hold N, S, V and F in about the proportions of DS1,
conduction disorders (124) and swapped leads (114) among them, and leave most of each class to train on."""

DS1_FOLDS = (
    ("108", "114", "119", "124", "201", "215"),
    ("106", "109", "116", "205", "207", "220"),
    ("115", "122", "208", "209", "230"),
    ("101", "112", "118", "203", "223"),
)
"""Four parts of DS1 for cross-validation, five or six patients each: those in which the shares of N, S, V
and F are nearest to a quarter, by the sum of squares. Record 209 has 41 % of the S beats of DS1 and record
208 90 % of the F beats, so that no parts have equal shares."""

AAMI: Mapping[str, str] = {
    symbol: name
    for name, symbols in {"N": "NLRBejn", "S": "AaJS", "V": "VEr", "F": "F", "Q": "/fQ?"}.items()
    for symbol in symbols
}
"""AAMI EC57 class of each beat annotation. Flutter waves (`!`), rhythm changes and notes are not beats."""

SYMBOLS = tuple("NLRBAaJSVrFejnE/fQ?")
"""Beat annotation symbols in PhysioNet's order."""


def labels_of(classes: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Returns the label of each beat symbol that is used, and the names of the classes in order."""
    if classes == "symbols":
        return {symbol: label for label, symbol in enumerate(SYMBOLS)}, SYMBOLS
    names = ("N", "S", "V", "F", "Q") if classes == "aami5" else ("N", "S", "V", "F")
    return {symbol: names.index(name) for symbol, name in AAMI.items() if name in names}, names


def stratified_split(
    labels: np.ndarray, fractions: Sequence[float], rng: np.random.Generator
) -> list[np.ndarray]:
    """Deals indices into `len(fractions) + 1` parts; the first part is what the fractions leave.

    Each class is dealt separately, rounded to whole beats, and each part comes back in ascending order.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(len(fractions) + 1)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        stops = np.rint(np.cumsum(fractions) * len(members)).astype(int)
        *others, rest = np.split(members, stops)
        for part, dealt in zip(parts, [rest, *others], strict=True):
            part.append(dealt)
    return [np.sort(np.concatenate(part)) for part in parts]


def windows(signal: np.ndarray, peaks: np.ndarray, before: int, after: int) -> np.ndarray:
    """Returns the windows (n, leads, before + after) around `peaks` of a signal (leads, samples)."""
    every = np.lib.stride_tricks.sliding_window_view(signal, before + after, axis=1)
    return np.ascontiguousarray(every[:, peaks - before].swapaxes(0, 1))

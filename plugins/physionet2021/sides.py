"""The three sides of a split: folds of all sources, or some sources to train on and others to test on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

import scalelab

from .folds import FRACTIONS, N_FOLDS, TEST_FOLD
from .params import Physionet2021Params
from .prepare import Prepared


class Sides(NamedTuple):
    """What trains, validates and tests."""

    train: scalelab.Split
    validation: scalelab.Split
    test: scalelab.Split


def sides_of(prepared: Prepared, params: Physionet2021Params) -> Sides:
    """Returns the sides that the options ask for.

    Raises:
        scalelab.DataError: A source is not there or leaves a side empty; without `test_on`, a fold is empty.
    """
    if params.test_on:
        return _sides_of_sources(prepared, params)
    _refuse_empty_folds(prepared)
    training = [fold for fold in range(TEST_FOLD) if fold != params.fold]
    return Sides(*(prepared.folds_of(folds) for folds in (training, [params.fold], [TEST_FOLD])))


def _sides_of_sources(prepared: Prepared, params: Physionet2021Params) -> Sides:
    names = prepared.names.tolist()
    train_on = params.train_on or tuple(name for name in names if name not in params.test_on)
    _refuse_absent(names, train_on, params.test_on)
    tests = np.isin(prepared.sources, [names.index(name) for name in params.test_on])
    own = np.isin(prepared.sources, [names.index(name) for name in train_on])
    own &= ~np.isin(prepared.groups, np.unique(prepared.groups[tests]))
    validates = prepared.folds == params.fold
    chosen = {"training": own & ~validates, "validation": own & validates, "test": tests}
    for side, records in chosen.items():
        if not records.any():
            sources = ", ".join(params.test_on if side == "test" else train_on)
            raise scalelab.DataError(
                f"physionet2021: the records of {sources} leave the {side} side without examples; use more "
                "records, or other sources"
            )
    return Sides(*(prepared.some(records) for records in chosen.values()))


def _refuse_absent(names: Iterable[str], train_on: Iterable[str], test_on: Iterable[str]) -> None:
    for option, given in (("train_on", train_on), ("test_on", test_on)):
        for name in given:
            if name not in names:
                raise scalelab.DataError(
                    f"physionet2021: {option}: no record of the source {name!r} can be used; "
                    f"there are {', '.join(names)}"
                )
    if not list(train_on):
        raise scalelab.DataError("physionet2021: test_on takes every source; leave one to train on")


def _refuse_empty_folds(prepared: Prepared) -> None:
    n_records, n_groups = len(prepared.folds), int(prepared.groups.max()) + 1
    together = f" in {n_groups} groups of one patient or signal each" if n_groups < n_records else ""
    for fold, size in enumerate(np.bincount(prepared.folds, minlength=N_FOLDS)):
        if size == 0:
            name = "the test fold" if fold == TEST_FOLD else f"fold {fold}"
            raise scalelab.DataError(
                f"physionet2021: {n_records} records{together} leave {name} ({FRACTIONS[fold]:.0%} of them) "
                "without examples; use more records"
            )

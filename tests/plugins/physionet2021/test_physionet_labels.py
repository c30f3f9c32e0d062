"""The embedded tables are the official ones, and codes become targets as the Challenge counts them."""

import csv
import json

import numpy as np
import pytest
from physionet_samples import REAL
from scalelab_plugins.physionet2021.classes import (
    ABBREVIATIONS,
    CLASS_OF_CODE,
    CLASSES,
    N_CLASSES,
    SINUS_RHYTHM,
    weights,
)
from scalelab_plugins.physionet2021.labels import abbreviations_of, classes_of, targets_of

SCORING = REAL / "scoring"
EXPECTED = REAL.parents[1] / "reference" / "challenge-metric" / "expected.json"
needs_tables = pytest.mark.skipif(not SCORING.is_dir(), reason=f"no official tables in {SCORING}")


def table(name):
    with (SCORING / name).open(newline="") as file:
        return list(csv.reader(file))


@needs_tables
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("weights.csv", ["|".join(scored.codes) for scored in CLASSES]),
        ("weights_abbreviations.csv", list(ABBREVIATIONS)),
    ],
)
def test_weights_and_order_are_the_official_ones(file, names):
    rows = table(file)
    assert rows[0][1:] == names
    assert [row[0] for row in rows[1:]] == names
    np.testing.assert_array_equal(weights(), np.array([row[1:] for row in rows[1:]], dtype=float))


@needs_tables
def test_codes_are_those_of_the_official_mapping():
    header, *rows = table("dx_mapping_scored.csv")
    code, abbreviation = header.index("SNOMEDCTCode"), header.index("Abbreviation")
    assert {row[code] for row in rows} == set(CLASS_OF_CODE)
    for row in rows:
        assert row[abbreviation] in ABBREVIATIONS[CLASS_OF_CODE[row[code]]].split("|")
    unscored = {row[1] for row in table("dx_mapping_unscored.csv")[1:]}
    assert not unscored & set(CLASS_OF_CODE)


@pytest.mark.skipif(not EXPECTED.is_file(), reason=f"no official scores in {EXPECTED}")
def test_order_is_that_of_the_official_scores():
    classes = [set(name.split("|")) for name in json.loads(EXPECTED.read_text(encoding="utf-8"))["classes"]]
    assert classes == [set(scored.codes) for scored in CLASSES]


def test_equivalent_codes_are_one_class():
    assert N_CLASSES == 26
    assert len(CLASS_OF_CODE) == 30
    for first, second in (
        ("733534002", "164909002"),
        ("713427006", "59118001"),
        ("284470004", "63593006"),
        ("427172004", "17338001"),
    ):
        assert classes_of([first]) == classes_of([second]) == classes_of([second, first])
        assert targets_of([[first, second]]).sum() == 1


def test_targets():
    targets = targets_of([["426783006"], [], ["164865005", "0"], ["39732003", "426783006", "39732003"]])
    assert targets.dtype == np.uint8
    assert targets.sum(axis=1).tolist() == [1, 0, 0, 2]
    assert targets[0, SINUS_RHYTHM] == targets[3, SINUS_RHYTHM] == 1
    assert abbreviations_of(["426783006", "39732003", "164865005"]) == "LAD,NSR"

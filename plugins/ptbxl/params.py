"""The options of `ptbxl` and of the commands for its files."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

import scalelab

from ..physionet2021.leads import NLeads
from ..physionet_plan import WebAddress
from ..processes import default_jobs

VERSION = 1
URL = "https://physionet.org/files/ptb-xl/1.0.3/"
FOLDS = range(1, 11)
SECONDS = 10
"""Length of every record."""

Rate = Literal[100, 500]
LabelSet = Literal["all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm"]


class PtbxlParams(scalelab.Params):
    """Options of the `ptbxl` dataset."""

    path: scalelab.Location = Field(
        description="folder with ptbxl_database.csv, scp_statements.csv and the records"
    )
    labels: LabelSet = Field("all", description="which statements are labels; records with none are not used")
    rate: Rate = Field(100, description="sampling rate in Hz: records100 or records500")
    leads: NLeads = Field(12, description="6: limb leads; 4: I, II, III, V2; 3: I, II, V2; 2: I, II")
    normalise: Literal["lead", "record", "none"] = Field(
        "lead", description="z-score of each lead; of all chosen leads together; none: mV"
    )
    validation_fold: int = Field(9, ge=1, le=10, description="strat_fold that validates")
    test_fold: int = Field(10, ge=1, le=10, description="strat_fold that tests; the eight others train")
    crop: float = Field(
        10.0, ge=0.5, le=10, description="seconds that a model sees: anywhere in training, else the middle"
    )
    augment: float = Field(
        1.0, ge=0, le=5, description="strength of the augmentation in training; 0: the random crop only"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.validation_fold == self.test_fold:
            raise ValueError(f"validation_fold and test_fold are both {self.test_fold}; take two folds")
        return self


class DownloadParams(scalelab.Params):
    """Options of `scalelab data download ptbxl`."""

    to: scalelab.Location = Field(description="folder to write to; running again resumes")
    rate: Literal[100, 500, "both"] = Field(100, description="records at which sampling rate in Hz to get")
    url: WebAddress = Field(URL, description="address of the database's folder, or of a mirror of it")
    jobs: int = Field(4, ge=1, le=16, description="connections at a time")


class InspectParams(scalelab.Params):
    """Options of `scalelab data inspect ptbxl`."""

    folder: scalelab.Location = Field(
        description="folder with ptbxl_database.csv, scp_statements.csv and the records"
    )
    rate: Rate = Field(100, description="sampling rate in Hz of the records to read")
    jobs: int = Field(default_factory=default_jobs, ge=1, le=64, description="processes")

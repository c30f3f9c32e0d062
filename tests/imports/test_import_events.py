"""Event files as PyTorch and tensorboardX write them: torn, damaged, in several folders of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scalelab

MAP = {"epochs": "last_step", "loss": '"val/loss"'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step in range(1, 21):
            writer.add_scalar("val/loss", 1 + 1 / step, step)
            writer.add_histogram("weights", np.ones(8), step)
            writer.add_text("note", "nothing to import", step)
    return tmp_path


def read(folder: Path) -> scalelab.Import:
    return scalelab.import_runs(folder, folder / "x.duckdb", study="e", map=MAP, replace=True)


def losses(folder: Path) -> list[float]:
    return scalelab.open_store(folder / "x.duckdb").curves("e").sort_values("step")["loss"].tolist()


def test_a_whole_file_is_read_without_a_note(folder: Path) -> None:
    assert read(folder).problems == ()
    assert losses(folder) == pytest.approx([1 + 1 / step for step in range(1, 21)])


@pytest.mark.parametrize("lost", [1, 7, 12, 40, 333])
def test_what_is_whole_of_a_torn_file_comes_in(folder: Path, lost: int) -> None:
    (events,) = (folder / "run").iterdir()
    events.write_bytes(events.read_bytes()[:-lost])
    (problem,) = read(folder).problems
    assert problem.startswith(f"run: {events.name} is torn or damaged after ")
    assert problem.endswith("events; what goes before was read")
    assert 10 < len(losses(folder)) <= 20


@pytest.mark.parametrize("at", [0.3, 0.5, 0.9])
def test_damage_in_the_middle_is_told(folder: Path, at: float) -> None:
    (events,) = (folder / "run").iterdir()
    data = bytearray(events.read_bytes())
    data[int(at * len(data))] ^= 0xFF
    events.write_bytes(data)
    (problem,) = read(folder).problems
    assert "torn or damaged after" in problem
    assert 0 < len(losses(folder)) < 20


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"no events" * 50, b"\xff" * 4096])
def test_a_file_without_events_is_left_out_in_a_line(folder: Path, content: bytes) -> None:
    other = folder / "other" / "events.out.tfevents.1700000000.host"
    other.parent.mkdir()
    other.write_bytes(content)
    result = read(folder)
    assert result.n_runs == 1
    assert "other: its event files hold no scalars; it was left out" in result.problems


def test_parts_of_a_run_in_folders_of_their_own(tmp_path: Path) -> None:
    from tensorboardX import SummaryWriter

    for part in ("train", "validation"):
        with SummaryWriter(str(tmp_path / "lr=0.1,width=8" / part)) as writer:
            for step in range(3):
                writer.add_scalar("epoch_loss", 3.0 - step, step)
    result = scalelab.import_runs(tmp_path, tmp_path / "x.duckdb", study="e", map={"epochs": "last_step + 1"})
    assert result.n_runs == 1
    (row,) = scalelab.open_store(tmp_path / "x.duckdb").runs("e").to_dict("records")
    assert (row["loss"], row["architecture_lr"], row["architecture_width"]) == (1.0, 0.1, 8)
    assert row["feature_train_epoch_loss"] == 1.0


def test_hyperparameters_in_a_folder_that_pytorch_names_by_the_time(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        writer.add_scalar("val/loss", 2.5, 1)
        writer.add_hparams({"lr": 0.1, "act": "gelu", "bias": True}, {"hparam/best": 2.5})
    assert read(tmp_path).n_runs == 1
    (row,) = scalelab.open_store(tmp_path / "x.duckdb").runs("e").to_dict("records")
    chosen = (row["architecture_lr"], row["architecture_act"], row["architecture_bias"])
    assert chosen == (0.1, "gelu", True)

from __future__ import annotations

import errno
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from train_toys import SHAPE, Problem, TinyNet, make_data

from scalelab.components import Metric, Split, Task
from scalelab.errors import DataError, InputError, TrainingError
from scalelab.reached import best_point
from scalelab.records import CurvePoint, Length
from scalelab.train.device import seed_everything
from scalelab.train.results import Progress
from scalelab.trainers import TrainResult


def curve_of(result: TrainResult) -> list[dict[str, object]]:
    """The curve without its clock."""
    return [point.model_dump(exclude={"wall_seconds"}) for point in result.curve]


class StopAt:
    """A `should_stop` that turns true before step `step`, once."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_a_run_learns_and_says_what_it_did(problem: Problem) -> None:
    result = problem.with_training(length=Length(steps=120)).train()
    assert result.status == "done"
    assert result.error is None
    assert [point.step for point in result.curve] == [24, 48, 72, 96, 120]
    assert [point.n_seen for point in result.curve] == [16 * point.step for point in result.curve]
    assert [point.train_flops for point in result.curve] == [1000.0 * p.n_seen for p in result.curve]
    assert result.n_steps == 120
    assert result.epochs == pytest.approx(120 * 16 / 70)
    assert result.loss == min(point.loss for point in result.curve if point.loss is not None)
    assert result.loss is not None
    assert result.loss < 0.5
    assert result.loss_last == result.curve[-1].loss
    assert result.objective == max(point.metrics["accuracy"] or 0 for point in result.curve)
    assert result.objective_last == result.curve[-1].metrics["accuracy"]
    assert result.best_step in [point.step for point in result.curve]
    assert result.metrics == {"accuracy": result.objective}
    assert (result.precision, result.device) == ("fp32", "cpu")
    assert result.peak_memory_bytes is None or result.peak_memory_bytes > 1e6
    assert result.wall_seconds >= result.curve[-1].wall_seconds > result.curve[0].wall_seconds > 0


def test_a_seeded_run_is_reproducible_bit_for_bit(problem: Problem) -> None:
    modules = []
    results = []
    for disturbance in (1, 2):
        seed_everything(problem.trial.seed)
        module = TinyNet()
        torch.manual_seed(disturbance)  # what happened before must not matter
        results.append(problem.train(module))
        modules.append(module)
    assert curve_of(results[0]) == curve_of(results[1])
    for name, value in modules[0].state_dict().items():
        assert torch.equal(value, modules[1].state_dict()[name])
    other = problem.with_trial(seed=4).train()
    assert curve_of(other) != curve_of(results[0])


def test_cudnn_is_deterministic_during_a_run_and_as_before_after_it(problem: Problem) -> None:
    during: set[tuple[bool, bool, bool]] = set()

    def flags() -> tuple[bool, bool, bool]:
        cudnn = torch.backends.cudnn
        return cudnn.enabled, cudnn.deterministic, cudnn.benchmark

    class Spy(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            during.add(flags())
            return super().forward(x)

    before = flags()
    problem.train(Spy())
    assert during == {(before[0], True, False)}
    assert flags() == before


def test_learning_rates_follow_the_schedule(problem: Problem) -> None:
    result = problem.with_training(schedule="linear-cooldown", warmup=0, cooldown=0.5, final_lr=0).train()
    assert [point.lr for point in result.curve] == pytest.approx([0.02, 0.02, 0.016, 0.008, 0.0])


@pytest.mark.parametrize("stops", [(1,), (2, 3), (8, 9), (17,), (3, 20, 39)])
def test_a_resumed_run_gives_the_same_curve_bit_for_bit(
    problem: Problem, checkpoint: Path, stops: tuple[int, ...]
) -> None:
    straight_module = TinyNet()
    seed_everything(problem.trial.seed)
    straight_module = TinyNet()
    straight = problem.train(straight_module)

    done = 0
    for stop in stops:
        interrupted = problem.train(checkpoint=checkpoint, should_stop=StopAt(stop - done))
        assert interrupted.status == "interrupted"
        assert interrupted.n_steps == stop - 1
        assert interrupted.resumed_from == done
        done = stop - 1
    torch.manual_seed(99)
    module = TinyNet()  # other weights: all must come from the checkpoint
    resumed = problem.train(module, checkpoint=checkpoint)
    assert resumed.status == "done"
    assert resumed.resumed_from == done
    assert curve_of(resumed) == curve_of(straight)
    assert (resumed.objective, resumed.best_step) == (straight.objective, straight.best_step)
    for name, value in straight_module.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def test_checkpoints_taken_in_passing_resume_too(problem: Problem, checkpoint: Path) -> None:
    class Killed(Exception):
        pass

    def die(progress: Progress) -> None:
        if progress.step == 24:
            raise Killed

    with pytest.raises(Killed):
        problem.train(checkpoint=checkpoint, checkpoint_seconds=0, on_progress=die)
    resumed = problem.train(checkpoint=checkpoint)
    assert resumed.resumed_from == 23
    assert curve_of(resumed) == curve_of(problem.train())
    assert resumed.wall_seconds > 0


def test_the_time_before_a_resume_counts(problem: Problem, checkpoint: Path) -> None:
    first = problem.train(checkpoint=checkpoint, should_stop=StopAt(30))
    resumed = problem.train(checkpoint=checkpoint)
    assert resumed.curve[-1].wall_seconds > first.wall_seconds >= first.curve[-1].wall_seconds
    assert resumed.curve[0].wall_seconds == first.curve[0].wall_seconds


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "other trial", "other model"])
def test_an_unusable_checkpoint_is_set_aside(problem: Problem, checkpoint: Path, damage: str) -> None:
    straight = problem.train()
    if damage == "other trial":
        problem.with_trial(seed=11).train(checkpoint=checkpoint, should_stop=StopAt(5))
    elif damage == "other model":
        module = TinyNet()
        module.branch = nn.Linear(8, 8, bias=False)
        problem.train(module, checkpoint=checkpoint, should_stop=StopAt(5))
    else:
        problem.train(checkpoint=checkpoint, should_stop=StopAt(5))
        content = checkpoint.read_bytes()
        pieces = {"truncated": content[: len(content) // 2], "garbage": b"not a checkpoint", "empty": b""}
        checkpoint.write_bytes(pieces[damage])
    with pytest.warns(UserWarning, match="training starts over"):
        result = problem.train(checkpoint=checkpoint)
    assert result.resumed_from == 0
    assert curve_of(result) == curve_of(straight)
    assert checkpoint.with_name("trial.pt.set-aside").exists()
    assert not checkpoint.exists()


def test_a_disk_that_refuses_a_checkpoint_does_not_stop_training(problem: Problem, tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    with pytest.warns(UserWarning, match="could not be written"):
        result = problem.train(checkpoint=blocked / "trial.pt", checkpoint_seconds=0)
    assert result.status == "done"


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("os.fsync", OSError(errno.ENOSPC, "No space left on device")),
        ("torch.save", RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")),
    ],
)
def test_a_full_disk_keeps_the_checkpoint_before(
    problem: Problem, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    problem.train(checkpoint=checkpoint, should_stop=StopAt(11))

    def full(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.warns(UserWarning, match="could not be written"):
            stopped = problem.train(checkpoint=checkpoint, should_stop=StopAt(11))
    assert (stopped.status, stopped.n_steps) == ("interrupted", 20)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["trial.pt"]
    resumed = problem.train(checkpoint=checkpoint)
    assert resumed.resumed_from == 10
    assert curve_of(resumed) == curve_of(problem.train())


def test_no_file_is_left_beside_the_checkpoint(problem: Problem, checkpoint: Path) -> None:
    problem.train(checkpoint=checkpoint, checkpoint_seconds=0)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["trial.pt"]


def test_divergence_is_an_outcome_that_keeps_the_curve(problem: Problem) -> None:
    def explode(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(module.parameters(), lr=1e30)

    diverging = replace(problem, optimizer=explode).with_training(clip_norm=None, warmup=0, validations=40)
    result = diverging.train()
    assert result.status == "diverged"
    assert result.error is not None
    assert "not finite" in result.error
    assert result.n_steps < 40
    assert all(point.loss is not None for point in result.curve)


def test_a_late_divergence_is_noticed_at_the_next_check(problem: Problem) -> None:
    calls = 0

    def turns_nan(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = nn.functional.cross_entropy(outputs, targets)
        return loss * math.nan if calls == 60 else loss

    data = problem.data
    late = problem.with_data(task=replace(data.task, loss=turns_nan))
    result = late.with_training(length=Length(steps=400), validations=2).train()
    assert result.status == "diverged"
    assert result.n_steps == 100
    assert result.curve == ()
    assert (result.loss, result.objective, result.best_step) == (None, None, None)


def test_progress_counts_up_to_the_end(problem: Problem) -> None:
    seen: list[Progress] = []
    problem.train(on_progress=seen.append)
    assert {8, 16, 24, 32, 40} <= {progress.step for progress in seen}
    assert seen[-1].step == seen[-1].n_steps == 40
    assert all(math.isfinite(progress.loss) and progress.examples_per_second > 0 for progress in seen)


def test_validation_uses_prepare_and_never_augments(problem: Problem) -> None:
    seen: list[str] = []

    def prepare(batch: torch.Tensor) -> torch.Tensor:
        seen.append("prepare")
        return batch * 0

    def augment(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append("augment")
        return batch

    short = problem.with_training(length=Length(steps=2), validations=1)
    result = short.with_data(prepare=prepare, augment=augment).train()
    assert seen == ["augment", "augment", "prepare"]  # 100 validation examples are one batch
    assert result.metrics["accuracy"] is not None
    seen.clear()
    short.with_training(augment=False).with_data(prepare=prepare, augment=augment).train()
    assert seen == ["prepare"] * 3


def test_validation_is_exact_whatever_the_batches(problem: Problem) -> None:
    module = TinyNet()
    still = replace(problem, optimizer=lambda m: torch.optim.SGD(m.head.parameters(), lr=1e-30))
    result = still.with_training(length=Length(steps=1)).train(module.eval())
    with torch.no_grad():
        outputs = module.eval()(torch.from_numpy(problem.data.validation.inputs).float())
        loss = nn.functional.cross_entropy(outputs, torch.from_numpy(problem.data.validation.targets))
    assert result.loss_last == pytest.approx(loss.item(), rel=1e-5)


def test_gradients_are_clipped(problem: Problem) -> None:
    norms: list[float] = []

    class Watch(torch.optim.SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            gradients = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(torch.nn.utils.get_total_norm(gradients).item())
            super().step()

    watched = replace(problem, optimizer=lambda m: Watch(m.parameters(), lr=0.01))
    watched.with_training(clip_norm=0.05).train()
    assert max(norms) <= 0.05 + 1e-6
    norms.clear()
    watched.with_training(clip_norm=None).train()
    assert max(norms) > 0.1


def test_bf16_autocast_is_used_and_recorded(problem: Problem) -> None:
    kinds: set[torch.dtype] = set()

    class Spy(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            outputs = super().forward(x)
            kinds.add(outputs.dtype)
            return outputs

    result = problem.with_training(precision="bf16").train(Spy())
    assert (result.status, result.precision) == ("done", "bf16")
    assert kinds == {torch.bfloat16}


def test_multi_label_and_regression_tasks(problem: Problem) -> None:
    data = make_data()
    one_hot = np.eye(3, dtype=np.int8)
    for loss, metrics in (("bce", ("macro-f1", "auroc")), ("mse", ())):
        task = Task(input_shape=SHAPE, n_outputs=3, loss=loss, metrics=metrics)
        result = problem.with_data(
            task=task,
            train=Split(data.train.inputs, one_hot[data.train.targets]),
            validation=Split(data.validation.inputs, one_hot[data.validation.targets]),
        ).train()
        assert result.status == "done"
        assert set(result.metrics) == set(metrics)
        assert result.objective == result.loss


def test_a_metric_that_is_not_defined_is_none(problem: Problem) -> None:
    undefined = Metric(name="undefined", compute=lambda _, __: math.nan)
    task = replace(problem.data.task, metrics=(undefined,), objective="undefined")
    result = problem.with_data(task=task).train()
    assert result.status == "done"
    assert result.curve[-1].metrics == {"undefined": None}
    assert (result.objective, result.best_step) == (None, None)
    assert result.loss is not None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"validation": Split(np.zeros((0, *SHAPE)), np.zeros(0, int))},
            DataError,
            "validation split is empty",
        ),
        ({"train": Split(np.zeros((90, 9)), np.zeros(90, int))}, DataError, "no prepare function"),
        ({"task": Task(input_shape=SHAPE, n_outputs=2)}, DataError, "from 0 to 1"),
        ({"task": Task(input_shape=SHAPE, n_outputs=3, loss="bse")}, InputError, "did you mean"),
        ({"task": Task(input_shape=SHAPE, n_outputs=3, metrics=("auc",))}, InputError, "unknown metric"),
    ],
)
def test_bad_data_and_tasks_are_refused(
    problem: Problem, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        problem.with_data(**changes).train(TinyNet())


def test_a_model_of_the_wrong_width_is_refused(problem: Problem) -> None:
    with pytest.raises(TrainingError, match=r"\(16, 5\).*\(16, 3\)"):
        problem.train(TinyNet(5))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_running_out_of_memory_is_one_clear_line(problem: Problem, error: Exception) -> None:
    class Huge(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise error

    with pytest.raises(TrainingError, match="memory ran out on cpu with batch_size = 16"):
        problem.train(Huge())


def test_the_real_allocator_s_refusal_is_understood(problem: Problem) -> None:
    class Huge(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**50).to(x) + x

    with pytest.raises(TrainingError, match="memory ran out"):
        problem.train(Huge())


def test_a_model_s_own_error_passes_through(problem: Problem) -> None:
    class Broken(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        problem.train(Broken())


def test_the_best_point_is_the_earliest_of_equals() -> None:
    points = [
        CurvePoint(step=s, n_seen=s, train_flops=s, wall_seconds=s, lr=1, train_loss=1, loss=loss)
        for s, loss in ((1, 2.0), (2, 1.0), (3, 1.0), (4, None))
    ]
    best = best_point(points, "loss", "minimize")
    assert best is not None
    assert best.step == 2


def test_nothing_warns_in_an_ordinary_run(problem: Problem, checkpoint: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem.train(checkpoint=checkpoint, should_stop=StopAt(10))
        problem.train(checkpoint=checkpoint)

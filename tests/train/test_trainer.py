"""What a trainer reports and returns is looked at before it counts, and the frame measures the rest."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scalelab
from scalelab.errors import DataError, PluginError
from scalelab.records import ComponentRef, CurvePoint
from scalelab.testing import toys
from scalelab.train.trainer import train_with

STEPS, BATCH = 12, 16


def trial(**training):
    options = {"length": {"steps": STEPS}, "batch_size": BATCH, "validations": 3, **training}
    ref = ComponentRef(name="toy")
    parts = {"dataset": ref, "architecture": ref, "optimizer": ref}
    training = scalelab.TrainingOptions(**options)
    return scalelab.Trial(**parts, fingerprint="toy", n_examples=64, training=training)


def train(function, *, data=None, asked=None, **options):
    torch.manual_seed(0)
    data = data or toys.open_blobs(toys.ToyDatasetParams(n_train=96))
    module = toys.build_conv(toys.ToyArchitectureParams(), (2, 64), 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    trainer = scalelab.Trainer(name="guest", summary="s", train=function, ignores=())
    how = {"device": "cpu", "train_flops_per_example": 10.0, **options}
    return train_with(trainer, None, asked or trial(), data, module, optimizer, **how)


def take(run, step):
    run.begin(step)
    inputs, targets = run.batch(step)
    run.optimizer.zero_grad()
    loss = run.loss(run.module(inputs), targets)
    loss.backward()
    run.optimizer.step()
    return loss


def steps(run, n=STEPS, report=()):
    for step in range(1, n + 1):
        loss = take(run, step)
        if step in report:
            run.report(step, loss.item())


def plain(_params, run):
    steps(run, report=run.validations)
    return run.result("done", STEPS)


def changed(**fields):
    def function(params, run):
        return dataclasses.replace(plain(params, run), **fields)

    return function


def point(step, **fields):
    numbers = {
        "n_seen": 1,
        "train_flops": 1.0,
        "wall_seconds": 0.0,
        "lr": 0.1,
        "train_loss": 1.0,
        "loss": 1.0,
    }
    return CurvePoint(step=step, **numbers, **fields)


def test_the_bundled_loop_is_the_same_through_the_frame():
    """Its curve, metrics and test are those of train_model by itself."""
    framed = train(scalelab.bundled_trainer.train)
    torch.manual_seed(0)
    data = toys.open_blobs(toys.ToyDatasetParams(n_train=96))
    module = toys.build_conv(toys.ToyArchitectureParams(), (2, 64), 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    alone = scalelab.train_model(trial(), data, module, optimizer, device="cpu", train_flops_per_example=10.0)
    for field in dataclasses.fields(alone):
        if "seconds" not in field.name and field.name not in ("curve", "peak_memory_bytes", "best_weights"):
            assert getattr(framed, field.name) == getattr(alone, field.name), field.name
    losses = [(one.step, one.loss, one.train_loss, one.metrics) for one in alone.curve]
    assert [(one.step, one.loss, one.train_loss, one.metrics) for one in framed.curve] == losses
    assert framed.test_loss is not None


def test_a_trainer_sees_no_test_split_and_the_frame_tests():
    seen = []

    def function(params, run):
        seen.append(run.data.test)
        return plain(params, run)

    result = train(function)
    assert seen == [None]
    assert result.n_tested == 64
    assert set(result.test_metrics) == {"accuracy"}
    assert set(result.calibration) == {"validation", "test"}
    assert result.wall_seconds > 0
    assert result.train_flops == STEPS * BATCH * 10.0
    assert result.epochs == STEPS * BATCH / 64


def test_what_was_not_reported_is_measured_at_the_end():
    def function(_params, run):
        steps(run)
        return run.result("done", STEPS)

    result = train(function)
    assert [one.step for one in result.curve] == [STEPS]
    assert result.loss == result.loss_last == result.curve[0].loss
    assert result.curve[0].train_loss is None


@pytest.mark.parametrize("reported", [False, True])
def test_a_run_may_end_early(reported):
    """Its last step is measured on the whole split, whether or not it was reported before."""

    def function(_params, run):
        steps(run, 5, report=(5,) if reported else ())
        return run.result("done", 5)

    result = train(function, asked=trial(validation_examples=8))
    assert (result.n_steps, result.best_step, result.n_validated) == (5, 5, 64)
    assert len(result.curve) == 1


def test_amounts_of_its_own_are_kept():
    def function(_params, run):
        steps(run)
        run.report(STEPS, 0.5, n_seen=640, train_flops=1e6)
        return run.result("done", STEPS, n_seen=640, train_flops=1e6)

    result = train(function)
    assert (result.epochs, result.train_flops) == (10.0, 1e6)
    assert (result.curve[-1].n_seen, result.curve[-1].train_flops) == (640, 1e6)


def test_weights_that_are_no_numbers_diverge_even_where_a_trainer_is_done():
    def function(_params, run):
        with torch.no_grad():
            next(run.module.parameters()).fill_(math.nan)
        return run.result("done", STEPS)

    result = train(function)
    assert (result.status, result.curve) == ("diverged", ())
    assert "not finite at step 12" in result.error


def test_data_that_are_no_numbers_are_said_to_be():
    def function(_params, run):
        return run.result("diverged", 3)

    def spoil(batch):
        return batch.clone().fill_(math.nan)

    data = dataclasses.replace(
        toys.open_blobs(toys.ToyDatasetParams(n_train=96)), prepare=spoil, augment=None, test=None
    )
    with pytest.raises(DataError, match="prepare"):
        train(function, data=data)


RETURNED = {
    "nothing": (lambda params, run: None, "returned NoneType, expected scalelab.TrainResult"),
    "a dict": (lambda params, run: {"loss": 1.0}, "returned dict"),
    "another status": (changed(status="finished"), "status = 'finished': input should be 'done'"),
    "a text for a loss": (changed(loss="0.5"), "loss = '0.5': input should be a valid number"),
    "a list for a curve": (changed(curve=[]), "curve = []: input should be a valid tuple"),
    "no steps": (changed(n_steps=None), "n_steps = None: input should be a valid integer"),
    "more steps": (changed(n_steps=STEPS + 1), "n_steps = 13: the trial asks for 12"),
    "endless FLOPs": (changed(train_flops=math.inf), "train_flops = inf: it must be a number of 0 or more"),
    "less than no epochs": (changed(epochs=-1.0), "epochs = -1.0"),
    "no loss": (changed(loss=None), "that is done with loss = None"),
    "NaN": (changed(loss_last=math.nan), "that is done with loss_last = nan"),
    "no best step": (changed(best_step=None), "that is done with best_step = None"),
    "a best step elsewhere": (changed(best_step=5), "best_step = 5, at which its curve has no point"),
    "another objective": (changed(objective=2.0), "objective = 2.0, but accuracy is"),
    "a misnamed metric": (
        changed(metrics={"acuracy": 1.0}), "'acuracy' in metrics, which is no metric of the task; did",
    ),
    "a curve out of order": (changed(curve=(point(3), point(2))), "the steps [3, 2]: each once, in order"),
    "a misnamed metric on the curve": (
        changed(curve=(point(3, metrics={"f1": 1.0}),)), "'f1' in the curve's step 3",
    ),
    "weights of another network": (
        changed(best_weights={"head.weight": torch.zeros(3)}), "best_weights do not fit the model, at body",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RETURNED)
def test_what_cannot_be_is_refused(case):
    function, message = RETURNED[case]
    with pytest.raises(PluginError) as caught:
        train(function)
    assert message in str(caught.value)
    assert str(caught.value).startswith("trainer 'guest' returned ")
    assert "\n" not in str(caught.value)


def calls(call):
    return lambda params, run: call(run)


SAID = {
    "an odd status": (lambda run: run.result("ok", 3), "status 'ok' is none of done, diverged, interrupted"),
    "no step": (lambda run: run.result("done", 0), "is done after no step"),
    "half a step": (lambda run: run.result("done", 2.5), "step is 2.5; a whole number from 0 to 12"),
    "a truth value": (lambda run: run.report(True, 0.5), "step is True"),
    "a step too many": (lambda run: run.report(13, 0.5), "step is 13"),
    "a step twice": (lambda run: [run.report(3, 0.5), run.report(3, 0.5)], "reports step 3 after step 3"),
    "no loss": (lambda run: run.report(3, "low"), "reports 'low' as the training loss of step 3"),
    "a tensor of two": (lambda run: run.report(3, torch.zeros(2)), "give a number"),
    "no FLOPs": (lambda run: run.report(3, 0.5, train_flops=-1), "train_flops is -1; a number of 0 or more"),
    "endless examples": (lambda run: run.result("done", 3, n_seen=math.inf), "n_seen is inf"),
    "a stop that nobody asked for": (
        lambda run: run.result("interrupted", 3), "ended as interrupted, and nobody asked it to",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_what_cannot_be_said_is_refused(case):
    call, message = SAID[case]
    with pytest.raises(PluginError) as caught:
        train(calls(call))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([f.name for f in dataclasses.fields(scalelab.TrainResult)]),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()),
        st.dictionaries(st.text(), st.floats()), st.just(np.zeros(2)), st.just(torch.zeros(2)),
    ),
)  # fmt: skip
def test_any_field_may_be_garbage(field, value):
    """It is refused in one line, or it is sound enough for a record."""
    try:
        result = train(changed(**{field: value}))
    except PluginError as error:
        said = str(error)
    else:
        said = None
    if said is not None:
        assert "\n" not in said
        return
    fields = {name: getattr(result, name) for name in scalelab.Record.model_fields if hasattr(result, name)}
    scalelab.Record(trial=trial(), study="s", attempt=1, started_at=0, finished_at=1, **fields)


def test_batches_and_random_numbers_are_functions_of_the_step():
    def function(_params, run):
        first = run.batch(7)
        run.begin(7)
        drawn = torch.rand(3), np.random.rand(), run.optimizer.param_groups[0]["lr"]  # noqa: NPY002
        run.batch(2)
        run.begin(2)
        again = run.batch(7)
        run.begin(7)
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])
        assert torch.equal(drawn[0], torch.rand(3))
        assert drawn[1] == np.random.rand()  # noqa: NPY002
        assert drawn[2] == run.optimizer.param_groups[0]["lr"] < 0.1
        assert len(run.examples) == 64
        return plain(_params, run)

    assert train(function).status == "done"


def test_a_checkpoint_keeps_what_a_trainer_keeps(tmp_path):
    """Its own state, the curve, and peak learning rates; it is written where a stop was asked for."""
    path = tmp_path / "checkpoint.pt"
    found = {}

    def function(_params, run):
        step, state = run.resume()
        found.update(step=step, state=state, lr=run.optimizer.param_groups[0]["lr"])
        while step < run.n_steps:
            stop = run.should_stop()
            run.save(step, {"teacher": torch.ones(2), "words": ["a", 1]})
            if stop:
                return run.result("interrupted", step)
            step += 1
            run.begin(step)
            run.progress(step, 0.5)
            if step in run.validations:
                run.report(step, 0.5)
        return run.result("done", step)

    asked = iter([False] * 6)
    stopped = train(function, checkpoint=path, should_stop=lambda: next(asked, True))
    assert (stopped.status, stopped.n_steps, len(stopped.curve)) == ("interrupted", 6, 1)
    told = []
    resumed = train(function, checkpoint=path, on_progress=told.append)
    assert (found["step"], resumed.resumed_from, len(resumed.curve)) == (6, 6, 3)
    assert torch.equal(found["state"]["teacher"], torch.ones(2))
    assert found["state"]["words"] == ["a", 1]
    assert [one.step for one in told if one.step in (8, 12)] == [8, 12]


def test_a_run_that_dies_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    """It is written now and then, not at a stop alone; the curve is that of a run in one go."""
    from scalelab.train import trainer

    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "checkpoint.pt"
    dies = [True]

    def function(_params, run):
        step, _ = run.resume()
        while step < run.n_steps:
            run.save(step)
            step += 1
            if step == 7 and dies:
                raise RuntimeError("killed")
            loss = take(run, step)
            if step in run.validations:
                run.report(step, loss.item())
        return run.result("done", step)

    with pytest.raises(RuntimeError, match="killed"):
        train(function, checkpoint=path)
    dies.clear()
    resumed, straight = train(function, checkpoint=path), train(function)
    assert resumed.resumed_from == 6
    for one, other in zip(resumed.curve, straight.curve, strict=True):
        assert one.model_dump(exclude={"wall_seconds"}) == other.model_dump(exclude={"wall_seconds"})


def test_a_damaged_checkpoint_is_set_aside_and_training_starts_over(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"torn")
    found = []

    def function(params, run):
        found.append(run.resume())
        return plain(params, run)

    with pytest.warns(scalelab.errors.ScalelabWarning, match="cannot be used"):
        result = train(function, checkpoint=path)
    assert (found, result.status) == ([(0, {})], "done")
    assert (tmp_path / "checkpoint.pt.set-aside").exists()

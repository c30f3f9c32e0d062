"""Data whose examples have several windows, from the plan to the store."""

import pytest

from scalelab.execute.coordinator import run_study
from scalelab.execute.plan import plan_study
from scalelab.store import open_store

WINDOWS = """
    windows = np.arange(params.n) % 4 + 1
    rows = np.repeat(np.arange(params.n), windows)
    noise = rng.normal(size=(len(rows), 1, 16)).astype("float32")
    split = scalelab.Split(inputs[rows] + noise, targets, windows)
    task"""


@pytest.fixture(params=["random", "all"])
def of_windows(lab, request):
    """The toys with one to four windows an example, and what an epoch draws of 16 and of all 64."""
    file = lab.plugins / "toys.py"
    code = file.read_text().replace("\n    task", WINDOWS, 1)
    code = code.replace(
        "test = scalelab.Split(inputs[: params.n // 2], targets[: params.n // 2])", "test = split"
    )
    code = code.replace('fingerprint=f"blobs-', f'train_windows="{request.param}", fingerprint=f"blobs-')
    file.write_text(code)
    return lab, request.param


def study_of(lab, length):
    path = lab.study()
    path.write_text(path.read_text().replace("length = { steps = 4 }", f"length = {length}"))
    return path


def test_plan_and_workers_agree_on_how_long_an_epoch_is(of_windows):
    lab, drawn = of_windows
    path = study_of(lab, "{ epochs = 2 }")
    plan = plan_study(path, catalog=lab.catalog(), workers=1)
    summary = run_study(path, lab.store, catalog=lab.catalog(), workers=1)
    assert summary.done == 4
    runs = open_store(lab.store).runs().set_index("trial_id")
    assert set(runs.n_examples) == {16, 64}
    assert runs.n_windows[runs.n_examples == 64].tolist() == [160, 160]
    assert (runs.n_validated == 64).all()
    for planned in plan.trials:
        run = runs.loc[planned.trial.id]
        epoch = run.n_examples if drawn == "random" else run.n_windows
        assert planned.n_steps == run.n_steps == -(-2 * epoch // 8)
        assert planned.epochs == pytest.approx(run.epochs)
        assert run.epochs == pytest.approx(2, rel=0.1)
    again = run_study(path, lab.store, catalog=lab.catalog(), workers=1)
    assert (again.done, again.kept) == (0, 4)


def test_isoflop_profiles_limit_passes_over_what_an_epoch_draws(of_windows):
    """A budget of 1e6 FLOPs at width 2 is 103 passes over 64 examples, 41 over their 160 windows."""
    lab, drawn = of_windows
    text = lab.study().read_text().replace("length = { steps = 4 }\n", "")
    text += '\n[sampling]\nmethod = "isoflop"\nbudgets = [1e6]\nmin_steps = 1\nmax_epochs = 60\n'
    path = lab.folder / "isoflop.toml"
    path.write_text(text)
    plan = plan_study(path, catalog=lab.catalog(), workers=1)
    found = [(one.trial.n_examples, one.trial.architecture.params["width"]) for one in plan.trials]
    assert found == ([(64, 4)] if drawn == "random" else [(64, 2), (64, 4)])

"""A plan costs and times a study without training it."""

from __future__ import annotations

import pytest
import torch

from scalelab import Optimizer, open_store, plan_study, run_study
from scalelab.report.sections.studies import plan_table
from scalelab.study import parse_study

FLOPS = ("forward", "training")


def test_a_plan_has_every_trial_with_its_cost_and_trains_none(lab):
    plan = plan_study(lab.study(steps=6), catalog=lab.catalog(), workers=2)
    assert len(plan.trials) == len(plan.pending) == 4
    for row in plan.trials:
        width = row.trial.architecture.params["width"]
        assert row.n_params == 16 * width + width + width * 2 + 2
        assert row.forward_flops == 2 * (16 * width + width * 2)
        assert row.n_steps == 6
        assert row.epochs == 6 * 8 / row.trial.n_examples
        assert 0 < row.seconds.low < row.seconds.middle < row.seconds.high
    assert plan.seconds.high >= max(row.seconds.high for row in plan.trials)
    assert not lab.store.exists()


def test_a_plan_knows_what_is_done(lab):
    run_study(lab.study(), lab.store, catalog=lab.catalog(), workers=0)
    plan = plan_study(lab.study(seeds=2), open_store(lab.store), catalog=lab.catalog())
    assert [row.status for row in plan.trials].count("done") == 4
    assert len(plan.pending) == 4


def test_the_plan_agrees_with_what_running_records(lab):
    plan = plan_study(lab.study(), catalog=lab.catalog())
    run_study(lab.study(), lab.store, catalog=lab.catalog(), workers=0)
    runs = open_store(lab.store).runs("tiny").set_index("trial_id")
    for row in plan.trials:
        recorded = runs.loc[row.trial.id]
        assert recorded.n_params == row.n_params
        assert recorded.train_flops == row.train_flops
        assert recorded.n_steps == row.n_steps
        assert recorded.epochs == row.epochs


def test_gradients_of_a_closure_are_planned_at_most_and_recorded_as_they_were(lab, tmp_path):
    """An optimizer of two gradients a step takes half the steps of a budget, and spends all of it."""

    def build(params, module):
        class Twice(torch.optim.SGD):
            def step(self, closure):
                closure()
                super().step()

        return Twice(module.parameters(), lr=0.1)

    catalog = lab.catalog().with_components(
        Optimizer(name="twice", summary="Two", build=build, closure="after", evaluations=lambda _params: 2)
    )
    text = lab.study(steps=4).read_text().replace("plain-sgd", "twice").replace("tiny", "twice")
    flops = 3 * 2 * (16 * 2 + 2 * 2) - 2 * 16 * 2  # of the smaller network, without the input's gradient
    study = parse_study(text.replace("steps = 4", f"flops = {10 * 8 * flops}"), "twice", catalog)
    plan = plan_study(study, catalog=catalog)
    assert plan.trials[0].n_steps == 5
    assert plan.trials[0].train_flops == pytest.approx(10 * 8 * flops)
    run_study(study, tmp_path / "t.duckdb", catalog=catalog, workers=0)
    runs = open_store(tmp_path / "t.duckdb").runs().set_index("trial_id")
    for row in plan.trials:
        assert runs.loc[row.trial.id].train_flops == row.train_flops
        assert runs.loc[row.trial.id].n_steps == row.n_steps


def test_isoflop_budgets_are_met_to_a_step(lab):
    text = lab.study().read_text(encoding="utf-8").replace("length = { steps = 4 }\n", "")
    text += "[sampling]\nmethod = 'isoflop'\nbudgets = [2e5, 4e5]\nmodels = 2\n"
    text += "min_steps = 2\nmax_epochs = 1000\n"
    path = lab.folder / "isoflop.toml"
    path.write_text(text)
    plan = plan_study(path, catalog=lab.catalog())
    assert len(plan.trials) == 8
    for row in plan.trials:
        budget = row.trial.training.length.flops
        a_step = row.train_flops / row.n_steps
        assert budget - a_step <= row.train_flops <= budget + a_step


def test_a_cost_is_measured_once_and_again_when_the_code_changes(lab, monkeypatch, tmp_path):
    from scalelab.measure import costs, flops
    from scalelab.study import expand, load_study

    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    measured = []
    real = flops.complexity
    monkeypatch.setattr(
        flops, "complexity", lambda *asked, **more: measured.append(asked) or real(*asked, **more)
    )

    def total() -> float:
        catalog = lab.catalog()
        expansion = expand(load_study(lab.study(), catalog), catalog)
        cost = costs.Costs(catalog)
        task = expansion.opened(expansion.trials[0]).data.task
        return sum(
            cost(trial.architecture, task.input_shape, task.n_outputs).forward_flops
            for trial in expansion.trials
        )

    first = total()
    assert len(measured) == 2
    assert total() == first
    assert len(measured) == 2
    plugin = lab.plugins / "toys.py"
    plugin.write_text(
        plugin.read_text(encoding="utf-8").replace(
            "nn.ReLU()", "nn.ReLU(), nn.Linear(params.width, params.width)"
        )
    )
    assert total() > first
    assert len(measured) == 4


SOLVE = """

def solver():
    import torch

    class Solve(torch.nn.Module):
        def forward(self, x):
            square = torch.ones(x.shape[1], x.shape[1], device=x.device)
            return torch.linalg.solve_triangular(square, x.T, upper=True).T

    return Solve()
"""


@pytest.fixture
def solving(lab):
    """The lab, whose networks call an operator that nobody knows the FLOPs of."""
    plugin = lab.plugins / "toys.py"
    text = plugin.read_text(encoding="utf-8").replace("nn.ReLU()", "nn.ReLU(), solver()")
    plugin.write_text(text + SOLVE)
    return lab


def test_a_plan_names_what_is_not_counted(solving):
    plan = plan_study(solving.study(), catalog=solving.catalog())
    assert {row.uncounted for row in plan.trials} == {("aten::linalg_solve_triangular",)}
    table = plan_table(plan)
    (note,) = table.notes
    assert note.startswith(
        "net: FLOPs are at least these, for nothing tells what aten::linalg_solve_triangular"
    )
    assert "flops=" in note
    assert all(row[table.columns.index(name)].startswith("at least ") for row in table.rows for name in FLOPS)
    ran = run_study(solving.study(), solving.store, catalog=solving.catalog(), workers=0)
    assert ran.done == 4


def test_a_formula_makes_a_plan_complete(solving):
    plugin = solving.plugins / "toys.py"
    named = 'name="net", summary="Net",'
    formula = f"{named} flops=lambda params, shape, n: 1000.0 * params.width,"
    plugin.write_text(plugin.read_text(encoding="utf-8").replace(named, formula))
    plan = plan_study(solving.study(), catalog=solving.catalog())
    for row in plan.trials:
        width = row.trial.architecture.params["width"]
        assert (row.uncounted, row.forward_flops) == ((), 1000 * width)
        assert row.train_flops == 3 * 1000 * width * row.n_steps * 8
    assert plan_table(plan).notes == ()
    run_study(solving.study(), solving.store, catalog=solving.catalog(), workers=0)
    runs = open_store(solving.store).runs("tiny").set_index("trial_id")
    for row in plan.trials:
        assert runs.loc[row.trial.id].train_flops == row.train_flops


def test_what_counting_takes_is_told_once(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    assert plan_study(lab.study(), catalog=lab.catalog()).counting > 0
    assert plan_study(lab.study(), catalog=lab.catalog()).counting == 0


FIXED = "self.make = nn.Linear(3, 16 * params.width); self.code = __import__('torch').ones(1, 3)"


def test_work_that_is_done_once_a_batch_is_once_in_a_step(lab):
    plugin = lab.plugins / "toys.py"
    text = plugin.read_text(encoding="utf-8").replace("self.calls = 0", f"self.calls = 0; {FIXED}", 1)
    made = "self.head(self.body(x) * (1 + 0 * self.make(self.code.to(x.device)).mean()))"
    plugin.write_text(text.replace("self.head(self.body(x))", made))
    path = lab.study()
    path.write_text(path.read_text(encoding="utf-8").replace("{ steps = 4 }", "{ flops = 1e6 }"))
    plan = plan_study(path, catalog=lab.catalog())
    run_study(path, lab.store, catalog=lab.catalog(), workers=0)
    store = open_store(lab.store)
    runs = store.runs("tiny").set_index("trial_id")
    for row in plan.trials:
        width = row.trial.architecture.params["width"]
        each = 2 * (2 * 16 * width) + 3 * (2 * width * 2)  # the input needs no gradient, nor does the code
        fixed = 2 * (2 * 3 * 16 * width)
        assert row.n_steps == round(1e6 / (8 * each + fixed))
        assert row.train_flops == row.n_steps * (8 * each + fixed)
        assert runs.loc[row.trial.id].train_flops == row.train_flops
        curve = store.curves(trial_ids=[row.trial.id])
        assert list(curve.train_flops) == [step * (8 * each + fixed) for step in curve.step]

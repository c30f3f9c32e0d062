"""A plan costs and times a study without training it."""

from __future__ import annotations

from scalelab import open_store, plan_study, run_study


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
    from scalelab.measure import models
    from scalelab.study import expand, load_study

    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    measured = []
    real = models._measure
    monkeypatch.setattr(models, "_measure", lambda *asked: measured.append(asked) or real(*asked))

    def total() -> float:
        catalog = lab.catalog()
        expansion = expand(load_study(lab.study(), catalog), catalog)
        cost = models.costs(catalog)
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

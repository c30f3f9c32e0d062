from types import SimpleNamespace
from typing import NamedTuple

import pytest

from scalelab import records
from scalelab.analysis.estimate import Estimate
from scalelab.execute.work import Span
from scalelab.jsonable import json_object
from scalelab.report.parts import Table
from scalelab.report.sections.all import TOPICS
from scalelab.report.sections.laws import weakly_determined
from scalelab.report.sections.studies import plan_table, studies_table
from scalelab.report.terminal import plain_lines, show, show_sections, tell

TABLE = Table("Sizes", ("name", "n"), (("a", "1"), ("long", "1,000")), frozenset({"n"}), ("a note",))


def test_plain_text_is_aligned():
    assert plain_lines(TABLE) == [
        "Sizes",
        "name      n",
        "----  -----",
        "a         1",
        "long  1,000",
        "a note",
        "",
    ]


@pytest.mark.parametrize("plain", [True, False])
def test_show_prints_every_cell(plain, capsys):
    show(TABLE, plain=plain)
    printed = capsys.readouterr()
    assert all(text in printed.out for text in ("Sizes", "name", "long", "1,000", "a note"))
    assert printed.err == ""


def test_optional_columns_go_where_a_table_does_not_fit():
    table = Table("", ("a", "long one", "c"), (("1", "2", "3"),), optional=("c", "long one"))
    assert table.within(20) is table
    narrow = table.within(12)
    assert narrow.columns == ("a", "long one")
    assert narrow.rows == (("1", "2"),)
    assert narrow.notes == ("for c use a wider terminal or --plain",)
    assert table.within(3).columns == ("a",)


def test_markup_in_cells_is_text(capsys):
    show(Table("[bold]", ("[red]x",), (("[/nothing]",),)), plain=False)
    out = capsys.readouterr().out
    assert "[bold]" in out
    assert "[/nothing]" in out


def test_escape_sequences_in_names_are_not_obeyed(capsys):
    for plain in (True, False):
        show(Table("T\x1b[2J", ("a\x07",), (("b\nc",),), frozenset({"a\x07"})), plain=plain)
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07"} & set(out)
    assert "b�c" in out


def test_one_list_of_sections_in_one_order(grid_analysis, grid_report, report, capsys):
    # Nothing is tuned, refitted, calibrated or registered, and what nobody asked for is not missing.
    absent = ("sweeps", "refits", "calibration", "verdicts")
    keys = ["answer", *(topic.key for topic in TOPICS if topic.key not in absent)]
    assert list(grid_report.sections) == keys
    terminal = report(grid_analysis, whole=False, draw=False)
    assert list(terminal.sections) == [key for key in keys if key not in ("training", "curves", "method")]
    show_sections(terminal, plain=True)
    out = capsys.readouterr().out
    starts = [out.index(title) for title in terminal.tables]
    assert out.index(terminal.answer[0]) < starts[0]
    assert starts == sorted(starts)
    assert "The design space: it was not requested; scalelab analyze --design adds it" in out
    topics = [key for key in json_object(grid_analysis) if key in ("laws", "fronts", "trees", "design")]
    assert topics == sorted(topics, key=keys.index), "JSON has the same order"


def test_grid_tables_say_the_numbers(grid_analysis, report):
    tables = report(grid_analysis, whole=False, draw=False).tables.values()
    runs, adamw, sgd, laws, distrust, comparison, optimum, *fronts = tables
    assert distrust.notes
    assert not distrust.rows
    assert comparison.title.startswith("Comparison of optimizers")
    assert optimum.title.startswith("Compute-optimal size")
    assert runs.rows[0][:4] == ("demo", "toy-ecg", "macro-f1", "100")
    assert adamw.columns == ("N \\ D", "500", "1,500", "4,500", "13,500", "40,000")
    assert [row[0] for row in sgd.rows] == ["3,000", "12,000", "48,000", "190,000", "760,000"]
    assert [row[:2] for row in laws.rows[:4]] == [
        ("adamw", "L(N)"),
        ("adamw", "L(D)"),
        ("adamw", "L(C)"),
        ("adamw", "L(N, D)"),
    ]
    assert laws.rows[0][2].startswith("α 0.4")
    assert (laws.rows[3][2][0], laws.rows[4][2][0]) == ("α", "β")
    assert (
        "L(N): power-offset, L = E + A * x^-alpha, 5 model sizes at D = 40,000 (the largest) (adamw, sgd)"
        in laws.notes
    )
    assert [front.title.split(" against ")[1] for front in fronts] == [
        "forward FLOPs: toy-ecg",
        "training FLOPs: toy-ecg",
    ]
    assert [row[0] for row in fronts[0].rows] == ["adamw"] * 5 + ["sgd"] * 5
    assert "higher is better" in fronts[0].title


def test_all_rows_have_all_columns(grid_analysis, design_analysis, report):
    for analysis in (grid_analysis, design_analysis):
        for whole in (False, True):
            for table in report(analysis, whole=whole, draw=False).tables.values():
                assert all(len(row) == len(table.columns) for row in table.rows), table.title


def test_long_fronts_are_thinned_with_their_ends(grid_analysis, report):
    reports = (report(grid_analysis, whole=whole, draw=False) for whole in (False, True))
    short, whole = (found.sections["fronts"].tables[1] for found in reports)
    assert len(short.rows) == 12 < len(whole.rows)
    assert (short.rows[0], short.rows[-1]) == (whole.rows[0], whole.rows[-1])
    assert short.notes == (f"12 of {len(whole.rows)} designs on the fronts shown",)
    assert whole.notes == ()


def test_refusals_are_shown(design_report):
    notes = design_report.tables["Scaling laws of the loss"].notes
    assert any("refused: a law in D needs 4 data sizes" in note for note in notes)


def test_importances_are_shown(design_report):
    table = design_report.table("Design-choice importance for macro-f1")
    assert table.rows[0][0] == "architecture_width"
    assert table.notes[0].startswith("held-out designs: Pearson r 0.")


def test_the_answer_says_the_laws(grid_report):
    lines = grid_report.answer
    first, second, *_ = (line for line in lines if line.startswith("With "))
    assert first.startswith(
        "With model size (at D = 40,000), the loss of convnext1d on toy-ecg falls as N^-0.4"
    )
    assert "with adamw; N^-0.4" in first
    assert second.startswith("With data size (at N = 760,000)")


def test_the_answer_says_what_matters(design_report):
    assert "most important: architecture_width (ρ +" in design_report.answer[-1]


def test_an_interval_wider_than_its_estimate_is_weak():
    assert weakly_determined(Estimate(0.3, 0.1, 0.5))
    assert not weakly_determined(Estimate(0.3, None, None))
    assert not weakly_determined(Estimate(0.3, 0.25, 0.36))


class _Summary(NamedTuple):
    study: str
    planned: int
    registered_at: str | None


def test_studies_table():
    table = studies_table([_Summary("demo", 12, None)])
    assert table.columns == ("study", "planned", "registered at")
    assert table.rows == (("demo", "12", ""),)
    assert table.numeric == {"planned"}


def planned_trial(width: int, seed: int, status: str) -> SimpleNamespace:
    ref = records.ComponentRef(
        name="convnext1d", params={"widths": [8, width], "drop": 0.10000001, "none": None}
    )
    trial = records.Trial(
        dataset=records.ComponentRef(name="d"),
        fingerprint="f",
        architecture=ref,
        optimizer=records.ComponentRef(name="sgd"),
        n_examples=5000,
        seed=seed,
    )
    numbers = {"n_params": 1234, "forward_flops": 2e6, "train_flops": 3e12, "n_steps": 100, "epochs": 2.0}
    numbers["uncounted"] = ()
    seconds = Span.exactly(1.5) if status == "done" else Span(1.0, 1.5, 2.25)
    return SimpleNamespace(trial=trial, **numbers, seconds=seconds, status=status)


def test_plan_table_has_one_row_for_all_seeds_and_names_what_varies():
    trials = [planned_trial(16, 0, "pending"), planned_trial(16, 1, "done"), planned_trial(32, 0, "done")]
    table = plan_table(SimpleNamespace(study="demo", trials=trials))
    first, second = table.rows
    assert first[:4] == ("convnext1d(widths=8-16)", "sgd", "5,000", "1,234")
    assert first[4:] == ("2.00 MFLOP", "3.00 TFLOP", "100", "2.00", "2.5 to 3.8 s", "2", "1")
    assert second[0] == "convnext1d(widths=8-32)"
    assert second[8] == "1.50 s"
    trials[0].seconds = None
    assert plan_table(SimpleNamespace(study="demo", trials=trials)).rows[0][8] == ""


def test_a_plan_names_the_schedules_that_optimizers_have_of_their_own():
    plain, constant = planned_trial(16, 0, "pending"), planned_trial(16, 0, "pending")
    own = constant.trial.training.model_copy(update={"schedule": "constant", "clip_norm": 2.5})
    constant.trial = constant.trial.model_copy(update={"training": own})
    rows = plan_table(SimpleNamespace(study="demo", trials=[plain, constant])).rows
    assert [row[1] for row in rows] == [
        "sgd(schedule=cosine, clip_norm=1)",
        "sgd(schedule=constant, clip_norm=2.5)",
    ]
    assert [row[9] for row in rows] == ["1", "1"]


def test_a_plan_of_one_design_needs_no_options():
    table = plan_table(SimpleNamespace(study="demo", trials=[planned_trial(16, 0, "pending")]))
    assert table.rows[0][0] == "convnext1d"


def test_a_family_says_how_many_seeds_it_has_and_which(grid_report):
    table = grid_report.table("Training settings of each family")
    seeds = [row[table.columns.index("seeds")] for row in table.rows]
    assert set(seeds) == {"2 (0, 1)"}


def test_a_plan_beyond_all_sense_is_short():
    endless = planned_trial(16, 0, "pending")
    endless.n_steps = 10**300
    (row,) = plan_table(SimpleNamespace(study="demo", trials=[endless])).rows
    assert max(map(len, row)) < 40


def test_what_a_terminal_would_obey_is_not_said(capsys):
    tell("a \x1b[31mred\x07 line\nand another")
    assert capsys.readouterr().out == "a �[31mred� line\nand another\n"

"""Tables from elsewhere: read right, or refused in one line."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import rows_of

from scalelab.errors import InputError
from scalelab.store.foreign import opened
from scalelab.store.mapping import read_runs
from scalelab.store.targets import KNOWN_AS, TARGETS, Wanted

TABLE = pd.DataFrame(
    {"N": [10, 20, 40], "D": [100.0, 200.0, 400.5], "loss": [3.0, 2.5, 2.25], "lr": [0.1, 0.2, 0.3]}
)


def columns_of(read) -> dict[str, list]:
    return rows_of(read.table)


def read(table=TABLE, **options):
    return read_runs(table, Wanted(study="t", **options))


def written(folder, text, name="t.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refusal(action) -> str:
    """What is said where the input is refused; any other error passes."""
    try:
        action()
    except InputError as error:
        return str(error)
    return ""


def test_known_names_are_taken_and_everything_is_listed():
    result = read()
    found = {item.column: (item.expression, item.how) for item in result.mapped}
    assert found["n_params"] == ('"N"', "by name")
    assert found["n_examples"] == ('"D"', "by name")
    assert found["feature_lr"] == ('"lr"', "kept")
    assert found["dataset"] == ("'t'", "default")
    assert (result.n_rows, result.n_runs, result.statuses, result.outcome) == (3, 3, {"done": 3}, "read")
    assert set(KNOWN_AS) == set(TARGETS)


def test_expressions_conditions_and_options():
    result = read(
        map={"train_flops": "6 * N * D", "architecture": "case when N > 15 then 'big' else 'small' end"},
        only="row_number() over (order by loss desc) > 1",
        rest="optimizer",
    )
    columns = columns_of(result)
    assert columns["n_params"] == [20.0, 40.0]
    assert columns["train_flops"] == [6 * 20 * 200.0, 6 * 40 * 400.5]
    assert columns["architecture"] == ["big", "big"]
    assert [fact["optimizer_lr"] for fact in columns["extra"]] == [0.2, 0.3]


def test_products_of_whole_numbers_do_not_overflow():
    table = TABLE.assign(N=[3 * 10**9] * 3, D=[10**12] * 3)
    assert columns_of(read(table, map={"train_flops": "6 * N * D"}))["train_flops"] == [1.8e22] * 3


def test_a_column_that_an_expression_uses_is_still_known_by_its_name():
    table = TABLE.rename(columns={"D": "flops"})
    found = {item.column for item in read(table, map={"n_examples": "flops / (6 * N)"}).mapped}
    assert {"n_examples", "train_flops"} <= found
    found = {item.column for item in read(table, map={"forward_flops": "flops"}).mapped}
    assert "train_flops" not in found


def test_another_metric_than_the_loss():
    table = TABLE.rename(columns={"loss": "accuracy"})
    result = read(table, metric="accuracy", direction="maximize")
    columns = columns_of(result)
    assert columns["objective"] == [3.0, 2.5, 2.25]
    assert set(columns["metric"]) == {"accuracy"}
    assert set(columns["direction"]) == {"maximize"}
    assert "loss" not in columns
    assert any("no loss" in note for note in result.notes)


def test_a_loss_that_is_not_finite_is_an_outcome(tmp_path):
    result = read_runs(written(tmp_path, "N,loss\n1,nan\n2,inf\n3,2.5\n"), Wanted())
    assert result.statuses == {"diverged": 2, "done": 1}
    assert columns_of(result)["loss"] == [None, None, 2.5]
    assert any("diverged and left out of every fit: 2" in note for note in result.notes)


def test_repeats_are_told_unless_there_are_seeds_or_options():
    table = TABLE.assign(N=10, D=100)
    assert any("repeats: 2" in note for note in read(table).notes)
    assert read(table.assign(seed=[1, 2, 3])).notes == ()
    assert read(table, rest="optimizer").notes == ()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(tmp_path, separator):
    text = separator.join(["N", "Val, loss" if separator != "," else '"Val, loss"']) + "\n"
    text += separator.join(["7", "2.5"]) + "\r\n"
    result = read_runs(written(tmp_path, b"\xef\xbb\xbf" + text.encode()), Wanted(map={"loss": "Val, loss"}))
    assert columns_of(result)["loss"] == [2.5]


def test_files_of_every_kind_hold_the_same_table(tmp_path):
    import duckdb

    TABLE.to_csv(tmp_path / "t.csv", index=False)
    TABLE.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    TABLE.to_json(tmp_path / "t.json", orient="records")
    duckdb.from_df(TABLE).write_parquet(str(tmp_path / "t.parquet"))
    digests = {
        read_runs(tmp_path / name, Wanted()).table.digest
        for name in ("t.csv", "t.jsonl", "t.json", "t.parquet")
    }
    assert digests == {read_runs(TABLE, Wanted(study="t")).table.digest}


def test_a_name_with_the_signs_of_a_pattern_is_one_file(tmp_path):
    written(tmp_path, "N,loss\n5,5\n", "ab.csv")
    path = written(tmp_path, "N,loss\n1,2\n", "a[b]*.csv")
    assert columns_of(read_runs(path, Wanted(study="t")))["n_params"] == [1.0]


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(finite.filter(lambda value: value > 0), finite, st.none() | finite),
        min_size=1,
        max_size=6,
    )
)
def test_numbers_arrive_bit_for_bit(tmp_path, rows):
    text = "N,loss,x\n" + "".join(f"{n!r},{loss!r},{'' if x is None else repr(x)}\n" for n, loss, x in rows)
    columns = columns_of(read_runs(written(tmp_path, text), Wanted()))
    assert columns["n_params"] == [row[0] for row in rows]
    assert columns["loss"] == [row[1] for row in rows]
    if any(row[2] is not None for row in rows):
        assert [fact["feature_x"] for fact in columns["extra"]] == [row[2] for row in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(alphabet='N,loss;"\n1.5e-|\t', max_size=60).map(str.encode))
def test_any_file_is_read_or_refused_in_one_line(tmp_path, data):
    message = refusal(lambda: read_runs(written(tmp_path, data), Wanted()))
    assert "\n" not in message


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="Nlos+-*/()'\" ;,1e_%", min_size=1, max_size=16))
def test_any_expression_is_evaluated_or_refused_in_one_line(expression):
    with opened([TABLE]) as source:
        message = refusal(lambda: source.numbers("loss", expression))
        assert "\n" not in message


# Refusals


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("N,loss\n", "has no rows"),
        ("N,loss,loss\n1,2,3\n", "two columns 'loss', which are not distinct"),
        ("N:loss\n1:2\n", "columns are separated by a comma, a tab, a semicolon or a |"),
        ("# from a paper\nN,loss\n1,2\n", "line 2 of t.csv does not fit: 2 values for the 1 columns"),
        ("N,loss\n1,2\n3\n", "line 3 of t.csv does not fit: 1 values for the 2 columns"),
        ('N,loss\n1,"2\n', "is a quote left open?"),
        ("N,l\xf6ss\n1,2\n".encode("latin-1"), "is not UTF-8 text"),
        ("N,loss\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
        ("N,loss\nten,2\n", "row 1 of t.csv gives 'ten', not a number"),
        ("N,loss\n1,2\n0,2\n", "row 2 of t.csv: n_params = 0 must be above zero"),
        ("N,loss\n-3,2\n", "n_params = -3 must be above zero"),
        ("N,loss\ninf,2\n", "n_params = inf must be finite"),
        ("N,loss\n1,\n", 'has no loss; leave such rows out with --only'),
        ("N,D,loss\n,,1\n1,2,3\n", "row 1 of t.csv has no scale at all"),
        ("N,loss,seed\n1,2,0.5\n", "seed = 0.5 must be a whole number"),
        ("N,loss,status\n1,2,fine\n", "status 'fine' is not one of done, diverged"),
        ("N,loss,status\n1,nan,done\n", "is done, but its loss is nan"),
        ("N,params,loss\n1,2,3\n", "'params' and 'N', each of which may be n_params"),
        ("N,error rate\n1,2\n", "no column named loss or val_loss"),
        ("kind,loss\nwide,2\n", "no scale by a known name and no other column of numbers"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_taken(tmp_path, text, says):
    with pytest.raises(InputError) as refusal:
        read_runs(written(tmp_path, text), Wanted())
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_wrong_stays_short_whatever_the_names(tmp_path):
    long = "x" * 10_000
    path = written(tmp_path, f"{long},loss\n1,2\n")
    for map_ in ({"n_params": f"{long}y"}, {"n_params": long, "loss": f"{long} +"}):
        with pytest.raises(InputError) as refusal:
            read_runs(path, Wanted(map=map_))
        assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"map": {"n_parms": "N"}}, "did you mean 'n_params'"),
        ({"map": {"n_params": "NN * 2"}}, "no column 'NN'; did you mean 'N'?"),
        ({"map": {"n_params": "N +"}}, "syntax error"),
        ({"map": {"n_params": "max(N)"}}, "add over ()"),
        ({"map": {"n_params": "unnest([N, N])"}}, "it gives 6 values for 3 rows"),
        ({"map": {"n_params": "N; drop table kept"}}, "more than one statement"),
        ({"map": {"n_params": "(select count(*) from read_csv('/etc/hostname'))"}}, "no files"),
        ({"map": {"architecture": "resnet"}}, "put strings in single quotes: 'resnet'"),
        ({"only": "loss"}, "gives DOUBLE, not true or false"),
        ({"only": "loss > 99"}, "leaves none of 3 rows"),
        ({"metric": "accuracy", "direction": "maximize"}, "has no such column"),
        ({"metric": "loss"}, "go together"),
        ({"metric": "loss", "direction": "up"}, "not one of minimize, maximize"),
        ({"rest": "features"}, "did you mean 'feature'"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_met(options, says):
    with pytest.raises(InputError) as refusal:
        read(**options)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["a b", "", "../x", "x" * 101])
def test_names_of_studies_are_those_that_a_study_may_have(name):
    with pytest.raises(InputError, match="a name has letters, digits"):
        read_runs(TABLE, Wanted(study=name))


def test_files_that_are_none(tmp_path):
    for path, says in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.csv", "there is no file"),
        (written(tmp_path, "x", "t.xlsx"), "ends in none of"),
        (written(tmp_path, "x", "t.parquet"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=says):
            read_runs(path, Wanted())


def test_a_dataframe_needs_a_name():
    with pytest.raises(InputError, match="a DataFrame has no file name"):
        read_runs(TABLE, Wanted())


def test_columns_that_differ_in_case_alone_are_both_taken(tmp_path):
    (tmp_path / "t.csv").write_text("N,n,n_2,loss\n1,2,3,4\n")
    found = read_runs(tmp_path / "t.csv", Wanted())
    assert {item.column: item.expression for item in found.mapped if item.how != "default"} == {
        "loss": '"loss"',
        "n_params": '"N"',
        "feature_n_3": '"n_3"',
        "feature_n_2": '"n_2"',
    }
    assert any(
        "'n' has the name of another one, or differs in capital letters only" in note for note in found.notes
    )


def test_a_table_without_a_known_scale_keeps_its_numbers_and_says_what_they_are_for(tmp_path):
    (tmp_path / "t.csv").write_text("width,loss\n1,2\n2,1\n")
    found = read_runs(tmp_path / "t.csv", Wanted())
    (note,) = found.notes
    assert "laws need --law or --axis over feature_width" in note


def test_amounts_are_numbers_in_a_column_of_scales(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_text("params,tokens,loss\n10M,1e9,3.1\n1.2B,5B,2.4\n300k,,3.9\n")
    table = columns_of(read_runs(file, Wanted()))
    assert table["n_params"] == [1e7, 1.2e9, 3e5]
    assert table["n_examples"] == [1e9, 5e9, None]
    file.write_text("params,loss\n10M,3.1\nmany,2.4\n")
    with pytest.raises(InputError, match=r"row 2 of runs\.csv: n_params 'many': must be a positive number"):
        read_runs(file, Wanted())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_line_may_be_long_and_a_field_too(tmp_path, separator):
    path = tmp_path / "wide.csv"
    names = ["n_params", "loss", *(f"x_{i}" for i in range(300))]
    values = ["1000", "1.5", "9" * 140_000, *("8" * 500 for _ in range(299))]
    path.write_text("\n".join(separator.join(line) for line in (names, values, values)))
    assert read_runs(path, Wanted(study="t")).n_runs == 2


def test_a_name_that_sql_takes_for_another_is_never_mixed_up():
    frame = pd.DataFrame({"N": [1e6, 2e6], "n": [1000, 2000], "loss": [3.0, 2.0]})
    assert columns_of(read(frame, map={"n_examples": "n"}))["n_examples"] == [1000.0, 2000.0]
    message = refusal(lambda: read(frame, map={"n_examples": "n * 2"}))
    assert message == "map n_examples='n * 2': column 'n' is called 'n_2' here; write n_2"
    assert columns_of(read(frame, map={"n_examples": "n_2 * 2"}))["n_examples"] == [2000.0, 4000.0]


def test_values_inside_json_are_said_how_to_be_reached(tmp_path):
    path = tmp_path / "nested.jsonl"
    path.write_text(
        '{"val_loss": 3, "config": {"size": 10, "model": {"depth": 2}}}\n'
        '{"val_loss": 2, "config": {"size": 20, "model": {"depth": 3}}}\n'
    )
    assert refusal(lambda: read(path)).endswith(
        "values inside config are reached so: --map n_params=\"config->>'$.size'\""
    )
    assert "its values are reached so: config->>'$.size'" in refusal(
        lambda: read(path, map={"n_params": "config.size"})
    )
    nested = {"n_params": "config->>'$.size'", "architecture_depth": "config->>'$.model.depth'"}
    columns = columns_of(read(path, map=nested))
    assert columns["n_params"] == [10.0, 20.0]
    assert [fact["architecture_depth"] for fact in columns["extra"]] == ["2", "3"]

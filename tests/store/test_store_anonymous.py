"""`export --anonymous`: no host, user or path is in any file, and all numbers are."""

from __future__ import annotations

import getpass

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import a_measurement, a_prediction, a_record, a_trial

import scalelab
from scalelab.records import Provenance
from scalelab.store.anonymous import Anonymous
from scalelab.store.export import EXPORTED

HOSTS = ("zugspitze-01.clinic.example", "watzmann-02")
USER = "eva.mustermann"
SECRETS = (*HOSTS, "zugspitze", USER, "mustermann", "secret-ward", "clinic")
TEXT = f"""# by {USER} on zugspitze-01
name = "s"
[dataset]
name = "blobs"
folder = "/data/secret-ward/records of 2024"
other = 'secret-ward/relative'
home = "~{USER}/secret-ward"
windows = 'C:\\\\Users\\\\{USER}\\\\secret-ward'
rule = "width / 4 > 2"
"""
ERRORS = (
    f"cannot open '/home/{USER}/secret-ward/a b.dat': no such file",
    f"DataError: /home/{USER}/secret-ward/x.dat, line 3; ../secret-ward/y; on {HOSTS[0]} ({USER})",
    f'File "C:\\Users\\{USER}\\secret-ward\\x.py", line 3: watzmann-02 refused http://clinic.example/x',
)


@pytest.fixture
def named(store):
    store.register("s", TEXT, [a_trial(seed) for seed in range(4)])
    plugin = Provenance(plugin=f"/home/{USER}/secret-ward/net.py", distribution="local", version="1")
    for seed, host in enumerate((*HOSTS, HOSTS[0])):
        record = a_record(seed, features={"file": "/secret-ward/f", "stages": 4})
        machine = record.machine.model_copy(update={"host": host})
        facts = {"machine": machine, "provenance": {"architecture": plugin}}
        store.journal.write(record.model_copy(update=facts))
    for attempt, error in enumerate(ERRORS, 1):
        store.journal.write(a_record(3, attempt, "failed", error=error))
    one = a_measurement(
        8, facts={"model_path": f"/home/{USER}/secret-ward/m.xml"}, environment={"node": HOSTS[1]}
    )
    benchmark = one.benchmark.model_copy(update={"host": HOSTS[1]})
    store.journal.write(one.model_copy(update={"benchmark": benchmark}))
    store.journal.write(a_measurement(16, status="failed", reason=ERRORS[0]))
    store.ingest()
    store.register_predictions([a_prediction(where=f"host = '{HOSTS[0]}' and error <> '{ERRORS[0]}'")])
    return store


def test_no_host_user_or_path_is_in_any_file(named, tmp_path):
    plain = scalelab.export_runs(named, tmp_path / "plain")
    files = scalelab.export_runs(named, tmp_path / "anonymous", anonymous=True)
    assert [path.name for path in files] == [path.name for path in plain]
    for path in files:
        # Read back: Parquet's compression would hide what a search of the bytes looks for.
        text = str(duckdb.sql(f"from '{path}'").fetchall()) + path.read_bytes().decode("latin-1")
        for secret in SECRETS:
            assert secret not in text, (path.name, secret)
    seen = "".join(str(duckdb.sql(f"from '{path}'").fetchall()) for path in plain)
    assert all(secret in seen for secret in SECRETS)


def test_everything_else_is_as_it_was(named, tmp_path):
    scalelab.export_runs(named, tmp_path / "plain")
    scalelab.export_runs(named, tmp_path / "anonymous", anonymous=True)
    for name in EXPORTED:
        one, two = (
            duckdb.sql(f"from '{tmp_path / folder / name}.parquet'").df() for folder in ("plain", "anonymous")
        )
        assert list(one.dtypes) == list(two.dtypes)
        numbers = list(one.select_dtypes("number"))
        pd.testing.assert_frame_equal(
            one[numbers].sort_values(numbers, ignore_index=True),
            two[numbers].sort_values(numbers, ignore_index=True),
        )
    runs = duckdb.sql(f"from '{tmp_path / 'anonymous' / 'runs.parquet'}' order by seed").df()
    hosts = list(runs.host[:3])
    assert hosts[0] == hosts[2] != hosts[1]
    assert {host[:5] for host in hosts} == {"host-"}
    assert list(runs.optimizer) == ["adamw"] * 4
    assert runs.error[3].endswith(f"line 3: {hosts[1]} refused http:<path>")
    text = duckdb.sql(f"select text from '{tmp_path / 'anonymous' / 'studies.parquet'}'").fetchall()[0][0]
    assert 'rule = "width / 4 > 2"' in text
    assert 'folder = "<path>"' in text
    assert f"by <user> on {hosts[0]}" in text


def test_the_user_who_exports_is_known():
    assert getpass.getuser()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "no route to 192.168.17.4:6379, nor to fe80::1ff:fe23:4567:890a",
            "no route to <address>:6379, nor to <address>",
        ),
        ("at 12:30:15 torch 2.13.0 took 1.5 s; 300.1.2.3 is none", None),
        ("a.b.c.d std::vector [::] 10.0.0", None),
    ],
)
def test_addresses_of_a_network_are_left_out(text, shown):
    assert Anonymous([], []).text(text) == (shown or text)
    assert Anonymous([], []).without_places(text) == (shown or text)


folders = st.lists(st.sampled_from(["home", "secret", "ä ö", "x.y", "a-b"]), min_size=1, max_size=4)


@given(
    folders, st.sampled_from(["/", "~/", "../", "C:\\", "\\\\"]), st.sampled_from(["'{}'", '"{}"', "`{}`"])
)
def test_a_quoted_path_is_never_left(parts, start, quotes):
    path = start + "/".join([*parts, "secret"])
    assert "secret" not in Anonymous([], []).text(f"cannot read {quotes.format(path)}: gone")


@given(st.text(alphabet="ab1 .-_N∝^", max_size=30))
def test_text_without_a_path_stays(text):
    assert Anonymous([], []).text(text) == text

"""`scalelab data` for bundled datasets and for a third party's."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = SHARED / "challenge-2021"
PLUGIN = """
from pathlib import Path

import numpy as np
import scalelab
from pydantic import Field


class GetParams(scalelab.Params):
    to: scalelab.Location = Field(description="where to")
    sources: tuple[str, ...] = Field((), description="which")
    fail: int = Field(0, ge=0, description="how many fail")
    mood: str = Field("good", description="how it feels")


class LookParams(scalelab.Params):
    folder: scalelab.Location = Field(description="where")


def download(params, progress):
    progress(1, 1, "counting")
    names = list(params.sources or ("a", "b"))

    def fetch(report):
        for done, name in enumerate(names, 1):
            Path(params.to).mkdir(exist_ok=True)
            (Path(params.to) / name).write_text(params.mood)
            report(done, len(names), "downloading")
        return [f"{name}: lost" for name in names[: params.fail]]

    there = all((Path(params.to) / name).exists() for name in names)
    n_files = 0 if there else len(names)
    return scalelab.Download(
        title="shells", n_files=n_files, n_bytes=2_500_000, exact=True, fetch=fetch,
        notes=("handle with care",),
    )


def look(params, progress):
    files = sorted(path.name for path in Path(params.folder).iterdir())
    rows = [{"file": name, "n": 1234, "x": 0.5, "gone": None} for name in files]
    return scalelab.Inspection(title="a beach", tables={"Shells": rows}, records=rows, notes=("that is all",))


def open_shells(params):
    raise scalelab.DataError("no shells")


@scalelab.hookimpl
def scalelab_datasets():
    return [
        scalelab.Dataset(
            name="shells", summary="Shells", open=open_shells,
            download=scalelab.FileCommand(run=download, params=GetParams),
            inspect=scalelab.FileCommand(run=look, params=LookParams),
        ),
        scalelab.Dataset(name="sand", summary="Sand", open=open_shells),
    ]
"""


@pytest.fixture
def data(scalelab_command, tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "shells.py").write_text(PLUGIN)

    def call(what, *arguments):
        return scalelab_command("data", what, *arguments, "--plugins-dir", folder)

    return call


def terminal(monkeypatch, answer):
    stdin = io.StringIO(answer)
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)


def test_third_party_download(data, tmp_path):
    to = tmp_path / "beach"
    done = data("download", "shells", "--to", to, "--yes", "--option", "mood=calm")
    assert (done.code, done.out) == (
        0,
        f"2 files fetched; next: scalelab data inspect shells --folder {to}\n",
    )
    assert "shells\n  handle with care\n  2 files, 2.50 MB\n" in done.err
    assert "downloading 2 B of 2 B" in done.err
    assert (to / "b").read_text(encoding="utf-8") == "calm"
    again = data("download", "shells", "--to", to, "--yes")
    assert (again.code, again.out) == (0, f"nothing to fetch: {to} is complete\n")


def test_download_is_asked_about_first(data, tmp_path, monkeypatch):
    to = tmp_path / "beach"
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    refused = data("download", "shells", "--to", to)
    assert refused.code == 2
    assert refused.err.endswith(f"error: 2 files, 2.50 MB would be written to {to}; add --yes to continue\n")
    terminal(monkeypatch, "n\n")
    assert data("download", "shells", "--to", to).code == 1
    assert not to.exists()
    terminal(monkeypatch, "y\n")
    assert data("download", "shells", "--to", to, "--sources", "a, c,").code == 0
    assert sorted(path.name for path in to.iterdir()) == ["a", "c"]


def test_files_that_could_not_be_had_are_listed_and_the_exit_code_says_so(data, tmp_path):
    done = data("download", "shells", "--to", tmp_path / "beach", "--yes", "-o", "fail=1")
    assert (done.code, done.out) == (1, "")
    assert "  a: lost\n1 of 2 files was not downloaded; run the command again to retry\n" in done.err


def test_interrupted_download_says_how_to_go_on(data, tmp_path, monkeypatch):
    def interrupt(self, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupt)
    done = data("download", "shells", "--to", tmp_path / "beach", "--yes")
    assert done.code == 130
    assert done.err.endswith("stopped; run the command again to resume\n")


def test_third_party_inspection(data, tmp_path):
    (tmp_path / "beach").mkdir()
    (tmp_path / "beach" / "shell").write_text("x")
    shown = data("inspect", "shells", "--folder", tmp_path / "beach")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "a beach"
    assert [line.split() for line in lines[2:6]] == [
        ["Shells"], ["file", "n", "x", "gone"], ["-----", "-----", "---", "----"], ["shell", "1,234", "0.5"],
    ]  # fmt: skip
    assert lines[-1] == "that is all"
    assert "Records" not in shown.out
    assert "Records" in data("inspect", "shells", "--folder", tmp_path / "beach", "--records").out
    document = json.loads(data("inspect", "shells", "--folder", tmp_path / "beach", "--json").out)
    row = {"file": "shell", "n": 1234, "x": 0.5, "gone": None}
    assert document == {
        "schema": "scalelab/inspect/1",
        "title": "a beach",
        "tables": {"Shells": [row]},
        "notes": ["that is all"],
    }
    document = json.loads(
        data("inspect", "shells", "--folder", tmp_path / "beach", "--json", "--records").out
    )
    assert document["records"] == [row]


WRONG = """
download sand --to x  dataset 'sand' has nothing to download; these have: physionet2021, ptbxl, shells
synthesize shells --to x --records 3  dataset 'shells' has nothing to synthesize; these have: synthetic-ecg
download shell --to x            there is no dataset 'shell'; did you mean 'shells'
download shells --to x --jobs 3  no option 'jobs' here; its options: to, sources, fail, mood
download shells --to x -o mod=1  has no option 'mod' here; did you mean 'mood'?
download shells --to x -o fail=-1         dataset 'shells': fail = -1: must be at least 0
download shells --to x -o fail            must be KEY=VALUE
download shells --to x -o to=y            --option to: it is an argument or was given already; leave it out
download shells --to x -o catalog=y       --option catalog: it is an argument or was given already
download shells --to x --jobs 3 -o jobs=2  --option jobs: it is an argument or was given already
download physionet2021 --to x --sources umich  hidden test data, never published; leave umich out
download physionet2021 --to x --sources ptbxl  did you mean 'ptb-xl'
download physionet2021 --to x --jobs 99   jobs = 99: must be at most 16
download physionet2021 --to x --url here  url = 'here': must be the address of a web server
inspect physionet2021 --folder nowhere    there is no folder
inspect synthetic-ecg --folder nowhere    dataset 'synthetic-ecg' has nothing to inspect
synthesize synthetic-ecg --to x --records 0 --wfdb              records = 0: must be at least 1
synthesize synthetic-ecg --to x --records 3                     say in which format to write them: --wfdb
synthesize synthetic-ecg --to x --records 3 --wfdb --rate 257.5  rate = 257.5: must be a whole number
"""
"""Arguments, and what the answer must say; two spaces stand between them."""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_wrong_input_is_one_line(data, line):
    arguments, message = re.fullmatch(r"(.*?)  +(.*)", line).groups()
    done = data(*arguments.split())
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("'yes'", "download must be a scalelab.FileCommand or None, got str 'yes'"),
        (
            "scalelab.FileCommand(run=3, params=scalelab.NoParams)",
            "download.run must be a function, got int 3",
        ),
        (
            "scalelab.FileCommand(run=print, params=dict)",
            "download.params must be a subclass of scalelab.Params",
        ),
    ],
)
def test_broken_command_makes_a_broken_plugin(scalelab_command, tmp_path, command, problem):
    (tmp_path / "broken.py").write_text(
        "import scalelab\n@scalelab.hookimpl\ndef scalelab_datasets():\n"
        f"    return [scalelab.Dataset(name='mud', summary='Mud', open=print, download={command})]\n"
    )
    done = scalelab_command("data", "download", "mud", "--to", "x", "--plugins-dir", tmp_path)
    assert done.code == 2
    assert problem in done.err


def test_synthesize_then_inspect(scalelab_command, tmp_path):
    made = scalelab_command(
        "data", "synthesize", "synthetic-ecg", "--wfdb", "--to", tmp_path, "--records", 4, "--seed", 7,
        "--rate", 257, "--seconds", 12, "--source", "small", "--jobs", 1, "--option", "noise=0.5",
    )  # fmt: skip
    assert made.out == (
        f"4 records of 12 leads, 3,084 samples at 257 Hz in {tmp_path.resolve()}/training/small (g1)\n"
    )
    found = scalelab_command("data", "inspect", "physionet2021", "--folder", tmp_path, "--jobs", 1, "--json")
    document = json.loads(found.out)
    assert document["title"].endswith("4 records: 4 read, 0 repaired, 0 rejected")
    assert document["tables"]["Records by source"][0]["source"] == "small"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real records in {REAL}")
def test_inspection_of_real_records(scalelab_command):
    shown = scalelab_command("data", "inspect", "physionet2021", "--folder", REAL, "--jobs", 1, "--records")
    assert shown.code == 0
    assert "113 records: 113 read, 0 repaired, 0 rejected" in shown.out
    assert sum("training/georgia/g1/" in line for line in shown.out.splitlines()) == 30
    assert "reading 113 of 113" in shown.err


@pytest.mark.skipif(not (SHARED / "mitdb").is_dir(), reason=f"no real records in {SHARED}")
def test_inspection_of_mitbih(scalelab_command, tmp_path):
    for name in ("100", "102"):
        for extension in (".hea", ".dat", ".atr"):
            (tmp_path / f"{name}{extension}").write_bytes(
                (SHARED / "mitdb" / f"{name}{extension}").read_bytes()
            )
    (tmp_path / "103.hea").write_text("no header")
    found = scalelab_command("data", "inspect", "mitbih", "--folder", tmp_path, "--json", "--records")
    document = json.loads(found.out)
    assert document["title"].endswith("3 records: 2 read, 1 rejected")
    by_record = {row["record"]: row for row in document["records"]}
    assert (by_record["100"]["N"], by_record["100"]["S"], by_record["100"]["V"]) == (2239, 33, 1)
    assert (by_record["102"]["remarks"], by_record["102"]["Q"]) == ("paced", 2028 + 56)
    assert "103.hea cannot be read" in by_record["103"]["remarks"]
    empty = scalelab_command("data", "inspect", "mitbih", "--folder", tmp_path / "nowhere")
    assert (empty.code, empty.out) == (2, "")


DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page, language):
    found = re.findall(
        r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return [code for its, code in found if its == language]


def test_example_of_the_page_on_writing_plugins(scalelab_command, tmp_path, monkeypatch):
    (code,) = [block for block in blocks("plugin-datasets.md", "python") if "tones.csv" in block]
    (tmp_path / "tones.py").write_text(code)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    done = scalelab_command("data", "download", "tones", "--to", tmp_path / "x", "--plugins-dir", tmp_path)
    assert done.err.endswith(
        f"error: 1 file, about 120 kB would be written to {tmp_path}/x; add --yes to continue\n"
    )


def test_commands_of_the_page_on_physionet2021_can_be_parsed():
    import typer.main

    from scalelab.cli.app import app

    commands = typer.main.get_command(app).commands["data"].commands
    lines = [
        line.split()
        for block in blocks("physionet2021.md", "")
        for line in block.splitlines()
        if " data " in line
    ]
    assert len(lines) >= 6
    for _, _, name, *arguments in lines:
        commands[name].make_context(name, arguments)


def test_code_of_the_page_on_physionet2021_runs(scalelab_command, tmp_path, monkeypatch, capsys):
    code = next(block for block in blocks("physionet2021.md", "python") if "read_record" in block)
    monkeypatch.chdir(tmp_path)
    arguments = ("--to", "challenge-2021", "--records", 2, "--jobs", 1, "--wfdb")
    assert scalelab_command("data", "synthesize", "synthetic-ecg", *arguments).code == 0
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == [f"synthetic SY0000{i} read () None" for i in (1, 2)]


def test_table_of_sources_is_that_of_the_plugin():
    from scalelab_plugins.physionet2021.sources import SOURCES

    text = (DOCS / "physionet2021.md").read_text(encoding="utf-8")
    for name, source in SOURCES.items():
        size = source.n_records * source.bytes_per_record / 1e9
        cells = (f"`{name}`", source.title, f"{source.n_records:,}", f"{source.rate:,}")
        line = f"| {' | '.join(cells)} | {source.seconds:,g} s | {size:.1f} GB |"
        assert line in text

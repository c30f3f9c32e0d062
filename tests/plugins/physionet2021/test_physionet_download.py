"""The download against a server that cuts, lies, refuses and forgets."""

from __future__ import annotations

import hashlib
import time
from email.utils import formatdate

import pytest
from physionet_samples import REAL, needs_real
from physionet_server import load_real
from pydantic import ValidationError
from scalelab_plugins import http_transfer, physionet_files
from scalelab_plugins.physionet2021.download import plan_download
from scalelab_plugins.physionet2021.params import DownloadParams
from scalelab_plugins.physionet2021.records import find_records, read_record
from scalelab_plugins.physionet2021.sources import SOURCES

import scalelab

SOURCE = "chapman_shaoxing"
MAT = f"training/{SOURCE}/g1/JS00004.mat"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(http_transfer, "FIRST_WAIT", 0.001)


@pytest.fixture
def real(server):
    load_real(server, REAL, (SOURCE, "cpsc_2018"))
    return server


class Progress:
    """Keeps what was said last, and that nothing was ever more than all of it."""

    def __init__(self):
        self.last = {}

    def __call__(self, done, total, what):
        assert 0 <= done <= total
        self.last[what] = (done, total)


def plan(server, folder, progress=None, **options):
    params = DownloadParams.model_validate({"to": folder, "url": server.url, "sources": [SOURCE]} | options)
    return plan_download(params, progress or Progress())


def assert_complete(server, folder, source=SOURCE):
    wanted = {
        path: content for path, content in server.files.items() if path.startswith(f"training/{source}/")
    }
    assert wanted
    for path, content in wanted.items():
        assert (folder / path).read_bytes() == content, path
    assert not list(folder.rglob("*.part"))


@needs_real
def test_everything_arrives_and_can_be_read(real, tmp_path):
    progress = Progress()
    download = plan(real, tmp_path, sources=())
    files = {path for path in real.files if path not in ("SHA256SUMS.txt", "RECORDS")}
    assert (download.n_files, download.exact) == (len(files), True)
    assert download.n_bytes == sum(len(real.files[path]) for path in files)
    assert not list(tmp_path.iterdir()), "nothing is written before somebody agrees"
    assert download.fetch(progress) == []
    assert progress.last["downloading"] == (download.n_bytes, download.n_bytes)
    for source in (SOURCE, "cpsc_2018"):
        assert_complete(real, tmp_path, source)
    assert {record.status for record in map(read_record, find_records(tmp_path))} == {"read"}
    assert len(find_records(tmp_path)) == 20
    (note,) = download.notes
    assert note.endswith("does not have cpsc_2018_extra, st_petersburg_incart, ptb, ptb-xl, georgia, ningbo")


@needs_real
def test_one_source_only_and_politely(real, tmp_path):
    download = plan(real, tmp_path, jobs=3)
    assert download.fetch(Progress()) == []
    assert {path.parent.parent.name for path in find_records(tmp_path)} == {SOURCE}
    assert real.most <= 3
    assert {headers["User-Agent"] for headers in real.headers} == {f"scalelab/{scalelab.__version__}"}
    assert {headers["Accept-Encoding"] for headers in real.headers} == {"identity"}


@needs_real
def test_running_again_fetches_nothing(real, tmp_path):
    plan(real, tmp_path).fetch(Progress())
    real.requests.clear()
    progress = Progress()
    again = plan(real, tmp_path, progress)
    assert (again.n_files, again.n_bytes) == (0, 0)
    assert again.notes == ("22 files are already complete",)
    assert progress.last == {"checking existing files": (22, 22)}
    assert [path for _, path, _ in real.requests] == ["SHA256SUMS.txt"]


@needs_real
def test_only_what_is_missing_or_damaged_is_fetched_again(real, tmp_path):
    plan(real, tmp_path).fetch(Progress())
    damaged = bytearray((tmp_path / MAT).read_bytes())
    damaged[5000] ^= 1
    (tmp_path / MAT).write_bytes(damaged)
    gone = f"training/{SOURCE}/g1/JS00001.hea"
    (tmp_path / gone).unlink()
    real.requests.clear()
    assert plan(real, tmp_path).fetch(Progress()) == []
    assert sorted(real.fetched) == sorted([MAT, gone])
    assert_complete(real, tmp_path)


@needs_real
def test_cut_connection_goes_on_where_it_was_cut(real, tmp_path):
    real.faults[MAT] = ["cut", "cut"]
    progress = Progress()
    assert plan(real, tmp_path).fetch(progress) == []
    size = len(real.files[MAT])
    starts = [0 if asked is None else int(asked[6:-1]) for asked in real.asked(MAT)]
    assert starts[0] == 0
    assert size // 2 - 8192 < starts[1] <= size // 2
    assert (starts[1] + size) // 2 - 8192 < starts[2] <= (starts[1] + size) // 2
    assert len(starts) == 3
    assert_complete(real, tmp_path)
    assert progress.last["downloading"][0] == progress.last["downloading"][1]


@needs_real
def test_another_process_goes_on_where_one_was_killed(real, tmp_path):
    content = real.files[MAT]
    part = tmp_path / f"{MAT}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:100_000])
    assert plan(real, tmp_path).fetch(Progress()) == []
    assert real.asked(MAT) == ["bytes=100000-"]
    assert_complete(real, tmp_path)


@needs_real
@pytest.mark.parametrize("fault", ["whole", "elsewhere"])
def test_server_that_does_not_heed_the_range(real, tmp_path, fault):
    real.faults[MAT] = ["cut", fault]
    assert plan(real, tmp_path).fetch(Progress()) == []
    assert real.asked(MAT)[1].startswith("bytes=")
    assert_complete(real, tmp_path)


@needs_real
def test_leftover_of_another_version_is_thrown_away(real, tmp_path):
    for leftover in (b"x" * 100, b"x" * len(real.files[MAT]), b"x" * 10_000_000):
        part = tmp_path / f"{MAT}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(leftover)
        (tmp_path / MAT).unlink(missing_ok=True)
        assert plan(real, tmp_path).fetch(Progress()) == []
        assert_complete(real, tmp_path)


@needs_real
def test_whole_leftover_is_taken_as_it_is(real, tmp_path):
    part = tmp_path / f"{MAT}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(real.files[MAT])
    assert plan(real, tmp_path).fetch(Progress()) == []
    assert_complete(real, tmp_path)


@needs_real
def test_wrong_checksum_is_said_and_the_file_does_not_get_its_name(real, tmp_path):
    damaged = bytearray(real.files[MAT])
    damaged[5000] ^= 1
    sound, real.files[MAT] = real.files[MAT], bytes(damaged)
    assert plan(real, tmp_path).fetch(Progress()) == [f"{MAT}: its checksum is not the one listed"]
    assert not (tmp_path / MAT).exists()
    assert len(real.asked(MAT)) == 2
    real.files[MAT] = sound
    assert plan(real, tmp_path).fetch(Progress()) == []
    assert_complete(real, tmp_path)


@needs_real
def test_file_that_is_not_there_keeps_no_other_from_coming(real, tmp_path):
    content = real.files.pop(MAT)
    download = plan(real, tmp_path)
    assert not download.exact
    assert download.fetch(Progress()) == [f"{MAT}: 404 Not Found"]
    assert real.asked(MAT) == [None], "a file that is not there is asked for once"
    assert_complete(real, tmp_path)
    real.files[MAT] = content
    assert plan(real, tmp_path).fetch(Progress()) == []


@needs_real
def test_the_same_plan_can_be_tried_again(real, tmp_path):
    real.faults[MAT] = ["404"]
    download = plan(real, tmp_path)
    assert download.fetch(Progress()) == [f"{MAT}: 404 Not Found"]
    assert download.fetch(Progress()) == []
    assert_complete(real, tmp_path)


@needs_real
def test_passing_errors_are_tried_again(real, tmp_path):
    real.faults[MAT] = ["503", "500", "429", "cut", "502"]
    assert plan(real, tmp_path).fetch(Progress()) == []
    assert len(real.asked(MAT)) == 6
    assert_complete(real, tmp_path)


@needs_real
def test_waits_as_long_as_the_server_asks(real, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(http_transfer.time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(http_transfer.Server, "_wait_until", lambda _, moment: waits.append(moment - 1000.0))
    real.faults[MAT] = ["429 7"]
    assert plan(real, tmp_path, jobs=1).fetch(Progress()) == []
    assert max(waits) == 7.0
    assert sum(wait > 6 for wait in waits) > 1, "all later requests are held back too"


def test_asked_waits():
    assert http_transfer._retry_after("12") == 12
    assert http_transfer._retry_after("99999999") == http_transfer.LONGEST_ASKED_WAIT
    assert 50 < http_transfer._retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert http_transfer._retry_after(formatdate(time.time() - 60, usegmt=True)) == 0
    assert http_transfer._retry_after("soon") == http_transfer._retry_after("") == 0


@needs_real
def test_server_that_fails_for_good_is_left_alone(real, tmp_path, monkeypatch):
    monkeypatch.setattr(http_transfer, "ATTEMPTS", 2)
    download = plan(real, tmp_path, jobs=2)
    for path in real.files:
        real.faults[path] = ["503"] * 50
    problems = download.fetch(Progress())
    assert problems[-1] == f"gave up: {real.url} does not answer any more"
    assert "503 Service Unavailable, 2 times" in problems[0]
    assert len(problems) == physionet_files.GIVE_UP + 1


@needs_real
def test_folder_that_cannot_be_written(real, tmp_path):
    (tmp_path / "training").write_text("a file in the way")
    with pytest.raises(scalelab.DataError, match="cannot be written"):
        plan(real, tmp_path).fetch(Progress())


@needs_real
def test_estimate_of_what_is_too_much_to_ask_for(real, tmp_path, monkeypatch):
    monkeypatch.setattr(physionet_files, "ASK_SIZES", 5)
    download = plan(real, tmp_path)
    assert not download.exact
    true = sum(len(content) for path, content in real.files.items() if SOURCE in path)
    assert abs(download.n_bytes - true) < 0.02 * true
    assert [method for method, *_ in real.requests] == ["GET"]
    assert any("computed" in note for note in download.notes)


@needs_real
def test_disk_that_is_too_small(real, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(scalelab.DataError, match=r"0\.0 GB are to be downloaded and 0\.0 GB are free"):
        plan(real, tmp_path / "deep" / "er")


@needs_real
def test_source_that_the_server_lacks(real, tmp_path):
    with pytest.raises(scalelab.DataError, match=r"SHA256SUMS\.txt lists no files of ptb$"):
        plan(real, tmp_path, sources=["ptb", SOURCE])


def test_no_list_of_checksums(server, tmp_path):
    with pytest.raises(scalelab.DataError, match=r"SHA256SUMS\.txt: 404 Not Found; is the address"):
        plan(server, tmp_path)
    server.files["SHA256SUMS.txt"] = b"<html>Welcome</html>"
    with pytest.raises(scalelab.DataError, match="is not a list of checksums"):
        plan(server, tmp_path)


def test_no_server_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(http_transfer, "ATTEMPTS", 2)
    params = DownloadParams(to=tmp_path, url="http://127.0.0.1:9/files/")
    with pytest.raises(scalelab.DataError, match=r"no connection \(ConnectionError\), 2 times"):
        plan_download(params, Progress())


def test_paths_out_of_the_folder_are_not_taken():
    digest = hashlib.sha256(b"").hexdigest()
    for path in ("../x", "/etc/passwd", "training/../../x", "a\\b", ""):
        assert physionet_files._listed(f"{digest} {path}") is None
    for line in (f"{digest} a/b", f"{digest}  a/b", f"{digest} *a/b", f"{digest.upper()} a/b\r"):
        assert physionet_files._listed(line) == physionet_files.RemoteFile("a/b", digest)
    assert physionet_files._listed("abc a/b") is None


@pytest.mark.parametrize("name", ["umich", "UMich", "university_of_michigan"])
def test_hidden_test_data_is_not_to_be_had(tmp_path, name):
    with pytest.raises(ValidationError, match="hidden test data, never published"):
        DownloadParams.model_validate({"to": tmp_path, "sources": [name]})


@pytest.mark.parametrize("url", ["ftp://physionet.org/", "physionet.org", "file:///etc", ""])
def test_address_of_no_web_server(tmp_path, url):
    with pytest.raises(ValidationError, match="address of a web server"):
        DownloadParams(to=tmp_path, url=url)


def test_table_of_sources_adds_up_to_what_is_published():
    """88,253 training records (Reyna et al. 2021); 12.6 GiB on PhysioNet's page of version 1.0.3."""
    assert sum(source.n_records for source in SOURCES.values()) == 88_253
    total = sum(source.n_records * source.bytes_per_record for source in SOURCES.values())
    assert abs(total / 2**30 - 12.6) < 0.1

import resource
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from scalelab.cache import cache_dir, cached_arrays
from scalelab.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def visible(cache):
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_arrays_come_back_as_read_only_memory_maps_and_are_prepared_once(cache):
    calls = []
    arrays = {
        "x": np.arange(12, dtype=np.float16).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.empty((0, 5), np.float32),
        "scalar": np.array(7),
        "names": np.array(["N", "V"]),
    }

    def prepare():
        calls.append(1)
        return arrays

    for _ in range(2):
        found = cached_arrays("entry", prepare)
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    assert calls == [1]
    assert isinstance(found["x"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found["x"][0] = 1


def test_blocks_are_joined_along_the_first_axis():
    whole = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    parts = (whole[start : start + 7] for start in range(0, 1000, 7))
    np.testing.assert_array_equal(cached_arrays("blocks", lambda: {"x": parts})["x"], whole)


def test_no_blocks_at_all_is_the_callers_error(cache):
    with pytest.raises(ValueError, match="'x'"):
        cached_arrays("blocks", lambda: {"x": iter(())})
    assert visible(cache) == []


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone", "100.dat"), DataError("bad"), KeyError("k")])
def test_errors_of_prepare_pass_through_and_leave_nothing(cache, error):
    def prepare():
        raise error

    def blocks():
        yield np.zeros(3)
        raise error

    for arrays in (prepare, lambda: {"x": blocks()}):
        with pytest.raises(type(error)) as caught:
            cached_arrays("entry", arrays)
        assert caught.value is error
        assert visible(cache) == []


def test_a_full_disk_is_a_data_error_and_leaves_nothing(cache):
    """A file-size limit stands for the full disk: the operating system refuses the write in both cases."""
    script = """
        import resource, numpy as np
        from scalelab.cache import cached_arrays
        from scalelab.errors import DataError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for arrays in ({"x": np.zeros(10**6)}, {"x": iter([np.zeros(5), np.zeros(10**6)])}):
            try:
                cached_arrays("big", lambda: arrays)
            except DataError as error:
                print(error)
        print(cached_arrays("small", lambda: {"x": np.ones(3)})["x"].sum())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0] == lines[1]
    assert "SCALELAB_CACHE" in lines[0]
    assert str(cache) in lines[0]
    assert visible(cache) == ["small"]


def test_a_cache_folder_that_is_a_file_is_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="SCALELAB_CACHE"):
        cached_arrays("entry", lambda: {"x": np.zeros(3)})


def test_a_truncated_entry_is_a_data_error_that_says_what_to_delete(cache):
    cached_arrays("entry", lambda: {"x": np.zeros(1000)})
    path = cache / "entry" / "x.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"entry is damaged.*delete that folder"):
        cached_arrays("entry", lambda: {"x": np.zeros(1000)})


def test_what_a_killed_process_left_is_removed(cache):
    abandoned = cache / ".entry.dead"
    abandoned.mkdir(parents=True)
    (abandoned / "x.npy").write_bytes(b"half")
    cached_arrays("entry", lambda: {"x": np.zeros(3)})
    assert visible(cache) == ["entry"]


def test_two_at_once_prepare_once(cache):
    started, go = threading.Event(), threading.Event()
    calls = []

    def prepare():
        calls.append(1)
        started.set()
        go.wait(10)
        return {"x": np.arange(5)}

    found = []
    threads = [
        threading.Thread(target=lambda: found.append(cached_arrays("entry", prepare))) for _ in range(2)
    ]
    threads[0].start()
    assert started.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert calls == [1]
    assert [entry["x"].tolist() for entry in found] == [[0, 1, 2, 3, 4]] * 2


def test_cache_dir_follows_the_environment(monkeypatch, cache):
    assert cache_dir() == cache
    monkeypatch.delenv("SCALELAB_CACHE")
    assert cache_dir().name == "scalelab"


def test_large_block_entries_stay_out_of_memory(cache):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cached_arrays("large", lambda: {"x": (np.full((64, 1024), i, np.float64) for i in range(300))})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60_000  # kilobytes; the array is 157 MB

"""Workers and the devices that they share: who gets which GPU, and what happens when memory runs out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from memory_toys import ALONE, check_all_found_room, crowd_of, lost, notes, warned

from scalelab import plan_study
from scalelab.execute import devices, worker
from scalelab.execute.devices import Device, devices_for
from scalelab.execute.jobs import Finished
from scalelab.store import open_store
from scalelab.train.device import GPU_SLOTS, leave_others_room

GPUS = ({"CUDA_VISIBLE_DEVICES": "GPU-a"}, {"CUDA_VISIBLE_DEVICES": "MIG-b"})


@pytest.fixture
def crowd(lab):
    return crowd_of(lab)


def test_workers_take_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(devices, "gpu_environments", lambda: GPUS)
    for name in ("auto", "cuda"):
        found = devices_for(5, name)
        assert [(one.slots, one.choice) for one in found] == [(3, GPUS[0]), (2, GPUS[1])]
    assert [one.choice for one in devices_for(1, "auto")] == [GPUS[0]]
    for name in ("cpu", "mps", "cuda:1"):
        assert [(one.slots, one.choice) for one in devices_for(5, name)] == [(5, {})]
    monkeypatch.setattr(devices, "gpu_environments", tuple)
    assert [(one.slots, one.choice) for one in devices_for(5, "auto")] == [(5, {})]


def test_a_worker_sees_its_gpu_alone(lab, crowd, monkeypatch):
    monkeypatch.setattr(devices, "gpu_environments", lambda: GPUS)
    assert crowd("note", seeds=3, workers=3)[0].done == 3
    seen = {(note["CUDA_VISIBLE_DEVICES"], note[GPU_SLOTS]) for note in notes(lab)}
    assert seen == {("GPU-a", "2"), ("MIG-b", "1")}
    by_worker = {note["pid"]: note["CUDA_VISIBLE_DEVICES"] for note in notes(lab)}
    assert sorted(by_worker.values()) == ["GPU-a", "GPU-a", "MIG-b"]


def test_the_processes_that_time_for_a_plan_share_them_likewise(lab, crowd, monkeypatch):
    monkeypatch.setattr(devices, "gpu_environments", lambda: GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "inherited")
    crowd("note", seeds=2, workers=0)
    before = notes(lab)
    assert {note["CUDA_VISIBLE_DEVICES"] for note in before} == {"inherited"}, "this process is as it was"
    plan_study(lab.folder / "devices.toml", workers=2, threads=1, catalog=lab.catalog())
    after = [note for note in notes(lab) if note not in before]
    assert {note["CUDA_VISIBLE_DEVICES"] for note in after} == {"GPU-a", "MIG-b"}


def test_trials_that_have_no_room_together_are_trained_one_at_a_time(lab, crowd):
    summary, events = crowd("crowd", sizes=(3,), seeds=3, workers=2)
    check_all_found_room(lab, summary, events)
    assert warned(events) == [
        "memory ran out on this machine with 2 trials at a time; from now on one trial at a time there"
    ]


def test_a_trial_that_has_no_room_alone_fails_and_leaves_the_slots_to_the_others(lab, crowd):
    summary, events = crowd("crowd", sizes=(0, 9), seeds=2, workers=2)
    assert (summary.done, len(summary.failed)) == (2, 2)
    for trial_id, reason in summary.failed.items():
        assert reason == ALONE
        assert open_store(lab.store).outcomes()[trial_id][0] == "failed"
        assert summary.logs[trial_id].exists()
    assert all(event.status in ("done", "failed") for event in events if isinstance(event, Finished))


@pytest.mark.parametrize("does", ["allocator", "python"])
@pytest.mark.parametrize("workers", [0, 1])
def test_alone_it_fails_at_once_whatever_ran_out(crowd, does, workers):
    summary, events = crowd(does, workers=workers)
    assert lost(events) == []
    assert "with batch_size = 16, though no other trial shared it" in next(iter(summary.failed.values()))


def test_slots_are_taken_one_by_one_and_all_but_one_for_a_trial_that_lost_before():
    device = Device(8)
    assert device.ran_out("a", 8)
    assert device.slots == 7
    assert not device.ran_out("b", 8), "it began when there were more"
    assert device.ran_out("a", 7)
    assert device.slots == 1
    device.too_small("a")
    assert device.slots == 8
    device.too_small("never lost")
    assert device.slots == 8


def test_a_part_of_a_gpus_memory_leaves_room_for_the_others(monkeypatch):
    parts = []
    whole = type("Properties", (), {"total_memory": 16 * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: whole)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda part, _device: parts.append(part)
    )
    gpu = torch.device("cuda", 0)
    for slots in ("1", "2", "4", "64"):
        monkeypatch.setenv(GPU_SLOTS, slots)
        leave_others_room(gpu)
        leave_others_room(torch.device("cpu"))
    assert parts == [1.0, 0.5 - 0.75 / 16, 0.25 - 0.75 / 16, 0.5 / 64]
    parts.clear()
    monkeypatch.setenv(GPU_SLOTS, "1")
    for sharers in (0, 1, 2, 1):
        leave_others_room(gpu, sharers)
    assert parts == [1.0, 1.0, 0.5 - 0.75 / 16, 1.0], (
        "one that has a GPU for itself after others may take it all"
    )


@pytest.mark.parametrize(("sharers", "n_calls"), [(0, 1), (1, 0), (2, 1)])
def test_an_idle_job_keeps_no_memory_of_a_gpu_that_others_may_share(monkeypatch, sharers, n_calls):
    calls, ended = [], SimpleNamespace(status="done", wall_seconds=1.0)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    monkeypatch.setattr(worker, "run_job", lambda *_given, **_options: ended)
    job = SimpleNamespace(trial=SimpleNamespace(id="t"), sharers=sharers, place=None)
    worker.attempt_job(job, None, print, None)
    assert len(calls) == n_calls


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_two_workers_share_a_real_gpu(lab, crowd):
    assert crowd("note", seeds=2, workers=2, device="cuda")[0].done == 2
    assert {note[GPU_SLOTS] for note in notes(lab)} == ({"2"} if torch.cuda.device_count() == 1 else {"1"})

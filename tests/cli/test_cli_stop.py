"""Ctrl-C where nothing runs yet that could end cleanly, as while Ray starts."""

from __future__ import annotations

import signal

import pytest


def test_ctrl_c_ends_in_one_word(scalelab_command, monkeypatch, tmp_path):
    def pressed(*_given, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scalelab.run_study", pressed)
    answer = scalelab_command("run", "--store", tmp_path / "store.duckdb", "--on", "ray")
    assert answer.code == 130
    assert answer.err.endswith("\nstopped\n")


def test_ctrl_c_that_a_library_turns_into_another_error_ends_alike(scalelab_command, monkeypatch, tmp_path):
    """As numpy does where it is met half imported."""
    # A shell that starts tests in the background has them ignore it.
    began = signal.signal(signal.SIGINT, signal.default_int_handler)

    def pressed(*_given, **_options):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RecursionError from None

    monkeypatch.setattr("scalelab.run_study", pressed)
    try:
        answer = scalelab_command("run", "--store", tmp_path / "store.duckdb")
        assert answer.code == 130
        assert answer.err.endswith("\nstopped\n")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, began)


@pytest.mark.parametrize("argument", ["nonsense", "--help"])
def test_other_ends_are_not_called_stopped(scalelab_command, argument):
    assert "stopped" not in scalelab_command(argument).err

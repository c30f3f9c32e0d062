"""Ctrl-C where nothing runs yet that could end cleanly, as while Ray starts."""

from __future__ import annotations

import pytest


def test_ctrl_c_ends_in_one_word(scalelab_command, monkeypatch, tmp_path):
    def pressed(*_given, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scalelab.run_study", pressed)
    answer = scalelab_command("run", "--store", tmp_path / "store.duckdb", "--on", "ray")
    assert answer.code == 130
    assert answer.err.endswith("\nstopped\n")


@pytest.mark.parametrize("argument", ["nonsense", "--help"])
def test_other_ends_are_not_called_stopped(scalelab_command, argument):
    assert "stopped" not in scalelab_command(argument).err

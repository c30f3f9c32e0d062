"""What a process prints, in a file of limited size."""

from __future__ import annotations

from scalelab.supervise.log import END_BYTES, Log


def test_nothing_printed_leaves_no_file(tmp_path):
    log = Log(tmp_path / "logs" / "a.txt")
    log.close()
    assert not list(tmp_path.iterdir())


def test_it_takes_up_where_it_was_closed(tmp_path):
    log = Log(tmp_path / "logs" / "a.txt")
    for piece in (b"one ", b"two "):
        log.write(piece)
        log.close()
    Log(log.path).write(b"three")
    assert log.path.read_bytes() == b"one two three"


def test_beyond_its_limit_it_keeps_the_end_alone(tmp_path):
    log = Log(tmp_path / "a.txt", limit=1000)
    for number in range(100_000):
        log.write(b"%9d\n" % number)
    assert log.path.stat().st_size < 1100
    log.close()
    text = log.path.read_text()
    assert text.startswith("        0\n")
    assert text.count("this log is full (1,000 bytes); the rest was dropped") == 1
    assert "[scalelab: 999,000 bytes were dropped; these are the last]\n" in text
    assert text.endswith("    99998\n    99999\n")
    assert len(text) < 1000 + END_BYTES + 200


def test_what_cannot_be_written_is_dropped(tmp_path):
    (tmp_path / "file").touch()
    log = Log(tmp_path / "file" / "a.txt")
    log.write(b"nowhere to go")
    log.close()
    assert not log.path.exists()

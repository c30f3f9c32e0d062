"""Thousands of corrupted records: never an exception, never a wrong value that a checksum can catch."""

from __future__ import annotations

import os
import random
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from physionet_samples import REAL, header_lines, limb_consistent, matlab
from scalelab_plugins.physionet2021.leads import LEADS
from scalelab_plugins.physionet2021.records import read_record

CASES = 1250
"""Of each kind."""
N = 600


@pytest.fixture
def folder():
    """In memory where there is such a place: thousands of small files are slow to write elsewhere."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def originals():
    """Headers and signal files: both generations, made up and (where there are any) real ones."""
    found = []
    for seed in range(8):
        samples = limb_consistent(N, seed)
        found.append(("\n".join(header_lines("A1", samples, old=seed % 2 == 0)).encode(), matlab(samples)))
    for path in ("georgia/g1/E00001", "ningbo/g1/JS45542"):
        header = (REAL / "training" / path).with_suffix(".hea")
        if header.is_file():
            text = header.read_text(encoding="utf-8").replace(header.stem, "A1")
            found.append((text.encode(), header.with_suffix(".mat").read_bytes()))
    return found


def flip_bytes(rng, content):
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(rng, content):
    return content[: rng.randrange(len(content))]


def drop_piece(rng, content):
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 50) :]


def insert(rng, content):
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.randbytes(rng.randrange(1, 60)) + content[place:]


def swap_pieces(rng, content):
    size = rng.choice((2, 24, 200))
    a, b = sorted(rng.randrange(max(1, len(content) - size)) for _ in range(2))
    if b - a < size:
        return content[::-1]
    return (
        content[:a]
        + content[b : b + size]
        + content[a + size : b]
        + content[a : a + size]
        + content[b + size :]
    )


def missing_samples(rng, content):
    samples = np.frombuffer(content, dtype="<i2", offset=24).copy()
    start = rng.randrange(len(samples))
    samples[start : start + rng.randrange(1, 2000)] = -(2**15)
    return content[:24] + samples.tobytes()


def lengthened(rng, content):
    return content + rng.randbytes(rng.randrange(1, 50))


STRANGE = (
    "", "0", "-1", "1e999", "nan", "inf", "99999999999999999999", "16", "24", "A1.mat", "A2.mat", "../A1.mat",
    "I", "V1", "/", "(", ")", "#", "x" * 500, "\0", "１２", "mV", "-32768", "65536", "500/", "12",
)  # fmt: skip


def words_changed(rng, content):
    lines = content.decode("latin-1").split("\n")
    for _ in range(rng.choice((1, 1, 3))):
        place = rng.randrange(len(lines))
        words = lines[place].split(" ")
        at = rng.randrange(len(words))
        action = rng.randrange(4)
        if action == 0:
            words[at] = rng.choice(STRANGE)
        elif action == 1:
            del words[at]
        elif action == 2:
            words.insert(at, rng.choice(STRANGE))
        else:
            words[at] = re.sub(r"\d", lambda _: str(rng.randrange(10)), words[at], count=1)
        lines[place] = " ".join(words)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def lines_changed(rng, content):
    lines = content.split(b"\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(3)
    if action == 0:
        lines[a], lines[b] = lines[b], lines[a]
    elif action == 1:
        del lines[a]
    else:
        lines.insert(a, lines[b])
    return b"\n".join(lines)


ANY = (flip_bytes, flip_bytes, cut, drop_piece, insert, swap_pieces)
HEADER = (*ANY, words_changed, words_changed, words_changed, lines_changed)
SIGNAL = (*ANY, missing_samples, lengthened, lambda rng, content: b"", lambda rng, content: None)


def check(record):
    """What holds for every record, whatever its files are."""
    assert record.status in ("read", "repaired", "rejected")
    for text in (*record.repairs, *record.notes, record.reason or ""):
        assert text.isprintable()
        assert len(text) < 400
    if record.status == "rejected":
        assert record.signal is None
        assert record.reason
        assert not record.repairs
        return
    assert record.reason is None
    assert bool(record.repairs) == (record.status == "repaired")
    assert record.signal.dtype == np.float32
    assert record.signal.shape == (12, record.n_samples)
    assert np.isfinite(record.signal).all()


def test_corrupted_signal_files(folder, originals):
    """With a sound header: rejected, or equal to the original, or of the very same sums."""
    rng = random.Random(1)
    statuses = set()
    for case in range(CASES):
        text, content = originals[case * len(originals) // CASES]
        (folder / "A1.hea").write_bytes(text)
        changed = rng.choice(SIGNAL)(rng, content)
        (folder / "A1.mat").unlink(missing_ok=True)
        if changed is not None:
            (folder / "A1.mat").write_bytes(changed)
        record = read_record(folder / "A1.hea")
        check(record)
        statuses.add(record.status)
        if record.signal is None:
            continue
        samples = np.frombuffer(content, dtype="<i2", offset=24).reshape(-1, 12)
        if np.array_equal(record.signal, (samples.T / 1000).astype(np.float32)):
            continue
        stored = np.frombuffer(changed, dtype="<i2", offset=24, count=samples.size).reshape(-1, 12)
        sums = [int(line.split()[6]) for line in text.decode().split("\n")[1:13]]
        assert ((stored.astype(int).sum(axis=0) - sums) % 65536 == 0).all(), record
    assert statuses == {"read", "repaired", "rejected"}


def test_corrupted_headers(folder, originals):
    """With sound samples: each lead that is accepted matches the checksum on its line of the header."""
    rng = random.Random(2)
    statuses = set()
    for case in range(CASES):
        text, content = originals[case * len(originals) // CASES]
        changed = rng.choice(HEADER)(rng, text)
        (folder / "A1.hea").write_bytes(changed)
        (folder / "A1.mat").write_bytes(content)
        record = read_record(folder / "A1.hea")
        check(record)
        statuses.add(record.status)
        if record.signal is not None:
            agrees_with_header(record, changed.decode("latin-1"), content)
    assert statuses == {"read", "repaired", "rejected"}


def agrees_with_header(record, text, content):
    samples = np.frombuffer(content, dtype="<i2", offset=24).reshape(-1, 12)[: record.n_samples]
    lines = [line.strip() for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]
    derived = {
        lead
        for text in record.repairs
        if text.startswith("leads derived: ")
        for lead in text[15:].split(", ")
    }
    for lead, row in zip(LEADS, record.signal, strict=True):
        if lead in derived:
            continue
        (place,) = [i for i, line in enumerate(lines[1:]) if line.split()[-1].lower() == lead.lower()]
        column, words = samples[:, place].astype(int), lines[1 + place].split()
        if len(words) > 7 and all(re.fullmatch(r"[-+]?\d+", word) for word in words[3:7]):
            assert (column.sum() - int(words[6])) % 65536 == 0
        else:
            assert any(note.startswith("no checksum") for note in record.notes)
        if np.ptp(column):
            assert abs(np.corrcoef(row, column)[0, 1]) > 0.999999
        else:
            assert np.ptp(row) == 0

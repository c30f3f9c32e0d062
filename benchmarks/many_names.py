"""How ingesting, rebuilding, reading and checking a store grow with the number of features and options.

Records have all names at once; `each` has records that bring new names one after another, ingested singly.

    python benchmarks/many_names.py [--names 500 1000 2000 5000] [--records 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scalelab import ComponentRef, Record, Store, Trial, open_store


def record(seed: int, features: dict[str, int], options: dict[str, int]) -> Record:
    """Returns a finished record with these features, of a trial with these options."""
    trial = Trial(
        dataset=ComponentRef(name="data"),
        fingerprint="f" * 16,
        architecture=ComponentRef(name="net", params=options),
        optimizer=ComponentRef(name="adamw"),
        n_examples=64,
        seed=seed,
    )
    return Record(
        trial=trial, study="s", attempt=1, status="done", loss=0.5, objective=0.5, features=features,
        started_at=1.8e9, finished_at=1.8e9 + 1,
    )  # fmt: skip


def timed(what: Callable[[], object]) -> float:
    """Returns how many seconds of CPU a call takes; another load on the machine does not count."""
    start = time.process_time()
    what()
    return time.process_time() - start


def measure(store: Store, records: list[Record], *, each: bool) -> list[float]:
    """Returns the seconds of ingesting, reading, checking and rebuilding."""
    ingesting = 0.0
    for one in records:
        store.journal.write(one, durable=False)
        if each:
            ingesting += timed(store.ingest)
    ingesting += timed(store.ingest)
    return [ingesting, timed(store.runs), timed(store.check), timed(store.rebuild)]


def main() -> None:
    """Prints a line for each kind and number of names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, nargs="+", default=[500, 1000, 2000, 5000])
    parser.add_argument("--records", type=int, default=20)
    asked = parser.parse_args()
    print(
        f"{'names':>6s}  {'of':9s} {'ingest':>8s} {'runs':>8s} {'check':>8s} {'rebuild':>8s}   seconds of CPU"
    )
    for n in asked.names:
        names = {f"name_{i:05d}": i for i in range(n)}
        part = -(-n // asked.records)
        parts = [dict(list(names.items())[i : i + part]) for i in range(0, n, part)]
        kinds = {
            "features": [record(seed, names, {}) for seed in range(asked.records)],
            "options": [record(seed, {}, names) for seed in range(asked.records)],
            "each": [record(seed, own, {}) for seed, own in enumerate(parts)],
        }
        for kind, records in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                store = open_store(Path(folder, "names.duckdb"), create=True)
                seconds = measure(store, records, each=kind == "each")
            print(f"{n:6d}  {kind:9s} " + " ".join(f"{one:8.2f}" for one in seconds), flush=True)


if __name__ == "__main__":
    main()

"""Whether two checkouts say the same numbers of the committed stores: `analyze`, `predict`, `advise`.

Only words, the order of keys and the names of keys in `RENAMED` may differ. What has no value counts as
absent, whether a document leaves it out or says null (or NaN, which is not JSON). Values that only the later
checkout gives are counted apart.

    python benchmarks/same_numbers.py OTHER_CHECKOUT [--design]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STORES = (
    "examples/mitbih-convnext.duckdb",
    "examples/mitbih-design.duckdb",
    "examples/mitbih-hardware.duckdb",
)
RENAMED = {
    "low": "lower", "high": "upper", "ice_low": "ice_lower", "ice_high": "ice_upper",
    "distance_normalised": "distance_normalized", "p_normalised": "p_normalized",
}  # fmt: skip
QUESTIONS = (
    ("analyze",),
    ("predict", "--at", "n_params=1e7"),
    ("predict", "--at", "n_params=1e7", "--at", "n_examples=1e5"),
    ("predict", "--at", "train_flops=1e14", "--law", "auto"),
    ("predict", "--reach", "0.06"),
    ("advise", "--budget", "1e12"),
)
LATENCY = ("advise", "--max-latency", "0.3ms", "--device", "openvino:CPU:f32")


def answer(root: Path, store: Path, question: tuple[str, ...]) -> Any:
    """Returns what a checkout answers, or its refusal's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scalelab").symlink_to(root / "scalelab")
        (Path(folder) / "scalelab_plugins").symlink_to(root / "plugins")
        copy = shutil.copy(store, folder)
        done = subprocess.run(
            [sys.executable, "-m", "scalelab.cli", *question, "--store", copy, "--json"],
            env={**os.environ, "PYTHONPATH": folder}, cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    return json.loads(done.stdout) if done.returncode == 0 else {"exit code": done.returncode}


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every number and truth value of a document with its place; words and nulls are left out."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from numbers(one, f"{path}.{RENAMED.get(key, key)}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from numbers(one, f"{path}[{index}]")
    elif not isinstance(value, str) and value is not None and value == value:
        yield path, value


def differences(before: Any, after: Any) -> list[str]:
    """Returns where a document lacks a number of an earlier one or has another, a line each."""
    new = dict(numbers(after))
    return sorted(
        f"{place}: {value!r} before, {new.get(place, 'nothing')!r} after"
        for place, value in numbers(before)
        if place not in new or not same(value, new[place])
    )


def same(before: Any, after: Any) -> bool:
    """Whether two numbers are equal, to the twelfth digit where they are fractions."""
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=1e-12, abs_tol=1e-300)
    return bool(before == after)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("other", type=Path, help="the checkout to compare with")
    parser.add_argument("--design", action="store_true", help="the design space too: minutes")
    options = parser.parse_args()
    n_different = 0
    for name in STORES:
        store = ROOT / name
        questions = [*QUESTIONS, LATENCY] if "hardware" in name else list(QUESTIONS)
        if options.design:
            questions.append(("analyze", "--design"))
        for question in questions:
            before = answer(options.other.absolute(), store, question)
            after = answer(ROOT, store, question)
            found = differences(before, after)
            n_different += len(found)
            said, more = (sum(1 for _ in numbers(document)) for document in (before, after))
            print(f"{store.name}: {' '.join(question)}: {said:,} values, {len(found)} differ, "
                  f"{more - said + len(found)} new" + ("; refused" if "exit code" in after else ""),
                  flush=True)  # fmt: skip
            for line in found[:20]:
                print(f"  {line}")
    sys.exit(1 if n_different else 0)


if __name__ == "__main__":
    main()

"""Our latencies against those of the runtimes' own tools, on the same models, runs alternated.

`openvino:CPU` against OpenVINO's `benchmark_app`: the same conversion, saved as IR, latency hint, batch,
precision and threads. `onnxruntime:CPU` against a bare loop over a session of the same ONNX file. Each
repeat runs both, one after the other, and gives a ratio of medians; the table has their median and range.
`benchmark_app` reports what OpenVINO's own clock says, and so does our latency; the column `call` has the
same inferences by the clock of the Python that calls them, relative to the tool's median.

    python benchmarks/backends.py [--seconds 1] [--repeats 15] [--batch 1] [--leads 12] [--samples 1000]

Target: both ratios within 5% of 1. Needs `pip install 'scalelab[openvino,onnx]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scalelab_plugins import onnxruntime_backend, openvino_backend
from torch import nn

import scalelab
from scalelab.measure.environment import environment_facts
from scalelab.measure.rounds import timed_calls

MODELS: dict[str, dict[str, Any]] = {"convnext1d": {"width": 32}, "regnet1d": {}}
N_OUTPUTS = 26
SLICES = 4
"""Parts of a run in one process: it can take turns more often than one that starts a tool each time."""


def benchmark_app(ir: Path, seconds: float, threads: int) -> float:
    """Returns the median latency, in seconds, that OpenVINO's own tool measures."""
    config = ir.with_name("config.json")  # beside -hint, the tool refuses -nthreads but not the property
    config.write_text(json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}}))
    command = [
        sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()",
        "-m", str(ir), "-d", "CPU", "-api", "sync", "-hint", "latency", "-load_config", str(config),
        "-infer_precision", "f32", "-t", str(max(1, round(seconds))),
    ]  # fmt: skip
    env = {**os.environ, "CI": "true"}  # in CI it reports its use to nobody
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", result.stdout)
    if found is None:
        raise SystemExit(f"benchmark_app failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return float(found.group(1)) * {"ms": 1e-3, "us": 1e-6}[found.group(2)]


def bare_loop(session: Any, batch: np.ndarray, seconds: float) -> float:
    """Returns the median time of a session's run, as anybody would write it."""
    feed = {session.get_inputs()[0].name: batch}
    for _ in range(20):
        session.run(None, feed)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return median(times)


def alternated(
    ours: scalelab.Executable, theirs: Callable[[], float], batch: np.ndarray, seconds: float, repeats: int
) -> dict[str, Any]:
    found = []
    for repeat in range(repeats):
        before = theirs() if repeat % 2 else None
        times = timed_calls(ours, batch, seconds)
        inference, call = (median(column) for column in zip(*times, strict=True))
        found.append((inference, call, theirs() if before is None else before))
    ratios = [inference / other for inference, _, other in found]
    return {
        "ours_ms": 1e3 * median(inference for inference, _, _ in found),
        "theirs_ms": 1e3 * median(other for _, _, other in found),
        "ratio": median(ratios),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "call_ratio": median(call / other for _, call, other in found),
    }


def openvino_row(module: nn.Module, batch: np.ndarray, arguments: argparse.Namespace) -> dict[str, Any]:
    params = openvino_backend.OpenvinoParams(threads=arguments.threads)
    executable = openvino_backend.load(params, module, batch, "CPU", None)
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        ir = Path(folder, "model.xml")
        model = openvino_backend.convert("torchscript", module, batch)
        openvino.save_model(model, ir, compress_to_fp16=False)
        return alternated(
            executable,
            lambda: benchmark_app(ir, arguments.seconds, arguments.threads),
            batch,
            arguments.seconds,
            arguments.repeats,
        )


def onnxruntime_row(module: nn.Module, batch: np.ndarray, arguments: argparse.Namespace) -> dict[str, Any]:
    import onnxruntime

    params = onnxruntime_backend.OnnxruntimeParams(threads=arguments.threads)
    executable = onnxruntime_backend.load(params, module, batch, "CPU", None)
    with tempfile.TemporaryDirectory() as folder:
        path = onnxruntime_backend.export("torchscript", params, module, batch, Path(folder))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return alternated(
        executable,
        lambda: bare_loop(session, batch, arguments.seconds / SLICES),
        batch,
        arguments.seconds / SLICES,
        arguments.repeats * SLICES,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--leads", type=int, default=12)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    shape = (arguments.leads, arguments.samples)
    batch = np.random.default_rng(0).standard_normal((arguments.batch, *shape)).astype(np.float32)
    rows = []
    for name, options in MODELS.items():
        torch.manual_seed(0)
        module = scalelab.build_model(name, options, shape, N_OUTPUTS)
        for target, other, measure in (
            ("openvino:CPU", "benchmark_app", openvino_row),
            ("onnxruntime:CPU", "bare session loop", onnxruntime_row),
        ):
            rows.append(
                {"model": name, "target": target, "against": other} | measure(module, batch, arguments)
            )
            row = rows[-1]
            if not arguments.json:
                print(
                    f"{name:11} {target:16} {row['ours_ms']:8.3f} ms   "
                    f"{other:18} {row['theirs_ms']:8.3f} ms   "
                    f"ratio {row['ratio']:.3f} ({min(row['ratios']):.3f} to {max(row['ratios']):.3f})   "
                    f"call {row['call_ratio']:.3f}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps({"machine": environment_facts(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()

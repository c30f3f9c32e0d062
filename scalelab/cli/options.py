"""The options of the commands, each written once: those that several commands share mean the same in all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORE = Path("experiments.duckdb")

Store = Annotated[
    Path, typer.Option("--store", envvar="SCALELAB_STORE", help="The store's file.", show_default=True)
]
PluginsDir = Annotated[
    list[Path] | None,
    typer.Option("--plugins-dir", help="Folder of single-file plugins; may be given more than once."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Figures = Annotated[
    Path | None, typer.Option("--figures", help="Write every figure into this folder, as PNG and SVG.")
]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Worker processes; 0 trains in this one.")]

# Which runs, and how they are fitted.
Study = Annotated[str | None, typer.Option("--study", help="Only this study; all by default.")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")]
Architecture = Annotated[str | None, typer.Option("--architecture", help="Only this architecture.")]
Optimizer = Annotated[str | None, typer.Option("--optimizer", help="Only this optimizer.")]
Estimator = Annotated[str, typer.Option("--estimator", help="What the fits minimize.")]
Level = Annotated[float, typer.Option("--level", help="Coverage of the intervals.")]
StudyFile = Annotated[
    Path | None,
    typer.Option("--from", help="The runs' study file, where the store's copy cannot find its dataset."),
]

# analyze and predict
Law = Annotated[
    str | None, typer.Option("--law", help="Form to fit, such as power, power-offset, m4, chinchilla, auto.")
]
Axes = Annotated[
    list[str] | None,
    typer.Option("--axis", help="n_params, n_examples, train_flops or joint; may be given more than once."),
]
Trees = Annotated[bool, typer.Option("--trees/--no-trees", help="Fit tree models of the design.")]
Design = Annotated[
    bool, typer.Option("--design", help="Analyze the design space: three kinds of tree model and more.")
]
Propose = Annotated[
    Path | None,
    typer.Option(
        "--propose",
        help="Write a study file with the smaller space that holds the best models; implies --design.",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write one self-contained page here; '-' names it after the store."),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown", help="Write the report as Markdown here, with --figures; '-' names it after the store."
    ),
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", help="AXIS=NUMBER, such as n_params=1e9; once for each axis of the law."),
]
Reach = Annotated[
    float | None, typer.Option("--reach", help="The loss to reach: prints the scale that does.")
]
ReachAxes = Annotated[
    list[str] | None,
    typer.Option("--axis", help="With --reach: n_params, n_examples or train_flops (default)."),
]
PredictLaw = Annotated[
    str | None,
    typer.Option(
        "--law",
        help="Form to fit; by default power-offset along one axis, chinchilla on two. auto averages forms.",
    ),
]

# advise
Budget = Annotated[
    float | None, typer.Option("--budget", help="Training FLOPs of the run to make.", show_default=False)
]
MaxLatency = Annotated[
    str | None,
    typer.Option(
        "--max-latency",
        help="Instead of --budget: the best network within this latency per call, such as 5ms.",
    ),
]
LimitDevice = Annotated[
    str | None, typer.Option("--device", help="With --max-latency: such as openvino:CPU:int8.")
]
LimitBatch = Annotated[
    int, typer.Option("--batch-size", min=1, help="With --max-latency: examples per call.")
]
PricePerFlop = Annotated[
    float | None, typer.Option("--price-per-flop", help="Price of a FLOP, in any currency.")
]
PricePerHour = Annotated[
    float | None,
    typer.Option("--price-per-hour", help="Price of an hour on the machine that made the runs."),
]
Write = Annotated[
    Path | None,
    typer.Option("--write", help="Write the best family's run as a study file that plan and run take."),
]

# run
Trained = Annotated[Path | None, typer.Argument(help="The study's TOML file.", show_default=False)]
TrainDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Retry failed trials.")]
KeepWeights = Annotated[
    bool, typer.Option("--keep-weights", help="Keep final weights in the journal, for scalelab bench.")
]
Stall = Annotated[
    float,
    typer.Option("--stall-seconds", min=1.0, help="Seconds of silence after which a worker counts as hung."),
]

# bench
Benched = Annotated[
    Path | None, typer.Argument(metavar="[STUDY]", help="The study's TOML file.", show_default=False)
]
BenchedName = Annotated[
    str | None, typer.Option("--study", help="A study of the store, whose own copy of the file is used.")
]
Targets = Annotated[
    str | None,
    typer.Option(
        "--targets",
        "--devices",
        help="As backend:device or backend:device:precision, several as a,b; every usable device by default.",
        show_default=False,
    ),
]
Precisions = Annotated[
    str | None, typer.Option("--precisions", help="Such as f32,bf16,int8, for targets that name none.")
]
BatchSizes = Annotated[str, typer.Option("--batch-sizes", help="Examples per call, several as a,b.")]
Top = Annotated[
    int | None, typer.Option("--top", min=1, help="Only the best K of each architecture, by objective.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; all usable cores by default.")
]
BackendOptions = Annotated[
    list[str] | None, typer.Option("--option", "-o", help="Another option of backends, KEY=VALUE.")
]
TimeLimit = Annotated[
    float, typer.Option("--time-limit", min=0.01, help="Seconds of timing per network and target.")
]
Retry = Annotated[bool, typer.Option("--retry", help="Measure again what failed before.")]
BenchStall = Annotated[
    float,
    typer.Option("--stall-seconds", min=1.0, help="Seconds of silence after which a runtime counts as hung."),
]
ListDevices = Annotated[
    bool, typer.Option("--list", help="List the available devices, and how to enable the others.")
]
DryBench = Annotated[bool, typer.Option("--dry-run", help="Show what would be measured, measure nothing.")]
Measured = Annotated[
    bool, typer.Option("--measured", help="Show what the store has, from all machines; measure nothing.")
]

# import
Table = Annotated[Path | None, typer.Argument(help="CSV, Parquet or JSON lines.", show_default=False)]
ImportedName = Annotated[
    str | None, typer.Option("--study", help="Study name of the runs; the file's name by default.")
]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help='COLUMN="expression" over the file\'s columns; may be given more than once.'),
]
Only = Annotated[str | None, typer.Option("--only", help="Condition: which rows to take.")]
Metric = Annotated[
    str | None, typer.Option("--metric", help="Column of the objective, if it is not the loss.")
]
MetricDirection = Annotated[
    str | None, typer.Option("--direction", help="Direction of the metric: minimize or maximize.")
]
Rest = Annotated[
    str,
    typer.Option(
        "--rest", help="What other columns are: feature (a fact), or options of architecture, optimizer, …"
    ),
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace an earlier import of that name.")]
Remove = Annotated[str | None, typer.Option("--remove", help="Remove the imported table of this name.")]
DryImport = Annotated[
    bool, typer.Option("--dry-run", help="Read and check the file, show the mapping, store nothing.")
]

# data
DatasetName = Annotated[str, typer.Argument(help="The dataset's name; scalelab plugins lists them.")]
To = Annotated[Path, typer.Option("--to", help="Folder to write to; created if missing.")]
Folder = Annotated[Path, typer.Option("--folder", help="Folder with the dataset's files.")]
Sources = Annotated[str | None, typer.Option("--sources", help="Only these parts of the dataset, as a,b.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Url = Annotated[str | None, typer.Option("--url", help="Another address, such as a mirror's.")]
Jobs = Annotated[int | None, typer.Option("--jobs", help="How many to do in parallel.")]
MoreOptions = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="Another option of this dataset, KEY=VALUE; may be repeated."),
]
ListRecords = Annotated[bool, typer.Option("--records", help="List every record too.")]
Records = Annotated[int, typer.Option("--records", help="Number of records.")]
Wfdb = Annotated[
    bool | None,
    typer.Option("--wfdb", help="Write WFDB headers and MATLAB v4 files.", show_default=False),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Random seed.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Sampling rate in Hz.")]
Seconds = Annotated[float | None, typer.Option("--seconds", help="Length of a record.")]
SourceName = Annotated[str | None, typer.Option("--source", help="Name of the records' folder.")]

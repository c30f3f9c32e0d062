"""The options of the commands, each written once: those that several commands share mean the same in all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import records
from scalelab.cli import completion as shell
from scalelab.cli.context import DEFAULT_STORE as DEFAULT_STORE


def _option(names: str, help: str, **more: Any) -> Any:
    """Returns an option, given its names with blanks between them and its line of help."""
    return typer.Option(*names.split(), help=help, **more)


Store = Annotated[Path, _option("--store", "The store's file.", envvar="SCALELAB_STORE", show_default=True)]
PluginsDir = Annotated[
    list[Path] | None, _option("--plugins-dir", "Folder of single-file plugins; may be given more than once.")
]
Json = Annotated[bool, _option("--json", "Print one JSON document instead.")]
Figures = Annotated[Path | None, _option("--figures", "Write every figure into this folder: PNG, SVG, PDF.")]
TableFiles = Annotated[
    Path | None, _option("--tables", "Write every table into this folder: Markdown, LaTeX, CSV.")
]
Workers = Annotated[int, _option("--workers", "Worker processes; 0 trains in this one.", min=0)]

# Which runs, and how they are fitted.
Study = Annotated[
    str | None, _option("--study", "Only this study; all by default.", autocompletion=shell.studies)
]
Studies = Annotated[
    list[str] | None,
    _option(
        "--study",
        "Only this study; may be given more than once; all by default.",
        autocompletion=shell.studies,
    ),
]
Where = Annotated[
    str | None,
    _option("--where", "Only runs for which this SQL condition over the columns of runs is true."),
]
Dataset = Annotated[
    str | None, _option("--dataset", "Only this dataset.", autocompletion=shell.used("dataset"))
]
Architecture = Annotated[
    str | None,
    _option("--architecture", "Only this architecture.", autocompletion=shell.used("architecture")),
]
Optimizer = Annotated[
    str | None, _option("--optimizer", "Only this optimizer.", autocompletion=shell.used("optimizer"))
]
Estimator = Annotated[str, _option("--estimator", "What the fits minimize.")]
Level = Annotated[float, _option("--level", "Coverage of the intervals.")]
On = Annotated[
    records.On,
    _option(
        "--on",
        "Losses of the best validation, of the best step's weights on the test split, or of the last step.",
    ),
]
Charge = Annotated[
    records.Charge, _option("--charge", "Training FLOPs count the steps to the last one, or to the best.")
]
StudyFile = Annotated[
    Path | None,
    _option(
        "--from",
        "The runs' study file, where the store's copy cannot find its dataset.",
        autocompletion=shell.study_files,
    ),
]

# analyze and predict
Law = Annotated[
    str | None,
    _option(
        "--law",
        "Form to fit, such as power-offset, m4, chinchilla, auto; or a formula, such as "
        "'E + A*n_params^-alpha*width^-beta', in which names of columns are axes.",
        autocompletion=shell.laws,
    ),
]
Axes = Annotated[
    list[str] | None,
    _option(
        "--axis",
        "n_params, n_examples, train_flops, joint or another numeric column; may be given more than once.",
    ),
]
Trees = Annotated[bool, _option("--trees/--no-trees", "Fit tree models of the design.")]
Design = Annotated[bool, _option("--design", "Analyze the design space: three kinds of tree model and more.")]
Propose = Annotated[
    Path | None,
    _option(
        "--propose", "Write a study file with the smaller space that holds the best models; implies --design."
    ),
]
Html = Annotated[
    Path | None, _option("--html", "Write one self-contained page here; '-' names it after the store.")
]
Markdown = Annotated[
    Path | None,
    _option("--markdown", "Write the report as Markdown here, with --figures; '-' names it after the store."),
]
At = Annotated[
    list[str] | None,
    _option("--at", "AXIS=NUMBER, such as n_params=10M; once for each axis of the law."),
]
Rows = Annotated[
    Path | None,
    _option(
        "--rows", "Instead of --at: a table with a column for each axis of the law, a row for each scale."
    ),
]
Reach = Annotated[float | None, _option("--reach", "The loss to reach: prints the scale that does.")]
ReachAxes = Annotated[
    list[str] | None,
    _option("--axis", "With --reach: train_flops (default), n_params, n_examples, another numeric column."),
]
Register = Annotated[
    bool, _option("--register", "Write the prediction into the store for good, for scalelab verdicts.")
]
PredictLaw = Annotated[
    str | None,
    _option(
        "--law",
        "Form to fit, or a formula; by default power-offset along one axis, chinchilla on two. auto averages "
        "forms.",
        autocompletion=shell.laws,
    ),
]

# advise
Budget = Annotated[
    str | None, _option("--budget", "Training FLOPs of the run, such as 1e15 or 100T.", show_default=False)
]
MaxLatency = Annotated[
    str | None,
    _option(
        "--max-latency", "Instead of --budget: the best network within this latency per call, such as 5ms."
    ),
]
LimitDevice = Annotated[str | None, _option("--device", "With --max-latency: such as openvino:CPU:int8.")]
LimitBatch = Annotated[int, _option("--batch-size", "With --max-latency: examples per call.", min=1)]
PricePerFlop = Annotated[float | None, _option("--price-per-flop", "Price of a FLOP, in any currency.")]
PricePerHour = Annotated[
    float | None, _option("--price-per-hour", "Price of an hour on the machine that made the runs.")
]
Write = Annotated[
    Path | None, _option("--write", "Write the best family's run as a study file that plan and run take.")
]

# next
NextStudy = Annotated[
    str,
    typer.Argument(
        help="The study's TOML file; with --candidates the name of a study of the store, too.",
        show_default=False,
        autocompletion=shell.study_files,
    ),
]
NextBudget = Annotated[
    str,
    _option("--budget", "FLOPs that all runs may cost together, such as 1e15 or 100T.", show_default=False),
]
NextTarget = Annotated[
    str | None, _option("--target", "The scale whose loss is asked: AXIS=NUMBER,AXIS=NUMBER,…")
]
NextQuestion = Annotated[
    str | None, _option("--question", "Instead of --target: allocation, or compare:A,B with two names.")
]
StopWidth = Annotated[
    str | None,
    _option("--stop-width", "Stop once the interval is so wide, as a part of the answer, such as 5%."),
]
Candidates = Annotated[
    Path | None,
    _option("--candidates", "A table to choose from instead: a column for each axis, and train_flops."),
]
MostRuns = Annotated[int, _option("--most", "Runs to choose at a time, at most.", min=1, max=1000)]
AutoNext = Annotated[
    bool, _option("--auto", "Make the runs, one after the other, until the width or the budget is reached.")
]
WriteNext = Annotated[
    Path | None, _option("--write", "Write these runs, and no other, as a study file that run takes.")
]

# run
Trained = Annotated[
    Path | None,
    typer.Argument(help="The study's TOML file.", show_default=False, autocompletion=shell.study_files),
]
TrainDevice = Annotated[str, _option("--device", "auto, cpu, cuda, cuda:N or mps.")]
RedoChanged = Annotated[
    bool, _option("--redo-changed", "Run done trials again that were made with other versions of libraries.")
]
RetryFailed = Annotated[bool, _option("--retry-failed", "Retry failed trials.")]
KeepWeights = Annotated[
    bool, _option("--keep-weights", "Keep final weights in the journal, for scalelab bench.")
]
Stall = Annotated[
    float, _option("--stall-seconds", "Seconds of silence after which a worker counts as hung.", min=1.0)
]

# run --on
OnCluster = Annotated[
    str | None,
    _option("--on", "Train on a cluster: ray, ray:ADDRESS, slurm or slurm:PARTITION.", show_default=False),
]
Slots = Annotated[int | None, _option("--slots", "With --on: trials at once, each in its own job.", min=1)]
CpusPerTrial = Annotated[int | None, _option("--cpus-per-trial", "With --on: CPU cores of each.", min=1)]
GpusPerTrial = Annotated[float | None, _option("--gpus-per-trial", "With --on: GPUs of each.", min=0.0)]
JobTimeLimit = Annotated[
    str | None, _option("--time-limit", "With --on: how long a job may take, such as 2h or 12:00:00.")
]
JobMemory = Annotated[str | None, _option("--memory", "With --on: what a job may use, such as 4GB.")]
ArraySize = Annotated[
    int | None, _option("--array-size", "With --on slurm: jobs of one array at most.", min=1)
]
Sbatch = Annotated[
    list[str] | None,
    _option("--sbatch", "With --on slurm: another option of sbatch, NAME=VALUE; may be repeated."),
]
JobSetup = Annotated[
    list[str] | None,
    _option("--setup", "With --on slurm: a line of shell that jobs run first; may be repeated."),
]
NoSharedFolder = Annotated[
    bool, _option("--no-shared-folder", "With --on ray: its machines do not see the store's folder.")
]
AtStop = Annotated[
    str | None,
    _option(
        "--at-stop",
        "With --on: what Ctrl-C does with the jobs, cancel (after a checkpoint) or leave; cancel by default.",
    ),
]

# bench
Benched = Annotated[
    Path | None,
    typer.Argument(
        metavar="[STUDY]", help="The study's TOML file.", show_default=False, autocompletion=shell.study_files
    ),
]
BenchedName = Annotated[
    str | None,
    _option(
        "--study", "A study of the store, whose own copy of the file is used.", autocompletion=shell.studies
    ),
]
Targets = Annotated[
    str | None,
    _option(
        "--targets --devices",
        "As backend:device or backend:device:precision, several as a,b; every usable device by default.",
        show_default=False,
    ),
]
Precisions = Annotated[
    str | None, _option("--precisions", "Such as f32,bf16,int8, for targets that name none.")
]
BatchSizes = Annotated[str, _option("--batch-sizes", "Examples per call, several as a,b.")]
Top = Annotated[int | None, _option("--top", "Only the best K of each architecture, by objective.", min=1)]
TrainThreads = Annotated[
    int | None,
    _option("--threads", "CPU threads of each worker, instead of as many as pay off.", min=1),
]
Threads = Annotated[
    int | None, _option("--threads", "CPU threads, instead of OMP_NUM_THREADS or all usable cores.", min=1)
]
BackendOptions = Annotated[list[str] | None, _option("--option -o", "Another option of backends, KEY=VALUE.")]
TimeLimit = Annotated[
    float, _option("--time-limit", "Seconds of timing per network and target.", min=0.01, max=1e9)
]
Retry = Annotated[bool, _option("--retry", "Measure again what failed before.")]
BenchStall = Annotated[
    float, _option("--stall-seconds", "Seconds of silence after which a runtime counts as hung.", min=1.0)
]
ListDevices = Annotated[bool, _option("--list", "List the available devices, and how to enable the others.")]
DryBench = Annotated[bool, _option("--dry-run", "Show what would be measured, measure nothing.")]
Measured = Annotated[
    bool, _option("--measured", "Show what the store has, from all machines; measure nothing.")
]

# import
Tables = Annotated[
    list[Path] | None,
    typer.Argument(
        help="CSV, Parquet, JSON lines, or what a tool that tracks runs wrote; several are joined.",
        metavar="[SOURCE]...",
        show_default=False,
    ),
]
ImportedName = Annotated[
    str | None, _option("--study", "Study name of the runs; the file's name by default.")
]
Mapping = Annotated[
    list[str] | None,
    _option("--map", 'COLUMN="expression" over the file\'s columns; may be given more than once.'),
]
Only = Annotated[str | None, _option("--only", "Condition: which rows to take.")]
Metric = Annotated[str | None, _option("--metric", "Column of the objective, if it is not the loss.")]
MetricDirection = Annotated[
    str | None, _option("--direction", "Direction of the metric: minimize or maximize.")
]
Join = Annotated[str | None, _option("--join", "Column that joins the rows of several files.")]
SourceKind = Annotated[str | None, _option("--kind", "What wrote the source, if it is not recognized.")]
Experiment = Annotated[str | None, _option("--experiment", "Which study or experiment of a tracker to take.")]
Rest = Annotated[
    str | None,
    _option("--rest", "What other columns are: feature (a fact), or options of architecture, optimizer, …"),
]
Replace = Annotated[bool, _option("--replace", "Replace an earlier import of that name.")]
Remove = Annotated[
    str | None, _option("--remove", "Remove the imported table of this name.", autocompletion=shell.studies)
]
DryImport = Annotated[bool, _option("--dry-run", "Read and check the file, show the mapping, store nothing.")]

# data
DatasetName = Annotated[
    str,
    typer.Argument(help="The dataset's name; scalelab plugins lists them.", autocompletion=shell.datasets),
]
To = Annotated[Path, _option("--to", "Folder to write to; created if missing.")]
Folder = Annotated[Path, _option("--folder", "Folder with the dataset's files.")]
Sources = Annotated[str | None, _option("--sources", "Only these parts of the dataset, as a,b.")]
Yes = Annotated[bool, _option("--yes -y", "Do not ask for confirmation.")]
Url = Annotated[str | None, _option("--url", "Another address, such as a mirror's.")]
Jobs = Annotated[int | None, _option("--jobs", "How many to do in parallel.")]
MoreOptions = Annotated[
    list[str] | None, _option("--option -o", "Another option of this dataset, KEY=VALUE; may be repeated.")
]
ListRecords = Annotated[bool, _option("--records", "List every record too.")]
Records = Annotated[int, _option("--records", "Number of records.")]
Wfdb = Annotated[
    bool | None, _option("--wfdb", "Write WFDB headers and MATLAB v4 files.", show_default=False)
]
Seed = Annotated[int | None, _option("--seed", "Random seed.")]
Rate = Annotated[float | None, _option("--rate", "Sampling rate in Hz.")]
Seconds = Annotated[float | None, _option("--seconds", "Length of a record.")]
SourceName = Annotated[str | None, _option("--source", "Name of the records' folder.")]

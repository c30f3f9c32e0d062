"""Runs a job of Hydra's --multirun for each width, which leaves a table of metrics and its results."""

import csv
import json
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from known_runs import CUT, by_name, die
from omegaconf import DictConfig

again, names = sys.argv[2] == "again", sys.argv[3:]
start = CUT["resumed"] if again else 0


@hydra.main(version_base=None, config_name="config")
def train(config: DictConfig) -> None:
    run = by_name(f"width-{config.model.width}")
    here = Path(HydraConfig.get().runtime.output_dir)
    with (here / "metrics.csv").open("a", newline="") as file:
        rows = csv.writer(file)
        if not again:
            rows.writerow(["step", "train_loss", "val_loss"])
        for step, loss in list(enumerate(run.reported, start=1))[start:]:
            rows.writerow([step, loss + 0.125, loss])
            if not again and run.ending in ("crashed", "resumed") and step == CUT[run.ending]:
                file.flush()
                die()
    if run.ending != "pruned":
        (here / "results.json").write_text(json.dumps({"n_params": run.n_params}))


config = {"model": {"width": 8, "depth": 2}, "lr": 0.003}
ConfigStore.instance().store(name="config", node=config)
sweep = f"hydra.sweep.dir={sys.argv[1]}/multirun"
widths = ",".join(str(by_name(name).width) for name in names)
sys.argv[1:] = [
    "--multirun",
    sweep,
    "hydra.sweep.subdir=${hydra.job.override_dirname}",
    f"model.width={widths}",
]
train()

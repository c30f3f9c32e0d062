"""Studies: one TOML file in, the finite set of its trials out.

`load_study` reads and checks a file, `expand` lists its trials; neither trains nor imports torch.
"""

from scalelab.study.expand import CostFunction, expand
from scalelab.study.expansion import Expansion
from scalelab.study.model import ComponentEntry, DataOptions, OptimizerEntry, Sampling, Study, Tune
from scalelab.study.parse import embedded_study_path, load_study, parse_study

__all__ = [
    "ComponentEntry",
    "CostFunction",
    "DataOptions",
    "Expansion",
    "OptimizerEntry",
    "Sampling",
    "Study",
    "Tune",
    "embedded_study_path",
    "expand",
    "load_study",
    "parse_study",
]

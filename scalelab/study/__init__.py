"""Studies: one TOML file in, the finite set of its trials out.

`load_study` reads and checks a file, `expand` lists its trials; neither trains nor imports torch.
"""

from scalelab.study.expand import CostFunction, Expansion, expand
from scalelab.study.model import ComponentEntry, DataOptions, DatasetEntry, Sampling, Study
from scalelab.study.parse import embedded_study_path, load_study, parse_study

__all__ = [
    "ComponentEntry",
    "CostFunction",
    "DataOptions",
    "DatasetEntry",
    "Expansion",
    "Sampling",
    "Study",
    "embedded_study_path",
    "expand",
    "load_study",
    "parse_study",
]

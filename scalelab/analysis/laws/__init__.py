"""The forms of scaling laws, one short file each.

`get_law` finds a law by name, those of plugins are given to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from scalelab.analysis.laws.annealing import Annealing
from scalelab.analysis.laws.bnsl import Bnsl, Bnsl2
from scalelab.analysis.laws.data_constrained import DataConstrained
from scalelab.analysis.laws.expression import is_formula
from scalelab.analysis.laws.formula import formula
from scalelab.analysis.laws.interaction import Interaction
from scalelab.analysis.laws.kaplan import Kaplan, KaplanOffset
from scalelab.analysis.laws.loglog import LogLog
from scalelab.analysis.laws.loss_to_loss import LossToLoss
from scalelab.analysis.laws.m3 import M3
from scalelab.analysis.laws.m4 import M4
from scalelab.analysis.laws.outer_exponent import OuterExponent
from scalelab.analysis.laws.powers import Chinchilla, Power, PowerOffset, SharedExponent
from scalelab.analysis.laws.saturating import Saturating, SaturatingOverfit
from scalelab.analysis.laws.seen_and_unique import SeenAndUnique
from scalelab.analysis.laws.sigmoid import SigmoidLink
from scalelab.analysis.laws.step_law import StepLaw
from scalelab.errors import FitError, suggest
from scalelab.law import Law

LawName = Literal[
    "power", "power-offset", "m3", "m4", "bnsl", "bnsl2", "chinchilla", "shared-exponent", "outer-exponent",
    "saturating", "saturating-overfit", "kaplan", "kaplan-offset", "interaction", "data-constrained",
    "seen-and-unique", "loglog", "sigmoid", "loss-to-loss", "annealing", "step-law",
]  # fmt: skip
"""The names of the forms that scalelab brings, for type checkers."""
LAWS: Mapping[str, Law] = {
    law.name: law
    for law in (
        Power(), PowerOffset(), M3(), M4(), Bnsl(), Bnsl2(), Chinchilla(), SharedExponent(),
        OuterExponent(), Saturating(), SaturatingOverfit(), Kaplan(), KaplanOffset(), Interaction(),
        DataConstrained(), SeenAndUnique(), LogLog(), SigmoidLink(), LossToLoss(), Annealing(), StepLaw(),
    )
}  # fmt: skip
"""The forms that scalelab brings, by name."""


def get_law(law: str | Law, others: Mapping[str, Law] = MappingProxyType({})) -> Law:
    """Finds a law by its name, or reads its formula.

    Args:
        law: The name of one of `LAWS`, or of one of the others; or a formula, see
            `scalelab.analysis.laws.formula`; a law is returned as it is.
        others: Laws of plugins by name; none of them can replace one of `LAWS`.

    Raises:
        FitError: No law has that name, the message lists those available; or the formula is wrong.
    """
    if isinstance(law, Law):
        return law
    known = {**others, **LAWS}
    if law not in known and is_formula(law):
        return formula(law)
    if law not in known:
        raise FitError(
            f"unknown law {law!r}{suggest(law, known)}; there are {', '.join([*LAWS, *others])} and auto"
            + ("" if others else "; a plugin's law is given as scalelab.load_plugins().law(name)")
        )
    return known[law]


__all__ = ["LAWS", "Law", "get_law", "is_formula"]

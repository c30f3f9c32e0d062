"""The answer for somebody who decides: best run, ten times the compute, what to train next, what to trust.

Four sentences a dataset, at the top of page, terminal and Markdown, in words that need no law; exponents and
comparisons stand below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from scalelab.amounts import counted
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.ahead import Ahead, Best
from scalelab.analysis.families.price import Price
from scalelab.analysis.runs.designs import family_of
from scalelab.analysis.runs.selection import NOUNS
from scalelab.analysis.runs.uncounted import operators
from scalelab.report.names import known, of_studies, studies_of
from scalelab.report.numbers import interval, percent, plain, short, short_interval, span
from scalelab.report.outcomes import WORDS
from scalelab.report.parts import File, Section
from scalelab.report.sections.advise import data_words, left_out, standing
from scalelab.report.sections.laws import backtest_cell

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis
    from scalelab.analysis.families.advice import FamilyAdvice
    from scalelab.analysis.runs.designs import Family
    from scalelab.analysis.runs.selection import Points


class NextStudy(NamedTuple):
    """What to train next, as a study file.

    Attributes:
        text: The file; empty where it is not written.
        changes: What is new in it against the study of the runs; nothing where it is a study of its own.
        reason: Why it cannot be written.
        price: What its new runs cost, as far as the runs that there are say that.
        grown: The study whose runs it keeps, where it is such a study.
    """

    text: str = ""
    changes: tuple[str, ...] = ()
    reason: str = ""
    price: Price | None = None
    grown: str = ""


def answer_section(analysis: Analysis, studies: Mapping[str, NextStudy]) -> Section:
    """Returns the answer.

    Args:
        analysis: What to report.
        studies: What to train next, by dataset; where one is missing its sentence says how to ask for it.
    """
    lines, files = [], []
    warnings = [f"{line[0].upper()}{line[1:]}." for line in analysis.warnings]
    several = len(analysis.ahead) > 1
    for one in analysis.ahead:
        lead = f"{one.dataset}: " if several else ""
        study = studies.get(one.dataset, NextStudy())
        said = (
            *_best(one, analysis),
            _ten_times(one, analysis),
            _next(one, study, analysis, several),
            _trust(one, analysis),
        )
        lines += [f"{lead}{sentence}" for sentence in said]
        warnings += [f"{lead}Of ten times the compute: {words}." for words in _doubts(one)]
        if study.text:
            title = f"The study file to train next{f': {one.dataset}' if several else ''}"
            files.append(File("next.toml", title, study.text))
    return Section("answer", "Answer", tuple(lines), tuple(warnings), files=tuple(files))


def _doubts(one: Ahead) -> tuple[str, ...]:
    return () if isinstance(one.prediction, Refusal) else one.prediction.warnings


def named(family: Family, dataset: bool = False) -> str:
    """Returns a family as people say it: `convnext1d with adamw`."""
    words = " with ".join(filter(None, (known(family.architecture), known(family.optimizer)))) or "a model"
    return f"{words} on {family.dataset}" if dataset else words


def _best(one: Ahead, analysis: Analysis) -> Iterator[str]:
    for best in one.best:
        yield f"Best so far{', by validation' if analysis.on == 'test' else ''}: {_reached(best, analysis)}."


def _reached(best: Best, analysis: Analysis) -> str:
    sizes = ((best.n_params, "parameters"), (best.n_examples, "training examples"))
    of = " and ".join(f"{short(value)} {what}" for value, what in sizes if math.isfinite(value))
    what = f"{WORDS[analysis.on]}{best.metric}"
    if best.n_runs > 1:
        seeds = f"the mean of {best.n_runs} runs, in brackets its {percent(analysis.level)} interval"
    else:
        seeds = "one run, so that nobody knows how far another seed would be from it"
    among = f"; it is the best of {best.n_designs:,} designs, which flatters it" if best.n_designs > 1 else ""
    where = of_studies(best.studies, "in ")
    facts = "".join(f", {words}" for words in (of, where) if words)
    return (
        f"{named(best.family, dataset=True)}{facts}{',' if facts else ''} reached a {what} of "
        f"{interval(best.objective)} ({seeds}{among})"
    )


def _ten_times(one: Ahead, analysis: Analysis) -> str:
    flops = short(one.budget, "FLOP") if math.isfinite(one.budget) else ""
    times = "ten times the compute of the largest run so far"
    said = f"{times} (FLOP count arithmetic operations)," if flops else times
    if isinstance(one.answer, Refusal):
        family = family_of(one.answer)
        leads = f", which leads in {WORDS[analysis.on]}loss"
        whose = f" for {named(family)}{leads}" if known(family.architecture) else ""
        near = f" Up to {short(one.limit, 'FLOP')} scalelab advise has answers." if one.most else ""
        run = f"a run of {flops}, " if flops else ""
        return (
            f"What {run}{said} would bring cannot be said{whose}: {one.answer.reason.partition('. ')[0]}."
            f"{near}"
        )
    found = one.answer.families[0]
    whose = f" of {named(found.family)}" if known(found.family.architecture) else ""
    if data := data_words(found):
        said += f"{data.removeprefix(',')},"
    words = f"A run{whose} of {flops}, {said} would reach a loss of {interval(found.loss)}"
    if None not in found.loss:
        words += f" (in brackets the {percent(analysis.level)} interval of one run)"
    if found.loss.value >= one.lowest:
        words += (
            f", which is no lower than the best run's {plain(one.lowest)}: that one was lucky, or chosen "
            "among many, or spent its compute better"
        )
    if rank := standing(one.answer):
        words += f". Its family is {rank}"
    if missing := left_out(one.answer.refused, named):
        words += f". Left out: {missing}"
    return f"{words}."


def _next(one: Ahead, study: NextStudy, analysis: Analysis, several: bool) -> str:
    price = f" ({_price(study.price)})" if study.price is not None else ""
    if not isinstance(one.answer, Refusal):
        found = one.answer.families[0]
        size = f"{short(found.n_params.value)} parameters on {short(found.n_seen.value)} examples seen"
        said = f"Train next: {named(found.family)} of {size}{data_words(found)}{price}"
        if found.lacks_data:
            return f"{said}, once there are more; no study of it can be written before."
        if study.reason:
            return f"{said}; as a study it cannot be written here: {study.reason}."
        options = f' --dataset "{one.dataset}"' if several else ""
        options += " --on test" if analysis.on == "test" else ""
        command = f"scalelab advise --budget {one.budget:.4g}{options} --write next.toml".replace("+", "")
        return f"{said}; {command} writes it as a study."
    if study.changes:
        which = f"study {study.grown}" if one.best[0].studies and study.grown else "the same study"
        return (
            f"Train next, so that it can be said: {which} with {' and '.join(study.changes)}{price}; "
            "runs that are done are kept."
        )
    family = family_of(one.answer)
    what = "sizes and two lengths" if "lengths" in one.answer.remedies else "sizes"
    whose = f" of {named(family)}" if known(family.architecture) else ""
    lacks = f"; as a study it cannot be written here: {study.reason}" if study.reason else ""
    return (
        f"Train next, so that it can be said: at least two {what}{whose} beyond those that were run, and a "
        f"second seed of each{lacks}."
    )


def _price(price: Price) -> str:
    """Returns how many runs there are to pay, their compute and their time, each with its range."""
    words = [counted(price.n_runs, "new runs")]
    if price.flops is not None:
        words.append(short_interval(price.flops, "FLOP"))
    if price.seconds is not None:
        low, high = (price.seconds.value if end is None else end for end in price.seconds[1:])
        words.append(f"{span(low, high)} at the pace of the runs so far")
    return ", ".join(words)


def _trust(one: Ahead, analysis: Analysis) -> str:
    missing = list(_missing(one, analysis))
    lacks = f" Missing: {', '.join(missing)}." if missing else ""
    if one.most is None:
        return f"How far to trust this: {_nothing(one, analysis)}.{lacks}"
    found = one.most.families[0]
    points = found.points
    n = len(points.rows)
    spans = " and ".join(
        f"{plain(10**decades)} times in {NOUNS.get(axis, axis)}" for axis, decades in points.decades.items()
    )
    whose = of_studies(studies_of(points.rows))
    tuned = f"; {words}" if (words := _tuned(points)) else ""
    return (
        f"How far to trust this: what is said of {named(found.family)} rests on {n} points"
        f"{f' {whose}' if whose else ''} that span {spans}{tuned}; {_tested(one, found)}.{lacks}"
    )


def _tuned(points: Points) -> str:
    """Returns how far the learning rates of the points of a law were tuned; empty where nothing says it."""
    rates, n = points.rates, len(points.rows)
    if rates is None or not rates.varied:
        return ""
    inside = "each lies" if rates.inside == n else f"{rates.inside} of {n} lie"
    return f"of the learning rates of these points {inside} between others that were tried for it"


def _nothing(one: Ahead, analysis: Analysis) -> str:
    """Returns of which family no budget has an answer, where laws of its dataset reach beyond runs."""
    family = family_of(one.prediction) if isinstance(one.prediction, Refusal) else None
    whose = f"of {named(family)} " if family and known(family.architecture) else ""
    words = f"{whose}nothing is said here beyond {'its' if whose else 'the'} runs"
    if any(law.family.dataset == one.dataset for law in analysis.fitted):
        words += "; laws of a size alone stand below, each with its own test"
    return words


def _tested(one: Ahead, found: FamilyAdvice) -> str:
    backtest = found.backtest
    if backtest.errors:
        words = (
            f"predicted from the smaller ones alone, the larger ones came out {backtest_cell(backtest)} off, "
            f"at up to {plain(max(backtest.reach))} times the scale"
        )
    else:
        words = "they are too few to predict the larger ones from the smaller ones, so that it is untested"
    if isinstance(one.answer, Refusal):
        return words
    words += f"; ten times the compute lies {found.times_beyond(found.at):.3g} times beyond them"
    alone = (
        f"in {NOUNS.get(axis, axis)} alone {times:.3g} times, where they span {span:.3g}"
        for axis, (times, span) in found.lopsided(found.at).items()
    )
    return ", ".join((words, *alone))


def _missing(one: Ahead, analysis: Analysis) -> Iterator[str]:
    """Yields what would make the answer firmer, as far as the runs show it."""
    own = analysis.runs[analysis.runs["dataset_label"] == one.dataset]
    if all(best.n_runs == 1 for best in one.best):
        yield "a second seed of the best design"
    found = None if one.most is None else one.most.families[0]
    if found is not None and not found.backtest.errors:
        yield "enough scales for such a test"
    rates = None if found is None else found.points.rates
    if rates is not None and rates.doubts:
        if rates.varied:
            yield "learning rates beyond the best one at each size"
        else:
            yield "a second learning rate at each size"
    if operators(own).astype(bool).any():
        yield "a count of all operators, without which the compute of some runs is a lower bound"
    if "test_loss" not in own.columns or own["test_loss"].isna().all():
        yield "a test split, for the loss is that of the validation that chose the best step"

"""A study that lists its trials has these alone."""

from __future__ import annotations

import pytest
from study_toys import CATALOG

from scalelab.errors import StudyError
from scalelab.study import expand, parse_study

SPACE = """
name = "s"
{}
[dataset]
name = "blips"
{}
[data]
sizes = {}
[[architecture]]
name = "mlp"
space = {{ width = [8, 16] }}
constraints = ["width >= 16"]
[[optimizer]]
name = "adam"
{}
"""


def listed(ids=None, seeds="[0]", dataset="", optimizer="", sizes="[100, 500]"):
    keys = f"seeds = {seeds}\n" + ("" if ids is None else f"trials = {ids}".replace("'", '"'))
    return expand(parse_study(SPACE.format(keys, dataset, sizes, optimizer), "s.toml", CATALOG), CATALOG)


def test_it_has_these_in_this_order_and_nothing_of_the_rest_is_said():
    whole = listed(seeds="[0, 1]", dataset="space = { n = [600, 700] }")
    assert whole.skipped
    wanted = [whole.trials[one].id for one in (2, 1)]
    few = listed(wanted, "[0, 1]", "space = { n = [600, 700] }")
    assert [trial.id for trial in few.trials] == wanted
    assert (few.skipped, few.merged) == ((), 0)
    assert [few.opened(trial).ref for trial in few.trials] == [trial.dataset for trial in few.trials]
    assert len(few.datasets) < len(whole.datasets)


def test_one_that_the_space_does_not_give_is_an_error():
    (one, *_) = listed(seeds="[1]").trials
    with pytest.raises(StudyError, match=rf"s.toml: trials: .* '{one.id}': .*choose them again"):
        listed([one.id])


def test_a_command_of_another_study_keeps_its_ids_by_its_name():
    text = 'name = "{}"\n{}[command]\nrun = ["true", "{{x}}"]\nversion = 1\nspace = {{ x = [1, 2] }}\n{}'
    whole = expand(parse_study(text.format("old", "", ""), "s.toml", CATALOG), CATALOG)
    trials = f'trials = ["{whole.trials[1].id}"]\n'
    with pytest.raises(StudyError, match=r"or its name, .* unless \[command\] has a name"):
        expand(parse_study(text.format("new", trials, ""), "s.toml", CATALOG), CATALOG)
    named = text.format("new", trials, 'name = "old"')
    assert expand(parse_study(named, "s.toml", CATALOG), CATALOG).trials == whole.trials[1:]


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([], "trials = .*empty"),
        (["nothing"], r"trials\[0\] = 'nothing': .*plan --json"),
        (["0" * 16, "0" * 16], "listed twice"),
        ('"all"', "trials"),
    ],
)
def test_what_is_no_list_of_ids_is_refused(ids, says):
    with pytest.raises(StudyError, match=says) as caught:
        listed(ids)
    assert "\n" not in str(caught.value)


def test_what_asks_for_trials_by_what_others_gave_lists_none():
    with pytest.raises(StudyError, match="trials: goes not with tune"):
        listed(["0" * 16], optimizer="tune = { lr = { start = 1e-3 } }")
    with pytest.raises(StudyError, match=r"trials: goes not with \[refit\]"):
        listed(["0" * 16], optimizer="[refit]\ndataset = { n = 7 }", sizes="[100]")

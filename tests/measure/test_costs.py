"""What networks cost, counted once a design, and completed by an architecture's own formula."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from scalelab.components import Architecture
from scalelab.errors import InputError
from scalelab.measure import costs, flops
from scalelab.measure.costs import Costs, completed
from scalelab.measurements import Complexity
from scalelab.params import Params
from scalelab.records import ComponentRef


class NetParams(Params):
    width: int = 4
    solve: bool = False


class Net(nn.Module):
    def __init__(self, params: NetParams) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, params.width), nn.Linear(params.width, 2)
        self.solve = params.solve

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        if self.solve:
            square = torch.ones(x.shape[1], x.shape[1], device=x.device)
            x = torch.linalg.solve_triangular(square, x.T, upper=True).T
        return self.head(x)


def build_net(params: NetParams, input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    return Net(params)


def net_flops(params: NetParams, input_shape: tuple[int, ...], n_outputs: int) -> float:
    return 2.0 * (3 * params.width + 2 * params.width) + params.width**2


NET = Architecture(name="net", summary="A net", build=build_net, params=NetParams)
SHAPE = (3,)


def catalog_of(component: Architecture) -> Any:
    return SimpleNamespace(architecture=lambda _name: component)


@pytest.fixture
def counts(tmp_path, monkeypatch) -> list[nn.Module]:
    """The networks that were counted, with an empty cache."""
    monkeypatch.setenv("SCALELAB_CACHE", str(tmp_path / "cache"))
    seen: list[nn.Module] = []
    real = flops.complexity

    def counted(model: nn.Module, *asked: Any, **more: Any) -> Complexity:
        seen.append(model)
        return real(model, *asked, **more)

    monkeypatch.setattr(flops, "complexity", counted)
    return seen


def ref(**options: Any) -> ComponentRef:
    return ComponentRef(name="net", params=options)


def test_a_design_is_counted_once_in_plan_and_in_all_its_trials(counts) -> None:
    planned = Costs(catalog_of(NET))(ref(width=8), SHAPE, 2)
    assert (planned.n_params, planned.n_params_body) == (3 * 8 + 8 + 8 * 2 + 2, 3 * 8 + 8)
    for _ in range(3):  # processes, as it were
        worker = Costs(catalog_of(NET))
        params = NetParams(width=8)
        found = worker.of_built(ref(width=8), SHAPE, 2, params=params, module=Net(params))
        assert found == planned
        assert worker.seconds == 0
    assert len(counts) == 1
    Costs(catalog_of(NET))(ref(width=9), SHAPE, 2)
    assert len(counts) == 2


def test_what_is_named_and_what_is_not_known_come_back_from_the_cache(counts) -> None:
    asked = ref(solve=True)
    first, second = (Costs(catalog_of(replace(NET, head=None)))(asked, SHAPE, 2) for _ in range(2))
    assert first == second
    assert first.uncounted == ("aten::linalg_solve_triangular",)
    assert first.n_params_body is None
    assert len(counts) == 1


def test_another_torch_counts_again(counts, monkeypatch) -> None:
    Costs(catalog_of(NET))(ref(), SHAPE, 2)
    monkeypatch.setattr(costs, "_libraries", lambda _build: {"torch": "99.0"})
    Costs(catalog_of(NET))(ref(), SHAPE, 2)
    assert len(counts) == 2


def test_another_head_counts_again(counts) -> None:
    Costs(catalog_of(NET))(ref(), SHAPE, 2)
    assert Costs(catalog_of(replace(NET, head=None)))(ref(), SHAPE, 2).n_params_body is None
    assert len(counts) == 2


def test_a_network_that_starts_from_a_file_is_counted_with_it(counts) -> None:
    """It may be frozen in part, which a network without the file does not tell."""
    asked = ComponentRef(name="net", params={}, content={"weights": "ab" * 32})
    cost = Costs(catalog_of(NET))
    free = cost(asked, SHAPE, 2)
    assert cost.seconds_again(asked, SHAPE, 2) > 0
    frozen = Net(NetParams())
    frozen.body.requires_grad_(False)
    found = cost.of_built(asked, SHAPE, 2, params=NetParams(), module=frozen)
    assert found.n_params < free.n_params
    assert Costs(catalog_of(NET)).of_built(asked, SHAPE, 2, params=NetParams(), module=frozen) == found
    assert len(counts) == 2


def test_workers_count_again_only_what_the_cache_cannot_keep(counts) -> None:
    cost = Costs(catalog_of(NET))
    cost(ref(), SHAPE, 2)
    assert cost.seconds > 0
    assert cost.seconds_again(ref(), SHAPE, 2) == 0
    made: dict[str, Any] = {"Net": Net}
    exec("def build(params, shape, n): return Net(params)", made)  # has no source file
    cost = Costs(catalog_of(replace(NET, build=made["build"])))
    cost(ref(), SHAPE, 2)
    assert cost.seconds_again(ref(), SHAPE, 2) == cost.seconds > 0


def test_where_the_cache_cannot_be_used_it_is_counted_all_the_same(counts, tmp_path, monkeypatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SCALELAB_CACHE", str(blocked))
    found = Costs(catalog_of(NET))(ref(), SHAPE, 2)
    assert found.forward_flops == 2 * (3 * 4 + 4 * 2)


def test_a_formula_completes_a_count_that_lacks_an_operator(counts) -> None:
    known = replace(NET, flops=net_flops)
    found = Costs(catalog_of(known))(ref(solve=True), SHAPE, 2)
    by_hand = 2 * (3 * 4 + 4 * 2) + 16
    assert (found.forward_flops, found.train_flops_per_example) == (by_hand, 3 * by_hand)
    assert (found.uncounted, found.fixed_forward_flops, found.fixed_train_flops) == ((), 0, 0)
    module = Net(NetParams(solve=True))
    params = NetParams(solve=True)
    assert Costs(catalog_of(known)).of_built(ref(solve=True), SHAPE, 2, params=params, module=module) == found


def test_a_complete_count_stands(counts) -> None:
    plain = Costs(catalog_of(NET))(ref(), SHAPE, 2)
    assert Costs(catalog_of(replace(NET, flops=net_flops)))(ref(), SHAPE, 2) == plain


def broken(params: NetParams, input_shape: tuple[int, ...], n_outputs: int) -> float:
    raise ValueError("no\nidea")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (lambda *_: 0, "gives 0: give the FLOPs"),
        (lambda *_: -1.0, "gives -1.0"),
        (lambda *_: float("nan"), "gives nan"),
        (lambda *_: float("inf"), "gives inf"),
        (lambda *_: "many", "gives 'many'"),
        (lambda *_: None, "gives None"),
        (lambda *_: True, "gives True"),
        (broken, "fails: ValueError: no idea"),
    ],
)
def test_a_formula_that_gives_no_number_is_one_line(formula, words: str) -> None:
    incomplete = Complexity(n_params=1, forward_flops=1, train_flops_per_example=3, uncounted=("a::b",))
    with pytest.raises(InputError) as caught:
        completed(incomplete, replace(NET, flops=formula), NetParams(), SHAPE, 2)
    assert words in str(caught.value)
    assert str(caught.value).startswith("architecture 'net': flops() for input (3,) ")
    assert "\n" not in str(caught.value)


def test_a_formula_below_what_is_counted_is_refused() -> None:
    incomplete = Complexity(n_params=1, forward_flops=99, train_flops_per_example=3, uncounted=("a::b",))
    with pytest.raises(InputError, match=r"flops\(\) gives 3 .* less than the 99 FLOPs counted without a::b"):
        completed(incomplete, replace(NET, flops=lambda *_: 3.0), NetParams(), SHAPE, 2)


def test_a_network_that_is_another_one_by_now_is_counted_anew(counts) -> None:
    """A worker trusts the cache for the network that it has alone."""
    params, costs = NetParams(width=8), Costs(catalog_of(NET))
    costs(ref(), SHAPE, 2)
    found = costs.of_built(ref(), SHAPE, 2, params=params, module=Net(params))
    assert found.n_params == 3 * 8 + 8 + 8 * 2 + 2


class Elsewhere(Net):
    """Runs on a device that is not there, as kernels for CUDA do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("x must be a CUDA tensor")


ELSEWHERE = Architecture(
    name="net", summary="A net", build=lambda params, *_: Elsewhere(params), params=NetParams
)


def test_a_network_that_runs_elsewhere_costs_what_its_formula_says(counts) -> None:
    known = replace(ELSEWHERE, flops=net_flops)
    for _ in range(2):  # counted, and from the cache
        found = Costs(catalog_of(known))(ref(width=8), SHAPE, 2)
        assert (found.n_params, found.n_params_body) == (3 * 8 + 8 + 8 * 2 + 2, 3 * 8 + 8)
        by_hand = 2 * (3 * 8 + 8 * 2) + 64
        assert (found.forward_flops, found.train_flops_per_example) == (by_hand, 3 * by_hand)
        assert (found.fixed_forward_flops, found.fixed_train_flops, found.uncounted) == (0, 0, ())
        assert (found.activation_bytes, found.n_ops, found.n_layers, found.grouped_flops) == (0, 0, 0, 0)
    assert len(counts) == 1
    params = NetParams(width=8)
    worker = Costs(catalog_of(known))
    assert worker.of_built(ref(width=8), SHAPE, 2, params=params, module=Elsewhere(params)) == found


def test_a_network_that_runs_elsewhere_without_a_formula_is_one_line_with_the_remedy(counts) -> None:
    Costs(catalog_of(replace(ELSEWHERE, flops=net_flops)))(ref(), SHAPE, 2)
    with pytest.raises(InputError, match=r"must be a CUDA tensor.*give the architecture flops=$"):
        Costs(catalog_of(ELSEWHERE))(ref(), SHAPE, 2)


def test_a_formula_does_not_hide_an_output_that_does_not_fit(counts) -> None:
    with pytest.raises(InputError, match=r"the task needs \(2, 5\)"):
        Costs(catalog_of(replace(NET, flops=net_flops)))(ref(), SHAPE, 5)


def test_flops_at_a_batch_size_share_what_is_fixed() -> None:
    cost = Complexity(
        n_params=1, forward_flops=10, train_flops_per_example=30, fixed_forward_flops=8, fixed_train_flops=24
    )
    assert (cost.forward_flops_at(4), cost.train_flops_at(4), cost.step_flops(4)) == (12, 36, 144)
    free = Complexity(n_params=1, forward_flops=10, train_flops_per_example=0.1)
    assert free.train_flops_at(7) == 0.1
    assert free.step_flops(7) == 7 * 0.1

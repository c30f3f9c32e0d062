"""FLOPs and parameters of RegNet-1D, counted by hand, block by block."""

from __future__ import annotations

import pytest
import torch
from scalelab_plugins.regnet1d import build
from scalelab_plugins.regnet1d_model import Block, SqueezeExcitation
from scalelab_plugins.regnet1d_stages import RegNet1dParams, Stage, stages
from torch import nn

from scalelab.measure.flops import complexity


def block_flops(time: int, entering: int, stage: Stage, *, stride: int, se_ratio: float) -> int:
    """Multiply-adds of one block times two, from the shapes of its convolutions."""
    after = -(-time // stride)
    flops = time * entering * stage.bottleneck
    flops += after * stage.bottleneck * stage.group_width * 3
    if se_ratio:
        flops += 2 * stage.bottleneck * round(se_ratio * entering)
    flops += after * stage.bottleneck * stage.width
    if stride > 1 or entering != stage.width:
        flops += after * entering * stage.width
    return 2 * flops


class OnImage(nn.Module):
    """Gives a layer of the network a signal as the image it works on."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.unsqueeze(2))


@pytest.mark.parametrize(
    ("entering", "stage", "stride", "se_ratio"),
    [
        pytest.param(24, Stage(2, 24, 24, 8), 1, 0.0, id="plain, grouped"),
        pytest.param(24, Stage(2, 24, 24, 1), 1, 0.0, id="depthwise"),
        pytest.param(24, Stage(2, 24, 24, 24), 1, 0.0, id="one group"),
        pytest.param(24, Stage(2, 24, 48, 8), 1, 0.0, id="inverted"),
        pytest.param(24, Stage(2, 24, 12, 4), 1, 0.25, id="squeeze-and-excitation"),
        pytest.param(16, Stage(1, 40, 40, 8), 2, 0.0, id="stride 2, projected"),
        pytest.param(40, Stage(1, 40, 80, 16), 2, 0.25, id="stride 2, projected, squeezed"),
        pytest.param(16, Stage(1, 40, 20, 4), 1, 0.25, id="projected to another width"),
    ],
)
@pytest.mark.parametrize("time", [64, 51])
def test_flops_of_a_block_by_hand(
    time: int, entering: int, stage: Stage, stride: int, se_ratio: float
) -> None:
    block = OnImage(Block(entering, stage, stride=stride, se_ratio=se_ratio))
    counted = complexity(block, (entering, time))
    assert counted.forward_flops == block_flops(time, entering, stage, stride=stride, se_ratio=se_ratio)


def test_flops_of_squeeze_and_excitation_do_not_depend_on_time() -> None:
    for time in (4, 400):
        counted = complexity(OnImage(SqueezeExcitation(32, 6)), (32, time))
        assert counted.forward_flops == 2 * 2 * 32 * 6
        assert counted.n_params == 2 * 32 * 6 + 32 + 6


@pytest.mark.parametrize("shape", [(12, 1024), (2, 102)])
@pytest.mark.parametrize("se_ratio", [0.25, 0.0])
def test_flops_and_parameters_of_a_network_by_hand(shape: tuple[int, int], se_ratio: float) -> None:
    params = RegNet1dParams(
        depth=7, w_init=24, w_0=24, w_a=11, w_m=1.7, group_width=8, bottleneck_multiplier=0.5,
        se_ratio=se_ratio, init_kernel_size=9,
    )  # fmt: skip
    channels, time = shape
    time = -(-time // 2)
    stem = 2 * time * channels * params.init_kernel_size * params.w_init
    n_params = channels * params.init_kernel_size * params.w_init + 2 * params.w_init
    body, entering = 0, params.w_init
    for stage in stages(params, shape):
        for index in range(stage.depth):
            stride = 2 if index == 0 else 1
            body += block_flops(time, entering, stage, stride=stride, se_ratio=se_ratio)
            n_params += entering * stage.bottleneck + 2 * stage.bottleneck
            n_params += 3 * stage.group_width * stage.bottleneck + 2 * stage.bottleneck
            n_params += stage.bottleneck * stage.width + 2 * stage.width
            if index == 0:
                n_params += entering * stage.width + 2 * stage.width
            if se_ratio:
                squeezed = round(se_ratio * entering)
                n_params += 2 * squeezed * stage.bottleneck + squeezed + stage.bottleneck
            time, entering = -(-time // stride), stage.width
    body += 2 * entering * 26
    counted = complexity(build(params, shape, 26), shape, head="head")
    assert counted.forward_flops == stem + body
    assert counted.train_flops_per_example == 2 * stem + 3 * body  # the input needs no gradient
    assert counted.n_params_body == n_params
    assert counted.n_params == n_params + 26 * entering + 26

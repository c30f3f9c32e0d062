"""A block of `convnext1d` in bf16 on a CPU, forward and backward, with as few passes over memory as it takes.

Only the two linear layers and GELU are worth bf16 on a CPU. Autocast would also convert around the depthwise
convolution and LayerNorm, whose bf16 kernels are slower than those in float32: oneDNN's gradient of depthwise
weights takes two to five times as long. Here those two and the residual stay in float32, which is more
precise as well, and each tensor is converted once. The bias of the convolution gets its gradient as a sum,
since oneDNN takes longer for it than for both of the others.
"""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - imported by scalelab_plugins.convnext1d_model when a network is built
from torch.autograd.function import once_differentiable  # noqa: TID253
from torch.nn.functional import gelu  # noqa: TID253

LOW = torch.bfloat16


class MixedBlock(torch.autograd.Function):
    """`mixed_block` with its gradients, of first order."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float, *parameters: torch.Tensor) -> torch.Tensor:
        """Returns x + scale · MLP(LayerNorm(depthwise(x))), float32 of (batch, time, dim)."""
        kernel, kernel_bias, gain, shift, expand, expand_bias, project, project_bias, *scale = parameters
        dim, reach = x.shape[2], kernel.shape[3] // 2
        signal = torch.conv2d(as_image(x), kernel, kernel_bias, 1, (0, reach), 1, dim)
        signal = as_signal(signal).reshape(-1, dim)
        normed, mean, rstd = torch.native_layer_norm(signal, (dim,), gain, shift, eps)
        normed, expand, project = normed.to(LOW), expand.to(LOW), project.to(LOW)
        hidden = torch.addmm(expand_bias.to(LOW), normed, expand.t())
        active = gelu(hidden)
        branch = torch.addmm(project_bias.to(LOW), active, project.t()).float().view(x.shape)
        ctx.save_for_backward(
            x, kernel, signal, gain, shift, mean, rstd, normed, expand, hidden, active, project, branch,
            *scale,
        )  # fmt: skip
        return torch.addcmul(x, branch, scale[0]) if scale else x + branch

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Returns the gradients of what `forward` takes."""
        (
            x, kernel, signal, gain, shift, mean, rstd, normed, expand, hidden, active, project, branch,
            *scale,
        ) = ctx.saved_tensors  # fmt: skip
        dim, reach = x.shape[2], kernel.shape[3] // 2
        of_scale = [(grad * branch).sum_to_size(one.shape) for one in scale]
        of_branch = (grad * scale[0] if scale else grad).reshape(-1, dim).to(LOW)
        of_hidden = torch.ops.aten.gelu_backward(of_branch @ project, hidden)
        of_signal, of_gain, of_shift = torch.ops.aten.native_layer_norm_backward(
            (of_hidden @ expand).float(), signal, (dim,), mean, rstd, gain, shift, [True, True, True]
        )
        of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
            as_image(of_signal.view(x.shape)), as_image(x), kernel, None,
            [1, 1], [0, reach], [1, 1], False, [0, 0], dim, [True, True, False],
        )  # fmt: skip
        return (
            as_signal(of_x).add_(grad), None,
            of_kernel, of_signal.sum(0), of_gain, of_shift,
            (of_hidden.t() @ normed).float(), of_hidden.sum(0).float(),
            (of_branch.t() @ active).float(), of_branch.sum(0).float(),
            *of_scale,
        )  # fmt: skip


def is_mixed(x: torch.Tensor) -> bool:
    """Whether autocast asks for bf16 on a CPU, and the network is not being traced for a runtime."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == LOW
        and not torch._C._get_tracing_state()
        and not torch.compiler.is_compiling()
    )


def mixed_block(x: torch.Tensor, eps: float, *parameters: torch.Tensor) -> torch.Tensor:
    """Returns the output of a block whose linear layers compute in bf16, float32 of (batch, time, dim).

    Args:
        x: What enters, (batch, time, dim).
        eps: Of LayerNorm.
        parameters: Weight and bias of the depthwise convolution, LayerNorm, the expanding and the projecting
            layer, in this order, and what the branch is multiplied by, (dim,) or (batch, 1, dim), if any.
    """
    with torch.autocast("cpu", enabled=False):
        output: torch.Tensor = MixedBlock.apply(x.float(), eps, *parameters)  # type: ignore[no-untyped-call]
        return output


def as_image(signal: torch.Tensor) -> torch.Tensor:
    """Maps (batch, time, dim) to (batch, dim, 1, time) in the same memory."""
    return signal.transpose(1, 2).unsqueeze(2)


def as_signal(image: torch.Tensor) -> torch.Tensor:
    """Maps (batch, dim, 1, time) to (batch, time, dim) in the same memory."""
    return image.squeeze(2).transpose(1, 2)

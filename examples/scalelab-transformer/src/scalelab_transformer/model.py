"""The network of `transformer1d`."""

from __future__ import annotations

import math

import torch  # noqa: TID253 - imported by scalelab_transformer when a network is built
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

ROTARY_BASE = 10_000.0


class Transformer1d(nn.Module):
    """Transformer for (batch, in_channels, samples), giving (batch, n_outputs).

    Args:
        in_channels: Channels of the signal.
        n_outputs: Width of the output.
        n_tokens: Patches of an input.
        width: Width of a token.
        depth: Number of blocks.
        heads: Heads of the attention; they divide `width`.
        patch_length: Samples of a patch.
        hidden: Hidden width of the MLPs.
        rotary: Whether positions turn queries and keys; they are learned and added to the tokens otherwise.
        dropout: Rate in attention and on each branch, in training.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        n_outputs: int,
        n_tokens: int,
        width: int,
        depth: int,
        heads: int,
        patch_length: int,
        hidden: int,
        rotary: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.patch_length = patch_length
        self.embed = nn.Linear(in_channels * patch_length, width)
        self.positions = None if rotary else nn.Parameter(torch.empty(n_tokens, width))
        self.rotary = Rotary(n_tokens, width // heads) if rotary else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)
        self.initialize()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in_channels, samples) to (batch, n_outputs)."""
        tokens = self.embed(self.patches(x))
        if self.positions is not None:
            tokens = tokens + self.positions
        tokens = self.dropout(tokens)
        for block in self.blocks:
            tokens = block(tokens, self.rotary)
        outputs: torch.Tensor = self.head(self.norm(tokens).mean(1))
        return outputs

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """Cuts (batch, channels, samples) into (batch, tokens, channels * patch_length), zeros at the end."""
        x = F.pad(x, (0, -x.shape[-1] % self.patch_length))
        return x.unflatten(-1, (-1, self.patch_length)).transpose(1, 2).flatten(2)

    def initialize(self) -> None:
        """Draws weights from a normal of width 0.02 cut at ±2, narrower where blocks add up; biases are zero.

        The layers that end a branch are divided by √(2 depth), so that the variance of tokens does not grow
        with depth (Radford et al. 2019, GPT-2).
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.positions is not None:
            nn.init.trunc_normal_(self.positions, std=0.02)
        with torch.no_grad():
            for block in self.blocks:
                for layer in (block.attention.project, block.mlp.project):
                    layer.weight /= math.sqrt(2 * len(self.blocks))


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021, arXiv:2104.09864): turns the pairs of a head by an angle each.

    Number i and number i + head_width / 2 are a pair; its angle is the position over 10000^(2i / head_width).
    """

    def __init__(self, n_tokens: int, head_width: int) -> None:
        super().__init__()
        rates = ROTARY_BASE ** (-torch.arange(0, head_width, 2) / head_width)
        angles = torch.arange(n_tokens)[:, None] * rates
        self.register_buffer("cos", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sin", angles.sin().repeat(1, 2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turns (batch, heads, tokens, head_width); the angles stay float32 whatever the type of `x`."""
        first, second = x.chunk(2, dim=-1)
        turned = x * self.cos + torch.cat((-second, first), dim=-1) * self.sin
        return turned.type_as(x)


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and around a residual (pre-norm)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, rotary: Rotary | None) -> torch.Tensor:
        """Maps (batch, tokens, width) to the same shape."""
        x = x + self.dropout(self.attention(self.norm_attention(x), rotary))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


class Attention(nn.Module):
    """Attention of all tokens to all tokens.

    Queries, keys and values have no bias: that of the keys would change nothing, the softmax being the same
    when a constant is added to all of a query's scores.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, rotary: Rotary | None) -> torch.Tensor:
        """Maps (batch, tokens, width) to the same shape."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rotary is not None:
            query, key = rotary(query), rotary(key)
        rate = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.project(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.project = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, tokens, width) to the same shape."""
        return self.project(F.gelu(self.expand(x)))

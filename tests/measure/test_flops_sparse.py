"""Networks with sparse tensors count what these store."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scalelab.measure.counter import counting
from scalelab.measure.flops import complexity


class Mixed(nn.Module):
    """A linear layer, and a product with a sparse 6 x 6 matrix of 7 numbers, such as that of a graph."""

    def __init__(self, layout: torch.layout, held: str) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)
        matrix = torch.eye(6)
        matrix[0, 3] = 1
        matrix = matrix.to_sparse(layout=layout)
        if held == "buffer":
            self.register_buffer("matrix", matrix)
        else:
            self.matrix = nn.Parameter(matrix) if held == "parameter" else matrix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x).transpose(0, 1).flatten(1)
        return (self.matrix @ y).view(6, len(x), 5).transpose(0, 1).flatten(1)


@pytest.mark.filterwarnings("ignore:Sparse CS")
@pytest.mark.parametrize("held", ["buffer", "attribute", "parameter"])
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_sparse_products_count_what_is_stored(layout: torch.layout, held: str) -> None:
    model = Mixed(layout, held)
    found = complexity(model, (6, 4))
    linear, product = 2 * 6 * 4 * 5, 2 * 7 * 5
    assert found.forward_flops == linear + product
    assert found.n_params == 25 + (7 if held == "parameter" else 0)
    assert found.activation_bytes > 0
    if held != "parameter":  # whose gradient is a product of another kind
        assert (found.train_flops_per_example, found.uncounted) == (2 * linear + 2 * product, ())


def test_a_product_of_two_sparse_matrices_is_named() -> None:
    sparse, dense = torch.eye(6).to_sparse(), torch.ones(2, 6)
    with counting() as counter:
        sparse @ sparse
    assert len(counter.uncounted) == 1
    for product, flops in (
        (lambda: dense @ sparse, 2 * 2 * 6),
        (lambda: sparse @ dense.T, 2 * 2 * 6),
        (lambda: sparse @ dense[0], 2 * 6),
        (lambda: torch.sparse.addmm(dense.T, sparse, dense.T), 2 * 2 * 6),
    ):
        with counting() as counter:
            product()
        assert (counter.flops, counter.uncounted) == (flops, set())

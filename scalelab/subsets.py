"""Which examples a trial trains on, and which rows of the inputs those are.

An example is one row of a split's inputs, or several adjacent ones (`Split.windows`), such as the windows of
a long recording. Sizes of data count examples.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from scalelab.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from scalelab.components import OpenDataset, Split


def subset_indices(n_total: int, n_examples: int, data_seed: int) -> np.ndarray:
    """Returns the training examples of a trial: the first `n_examples` of one seeded permutation.

    Subsets of one seed are nested, so that the curves of a study over data sizes share their examples.

    Raises:
        InputError: There are fewer than `n_examples`.
    """
    if n_examples > n_total:
        raise InputError(f"the trial asks for {n_examples} training examples; the dataset has {n_total}")
    return _permutation(n_total, data_seed)[:n_examples]


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int) -> np.ndarray:
    """Kept, because a plan asks for the subset of every trial."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(n)
    order.flags.writeable = False
    return order


def rows_of_examples(split: Split, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the rows of the inputs that some examples have, example after example, and how many each has.

    Args:
        split: The split.
        examples: Indices of examples, shape (n,).

    Returns:
        Rows, and the rows of each example, shape (n,); `None` where every example is one row.
    """
    import numpy as np

    if split.windows is None:
        return examples, None
    windows = np.asarray(split.windows, dtype=np.int64)
    first = np.cumsum(windows) - windows
    counts = windows[examples]
    ends = np.cumsum(counts)
    within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    return np.repeat(first[examples], counts) + within, counts


def averaged(outputs: np.ndarray, windows: np.ndarray | None) -> np.ndarray:
    """Returns the mean of the outputs of each example's rows, of the type of `outputs`.

    Args:
        outputs: Of all rows, example after example: shape (rows, n_outputs).
        windows: Rows of each example, shape (n,); `None` where every example is one row.
    """
    import numpy as np

    if windows is None:
        return outputs
    sums = np.add.reduceat(outputs, np.cumsum(windows) - windows, axis=0, dtype=np.float64)
    means: np.ndarray = (sums / windows[:, None]).astype(outputs.dtype)
    return means


def windows_per_example(split: Split) -> float:
    """Returns the rows that an example has on average: forward passes that scoring it takes."""
    n = len(split)
    return int(split.inputs.shape[0]) / n if n and split.windows is not None else 1.0


def windows_of_subset(data: OpenDataset, n_examples: int, data_seed: int) -> int | None:
    """Returns the rows of a trial's training examples; `None` where every example is one row."""
    import numpy as np

    if data.train.windows is None:
        return None
    subset = subset_indices(len(data.train), n_examples, data_seed)
    return int(np.asarray(data.train.windows)[subset].sum())


def drawn_an_epoch(data: OpenDataset, n_examples: int, data_seed: int) -> int:
    """Returns how many rows an epoch of a trial draws: of each example one, or all (`train_windows`)."""
    if data.train_windows == "random":
        return n_examples
    return windows_of_subset(data, n_examples, data_seed) or n_examples

"""Memory that is freed is kept for what is taken next."""

import platform
import resource

import numpy as np
import pytest

from scalelab.heap import kept_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is asked")
def test_memory_that_is_freed_is_kept() -> None:
    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def steps() -> int:
        begun = faults()
        for _ in range(10):
            held = [np.ones(2**19) for _ in range(12)]  # 4 MiB each
            del held
        return faults() - begun

    with kept_memory():
        steps()
        kept = steps()
    assert kept < 10 * 12 * 1024 / 10  # else 1,024 pages of each

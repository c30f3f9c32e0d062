"""The cache: prepared arrays that many processes share through memory maps.

Trade-off: an entry is a folder of `.npy` files that appears by one rename and is never changed, so readers
need no lock; two processes that prepare the same entry at once are kept apart by a lock file, and the second
finds the first one's work. What a killed process left half-written is removed by the next one that prepares
the same entry.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from scalelab.errors import DataError
from scalelab.regular_files import expanded, open_regular

if TYPE_CHECKING:
    import numpy as np


def cache_dir() -> Path:
    """Returns the cache folder: `$SCALELAB_CACHE` or the platform's cache folder for scalelab."""
    chosen = os.environ.get("SCALELAB_CACHE")
    if chosen:
        return expanded(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("scalelab", appauthor=False))


def cached_arrays(
    key: str, prepare: Callable[[], Mapping[str, np.ndarray | Iterator[np.ndarray]]]
) -> dict[str, np.ndarray]:
    """Returns the arrays named `key` as read-only memory maps, preparing them where they are not there yet.

    Args:
        key: A folder name that says everything the arrays depend on, such as `"mitbih-<digest>"`.
        prepare: Makes the arrays, by name, of any type but Python objects; called at most once over all
            processes. An array that should not be in memory as a whole is given as an iterator of its
            consecutive parts along the first axis (at least one, all of one type and shape otherwise).

    Raises:
        DataError: The cache folder cannot be written (the disk being full among the reasons) or an entry in
            it is damaged. What `prepare` raises passes through untouched, and leaves nothing behind.
    """
    import numpy as np

    folder = cache_dir() / key
    if not folder.is_dir():
        _prepare_once(folder, prepare)
    with _cache_errors(folder):
        try:
            return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
        except (ValueError, EOFError) as error:
            raise DataError(
                f"the cache entry {folder} is damaged ({error}); delete that folder and it is prepared again"
            ) from error


def _prepare_once(
    folder: Path, prepare: Callable[[], Mapping[str, np.ndarray | Iterator[np.ndarray]]]
) -> None:
    from filelock import FileLock

    lock = FileLock(f"{folder}.lock")
    with _cache_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        if not folder.is_dir():
            _write(folder, prepare())
    finally:
        lock.release()


@contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    """Turns the operating system's errors into one line; stands around our file accesses only."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache folder {folder.parent} cannot be used: {error.strerror or error}; "
            "free some space or point SCALELAB_CACHE to another folder"
        ) from error


def _write(folder: Path, arrays: Mapping[str, np.ndarray | Iterator[np.ndarray]]) -> None:
    import numpy as np

    with _cache_errors(folder):
        for abandoned in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, array in arrays.items():
            _write_array(part / f"{name}.npy", [array] if isinstance(array, np.ndarray) else array)
        with _cache_errors(folder):
            part.rename(folder)
            _sync_folder(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_array(path: Path, blocks: Iterable[np.ndarray]) -> None:
    """Writes consecutive blocks as one `.npy` file that is on the disk when this returns.

    NumPy pads the header for a growing first axis, so that it can be written again with the final length.
    `np.save` is not used because it reports a full disk without saying so.
    """
    import numpy as np

    n = 0
    first: np.ndarray | None = None
    with _cache_errors(path.parent):
        file = path.open("wb")
    try:
        for block in blocks:
            with _cache_errors(path.parent):
                if first is None:
                    first = block
                    _write_header(file, first, first.shape)
                file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
            n += block.shape[0] if block.ndim else 0
        if first is None:
            raise ValueError(f"no array was given for {path.stem!r}")
        with _cache_errors(path.parent):
            file.seek(0)
            _write_header(file, first, (n, *first.shape[1:]) if first.ndim else ())
            file.flush()
            os.fsync(file.fileno())
    finally:
        with _cache_errors(path.parent):
            file.close()


def _write_header(file: BinaryIO, like: np.ndarray, shape: tuple[int, ...]) -> None:
    import numpy as np

    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(like.dtype), "fortran_order": False, "shape": shape}
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """Returns what names a file by its content: the SHA-256 of it in hexadecimal digits.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

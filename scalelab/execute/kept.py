"""Small answers in the cache, by what was asked: what a plan said, what a timing found.

An answer is kept where that is possible; where the cache cannot be written there will be none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from scalelab.cache import cache_dir
from scalelab.records import canonical_json


def place(kind: str, *asked: Any) -> Path:
    """Returns where an answer is kept.

    Args:
        kind: The folder of answers of one kind.
        asked: What the answer is to, as JSON values.
    """
    digest = hashlib.sha256(canonical_json(asked).encode()).hexdigest()
    return cache_dir() / kind / f"{digest[:32]}.json"


def keep(path: Path, answer: Any) -> None:
    """Keeps an answer, a JSON value, if the cache can be written."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(answer), encoding="utf-8")

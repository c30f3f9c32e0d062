"""The script of a page, its style, and the hash by which the page's policy allows the script.

The script only moves, sorts and shows what the page says already; `page.js` holds no data and reads none.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources


def script() -> str:
    """Returns the script as a page has it: without indentation and lines of comment."""
    lines = (line.strip() for line in _text("page.js").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("//", "/**")))


def script_style() -> str:
    """Returns the style of what the script adds to a page."""
    return _text("page.css")


def script_source() -> str:
    """Returns what a Content-Security-Policy allows: the hash of the script (CSP3, section 2.3.1)."""
    digest = hashlib.sha256(script().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(name: str) -> str:
    return resources.files("scalelab.report.script").joinpath(name).read_text("utf-8")

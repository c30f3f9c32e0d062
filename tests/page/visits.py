"""Opens a page as a reader does, and hears what it says and asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build" / "page" / "node_modules" / "axe-core" / "axe.min.js"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Visits:
    """Pages that are open.

    Attributes:
        said: What pages wrote on the console, errors and warnings alike.
        asked: Addresses that they asked for, other than their own file.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.said: list[str] = []
        self.asked: list[str] = []

    def __call__(self, path: Path, *, state: str = "", script: bool = True, **how: Any) -> Any:
        """Opens a file.

        Args:
            path: The file.
            state: What stands in the address behind its `#`.
            script: Whether the reader's browser runs scripts.
            how: Further options of Playwright's `new_context`.
        """
        options = {"viewport": WIDE, "java_script_enabled": script, "accept_downloads": True, **how}
        context = self._browser.new_context(**options)
        context.set_default_timeout(5000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        own = path.as_uri()
        page.on(
            "request",
            lambda request: None if request.url.partition("#")[0] == own else self.asked.append(request.url),
        )
        page.goto(own + (f"#{state}" if state else ""))
        return page

    def close(self) -> None:
        """Closes all pages, and fails where one of them said or asked for anything."""
        for context in self._contexts:
            context.close()
        assert self.said == []
        assert [address for address in self.asked if not address.startswith("blob:")] == []


def copied(page: Any, button: Any) -> str:
    """Returns what a button copies; a page's clipboard is written some time after a click."""
    page.evaluate("navigator.clipboard.writeText('')")
    button.click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text !== '')")
    return str(page.evaluate("navigator.clipboard.readText()"))


def serious(page: Any) -> list[str]:
    """Returns what axe-core finds serious or critical on a page, with the first element of each."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['impact']} {one['id']}: {one['help']} ({len(one['nodes'])}) {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]

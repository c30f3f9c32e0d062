"""What an anonymous export says in place of hosts, users and paths."""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.store.insert import described
from scalelab.store.schema import first_column, quoted

if TYPE_CHECKING:
    import duckdb

PATH, USER, HOST, ADDRESS = "<path>", "<user>", "host-{}", "<address>"
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]))"
)
# A version may have four numbers, too.
_VERSIONS = ("libraries", "plugins")
_START = r"(?:file:|~\w*|\.{1,2}|[A-Za-z]:)?[/\\]"
_QUOTED = re.compile(rf"""(["'`]){_START}[^"'`\n]*(?=\1)""")
_BARE = re.compile(rf"""(?<![\w./\\]){_START}[^\s"'`<>|,;:()\[\]{{}}]+""")
# In a study file every text that looks like a path is one, also one that begins with a plain name.
_IN_STUDY = re.compile(r"""(["'])[^"'\s]*[/\\][^"'\s]*(?=\1)""")
_HOME = re.compile(r"(?:/home/|/Users/|\b[A-Za-z]:\\+Users\\+)([^/\\\s\"'`:,;]+)")
# What people and programs wrote freely, in which a host or a user may be named without a path.
_FREE = ("error", "reason", "text", "machine", "facts", "environment", "prediction")
_SHORTEST = 3
_COMMON = {"root", "user", "localhost"}
_HOSTS = """
select host from (
    select host, min(started_at) as since from records where host is not null group by host
    union all
    select content->>'$.benchmark.host', min((content->>'$.started_at')::double) from measurements group by 1)
where host is not null group by host order by min(since), host
"""
_TEXTS = """
select error from records where error is not null union all select text from studies
union all select content->>'$.reason' from measurements where content->>'$.reason' is not null
"""


class Anonymous:
    """The names that a store's hosts and users get, the same in all tables of an export.

    Args:
        hosts: The hosts, in order.
        users: Names of users.
    """

    def __init__(self, hosts: Iterable[str], users: Iterable[str]) -> None:
        self._hosts = {host: HOST.format(number) for number, host in enumerate(hosts, 1)}
        names = {name: self._hosts[host] for host in self._hosts for name in (host.split(".")[0], host)}
        names |= dict.fromkeys(users, USER)
        self._names = {
            name.lower(): shown
            for name, shown in names.items()
            if len(name) >= _SHORTEST and name.lower() not in _COMMON
        }
        longest_first = sorted(map(re.escape, self._names), key=len, reverse=True)
        self._named = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first) or '(?!)'})(?!\w)", re.IGNORECASE)

    def host(self, host: str) -> str:
        """Returns the name that a host gets."""
        return self._hosts.get(host, HOST.format("x"))

    def without_paths(self, text: str) -> str:
        """Returns a text in which nothing looks like a path."""
        return _BARE.sub(PATH, _QUOTED.sub(rf"\1{PATH}", text))

    def without_places(self, text: str) -> str:
        """Returns a text in which nothing looks like a path or an address of a network."""
        return _ADDRESS.sub(
            lambda found: ADDRESS if _is_address(found[0]) else found[0], self.without_paths(text)
        )

    def text(self, text: str) -> str:
        """Returns a text that names no path, address, host or user."""
        return self._named.sub(lambda found: self._names[found[0].lower()], self.without_places(text))

    def study(self, text: str) -> str:
        """Returns a study file that names no path, host or user."""
        return self.text(_IN_STUDY.sub(rf"\1{PATH}", text))

    def select(self, connection: duckdb.DuckDBPyConnection, name: str) -> str:
        """Returns what selects the columns of a table or view; the functions that it calls are made."""
        shown = []
        for column, kind in described(connection, name).items():
            if kind not in ("VARCHAR", "JSON"):
                continue
            call = "study" if column == "text" else "text" if column in _FREE else "places"
            call = "paths" if column in _VERSIONS else call
            call = "host" if column == "host" else call
            value = f"anonymous_{call}{'_json' if kind == 'JSON' else ''}({quoted(column)}::varchar)"
            shown.append(f"{value}::{kind} as {quoted(column)}")
        return f"* replace ({', '.join(shown)})" if shown else "*"

    def add_functions(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the functions that `select` calls."""
        calls = {
            "host": self.host, "text": self.text, "study": self.study,
            "places": self.without_places, "paths": self.without_paths,
        }  # fmt: skip
        for name, call in calls.items():
            connection.create_function(f"anonymous_{name}", call, ["VARCHAR"], "VARCHAR")
            connection.create_function(f"anonymous_{name}_json", _in_json(call), ["VARCHAR"], "VARCHAR")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text != "::"


def _in_json(call: Any) -> Any:
    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {call(name): walk(item) for name, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return call(value) if isinstance(value, str) else value

    return lambda text: json.dumps(walk(json.loads(text)), ensure_ascii=False)


def anonymous(connection: duckdb.DuckDBPyConnection) -> Anonymous:
    """Returns how a store's hosts and users are called in an export, and makes the functions for it."""
    users = {Path.home().name}
    # A container's user may have no name.
    with contextlib.suppress(OSError, KeyError, ImportError):
        users.add(getpass.getuser())
    for text in first_column(connection.execute(_TEXTS)):
        users.update(_HOME.findall(text))
    result = Anonymous(first_column(connection.execute(_HOSTS)), users)
    result.add_functions(connection)
    return result

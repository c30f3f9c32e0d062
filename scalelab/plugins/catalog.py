"""The catalog: every component by kind and name, and who provides it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from scalelab.components import Architecture, Backend, Dataset, Optimizer
from scalelab.errors import PluginError, suggest
from scalelab.law import Law
from scalelab.plugins.selection import VARIABLE
from scalelab.plugins.verify import Kind, Provided, kind_of, verify_component
from scalelab.records import Provenance
from scalelab.trainers import Trainer

KINDS: tuple[Kind, ...] = get_args(Kind)
PluginStatus = Literal["healthy", "conflict", "broken", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """One plugin, and how it is.

    Attributes:
        name: The name of its entry point, or of its file without `.py`.
        distribution: The installed distribution it came with; `"file"` for a single file.
        version: The distribution's version; a digest of the text for a single file.
        origin: The module or file it is.
        status: `"healthy"`; `"conflict"`: another plugin provides a component of the same name;
            `"broken"`: nothing of it can be used; `"blocked"` by `SCALELAB_PLUGINS`, not imported.
        hooks: The hooks it implements.
        components: The names of the components it returned, by kind.
        problem: Why it is not healthy, in one line.
    """

    name: str
    distribution: str
    version: str
    origin: str
    status: PluginStatus = "healthy"
    hooks: tuple[str, ...] = ()
    components: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether everything that it provides can be used."""
        return self.status == "healthy"

    @property
    def label(self) -> str:
        """The plugin and where it comes from, for messages."""
        source = self.origin if self.distribution == "file" else f"{self.distribution} {self.version}".strip()
        return f"{self.name} ({source})"


Provider = tuple[PluginInfo, Provided]
Loaded = tuple[PluginInfo, tuple[Provided, ...]]
"""A plugin, and the components that it returned."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the loaded plugins provide. Never changes; load the plugins again to see new ones.

    Attributes:
        plugins: Every plugin that was found, the broken and the blocked ones among them.
        plugins_dirs: The folders of single-file plugins, absolute.
        select: The selection in force (`SCALELAB_PLUGINS`), empty for none. With `plugins_dirs` it is
            what another process needs to load the same catalog.
    """

    plugins: tuple[PluginInfo, ...] = ()
    plugins_dirs: tuple[Path, ...] = ()
    select: str = ""
    _loaded: tuple[Loaded, ...] = field(default=(), repr=False)
    _providers: Mapping[tuple[str, str], tuple[Provider, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def collect(
        cls, loaded: Iterable[Loaded], *, plugins_dirs: tuple[Path, ...] = (), select: str = ""
    ) -> Catalog:
        """Makes a catalog of plugins and what each returned; finds the names that two of them claim."""
        loaded = tuple(loaded)
        providers: dict[tuple[str, str], tuple[Provider, ...]] = {}
        for info, components in loaded:
            for component in components:
                key = (kind_of(component), component.name)
                providers[key] = (*providers.get(key, ()), (info, component))
        plugins = tuple(_judged(info, components, providers) for info, components in loaded)
        return cls(plugins, plugins_dirs, select, loaded, providers)

    def with_components(self, *components: Provided, plugin: str = "session") -> Catalog:
        """Returns a catalog with components of one's own, made in a notebook or a test.

        Processes that load the plugins again do not have them, so only runs in this process can use them.

        Raises:
            PluginError: A component is unsound.
        """
        for component in components:
            verify_component(component)
        own = PluginInfo(name=plugin, distribution=plugin, version="", origin=plugin)
        loaded = (*self._loaded, (own, components))
        return self.collect(loaded, plugins_dirs=self.plugins_dirs, select=self.select)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each plugin that is broken and each component name that two plugins claim."""
        broken = [_broken(info) for info in self.plugins if info.status == "broken"]
        claimed = dict.fromkeys(info.problem or "" for info in self.plugins if info.status == "conflict")
        return (*broken, *claimed)

    def dataset(self, name: str) -> Dataset:
        """Returns a dataset; see `find` for the errors."""
        return cast(Dataset, self.find("dataset", name))

    def architecture(self, name: str) -> Architecture:
        """Returns an architecture; see `find` for the errors."""
        return cast(Architecture, self.find("architecture", name))

    def optimizer(self, name: str) -> Optimizer:
        """Returns an optimizer; see `find` for the errors."""
        return cast(Optimizer, self.find("optimizer", name))

    def backend(self, name: str) -> Backend:
        """Returns a backend; see `find` for the errors."""
        return cast(Backend, self.find("backend", name))

    def trainer(self, name: str) -> Trainer:
        """Returns a trainer; see `find` for the errors."""
        return cast(Trainer, self.find("trainer", name))

    def law(self, name: str) -> Law:
        """Returns a law that a plugin provides; see `find` for the errors."""
        return cast(Law, self.find("law", name))

    def find(self, kind: Kind, name: str) -> Provided:
        """Returns a component, or a law.

        Raises:
            PluginError: No plugin provides it (with close matches, and the broken and blocked plugins, which
                might), a broken plugin does, or two plugins do.
        """
        return self._provider(kind, name)[1]

    def provenance(self, kind: Kind, name: str) -> Provenance:
        """Returns who provides a component; the same errors as `find`."""
        info, _ = self._provider(kind, name)
        return Provenance(plugin=info.name, distribution=info.distribution, version=info.version)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Returns the names of the components of a kind that can be used, sorted."""
        items = self._providers.items()
        return tuple(sorted(name for (its, name), found in items if its == kind and len(_sound(found)) == 1))

    def _provider(self, kind: Kind, name: str) -> Provider:
        found = self._providers.get((kind, name), ())
        sound = _sound(found)
        if len(sound) == 1:
            return sound[0]
        if len(sound) > 1:
            raise PluginError(_conflict(kind, name, [info for info, _ in sound]))
        if found:
            raise PluginError(f"{kind} {name!r} cannot be used: {_broken(found[0][0])}")
        raise PluginError(self._unknown(kind, name))

    def _unknown(self, kind: Kind, name: Any) -> str:
        if not isinstance(name, str):
            return f"{name!r} is not the name of a {kind}; give a string"
        known = self.names(kind)
        elsewhere = [other for other in KINDS if other != kind and name in self.names(other)]
        near = suggest(name, known, show=lambda match: f"{match!r} of plugin {self._label(kind, match)}")
        if elsewhere:
            hint = f"; {name!r} is the name of {_with_article(elsewhere[0])}"
        else:
            hint = near or f"; known {kind}s: {', '.join(known) or 'none'}"
        parts = [f"there is no {kind} {name!r}{hint}"]
        parts.extend(_broken(info) for info in self.plugins if info.status == "broken")
        blocked = [info.name for info in self.plugins if info.status == "blocked"]
        if blocked:
            parts.append(f"not loaded because of {VARIABLE}={self.select}: {', '.join(blocked)}")
        return "; ".join(parts)

    def _label(self, kind: Kind, name: str) -> str:
        return self._provider(kind, name)[0].label


def _sound(found: Iterable[Provider]) -> list[Provider]:
    return [(info, component) for info, component in found if info.status != "broken"]


def _judged(
    info: PluginInfo,
    components: Iterable[Provided],
    providers: Mapping[tuple[str, str], tuple[Provider, ...]],
) -> PluginInfo:
    """Returns a plugin with the names of what it returned and its conflicts with other plugins."""
    names: dict[str, tuple[str, ...]] = {}
    conflicts: list[str] = []
    for component in components:
        kind = kind_of(component)
        names[kind] = (*names.get(kind, ()), component.name)
        claimants = [claimant for claimant, _ in _sound(providers[kind, component.name])]
        if info.status == "healthy" and len(claimants) > 1:
            conflicts.append(_conflict(kind, component.name, claimants))
    judged = dataclasses.replace(info, components=names)
    if conflicts:
        judged = dataclasses.replace(judged, status="conflict", problem="; ".join(conflicts))
    return judged


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _broken(info: PluginInfo) -> str:
    return f"plugin {info.label} is broken: {info.problem}"


def _conflict(kind: str, name: str, claimants: Iterable[PluginInfo]) -> str:
    claimants = list(claimants)
    distinct = len({info.name for info in claimants}) == len(claimants)
    items = [info.name if distinct else f"{info.name}@{info.distribution}" for info in claimants]
    ways = " or ".join(f"{VARIABLE}=-{item}" for item in items)
    labels = " and ".join(info.label for info in claimants)
    return f"{kind} {name!r} is provided by plugins {labels}, so neither is used; block one: {ways}"

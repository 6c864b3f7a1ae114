"""Interfaces of many documents as one set: what each inherits and is made of, and what does not fit together.

Must not know plants. Source: Digital Twins Definition Language v2 and v3, "Interface", `extends` and "Component".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twin import dtdl
from twin.dtdl_rules import EXTENDS_ALL_MAX, EXTENDS_DEPTH_MAX, VERSIONS
from twin.errors import Mistake, Notice
from twin.interface import Component, Field, Interface
from twin.nearest import nearest
from twin.places import line_of


@dataclass(frozen=True, slots=True)
class Models:
    """A set of Interfaces, each with all it inherits and the fields of its Components, and what was said of them."""

    interfaces: Mapping[str, Interface]
    mistakes: tuple[Mistake, ...]
    notices: tuple[Notice, ...]


def read_models(texts: Mapping[str, str]) -> Models:
    """The Interfaces of all documents together.

    Args:
        texts: file name -> its text.
    """
    parsed = [dtdl.parse(texts[file], file) for file in sorted(texts)]
    joined = join((i for p in parsed for i in p.interfaces), texts)
    return Models(
        joined.interfaces,
        (*(m for p in parsed for m in p.mistakes), *joined.mistakes),
        (*(n for p in parsed for n in p.notices), *joined.notices),
    )


def join(interfaces: Iterable[Interface], texts: Mapping[str, str]) -> Models:
    """Interfaces as they were read, with what they inherit and are made of.

    Args:
        texts: of the files they come from, to name lines.
    """
    found: dict[str, Interface] = {}
    joining = _Joining(texts, found)
    for interface in interfaces:
        first = found.get(interface.id)
        if first is not None:
            where = f"{first.file}:{first.line}"
            joining.mistake(interface, '"@id"', f"{interface.id} is also in {where}", "keep one of them")
        else:
            found[interface.id] = interface
    for interface in found.values():
        joining.fold(interface, ())
    whole = {i: joining.with_components(joining.done[i]) for i in found}
    joining.check_targets()
    return Models(whole, tuple(joining.mistakes), tuple(joining.notices))


@dataclass(slots=True)
class _Joining:
    """Joins Interfaces by `extends` and Components; each flaw once."""

    texts: Mapping[str, str]
    found: Mapping[str, Interface]
    done: dict[str, Interface] = field(default_factory=dict)
    heights: dict[str, int] = field(default_factory=dict)  # levels of `extends` above an Interface
    ancestors: dict[str, frozenset[str]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def mistake(self, interface: Interface, near: str, message: str, fix: str) -> None:
        self.mistakes.append(Mistake(interface.file, self._line(interface, near), message, fix))

    def notice(self, interface: Interface, near: str, what: str, meaning: str) -> None:
        self.notices.append(Notice(interface.file, self._line(interface, near), what, meaning))

    def _line(self, interface: Interface, near: str) -> int:
        return line_of(self.texts.get(interface.file, ""), near, interface.line)

    # --- extends -----------------------------------------------------------------------------------------------------

    def fold(self, interface: Interface, path: tuple[str, ...]) -> Interface:
        """The Interface with what it extends; its depth is bounded by the number of Interfaces, circles being cut."""
        if interface.id in self.done:
            return self.done[interface.id]
        parents = [p for p in (self._parent(interface, i, path) for i in interface.extends) if p is not None]
        height = max((self.heights[p.id] + 1 for p in parents), default=0)
        above = frozenset(p.id for p in parents).union(*(self.ancestors[p.id] for p in parents))
        self.heights[interface.id], self.ancestors[interface.id] = height, above
        if height > EXTENDS_DEPTH_MAX:
            fix = f"DTDL allows {EXTENDS_DEPTH_MAX}"
            self.mistake(interface, '"extends"', f"extends {height} levels deep", fix)
        if len(above) > EXTENDS_ALL_MAX:
            self.mistake(
                interface, '"extends"', f"extends {len(above)} Interfaces in all", f"at most {EXTENDS_ALL_MAX}"
            )
        whole = replace(
            interface,
            fields=self._merged(interface, parents, "fields"),
            relationships=self._merged(interface, parents, "relationships"),
            components=self._merged(interface, parents, "components"),
            commands=self._merged(interface, parents, "commands"),
        )
        self._check_names(interface, parents, whole)
        self.done[interface.id] = whole
        return whole

    def _parent(self, interface: Interface, parent_id: str, path: tuple[str, ...]) -> Interface | None:
        parent, near = self.found.get(parent_id), f'"{parent_id}"'
        if parent is None:
            fix = nearest(parent_id, self.found) or "add its file or mend the id"
            self.mistake(interface, near, f"extends unknown Interface {parent_id}", fix)
        elif parent_id in (*path, interface.id):
            circle = " → ".join((*path, interface.id, parent_id))
            self.mistake(interface, near, f"extends itself: {circle}", "remove one of these")
        elif parent.version > interface.version:
            self._check_version(interface, parent, "extends")
        else:
            return self.fold(parent, (*path, interface.id))
        return None

    def _check_version(self, interface: Interface, other: Interface, verb: str) -> None:
        message = f"an Interface of DTDL v{interface.version} {verb} {other.id} of v{other.version}"
        self.mistake(interface, f'"{other.id}"', message, "write both in the later version")

    def _merged(self, interface: Interface, parents: list[Interface], kind: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for parent in parents:
            for name, element in getattr(parent, kind).items():
                # One element that comes along two ways is one element; two of one name are a clash.
                if merged.setdefault(name, element) is not element:
                    message = f"{name} is inherited twice, from {parent.id} and another"
                    self.mistake(interface, f'"{parent.id}"', message, "rename one of them")
        merged.update(getattr(interface, kind))
        return merged

    def _check_names(self, interface: Interface, parents: list[Interface], whole: Interface) -> None:
        inherited = {n for p in parents for n in _names(p)}
        for name in interface.own:
            if name in inherited:
                self.mistake(interface, f'"{name}"', f"{name} is inherited already", "remove or rename it here")
        limit = next(v.contents_max for v in VERSIONS.values() if v.number == interface.version)
        if len(_names(whole)) > limit:
            message = f"{len(_names(whole))} contents with what it inherits"
            self.mistake(interface, '"contents"', message, f"DTDL v{interface.version} allows {limit}; split it")

    # --- components --------------------------------------------------------------------------------------------------

    def with_components(self, interface: Interface) -> Interface:
        """The Interface with the fields of its Components under dotted names."""
        fields = dict(interface.fields)
        for component in interface.components.values():
            inner = self._inner(interface, component)
            if inner is None:
                continue
            for name, inside in inner.fields.items():
                fields[f"{component.name}.{name}"] = _inside(inside, component.name)
            is_own = component.name in interface.own
            for name in inner.relationships if is_own else ():
                what = f"relationship {name} inside component {component.name}"
                self.notice(interface, f'"{component.name}"', what, "no twin can have it: use one of the twin itself")
        return replace(interface, fields=fields)

    def _inner(self, interface: Interface, component: Component) -> Interface | None:
        inner, is_own = self.done.get(component.interface), component.name in interface.own
        near = f'"{component.name}"'
        if not is_own:
            return inner  # what is wrong was said where it is declared
        if inner is None:
            fix = nearest(component.interface, self.found) or "add its file or mend the id"
            message = f"component {component.name} is of unknown Interface {component.interface}"
            self.mistake(interface, near, message, fix)
        elif inner.components:
            message = f"component {component.name} holds components itself ({', '.join(inner.components)})"
            self.mistake(interface, near, message, "DTDL allows one level; use a Relationship")
        elif inner.version > interface.version:
            self._check_version(interface, inner, "has a component")
        else:
            return inner
        return None

    def check_targets(self) -> None:
        """Targets go by reference: the language lets them be unknown."""
        for interface in self.found.values():
            for rule in interface.relationships.values():
                if rule.target is not None and rule.target not in self.found:
                    hint = nearest(rule.target, self.found)
                    meaning = f"no twin can be its target. {hint}" if hint else "no twin can be its target"
                    what = f"{rule.name} leads to Interface {rule.target}, which is not here"
                    self.notice(interface, f'"{rule.target}"', what, meaning)


def is_a(interface_id: str, ancestor: str, interfaces: Mapping[str, Interface]) -> bool:
    """Whether an Interface is another or extends it, at any depth; circles end."""
    seen: set[str] = set()
    todo = [interface_id]
    while todo:
        current = todo.pop()
        if current == ancestor:
            return True
        if current not in seen and current in interfaces:
            seen.add(current)
            todo.extend(interfaces[current].extends)
    return False


def _inside(inside: Field, component: str) -> Field:
    return replace(inside, name=f"{component}.{inside.name}", component=component)


def _names(interface: Interface) -> set[str]:
    return {*interface.fields, *interface.relationships, *interface.components, *interface.commands}

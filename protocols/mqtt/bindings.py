"""Which points speak in which topic and where in its payload: as rows for one message, as arrays for many; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.mqtt.codec import DEFAULT_POINTER, IN_TOPIC, is_index, parse_address
from protocols.mqtt.documents import UNBOUND, enter, find_all
from protocols.mqtt.messages import Messages

Pointer = tuple[str, ...]
PLAIN_TYPES = frozenset({"double", "integer", "boolean"})
_SAID_ABOUT = frozenset({"time", "quality"})  # members that speak of their neighbours
LEVELS_MAX = 32  # of a topic, among which a value is looked for
_IN_TOPIC = IN_TOPIC.encode()
_ITEMS_MAX = 10_000  # of one list; a larger index is looked up one by one


@dataclass(frozen=True, slots=True)
class Keys:
    """Texts of several owners, to be found from their bytes; K keys in S slots, a power of two.

    Attributes:
        slots: shape (S,), a key's number or -1.
        letters: uint8, all keys one after the other.
        at: shape (K + 1,), where each begins in `letters`.
        owner, target: shape (K,).
    """

    slots: NDArray[np.int32]
    letters: NDArray[np.uint8]
    at: NDArray[np.int32]
    owner: NDArray[np.int32]
    target: NDArray[np.int32]

    @classmethod
    def of(cls, keys: Sequence[bytes], owner: Sequence[int], target: Sequence[int]) -> Keys:
        size = 1 << max(1, 2 * len(keys) - 1).bit_length()
        at = np.zeros(len(keys) + 1, np.int32)
        np.cumsum([len(key) for key in keys], out=at[1:])
        found = cls(
            np.full(size, -1, np.int32), np.frombuffer(b"".join(keys) or b"\0", np.uint8), at,
            np.array(owner, np.int32), np.array(target, np.int32),
        )  # fmt: skip
        enter(found.slots, found.letters, found.at, found.owner)
        return found

    def columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.slots, self.letters, self.at, self.owner, self.target


class Bindings:
    """All points of a link. Topics are numbered in the order in which they first occur."""

    def __init__(self, addresses: Sequence[str], types: Sequence[str], form: str = "auto") -> None:
        """`form`: one of codec.FORMATS.

        Raises:
            ValueError: an address is none.
        """
        self._number: dict[bytes, int] = {}
        self.topics: list[str] = []
        self._bound: list[list[tuple[int, Pointer]]] = []
        for row, text in enumerate(addresses):
            address = parse_address(text)
            raw = address.topic.encode()
            number = self._number.setdefault(raw, len(self.topics))
            if number == len(self.topics):
                self.topics.append(address.topic)
                self._bound.append([])
            bare = form == "packed" and address.pointer in (DEFAULT_POINTER, ())
            self._bound[number].append((row, ("0",) if bare else address.pointer))
        self._templates = any(IN_TOPIC in topic for topic in self.topics)
        self._topic_keys = Keys.of(list(self._number), [0] * len(self.topics), range(len(self.topics)))
        self.places = _Places(self._bound, types)

    def __len__(self) -> int:
        """How many topics."""
        return len(self.topics)

    def bound(self, topic: bytes) -> Sequence[tuple[int, Pointer]]:
        """The rows that a topic speaks of, and where in its payload; none for an unknown topic."""
        number = self._number.get(topic)
        return () if number is None else self._bound[number]

    @property
    def filters(self) -> list[str]:
        """What to subscribe to, in the order of `topics`."""
        if not self._templates:
            return self.topics
        return ["/".join("+" if level == IN_TOPIC else level for level in t.split("/")) for t in self.topics]

    def by_level(self, topic: bytes) -> tuple[bytes, bytes] | None:
        """Of a message whose topic has a value in it: (the topic that points are bound to, the value)."""
        levels = topic.split(b"/") if self._templates else []
        for at, level in enumerate(levels[:LEVELS_MAX]):
            bound = b"/".join((*levels[:at], _IN_TOPIC, *levels[at + 1 :]))
            if bound in self._number:
                return bound, level
        return None

    def rows_of(self, filter_: str) -> Iterator[int]:
        """Of a topic as it was subscribed to."""
        asked = (
            [filter_]
            if not self._templates
            else [t for t, f in zip(self.topics, self.filters, strict=True) if f == filter_]
        )
        return (row for topic in asked for row, _ in self.bound(topic.encode()))

    def pointer(self, topic: bytes, row: int) -> Pointer:
        return next(pointer for bound, pointer in self.bound(topic) if bound == row)

    def numbers(self, messages: Messages) -> NDArray[np.int32]:
        """The topic's number for each message that may be taken in columns, UNBOUND for the others, shape (N,)."""
        found = np.empty(len(messages), np.int32)
        find_all(messages.data, messages.topic_at, messages.topic_size, *self._topic_keys.columns()[:4], found)
        return found if self.places.all_plain else self.places.plain[found]


class _Places:
    """Where numbers stand in the payloads of each topic, for the compiled reader. Topics that it must not read have
    neither a bare row nor a container.

    Attributes:
        bare, root: see documents.take, shape (topics,).
        plain: the topic's number or UNBOUND, shape (topics + 1,), the last for unknown topics.
        keys: members of containers; key_first: of each container, the first one, shape (containers,).
        item_first, item_count, items: lists of containers.
    """

    def __init__(self, bound: Sequence[Sequence[tuple[int, Pointer]]], types: Sequence[str]) -> None:
        self.bare = np.full(len(bound), UNBOUND, np.int32)
        self.root = np.full(len(bound), UNBOUND, np.int32)
        self.plain = np.full(len(bound) + 1, UNBOUND, np.int32)
        self._keys: list[bytes] = []
        self._owner: list[int] = []
        self._target: list[int] = []
        self._key_first: list[int] = []
        self._first: list[int] = []
        self._count: list[int] = []
        self._items: list[int] = []
        for number, rows in enumerate(bound):
            if _is_plain(rows, types):
                self._add(number, rows)
        self.all_plain = bool(np.all(self.plain[:-1] >= 0))
        self.keys = Keys.of(self._keys, self._owner, self._target)
        self.key_first = np.array(self._key_first, np.int32)
        self.item_first, self.item_count = np.array(self._first, np.int32), np.array(self._count, np.int32)
        self.items = np.array([*self._items, UNBOUND], np.int32)

    @property
    def containers(self) -> int:
        return len(self._first)

    def _add(self, number: int, rows: Sequence[tuple[int, Pointer]]) -> None:
        self.plain[number] = number
        inner: dict[str, list[tuple[int, str]]] = {}
        outer: list[tuple[int, str]] = []
        for row, pointer in rows:
            if pointer in (DEFAULT_POINTER, ()):
                self.bare[number] = row
            if len(pointer) == 1:
                outer.append((row, pointer[0]))
            elif pointer:
                inner.setdefault(pointer[0], []).append((row, pointer[1]))
        for part, members in inner.items():
            outer.append((-2 - self._container(members), part))
        self.root[number] = self._container(outer) if outer else UNBOUND

    def _container(self, members: Sequence[tuple[int, str]]) -> int:
        """A new container whose members are rows or other containers; returns its number."""
        number = len(self._first)
        indexed = {int(part): target for target, part in members if is_index(part)}
        self._key_first.append(len(self._keys))
        self._keys += [part.encode() for _, part in members]
        self._owner += [number] * len(members)
        self._target += [target for target, _ in members]
        self._first.append(len(self._items))
        self._count.append(max(indexed, default=-1) + 1)
        self._items += [indexed.get(index, UNBOUND) for index in range(self._count[-1])]
        return number


def _is_plain(rows: Sequence[tuple[int, Pointer]], types: Sequence[str]) -> bool:
    """Whether everything that the topic speaks of can be read by the compiled reader, and means one thing there."""
    pointers = [pointer for _, pointer in rows]
    distinct = set(pointers)
    heads = {pointer[0] for pointer in distinct if len(pointer) == 2}
    return (
        all(types[row] in PLAIN_TYPES for row, _ in rows)
        and len(distinct) == len(pointers)
        and all(len(pointer) <= 2 for pointer in distinct)
        and (() not in distinct or len(distinct) == 1)
        and not any(_SAID_ABOUT.intersection(pointer) for pointer in distinct)
        and not any((head,) in distinct for head in heads)
        and not any(len(part) > 9 or int(part) >= _ITEMS_MAX for p in distinct for part in p if is_index(part))
    )

"""Names of devices -> ids of a plant: the same ones in every run, and no two alike; pure, must not know plants."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

ID_MAX = 64  # characters: what a console's column and a person still take in
MARK_CHARACTERS = 6  # of a hash: enough to tell some thousand namesakes apart
_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "ł": "l", "Ł": "L", "µ": "u", "μ": "u"})
_NUMBERED = re.compile(r"^(.*?\D)[\s_.#-]*\d+$")


def plain(text: str) -> str:
    """Letters, digits and single `_`, a letter first; what an id cannot hold is left out."""
    folded = unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode()
    name = "_".join(re.findall(r"[A-Za-z0-9]+", folded))
    if not name:
        return f"x{mark(text)}" if text else "x"
    if not name[0].isalpha():
        name = f"n{name}"
    return name if len(name) <= ID_MAX else marked(name, text)


def mark(text: str, length: int = MARK_CHARACTERS) -> str:
    """A few characters that stand for a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:length]


def marked(name: str, identity: str, length: int = MARK_CHARACTERS) -> str:
    return f"{name[: ID_MAX - 1 - length].rstrip('_')}_{mark(identity, length)}"


def named(wanted: Iterable[tuple[str, str]], taken: Iterable[str] = ()) -> dict[str, str]:
    """An id for each (identity, text). Capitals do not tell ids apart: neither do some file systems.

    Where several texts come to one id, the one that already is that id keeps it, and the others are marked by their
    identity: so none of them depends on the order in which a device names them.
    """
    used = {t.casefold() for t in taken}
    groups: dict[str, list[tuple[str, str]]] = {}
    for identity, text in wanted:
        groups.setdefault(plain(text).casefold(), []).append((identity, text))
    found: dict[str, str] = {}
    for key, members in groups.items():
        exact = [i for i, text in members if text == plain(text)]
        owner = members[0][0] if len(members) == 1 else exact[0] if len(exact) == 1 else None
        for identity, text in members:
            name = plain(text)
            if identity != owner or key in used:
                name = _free(name, identity, used)
            found[identity] = name
        used |= {found[i].casefold() for i, _ in members}
    return found


def _free(name: str, identity: str, used: set[str]) -> str:
    for length in range(MARK_CHARACTERS, ID_MAX // 2):
        candidate = marked(name, identity, length)
        if candidate.casefold() not in used:
            used.add(candidate.casefold())
            return candidate
    raise AssertionError(f"no free id for {identity!r}")  # 25 hashes would have to collide


def stem(name: str) -> str:
    """`Pump` of `Pump 12`; "" when the name bears no number."""
    found = _NUMBERED.match(name.strip())
    return plain(found[1]) if found else ""


def family(names: Sequence[str]) -> str:
    """One name for several: their common stem, or the only one's own name; "" when they have nothing in common."""
    stems = {stem(n) or plain(n) for n in names}
    return stems.pop() if len(stems) == 1 else ""

"""What people read of a model's element: names and descriptions by language; must not know schemas or Interfaces.

Source: Digital Twins Definition Language v3, "Display string localization".
"""

from __future__ import annotations

from dataclasses import dataclass

LocalText = tuple[tuple[str, str], ...]
"""(language tag, text), in the author's order; text without a language is English, as DTDL says."""
DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Words:
    """What an element is called and why; none of it changes how the element behaves.

    Attributes:
        display, description: by language.
        comment: for the model's authors.
        id: the element's own DTMI, "" when its author gave none.
        extra: keys of language extensions that are kept for export, with their value as canonical JSON.
    """

    display: LocalText = ()
    description: LocalText = ()
    comment: str = ""
    id: str = ""
    extra: tuple[tuple[str, str], ...] = ()


NO_WORDS = Words()


def in_english(text: LocalText, otherwise: str) -> str:
    """The English text, else the first of any language, else `otherwise`."""
    by_language = dict(text)
    return by_language.get(DEFAULT_LANGUAGE) or next(iter(by_language.values()), otherwise)

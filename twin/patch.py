"""JSON merge patch (RFC 7396); must not know what the document means."""

from __future__ import annotations

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """The target after the patch: null removes a member, an object is merged, anything else replaces.

    Source: RFC 7396, section 2. Neither argument is changed. The depth is that of the patch, which its parser bounds.
    """
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found

"""Who acts besides people, by names that no account and no token may have; pure."""

from __future__ import annotations

LEASE_AUTHOR = "lease:"
GROUP_AUTHOR = "group:"
"""Before the id of the lease that reverts, of the group that compensates."""
AUTOMATIC = "twinloop"
"""Who trains and rolls back where no person did."""
CHAIN = "chain"
ALARM_RULE = "alarm rule"
SERVICES = frozenset({"", CHAIN, ALARM_RULE, AUTOMATIC})
LINK_USER, TOKEN_USER = "operator", "cli"
"""Who signs in by a login link without an account, and by the data folder's token."""
PROVIDED = "oidc:"
"""Before the name of whom a provider of identities vouches for: no token is called so."""
TAKEN = frozenset({LEASE_AUTHOR[:-1], GROUP_AUTHOR[:-1], PROVIDED[:-1], *SERVICES, LINK_USER, TOKEN_USER})


def is_taken(name: str) -> bool:
    """Whether a name stands for the server itself, or for nobody in particular."""
    return name.casefold() in TAKEN


def is_own(author: str) -> bool:
    """Whether the server itself commands: a revert, or a compensation. They go however large the step back is."""
    return author.startswith((LEASE_AUTHOR, GROUP_AUTHOR))


def is_person(name: str) -> bool:
    """Whether a name may be somebody's: the server's own authors are told as they are."""
    return name not in SERVICES and not is_own(name)

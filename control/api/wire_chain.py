"""What is asked of the registries on the chain as it travels; must not know contracts."""

from __future__ import annotations

import msgspec


class RegistryStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/chain. `step`: register_device, change_key, revoke_device, notarise, certify_model, stage_model or
    revoke_model; `hashes`: SHA-256 in hex, in the order of the contract's function, a device's own left out where
    `device` names it; `stage` and `sources` where the step has them."""

    step: str
    hashes: list[str]
    device: str = ""
    stage: str = ""
    sources: list[str] = msgspec.field(default_factory=list)

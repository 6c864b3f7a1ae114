"""Where and how often a plant's evidence is anchored, as its plant.toml says; must not know chains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChainRule:
    """A row [[chain_event]]: when the contract says so, command these points.

    Attributes:
        contract, event: such as ModelRegistry and Revoked.
        topic: hash that the event must be about, 64 hex digits; empty for any.
        device: id of the device that it must be about; empty for any.
        confirmations: blocks that it must be deep.
        sets: names of points and the values they get, in the order of the file.
    """

    contract: str
    event: str
    topic: str
    device: str
    confirmations: int
    sets: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Anchoring:
    """The table [chain].

    Attributes:
        rpc: address of a JSON-RPC node; empty for the embedded chain.
        chain_id: the chain that the node must serve.
        contract: address of the log's Anchor contract; empty: made by the first start.
        confirmations: blocks that an anchor must be deep.
        timeout_s: how long one may take.
        every_s: from one anchor to the next while there are new entries.
        alarm_s: age of the oldest entry that is not anchored from which there is an alarm.
        rules: what events on it command.
    """

    rpc: str = ""
    chain_id: int = 0
    contract: str = ""
    confirmations: int = 1
    timeout_s: float = 120.0
    every_s: float = 10.0
    alarm_s: float = 300.0
    rules: tuple[ChainRule, ...] = ()

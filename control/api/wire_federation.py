"""Messages between the sites of a federated training, as wire.py: msgpack with a tag, over a WebSocket.

The coordinator says hello (wire.Hello) and its plan; a site joins, answers rounds and judges the model. Errors are
wire.Problem in both directions. Must not know what the numbers mean.
"""

from __future__ import annotations

from typing import Any

import msgspec

from control.api.wire import Hello, Problem


class Tensor(msgspec.Struct, frozen=True):
    """Little-endian numbers of a numpy type such as `<f8`, row by row."""

    type: str
    shape: list[int]
    data: bytes


class FederationPlan(msgspec.Struct, frozen=True, tag_field="t", tag="plan"):
    """What is trained. `options` are those of `twinloop train forecast`; `hash` covers all of it and the version."""

    run: str
    hash: str
    columns: list[str]
    units: list[str]
    options: dict[str, Any]
    rounds: int
    steps: int
    clip: float
    noise: float
    windows_max: int
    scaling: str
    seed: int
    secure: bool
    sites_min: int


class FederationPeer(msgspec.Struct, frozen=True):
    """A site that takes part in a round: its X25519 key, and the proof that the key is a site's."""

    site: str
    key: bytes
    proof: bytes


class FederationRound(msgspec.Struct, frozen=True, tag_field="t", tag="round"):
    """A step of all `sites`. The same step may come again under another number, when a site is gone."""

    round: int
    kind: str
    n: int
    clip: float
    tensors: dict[str, Tensor]
    sites: list[FederationPeer]


class FederationNews(msgspec.Struct, frozen=True, tag_field="t", tag="news"):
    """How far the training is, for people."""

    share: float
    words: str


class FederationModel(msgspec.Struct, frozen=True, tag_field="t", tag="model"):
    """The common model, a safetensors file."""

    file: bytes


class FederationJoin(msgspec.Struct, frozen=True, tag_field="t", tag="join", forbid_unknown_fields=True):
    """A site takes part. `code` is its version of Twinloop, `plan` the hash of the plan that it has heard.

    `step_s`: between its rows; 0 where they are uneven.
    """

    site: str
    code: str
    plan: str
    units: list[str]
    windows: int
    step_s: float
    key: bytes
    proof: bytes


class FederationPart(msgspec.Struct, frozen=True, tag_field="t", tag="part", forbid_unknown_fields=True):
    """A site's numbers in fixed point (16 bytes each), masked unless the plan is open, and its held-out loss."""

    round: int
    numbers: bytes
    loss: float


class FederationOutcome(msgspec.Struct, frozen=True, tag_field="t", tag="outcome", forbid_unknown_fields=True):
    """Whether the common model beats the site's own simple one, on data of the site that neither was trained on."""

    better: bool
    reason: str
    simple_loss: float
    common_loss: float


SiteMessage = FederationJoin | FederationPart | FederationOutcome | Problem
CoordinatorMessage = Hello | FederationPlan | FederationRound | FederationNews | FederationModel | Problem

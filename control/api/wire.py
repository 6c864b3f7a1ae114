"""Every message of HTTP and WebSocket as a typed value; TypeScript types are generated from here (wire_types.py).

Must not know how any of it is computed. Times are milliseconds since 1970 UTC as floats, so that browsers can hold them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from twin.mark import Shape

SUBPROTOCOL = "twinloop.v1.msgpack"
FRAME_MAX = 262_144  # bytes of a WebSocket frame: also of who has not signed in, and held before it is looked at
PONG_S = 60.0  # for a client's answer to a ping: who only takes nothing is let go before, with a better word
PriorityName = Literal["emergency", "safety", "operator", "schedule", "optimiser"]


class Columns(msgspec.Struct, frozen=True):
    """N points as little-endian columns in msgpack `bin`.

    point u32, value f64, quality u32, source and received f64 (ms since 1970), each N long; text for text points.
    """

    point: bytes
    value: bytes
    quality: bytes
    source: bytes
    received: bytes
    text: dict[str, str]


# --- WebSocket, server to client -------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag_field="t", tag="hello"):
    """First frame; the client answers with `auth`."""

    protocol: str
    version: str


class Welcome(msgspec.Struct, frozen=True, tag_field="t", tag="welcome"):
    """The ticket was good. A heartbeat comes at least every `heartbeat_ms`; `time` is the server's clock."""

    epoch: int
    seq: int
    heartbeat_ms: int
    time: float
    user: str
    role: str


class Snapshot(msgspec.Struct, frozen=True, tag_field="t", tag="snapshot"):
    """All points as they are at `(epoch, seq)`: replace everything held."""

    epoch: int
    seq: int
    columns: Columns


class Delta(msgspec.Struct, frozen=True, tag_field="t", tag="delta"):
    """The points that advanced since the last snapshot or delta sent to this client, each with its latest value.

    `time` is the server's clock when it was made.
    """

    seq: int
    time: float
    columns: Columns


class Event(msgspec.Struct, frozen=True, tag_field="t", tag="event"):
    """Something that happened once: one of the kinds of wire_event.py. Never dropped, in order of `seq`.

    The position to resume from moves with the delta or heartbeat that closes the frame, not with events: after a
    resume an event may come again, and its `seq` tells.
    """

    seq: int
    kind: str
    time: float
    body: dict[str, Any]


class Heartbeat(msgspec.Struct, frozen=True, tag_field="t", tag="heartbeat"):
    """Alive, and the end of a frame that had no delta: the client now holds everything up to `seq`."""

    seq: int
    time: float


class Answer(msgspec.Struct, frozen=True, tag_field="t", tag="answer"):
    """What the `call` with this `ref` gives: the body that HTTP would answer."""

    ref: int
    body: Any


class Problem(msgspec.Struct, frozen=True, tag_field="t", tag="error"):
    """An error and what to do, as HTTP says it (ErrorBody).

    With a `ref` it is the answer to that `call`; without one a close with the error's close code follows.
    """

    code: str
    message: str
    hint: str
    mistakes: list[str] = []
    command: str = ""
    ref: int | None = None


# --- WebSocket, client to server -------------------------------------------------------------------------------------


class Position(msgspec.Struct, frozen=True):
    """The last moment a client holds completely."""

    epoch: int
    seq: int


class Auth(msgspec.Struct, frozen=True, tag_field="t", tag="auth", forbid_unknown_fields=True):
    """A one-time ticket from POST /api/v1/ticket."""

    ticket: str


class Sub(msgspec.Struct, frozen=True, tag_field="t", tag="sub", forbid_unknown_fields=True):
    """Start or resume. With `from` inside what is kept: the missed events and one delta; else a snapshot.

    `points` (names, or ids), `twins` (with their parts) and `events` (kinds) narrow what comes; null is everything.
    `points` and `twins` add up. Resume with what was asked for before, or start anew.
    """

    position: Position | None = msgspec.field(default=None, name="from")
    points: list[str | int] | None = None
    twins: list[str] | None = None
    events: list[str] | None = None
    frames_per_s: Annotated[int, msgspec.Meta(ge=1, le=20)] = 10


class Ping(msgspec.Struct, frozen=True, tag_field="t", tag="ping", forbid_unknown_fields=True):
    """Asks for a heartbeat now."""


class Ask(msgspec.Struct, frozen=True, tag_field="t", tag="call", forbid_unknown_fields=True):
    """Do this, after `sub`: a verb of docs/wire.md and its body. `ref` is the client's own, and comes back."""

    ref: int
    verb: str
    body: Any = {}


ClientMessage = Auth | Sub | Ping | Ask
ServerMessage = Hello | Welcome | Snapshot | Delta | Event | Heartbeat | Answer | Problem

# --- HTTP ------------------------------------------------------------------------------------------------------------


class DeviceInfo(msgspec.Struct, frozen=True):
    id: str
    protocol: str
    endpoint: str


class ServingInfo(msgspec.Struct, frozen=True):
    """How the twin is shown to other programs; `endpoint` as asked for: the point `ID.state` has the real one."""

    id: str
    protocol: str
    endpoint: str


class MarkInfo(msgspec.Struct, frozen=True):
    """How a twin is drawn: its sign, the `point` it shows, and the values of that in which the sign is filled.

    `tank` and `belt` are filled as far as the value is in its range.
    """

    shape: Shape
    point: int | None
    on: list[float]


class TwinInfo(msgspec.Struct, frozen=True):
    """`x`, `y`: place in the drawing, 0…1, y downwards, from the stored layout; `mark` is null outside the drawing.

    `kind_name`: what people call twins of its Interface.
    """

    id: str
    interface: str
    kind: str
    kind_name: str
    name: str
    x: float
    y: float
    mark: MarkInfo | None


class RelationshipInfo(msgspec.Struct, frozen=True):
    source: str
    name: str
    target: str


class ValueName(msgspec.Struct, frozen=True):
    value: float
    name: str


class PointInfo(msgspec.Struct, frozen=True):
    """`low`/`high` are absent when the range is open. `names` of an enum's or a boolean's values; none for others.

    `title`: what people call it, "" where its Interface does not say.

    What commands on it meet, by its policy: `select` before they are operated, `approvals` of the role `approver`, a
    prediction (`preflight`: off, warn or refuse).
    """

    id: int
    name: str
    twin: str
    property: str
    type: str
    unit: str
    device: str
    writable: bool
    low: float | None
    high: float | None
    select: bool
    approvals: int
    approver: str
    preflight: str
    title: str
    names: list[ValueName]


class KpiInfo(msgspec.Struct, frozen=True):
    """A figure of the plant's overview, by point id; `name` "" for what the point is called. Values in its unit."""

    point: int
    name: str
    normal: list[float] | None
    target: float | None


class PlantInfo(msgspec.Struct, frozen=True):
    """GET /api/v1/plant. `clock` is the point that carries the plant's own time, if it has one.

    `simulated`: the points that a what-if may set, by name. `overview`: what the plant says of its overview.
    """

    id: str
    name: str
    version: str
    devices: list[DeviceInfo]
    twins: list[TwinInfo]
    relationships: list[RelationshipInfo]
    points: list[PointInfo]
    clock: str | None
    servings: list[ServingInfo]
    simulated: list[str]
    overview: list[KpiInfo]


class GraphPicture(msgspec.Struct, frozen=True):
    """GET /api/v1/graph/layout: boxes within boxes, one for each of `twins`, in lines of text; `revision` is the graph's.

    `parent`: the row of what contains it, -1 for nothing. `x`, `y`: left and top, y downwards.
    """

    revision: str
    width: float
    height: float
    twins: list[str]
    parent: list[int]
    x: list[float]
    y: list[float]
    w: list[float]
    h: list[float]


class TwinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/twins. Without a name it is called by its id; `properties` are values to keep, by dotted name."""

    id: str
    interface: str
    name: str | None = None
    at: list[float] | None = None
    properties: dict[str, Any] = {}


class TwinRow(msgspec.Struct, frozen=True):
    """`at` in the plant's own unit, y upwards; `origin` is `plant` (its folder) or `api`."""

    id: str
    interface: str
    kind: str
    name: str
    at: list[float] | None
    origin: str


class TwinPage(msgspec.Struct, frozen=True):
    """GET /api/v1/twins, in order of id; `next` is the cursor of the next page, null after the last."""

    twins: list[TwinRow]
    next: str | None


class TwinProperty(msgspec.Struct, frozen=True):
    """A Property or Telemetry now. `value` as JSON has it, and as a patch takes it; null when nothing is known.

    `writable`: commands may target it; `kept`: no device reports it, people write it here.
    """

    value: Any
    text: str | None
    unit: str
    quality: str
    good: bool
    source_time: float | None
    revision: int
    desired: float | None
    writable: bool
    kept: bool


class TwinRelationship(msgspec.Struct, frozen=True):
    source: str
    name: str
    target: str
    origin: str


class TwinRecord(msgspec.Struct, frozen=True):
    """GET /api/v1/twins/{id}; properties by dotted name. `etag` covers what callers can change, not what devices say.

    `truncated` when it has more relationships than are shown.
    """

    id: str
    interface: str
    kind: str
    name: str
    at: list[float] | None
    origin: str
    properties: dict[str, TwinProperty]
    relationships: list[TwinRelationship]
    relationships_in: list[TwinRelationship]
    truncated: bool
    etag: str


class GraphProblem(msgspec.Struct, frozen=True):
    """An addition of the API that no longer fits the plant folder: it is kept, and without effect."""

    what: str
    message: str
    fix: str


class ImportInfo(msgspec.Struct, frozen=True):
    """State of one import: `running`, `done`, `failed` or `cancelled`; `error` when failed.

    `result` is the plan: `counts`, the first 100 of each kind in `difference`, `mistakes`, `refused` and `notices`, and
    whether it `applies`.
    """

    id: str
    state: str
    progress: float
    started: float
    dry_run: bool
    mode: Literal["merge", "replace"]
    result: dict[str, Any] | None
    error: ErrorBody | None


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; kept in the record. It can be left out."""

    reason: str = ""


class QueryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/query: one SELECT over twins, relationships, points, history, dead_letters, commands.

    `points` is the twin now; with `at` (and `known`) as it was at a past moment (as it was known at another), with
    `branch` as it is in a branch.
    """

    sql: str
    limit: int = 10_000
    at: str = ""
    known: str = ""
    branch: str = ""


class BranchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/branches: a fork of now, or of the moment `at` (as it was known at `known`), with values set in it."""

    name: str
    at: str = ""
    known: str = ""
    values: dict[str, Any] = {}
    note: str = ""


class BranchInfo(msgspec.Struct, frozen=True):
    """A branch: `taken` is its moment, `values` what was set in it since. It never touches the live twin."""

    name: str
    made: float
    taken: float
    note: str
    values: dict[str, Any]


class QueryResult(msgspec.Struct, frozen=True):
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    elapsed_ms: float


class HeldReading(msgspec.Struct, frozen=True):
    """A reading from before a span, in force when it begins. `value` is null when its quality is not good."""

    time: float
    value: float | None
    quality: int


class Trend(msgspec.Struct, frozen=True):
    """GET /api/v1/history: one point's readings, oldest first; a null value is a gap (quality not good).

    `tier` is what they were read from: raw, 1s, 1min or 1h; `whole`: they are all the readings of that time, else each
    stretch has its lowest, highest and worst. Each holds until the next, and `held` until the first.
    """

    point: str
    unit: str
    time: list[float]
    value: list[float | None]
    quality: list[int]
    tier: str
    whole: bool
    held: HeldReading | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """`levels` are those of `recorded`, `checkpointed`, `witnessed` and `anchored` that it has reached, each for itself."""

    index: int
    kind: str
    time: float
    body: dict[str, Any]
    levels: list[str]


class AuditWitness(msgspec.Struct, frozen=True):
    """A configured witness: entries that it has cosigned since the start, and why and how long it does not.

    `key` is its C2SP verifier key, `conflict`: it has cosigned another past of this log.
    """

    name: str
    key: str
    url: str
    size: int
    failure: str
    failing_s: float
    conflict: bool


class AuditHead(msgspec.Struct, frozen=True):
    """GET /api/v1/audit: the newest entries that fit, newest first, how far the evidence reaches, and all kinds there are.

    `next`, when there may be more, is what `before` asks for to have them.
    `anchor_wait_s` is the age of the oldest entry that is not anchored, `anchor_alarm` says when that is too long,
    `witness_alarm` when a witness cosigns nothing. `chain` is `embedded` or the number of the chain that others run.
    """

    size: int
    checkpointed: int
    witnessed: int
    witnessed_time: float | None
    witnesses: list[AuditWitness]
    witness_alarm: str
    anchored: int
    anchored_time: float | None
    anchor_wait_s: float
    anchor_alarm: str
    chain: str
    root: str
    kinds: list[str]
    entries: list[AuditEntry]
    next: int | None


class ErasureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`subject`: the name of a person or an address, as entries say it."""

    subject: str


class BackupRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new folder on the server's machine, named from / on."""

    folder: str


class BackupRun(msgspec.Struct, frozen=True):
    """`state` is running, done or failed; `entries` of the ledger are in the copy."""

    folder: str
    state: str
    copied_bytes: int
    total_bytes: int
    entries: int
    error: str


class ImportedRows(msgspec.Struct, frozen=True):
    """Rows of one part of an import: taken as news, already held, older than raw history is kept."""

    new: int
    held: int
    expired: int


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/session: an account of `twinloop account`."""

    account: str
    password: str


class Who(msgspec.Struct, frozen=True):
    """GET /api/v1/session: who is signed in, what the role may do, and as which roles it may approve.

    `account`: the name is an account's; else it is `operator` (a login link) or `cli` (the token).
    """

    name: str
    role: str
    account: bool
    may: list[str]
    approves: list[str]


class Session(msgspec.Struct, frozen=True):
    """A session; `secret` is its bearer token for programs, browsers have it as a cookie. Good for `expires_ms`."""

    who: Who
    secret: str
    expires_ms: int


class LoginLinkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/login-link: for an account, or without one for the shared `operator`."""

    account: str = ""


class Ticket(msgspec.Struct, frozen=True):
    """POST /api/v1/ticket: good for one WebSocket within `expires_ms`."""

    ticket: str
    expires_ms: int


class ErrorBody(msgspec.Struct, frozen=True):
    """Every HTTP error. `command` is the id of the command that was recorded although it is refused, "" without one."""

    code: str
    message: str
    hint: str
    mistakes: list[str] = []
    command: str = ""


def as_json(value: object) -> object:
    """Values of SQL rows that JSON has no word for."""
    return value.hex() if isinstance(value, bytes) else str(value)

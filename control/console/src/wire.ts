// Generated from control/api/wire.py by `python -m control.api.wire_types`. Do not edit.

export const SUBPROTOCOL = "twinloop.v1.msgpack";

/** N points as little-endian columns in msgpack `bin`. point u32, value f64, quality u32, source and received f64 (ms since 1970), each N long; text for text points. */
export interface Columns {
  point: Uint8Array;
  value: Uint8Array;
  quality: Uint8Array;
  source: Uint8Array;
  received: Uint8Array;
  text: Record<string, string>;
}

/** First frame; the client answers with `auth`. */
export interface Hello {
  t: "hello";
  protocol: string;
  version: string;
}

/** The ticket was good. A heartbeat comes at least every `heartbeat_ms`; `time` is the server's clock. */
export interface Welcome {
  t: "welcome";
  epoch: number;
  seq: number;
  heartbeat_ms: number;
  time: number;
  user: string;
  role: string;
}

/** All points as they are at `(epoch, seq)`: replace everything held. */
export interface Snapshot {
  t: "snapshot";
  epoch: number;
  seq: number;
  columns: Columns;
}

/** The points that advanced since the last snapshot or delta sent to this client, each with its latest value. `time` is the server's clock when it was made. */
export interface Delta {
  t: "delta";
  seq: number;
  time: number;
  columns: Columns;
}

/** Something that happened once: one of the kinds of wire_event.py. Never dropped, in order of `seq`. The position to resume from moves with the delta or heartbeat that closes the frame, not with events: after a resume an event may come again, and its `seq` tells. */
export interface Event {
  t: "event";
  seq: number;
  kind: string;
  time: number;
  body: Record<string, unknown>;
}

/** Alive, and the end of a frame that had no delta: the client now holds everything up to `seq`. */
export interface Heartbeat {
  t: "heartbeat";
  seq: number;
  time: number;
}

/** What the `call` with this `ref` gives: the body that HTTP would answer. */
export interface Answer {
  t: "answer";
  ref: number;
  body: unknown;
}

/** An error and what to do, as HTTP says it (ErrorBody). With a `ref` it is the answer to that `call`; without one a close with the error's close code follows. */
export interface Problem {
  t: "error";
  code: string;
  message: string;
  hint: string;
  mistakes?: string[];
  command?: string;
  ref?: number | null;
}

/** The last moment a client holds completely. */
export interface Position {
  epoch: number;
  seq: number;
}

/** A one-time ticket from POST /api/v1/ticket. */
export interface Auth {
  t: "auth";
  ticket: string;
}

/** Start or resume. With `from` inside what is kept: the missed events and one delta; else a snapshot. `points` (names, or ids), `twins` (with their parts) and `events` (kinds) narrow what comes; null is everything. `points` and `twins` add up. Resume with what was asked for before, or start anew. */
export interface Sub {
  t: "sub";
  from?: Position | null;
  points?: (string | number)[] | null;
  twins?: string[] | null;
  events?: string[] | null;
  frames_per_s?: number;
}

/** Asks for a heartbeat now. */
export interface Ping {
  t: "ping";
}

/** Do this, after `sub`: a verb of docs/wire.md and its body. `ref` is the client's own, and comes back. */
export interface Ask {
  t: "call";
  ref: number;
  verb: string;
  body?: unknown;
}

export interface DeviceInfo {
  id: string;
  protocol: string;
  endpoint: string;
}

/** How the twin is shown to other programs; `endpoint` as asked for: the point `ID.state` has the real one. */
export interface ServingInfo {
  id: string;
  protocol: string;
  endpoint: string;
}

/** How a twin is drawn: its sign, the `point` it shows, and the values of that in which the sign is filled. `tank` and `belt` are filled as far as the value is in its range. */
export interface MarkInfo {
  shape: "tank" | "belt" | "machine" | "pump" | "station" | "source" | "people" | "flow" | "circle" | "dot";
  point: number | null;
  on: number[];
}

/** `x`, `y`: place in the drawing, 0…1, y downwards, from the stored layout; `mark` is null outside the drawing. `kind_name`: what people call twins of its Interface. */
export interface TwinInfo {
  id: string;
  interface: string;
  kind: string;
  kind_name: string;
  name: string;
  x: number;
  y: number;
  mark: MarkInfo | null;
}

export interface RelationshipInfo {
  source: string;
  name: string;
  target: string;
}

export interface ValueName {
  value: number;
  name: string;
}

/** `low`/`high` are absent when the range is open. `names` of an enum's or a boolean's values; none for others. `title`: what people call it, "" where its Interface does not say. What commands on it meet, by its policy: `select` before they are operated, `approvals` of the role `approver`, a prediction (`preflight`: off, warn or refuse). */
export interface PointInfo {
  id: number;
  name: string;
  twin: string;
  property: string;
  type: string;
  unit: string;
  device: string;
  writable: boolean;
  low: number | null;
  high: number | null;
  select: boolean;
  approvals: number;
  approver: string;
  preflight: string;
  title: string;
  names: ValueName[];
}

/** A figure of the plant's overview, by point id; `name` "" for what the point is called. Values in its unit. */
export interface KpiInfo {
  point: number;
  name: string;
  normal: number[] | null;
  target: number | null;
}

/** GET /api/v1/plant. `clock` is the point that carries the plant's own time, if it has one. `simulated`: the points that a what-if may set, by name. `overview`: what the plant says of its overview. */
export interface PlantInfo {
  id: string;
  name: string;
  version: string;
  devices: DeviceInfo[];
  twins: TwinInfo[];
  relationships: RelationshipInfo[];
  points: PointInfo[];
  clock: string | null;
  servings: ServingInfo[];
  simulated: string[];
  overview: KpiInfo[];
}

/** GET /api/v1/graph/layout: boxes within boxes, one for each of `twins`, in lines of text; `revision` is the graph's. `parent`: the row of what contains it, -1 for nothing. `x`, `y`: left and top, y downwards. */
export interface GraphPicture {
  revision: string;
  width: number;
  height: number;
  twins: string[];
  parent: number[];
  x: number[];
  y: number[];
  w: number[];
  h: number[];
}

/** POST /api/v1/twins. Without a name it is called by its id; `properties` are values to keep, by dotted name. */
export interface TwinRequest {
  id: string;
  interface: string;
  name?: string | null;
  at?: number[] | null;
  properties?: Record<string, unknown>;
}

/** `at` in the plant's own unit, y upwards; `origin` is `plant` (its folder) or `api`. */
export interface TwinRow {
  id: string;
  interface: string;
  kind: string;
  name: string;
  at: number[] | null;
  origin: string;
}

/** GET /api/v1/twins, in order of id; `next` is the cursor of the next page, null after the last. */
export interface TwinPage {
  twins: TwinRow[];
  next: string | null;
}

/** A Property or Telemetry now. `value` as JSON has it, and as a patch takes it; null when nothing is known. `writable`: commands may target it; `kept`: no device reports it, people write it here. */
export interface TwinProperty {
  value: unknown;
  text: string | null;
  unit: string;
  quality: string;
  good: boolean;
  source_time: number | null;
  revision: number;
  desired: number | null;
  writable: boolean;
  kept: boolean;
}

export interface TwinRelationship {
  source: string;
  name: string;
  target: string;
  origin: string;
}

/** GET /api/v1/twins/{id}; properties by dotted name. `etag` covers what callers can change, not what devices say. `truncated` when it has more relationships than are shown. */
export interface TwinRecord {
  id: string;
  interface: string;
  kind: string;
  name: string;
  at: number[] | null;
  origin: string;
  properties: Record<string, TwinProperty>;
  relationships: TwinRelationship[];
  relationships_in: TwinRelationship[];
  truncated: boolean;
  etag: string;
}

/** An addition of the API that no longer fits the plant folder: it is kept, and without effect. */
export interface GraphProblem {
  what: string;
  message: string;
  fix: string;
}

/** State of one import: `running`, `done`, `failed` or `cancelled`; `error` when failed. `result` is the plan: `counts`, the first 100 of each kind in `difference`, `mistakes`, `refused` and `notices`, and whether it `applies`. */
export interface ImportInfo {
  id: string;
  state: string;
  progress: number;
  started: number;
  dry_run: boolean;
  mode: "merge" | "replace";
  result: Record<string, unknown> | null;
  error: ErrorBody | null;
}

/** Why; kept in the record. It can be left out. */
export interface Reason {
  reason?: string;
}

/** POST /api/v1/query: one SELECT over twins, relationships, points, history, dead_letters, commands. `points` is the twin now; with `at` (and `known`) as it was at a past moment (as it was known at another), with `branch` as it is in a branch. */
export interface QueryRequest {
  sql: string;
  limit?: number;
  at?: string;
  known?: string;
  branch?: string;
}

/** POST /api/v1/branches: a fork of now, or of the moment `at` (as it was known at `known`), with values set in it. */
export interface BranchRequest {
  name: string;
  at?: string;
  known?: string;
  values?: Record<string, unknown>;
  note?: string;
}

/** A branch: `taken` is its moment, `values` what was set in it since. It never touches the live twin. */
export interface BranchInfo {
  name: string;
  made: number;
  taken: number;
  note: string;
  values: Record<string, unknown>;
}

export interface QueryResult {
  columns: string[];
  rows: unknown[][];
  truncated: boolean;
  elapsed_ms: number;
}

/** A reading from before a span, in force when it begins. `value` is null when its quality is not good. */
export interface HeldReading {
  time: number;
  value: number | null;
  quality: number;
}

/** GET /api/v1/history: one point's readings, oldest first; a null value is a gap (quality not good). `tier` is what they were read from: raw, 1s, 1min or 1h; `whole`: they are all the readings of that time, else each stretch has its lowest, highest and worst. Each holds until the next, and `held` until the first. */
export interface Trend {
  point: string;
  unit: string;
  time: number[];
  value: (number | null)[];
  quality: number[];
  tier: string;
  whole: boolean;
  held?: HeldReading | null;
}

/** `levels` are those of `recorded`, `checkpointed`, `witnessed` and `anchored` that it has reached, each for itself. */
export interface AuditEntry {
  index: number;
  kind: string;
  time: number;
  body: Record<string, unknown>;
  levels: string[];
}

/** A configured witness: entries that it has cosigned since the start, and why and how long it does not. `key` is its C2SP verifier key, `conflict`: it has cosigned another past of this log. */
export interface AuditWitness {
  name: string;
  key: string;
  url: string;
  size: number;
  failure: string;
  failing_s: number;
  conflict: boolean;
}

/** GET /api/v1/audit: the newest entries that fit, newest first, how far the evidence reaches, and all kinds there are. `next`, when there may be more, is what `before` asks for to have them. `anchor_wait_s` is the age of the oldest entry that is not anchored, `anchor_alarm` says when that is too long, `witness_alarm` when a witness cosigns nothing. `chain` is `embedded` or the number of the chain that others run. */
export interface AuditHead {
  size: number;
  checkpointed: number;
  witnessed: number;
  witnessed_time: number | null;
  witnesses: AuditWitness[];
  witness_alarm: string;
  anchored: number;
  anchored_time: number | null;
  anchor_wait_s: number;
  anchor_alarm: string;
  chain: string;
  root: string;
  kinds: string[];
  entries: AuditEntry[];
  next: number | null;
}

/** `subject`: the name of a person or an address, as entries say it. */
export interface ErasureRequest {
  subject: string;
}

/** A new folder on the server's machine, named from / on. */
export interface BackupRequest {
  folder: string;
}

/** `state` is running, done or failed; `entries` of the ledger are in the copy. */
export interface BackupRun {
  folder: string;
  state: string;
  copied_bytes: number;
  total_bytes: number;
  entries: number;
  error: string;
}

/** Rows of one part of an import: taken as news, already held, older than raw history is kept. */
export interface ImportedRows {
  new: number;
  held: number;
  expired: number;
}

/** POST /api/v1/session: an account of `twinloop account`. */
export interface SessionRequest {
  account: string;
  password: string;
}

/** GET /api/v1/session: who is signed in, what the role may do, and as which roles it may approve. `account`: the name is an account's; else it is `operator` (a login link) or `cli` (the token). */
export interface Who {
  name: string;
  role: string;
  account: boolean;
  may: string[];
  approves: string[];
}

/** A session; `secret` is its bearer token for programs, browsers have it as a cookie. Good for `expires_ms`. */
export interface Session {
  who: Who;
  secret: string;
  expires_ms: number;
}

/** POST /api/v1/login-link: for an account, or without one for the shared `operator`. */
export interface LoginLinkRequest {
  account?: string;
}

/** POST /api/v1/ticket: good for one WebSocket within `expires_ms`. */
export interface Ticket {
  ticket: string;
  expires_ms: number;
}

/** Every HTTP error. `command` is the id of the command that was recorded although it is refused, "" without one. */
export interface ErrorBody {
  code: string;
  message: string;
  hint: string;
  mistakes?: string[];
  command?: string;
}

/** GET /api/v1/sign-in, for who is not signed in, too. `provider` is what a button says, "" without one; `path` begins it. `signed_in`: whether the caller is already. */
export interface SignInWays {
  password: boolean;
  provider: string;
  path: string;
  signed_in: boolean;
}

/** An account, without anything of its password. */
export interface AccountRecord {
  name: string;
  role: string;
  disabled: boolean;
}

/** POST /api/v1/accounts. */
export interface AccountRequest {
  name: string;
  password: string;
  role?: string;
}

/** PATCH /api/v1/accounts/{name}: what is left out stays. Another password, or `disabled`, ends its sessions. */
export interface AccountChange {
  role?: string | null;
  disabled?: boolean | null;
  password?: string | null;
}

/** POST /api/v1/password: one's own; every session of the account ends, the answer is a new one. */
export interface PasswordChange {
  old: string;
  new: string;
}

/** Somebody who is signed in. `by`: password, login link or the provider's name; `agent`: what the program calls itself. Times are ms since 1970; `ends` is the latest. `own`: it is the one that asks. */
export interface SessionRecord {
  id: string;
  name: string;
  role: string;
  by: string;
  peer: string;
  agent: string;
  since: number;
  seen: number;
  ends: number;
  own: boolean;
}

/** DELETE /api/v1/sessions: how many there were. */
export interface SessionsEnded {
  ended: number;
}

/** DELETE /api/v1/session: where the provider that vouched is left, too; "" for nowhere. */
export interface SignedOut {
  next: string;
}

/** POST /api/v1/tokens. `may`: rights; `points`: prefixes of points, none for all; `account`: whose, the caller's own where it is left out; `role` only for a token of the data folder's owner, which has no account. */
export interface TokenRequest {
  name: string;
  may: string[];
  points?: string[];
  days?: number | null;
  account?: string;
  role?: string;
}

/** A token without its secret. `account` is "" where it is of the data folder's owner; times are ms since 1970. */
export interface TokenRecord {
  id: string;
  name: string;
  account: string;
  role: string;
  may: string[];
  points: string[];
  since: number;
  until: number;
  used: number | null;
  over: boolean;
}

/** A new token. Nobody can read `secret` later. */
export interface TokenMade {
  token: TokenRecord;
  secret: string;
}

/** POST /api/v1/commands. The same key with the same body gets the same answer for ever. A value of an enum may be given by its name; `unit` is checked against the point's. `select` only reserves the point. It is sent not before `at` (ms since 1970, or ISO 8601), not before the plant's clock shows `at_plant_s`, not before the expression `when` holds, and not after `latest`; for the first three it waits at most `wait_s`. */
export interface CommandRequest {
  key: string;
  point: string;
  value: number | string;
  unit?: string | null;
  priority?: "emergency" | "safety" | "operator" | "schedule" | "optimiser";
  deadline_s?: number;
  reason?: string;
  latest?: number | string | null;
  select?: boolean;
  revision?: number | null;
  at?: number | string | null;
  at_plant_s?: number | null;
  when?: string;
  wait_s?: number;
}

/** Which command is meant, with a reason for what is done to it: it is kept. */
export interface CommandName {
  id: string;
  reason?: string;
}

/** How an UNKNOWN command ended, as a person saw it. */
export interface CommandOutcome {
  id: string;
  status: "CONFIRMED" | "FAILED";
  reason: string;
}

/** POST /api/v1/commands/{id}/settle: how an UNKNOWN command ended, as a person saw it. */
export interface Outcome {
  status: "CONFIRMED" | "FAILED";
  reason: string;
}

/** Which commands, newest first; `status` are words separated by commas, `open` leaves out what has ended. */
export interface CommandsWanted {
  limit?: number;
  cursor?: string;
  status?: string;
  point?: string;
  author?: string;
  open?: boolean;
}

/** What was looked at for a step; `quality` in words, `age_s` null where nobody could say it is old. */
export interface Seen {
  point: string;
  value: number | null;
  text: string | null;
  quality: string;
  age_s: number | null;
}

/** One step: `detail` says why, `by` who, "" for the server itself, `seen` what was looked at. */
export interface CommandTransition {
  status: string;
  time: number;
  detail: string;
  by: string;
  seen: Seen[];
}

/** One command and all that happened to it: who, why, when and what was seen. `final` statuses never change again. `deadline` is the last moment of the waiting it is in now, `waits_for` what it waits for (only in answers, not in events). `approvals` people of the role `approver` must approve, `approved_by` have. `prediction`, without its bands, is in the answer of one command. */
export interface CommandRecord {
  id: string;
  key: string;
  point: string;
  value: number;
  priority: string;
  deadline: number;
  reason: string;
  author: string;
  status: string;
  final: boolean;
  observed: number | null;
  approvals: number;
  approver: string;
  approved_by: string[];
  select: boolean;
  revision: number | null;
  latest: number | null;
  at: number | null;
  at_plant_s: number | null;
  when: string;
  group: string;
  transitions: CommandTransition[];
  waits_for?: string;
  prediction?: PredictionRecord | null;
}

/** GET /api/v1/commands, newest first; `next` is the cursor of the next page, null after the last. */
export interface CommandPage {
  commands: CommandRecord[];
  next: string | null;
}

/** What a command would meet now: nothing was recorded or sent. `status` is where it would begin, `detail` why it would be refused or what is warned of, `needs` what its way asks for before it is sent, `prediction` what the plant's model says of it, where the policy asks for one. */
export interface CommandCheck {
  allowed: boolean;
  status: string;
  detail: string;
  seen: Seen[];
  needs: string[];
  prediction?: PredictionRecord | null;
}

/** A call that needs no body. */
export interface Nothing {

}

/** An emergency stop of the plant: every point and what it is set to. */
export interface StopInfo {
  id: string;
  name: string;
  set: Record<string, number>;
}

/** POST /api/v1/stop/{id}. The same key is the same stop; without one each call is a new one. */
export interface StopRequest {
  key?: string;
  reason?: string;
}

/** Which stop is meant; see StopRequest. */
export interface StopName {
  id: string;
  key?: string;
  reason?: string;
}

/** A point that could not be commanded, and why; the others were. */
export interface StopProblem {
  point: string;
  error: ErrorBody;
}

/** One emergency command for every point of the stop. */
export interface StopAnswer {
  id: string;
  name: string;
  commands: CommandRecord[];
  problems: StopProblem[];
}

/** One step in the life of a lease or a group: `detail` says why, `by` who, "" for the server itself. */
export interface LifeStep {
  status: string;
  time: number;
  detail: string;
  by: string;
}

/** POST /api/v1/leases. The same key with the same body gets the same lease for ever. `targets` are points, or ids of twins: then all their writable points. Without a heartbeat for `ttl_s` (1 … 300) the lease ends and the points of `revert` are commanded to their values, in class safety. `priority` is the lease's class: who is strictly more urgent preempts it. */
export interface LeaseRequest {
  key: string;
  targets: string[];
  ttl_s?: number;
  priority?: "safety" | "operator" | "schedule" | "optimiser";
  revert?: Record<string, number | string>;
  reason?: string;
}

/** Which lease is meant. */
export interface LeaseName {
  id: string;
}

/** POST /api/v1/leases/{id}/release. `revert` commands what was declared for a lost heartbeat. */
export interface LeaseEnd {
  revert?: boolean;
}

/** Which lease is released, and whether its points are reverted. */
export interface LeaseRelease {
  id: string;
  revert?: boolean;
}

/** Which leases or groups, newest first; `open` leaves out what has ended. */
export interface LivesWanted {
  limit?: number;
  open?: boolean;
}

/** Who holds what: `targets` are points, `since` when it was taken, `beat` when its holder was last heard. It ends at `until` if nothing is heard by then; null once it has ended. `steps` tell how. */
export interface LeaseRecord {
  id: string;
  key: string;
  holder: string;
  status: string;
  targets: string[];
  priority: string;
  ttl_s: number;
  revert: Record<string, number>;
  reason: string;
  since: number;
  beat: number;
  until: number | null;
  steps: LifeStep[];
}

/** One command of a group. `compensation` undoes it: a value, `previous` for what the point reports now, or null. */
export interface GroupMember {
  point: string;
  value: number | string;
  unit?: string | null;
  compensation?: number | string | null;
}

/** POST /api/v1/groups. The same key with the same body gets the same group for ever. In `sequence` a member is sent when the one before is CONFIRMED, `together` all at once. When one does not come about, the others are cancelled, and what took effect is compensated, the last first. */
export interface GroupRequest {
  key: string;
  members: GroupMember[];
  order?: "sequence" | "together";
  priority?: "emergency" | "safety" | "operator" | "schedule" | "optimiser";
  deadline_s?: number;
  reason?: string;
}

/** Which group is meant, with a reason for what is done to it: it is kept. */
export interface GroupName {
  id: string;
  reason?: string;
}

/** `command` and `compensation` are ids of commands; null where there is none. `undo` is what compensates it. */
export interface GroupMemberRecord {
  point: string;
  value: number;
  undo: number | null;
  command: string | null;
  status: string | null;
  compensation: string | null;
  compensation_status: string | null;
}

/** A group, its members in order of steps, and all that happened to it. */
export interface GroupRecord {
  id: string;
  key: string;
  author: string;
  status: string;
  final: boolean;
  order: string;
  priority: string;
  deadline_s: number;
  reason: string;
  members: GroupMemberRecord[];
  steps: LifeStep[];
}

/** P(limit violated by the horizon) with the command, its 95 % interval, and without it (`baseline`). `worse`: the command makes it likelier, earlier or deeper. `by`: the probability with it by each sample time. */
export interface PredictedRisk {
  limit: string;
  probability: number;
  low: number;
  high: number;
  baseline: number;
  worse: boolean;
  by: number[];
}

/** What the command changes of a figure at the horizon: mean of the paired differences, with its 95 % interval. */
export interface PredictedEffect {
  name: string;
  unit: string;
  mean: number;
  low: number;
  high: number;
}

/** One point of a forecast against its readings. `inside` of `readings` lay in the 90 % band. `loss`: mean quantile score of the forecast, `persistence` of "it stays as it was", `without` of the forecast without the command; smaller is better. `expected` and `observed`: what the command was to change by the last compared moment, and the reading then, both against the forecast without it. */
export interface PointScore {
  point: string;
  unit: string;
  readings: number;
  inside: number;
  loss: number | null;
  persistence: number | null;
  without: number | null;
  expected: number;
  observed: number | null;
}

/** A limit's probability by the last compared moment, whether it was violated by then, and the Brier score. */
export interface LimitScore {
  limit: string;
  probability: number;
  violated: boolean | null;
  brier: number | null;
}

/** How a prediction fared: `outcome` is scored, censored (compared until `until_s`) or unscored; `detail` says why. */
export interface ScoreRecord {
  outcome: string;
  detail: string;
  scored_at: number;
  until_s: number;
  delay_s: number | null;
  readings: number;
  inside: number;
  coverage: number | null;
  points: PointScore[];
  limits: LimitScore[];
}

/** A forecast of the plant with a command and without it, and its score once the plant has shown what came. `fans` and `without`: point -> rows of the 5, 25, 50, 75, 95 % quantiles at `times_s`; empty in lists, and of old predictions. */
export interface PredictionRecord {
  command: string;
  point: string;
  value: number;
  made_at: number;
  clock_s: number;
  horizon_s: number;
  at_s: number;
  assumed: string;
  seed: number;
  replications: number;
  state_hash: string;
  model_hash: string;
  risks: PredictedRisk[];
  effects: PredictedEffect[];
  units: Record<string, string>;
  times_s: number[];
  fans: Record<string, number[][]>;
  without: Record<string, number[][]>;
  score: ScoreRecord | null;
}

/** Limits predicted with probabilities in [low, high): how many, their mean, and the share that was violated. */
export interface CalibrationBin {
  low: number;
  high: number;
  count: number;
  predicted: number;
  violated: number;
}

/** How far predictions can be trusted. `coverage`: share of readings inside the 90 % band. `brier`: mean over limits, `brier_base` of always saying how often it happened. `beats_persistence`: share of forecasts nearer than "it stays as it was". */
export interface TrackRecord {
  made: number;
  waiting: number;
  scored: number;
  censored: number;
  unscored: number;
  readings: number;
  coverage: number | null;
  limits: number;
  brier: number | null;
  brier_base: number | null;
  beats_persistence: number | null;
  bins: CalibrationBin[];
}

/** GET /api/v1/predictions: the track record over the newest 1,000 scores, and predictions, newest first. */
export interface Predictions {
  summary: TrackRecord;
  predictions: PredictionRecord[];
}

/** P(limit passed within the horizon) with its 95 % interval, and when, given that it is: 5, 50 and 95 %. `by`: the probability by each sample time. */
export interface ExpectedLimit {
  limit: string;
  probability: number;
  low: number;
  high: number;
  early_s: number | null;
  at_s: number | null;
  late_s: number | null;
  by: number[];
}

/** The plant ahead with nobody commanding anything. `started`: what the outputs read at `made_at`; `fans`: point -> rows of the 5, 25, 50, 75, 95 % quantiles at `times_s`. */
export interface ForecastRecord {
  id: string;
  made_at: number;
  clock_s: number;
  horizon_s: number;
  replications: number;
  seed: number;
  took_s: number;
  backend: string;
  state_hash: string;
  model_hash: string;
  limits: ExpectedLimit[];
  started: Record<string, number | null>;
  units: Record<string, string>;
  times_s: number[];
  fans: Record<string, number[][]>;
}

/** What the forecast of `made_at` (plant time `clock_s`) said of a limit. */
export interface SaidOfLimit {
  probability: number;
  low: number;
  high: number;
  early_s: number | null;
  at_s: number | null;
  late_s: number | null;
  made_at: number;
  clock_s: number;
}

/** How often a limit was passed after it came, while it was quiet: foreseen or not by the newest forecast made since it was kept again; `unsaid`: there was none in between. */
export interface PassedAgain {
  foreseen: number;
  unforeseen: number;
  unsaid: number;
}

/** No alarm: a limit that is likely to be passed. `status` is predicted, came, cleared, lapsed or missed. `first` is what was said when it was raised, `last` what was said last, `said` that in words. Of one that came: `lead_s` how long before, `error_s` how much later than first said, `inside` whether in the 90 % interval first said; not `timed`: nobody could look when it came, and these are null. */
export interface PredictedAlarm {
  id: string;
  limit: string;
  status: string;
  first: SaidOfLimit;
  last: SaidOfLimit;
  ended_at: number | null;
  ended_clock_s: number | null;
  detail: string;
  lead_s: number | null;
  error_s: number | null;
  inside: boolean | null;
  said: string;
  again: PassedAgain;
  timed: boolean;
}

/** A limit that was passed at `came_s` and is not predicted again yet, however likely: at `armed_s`, if it is kept until then; null while it is passed. `status` is came, or missed where nobody foresaw it. */
export interface QuietLimit {
  limit: string;
  status: string;
  came_s: number | null;
  armed_s: number | null;
  again: PassedAgain;
}

/** Nobody is told of predicted alarms of this limit until then. */
export interface ShelfRecord {
  limit: string;
  until: number;
  by: string;
  reason: string;
}

/** POST /api/v1/lookahead/shelve: for at most a day. */
export interface ShelfRequest {
  limit: string;
  for_s?: number;
  reason?: string;
}

/** POST /api/v1/lookahead/unshelve. */
export interface LimitNamed {
  limit: string;
}

/** Turns since the start: made; and not made, because people had the workers (`yielded`), the turn before was not ready (`late`), the plant's state was not known (`refused`), or of a fault (`failed`). */
export interface TurnsTaken {
  made: number;
  yielded: number;
  late: number;
  refused: number;
  failed: number;
}

/** GET /api/v1/lookahead. `state` is off, waiting (no forecast yet), current or stale; `why` there is no newer one. `since`: of the newest forecast, or of the start. `alarms` stand, the soonest first; `passed`: limits that are passed already. `quiet`: those that were passed and have not been kept for `off_delay_s` since. `why` also says what is no longer as the newest forecast took it to be. */
export interface LookaheadState {
  state: string;
  why: string;
  since: number;
  every_s: number;
  horizon_s: number;
  p_min: number;
  p_clear: number;
  off_delay_s: number;
  limits: string[];
  turns: TurnsTaken;
  forecast: ForecastRecord | null;
  alarms: PredictedAlarm[];
  passed: string[];
  quiet: QuietLimit[];
  shelves: ShelfRecord[];
}

/** Over one quarter of the horizon, up to `lead` of it: means. `persistence`: of "it stays as it was", of a counter of "it goes on as before"; `skill` is 1 - crps / persistence. */
export interface LeadSkill {
  lead: number;
  readings: number;
  coverage_50: number | null;
  coverage_90: number | null;
  crps: number | null;
  persistence: number | null;
  skill: number | null;
}

/** One output; `pit`: share of readings in each tenth of their forecast, 0.1 each when forecasts are honest. */
export interface PointSkill {
  point: string;
  unit: string;
  whole: LeadSkill;
  leads: LeadSkill[];
  pit: number[];
}

/** Probabilities of limits. `base` is the Brier score of always saying of each how often it was passed; `skill` 1 - brier / base. */
export interface LimitSkill {
  count: number;
  passed: number;
  brier: number | null;
  base: number | null;
  skill: number | null;
  reliability: number | null;
  resolution: number | null;
  uncertainty: number | null;
  bins: CalibrationBin[];
}

/** Predicted alarms that ended. `lead_s`: median of how long before they came; `error_s`: of how far the time was off; `inside`: of those that came, within the 90 % interval first said; `again`: further passings while they were quiet. */
export interface AlarmSkill {
  came: number;
  cleared: number;
  lapsed: number;
  missed: number;
  lead_s: number | null;
  error_s: number | null;
  inside: number;
  again: PassedAgain;
}

/** How far the look-ahead can be trusted, over its newest scores; `waiting` forecasts wait for their future. */
export interface LookaheadSummary {
  waiting: number;
  scored: number;
  censored: number;
  unscored: number;
  points: PointSkill[];
  limits: LimitSkill;
  alarms: AlarmSkill;
}

/** How one forecast fared, up to `until_s`: `outcome` is scored, censored or unscored; `detail` says why. */
export interface ForecastScore {
  forecast: string;
  made_at: number;
  outcome: string;
  detail: string;
  scored_at: number;
  until_s: number;
}

/** GET /api/v1/lookahead/scores: the track record, and scores, newest first. */
export interface LookaheadScores {
  summary: LookaheadSummary;
  scores: ForecastScore[];
}

/** POST /api/v1/whatif. Scenarios as people write them: `pump_335.status=off for 4h`; limits: `tank_1.level<3`. It starts from now, or from a branch. `kpis`: figures by name instead of the usual ones. `goal`, such as `min energy_kwh`: the result's `choice` is the best scenario; its outcome's `drafts` are commands to be approved. `until`, such as `tank_1.level.min±0.05`: replications are doubled until every half-width is that narrow, or there are `replications_max`; the result's `stopped` says which. */
export interface WhatIfRequest {
  kind: "compare";
  scenarios: string[];
  horizon_s?: number;
  limits?: string[];
  replications?: number;
  seed?: number;
  branch?: string;
  kpis?: string[];
  goal?: string;
  until?: string;
  replications_max?: number;
  confidence?: number;
}

/** POST /api/v1/whatif/rank: which of up to 199 scenarios, or the plant left as it is, serves the goal best. `kn` drops clear losers as it goes and is right with the confidence if the best is `delta` better than all others; `budget` is at most so many replications of one. `ocba` spends `budget` replications on all together where they tell most, and estimates how sure it is. */
export interface RankRequest {
  kind: "rank";
  scenarios: string[];
  goal: string;
  horizon_s?: number;
  method?: "kn" | "ocba";
  delta?: number;
  budget?: number;
  confidence?: number;
  seed?: number;
  branch?: string;
}

/** POST /api/v1/whatif/tornado: what each parameter alone does to a figure at its low and at its high end. `ranges` are texts such as `filler.mtbf.mean=20..40`: what is believed of a parameter, its 10 and 90 % quantiles. */
export interface TornadoRequest {
  kind: "tornado";
  ranges: string[];
  kpi: string;
  horizon_s?: number;
  replications?: number;
  confidence?: number;
  seed?: number;
  branch?: string;
}

/** POST /api/v1/whatif/optimise: which values, each within its range, serve the goal best from now on. `ranges` are texts: `crew.size=1..3` are whole numbers, `pump_335.speed=60.0..100` any between. A trial of `replications` in which a limit is passed more often than `risk` is not taken. The winner is then compared with the plant left as it is, on chance that the search never saw. */
export interface OptimiseRequest {
  kind: "optimise";
  ranges: string[];
  goal: string;
  horizon_s?: number;
  limits?: string[];
  risk?: number;
  trials?: number;
  replications?: number;
  seed?: number;
  branch?: string;
}

/** State of one what-if: `running`, `done`, `failed` or `cancelled`; `result` when done, `error` when failed. `about` is what was asked, in one line. `left_s` is how long it still takes at its pace, null while nobody can tell; `rank` may end long before, and `until` may double what is planned. */
export interface WhatIfRun {
  id: string;
  kind: "compare" | "rank" | "tornado" | "optimise";
  about: string;
  state: string;
  progress: number;
  started: number;
  request: WhatIfRequest | RankRequest | TornadoRequest | OptimiseRequest;
  result: AnswerComparison | AnswerRanking | AnswerTornado | AnswerSearch | null;
  error: string | null;
  left_s?: number | null;
}

/** GET /api/v1/whatif/{id}/plan: the best of a what-if as commands, none of them submitted. Each goes to POST /api/v1/commands as it is, and meets there what every command meets. Its key is the what-if's, so that submitting it twice is one command. `scenario` is `baseline`, and there are none, when nothing is better than leaving the plant as it is; `by_hand` is what no point of the plant takes. `taken` is the moment of the state that the what-if started from: times are counted from there, on the plant's own clock if it has one. `risks` are limits that it makes more likely to be passed. `overdue`: the moment of a step is past, so that it is no longer what was simulated: ask again. */
export interface WhatIfPlan {
  id: string;
  scenario: string;
  reason: string;
  taken: number;
  commands: CommandRequest[];
  by_hand: string[];
  risks: string[];
  overdue: boolean;
}

/** An alarm and how it stands. `state` is one word for it: normal, unacknowledged, acknowledged (both active), returned (over, not acknowledged), unconfirmed, latched, shelved, suppressed (by a person), designed_out (by design), out_of_service. `unsure`: it was active when its input went bad; nobody can tell. `blind`: nobody can tell now whether its condition holds. `told`: nothing keeps it from people. `first_out`: the first of its `group`. `until`: when its shelf ends. */
export interface AlarmRecord {
  id: string;
  row: string;
  point: string;
  twin: string;
  priority: string;
  condition: string;
  message: string;
  group: string;
  unit: string;
  state: string;
  active: boolean;
  acked: boolean;
  confirmed: boolean;
  latched: boolean;
  unsure: boolean;
  shelf: string;
  until: number | null;
  suppressed: boolean;
  designed: boolean;
  out_of_service: boolean;
  told: boolean;
  first_out: boolean;
  occurrence: number;
  active_at: number | null;
  cleared_at: number | null;
  acked_at: number | null;
  acked_by: string;
  value: number | null;
  comment: string;
  blind?: boolean;
}

/** A step that an alarm took. `rings`: people were told of it anew. `alarm` "": a flood of all began, or ended. */
export interface AlarmStep {
  n: number;
  time: number;
  alarm: string;
  point: string;
  twin: string;
  priority: string;
  step: string;
  rings: boolean;
  by: string;
  reason: string;
  value: number | null;
  until: number | null;
  occurrence: number;
}

/** One of `changes` in the body of an event `alarm`: a step, and the alarm after it. */
export interface AlarmChange {
  n: number;
  step: string;
  time: number;
  by: string;
  reason: string;
  rings: boolean;
  alarm: AlarmRecord;
}

/** A twin with all its parts: how many alarms are active by priority and told, owed an acknowledgement, kept silent and why, and `blind`. `worst` is normal, unacked_cleared, acked_active or unacked_active; `priority` the highest, "". */
export interface AlarmRollup {
  twin: string;
  high: number;
  medium: number;
  low: number;
  journal: number;
  unacked: number;
  shelved: number;
  suppressed: number;
  out_of_service: number;
  blind: number;
  worst: string;
  priority: string;
}

/** GET /api/v1/alarms: the worst first. `total`: how many fit; `flood`: one is on; `rate_10min` rang in ten minutes. `waiting`: steps that are not on disk yet. `n`: the newest step that is in it; events of later ones go on from there. `shelve_operator_s`: the longest that an operator may shelve. */
export interface AlarmList {
  alarms: AlarmRecord[];
  total: number;
  flood: boolean;
  rate_10min: number;
  waiting: number;
  n: number;
  shelve_operator_s: number;
}

/** GET /api/v1/alarms/{id}: with its newest steps and what the plant file says of it. */
export interface AlarmDetail {
  alarm: AlarmRecord;
  deadband: number;
  on_delay_s: number;
  off_delay_s: number;
  shelve_max_s: number;
  ack: boolean;
  confirm: boolean;
  latch: boolean;
  cause: string;
  consequence: string;
  response: string;
  suppress_when: string;
  steps: AlarmStep[];
}

/** POST /api/v1/alarms/{verb}: alarms by id, and why. `occurrence`, of a single one: only if it has not come again; `occurrences` says the same of several, by id. Instead of ids: `twin`, all of it and its parts, of `priority` where given, that the verb fits. */
export interface AlarmVerb {
  alarms?: string[];
  reason?: string;
  occurrence?: number | null;
  occurrences?: Record<string, number>;
  twin?: string;
  priority?: string;
}

/** POST /api/v1/alarms/shelve: as AlarmVerb. `one_shot`: it ends when the alarm clears, or after `for_s`. */
export interface AlarmShelfRequest {
  alarms?: string[];
  for_s?: number;
  one_shot?: boolean;
  reason?: string;
  twin?: string;
  priority?: string;
}

/** What became of a verb on one alarm; `problem` "" where it was done, else the error's code, and `message`. */
export interface AlarmOutcome {
  alarm: AlarmRecord;
  problem: string;
  message: string;
}

/** Each alarm that was meant; what was done is durable. */
export interface AlarmVerbAnswer {
  done: number;
  outcomes: AlarmOutcome[];
}

/** More than ten alarms an operator in ten minutes, until fewer than five; `end` null: it goes on. */
export interface AlarmFlood {
  start: number;
  end: number | null;
  count: number;
}

/** An alarm, how often it did it, and its part of all that rang. */
export interface AlarmActor {
  alarm: string;
  count: number;
  share: number;
}

/** An alarm that has been active for more than a day. */
export interface AlarmStanding {
  alarm: string;
  since: number;
}

/** Of a priority: how many, their part, and EEMUA 191's part; configured ones, and those that rang. */
export interface AlarmPriorityShare {
  priority: string;
  configured: number;
  configured_share: number;
  rang: number;
  rang_share: number;
  wanted_share: number;
}

/** GET /api/v1/alarms/statistics: figures of EEMUA 191 and ISA-18.2 over [start, end), per operator. `watched_s`: how long a server watched within it; rates are of that time, of ten minutes at least. `level`: predictive, robust, stable, reactive or overloaded. `per_window`: how many rang in each ten minutes, null where nobody watched. */
export interface AlarmStatistics {
  start: number;
  end: number;
  operators: number;
  watched_s: number;
  count: number;
  priorities: AlarmPriorityShare[];
  mean_10min: number;
  per_hour: number;
  per_day: number;
  most_10min: number;
  over_10min: number;
  in_flood: number;
  floods: AlarmFlood[];
  level: string;
  to_ack_s: number | null;
  top: AlarmActor[];
  top_share: number;
  chattering: AlarmActor[];
  fleeting: AlarmActor[];
  standing: AlarmStanding[];
  per_window: (number | null)[];
}

/** What a rule owes, or did. `state`: waiting, done, dead (given up), limited (too many). `detail`: why, or what. */
export interface AlarmDelivery {
  id: string;
  rule: string;
  n: number;
  time: number;
  state: string;
  attempts: number;
  next_at: number;
  detail: string;
  body: Record<string, unknown>;
}

/** A row [[alarm_rule]] and how it fares. */
export interface AlarmRuleInfo {
  id: string;
  doing: string;
  on: string[];
  waiting: number;
  done: number;
  dead: number;
  limited: number;
}

/** GET /api/v1/alarms/rules: rules, and their newest deliveries of the state asked for. */
export interface AlarmRulesInfo {
  rules: AlarmRuleInfo[];
  deliveries: AlarmDelivery[];
}

/** POST /api/v1/alarms/rules/retry: a dead letter, or one over the limit. */
export interface AlarmRetry {
  id: string;
}

/** A device's link is in another state; `detail` says why. */
export interface LinkEvent {
  device: string;
  state: string;
  detail: string;
}

/** Progress of a what-if, 0…1; `left_s` as far as it can be told. Its result is fetched. */
export interface WhatIfEvent {
  id: string;
  state: string;
  progress: number;
  left_s: number | null;
}

/** A command was predicted, or its prediction was scored: fetch it. */
export interface PredictionEvent {
  command: string;
}

/** After each turn of the look-ahead, change of its state, or shelf; `predicted` alarms stand. */
export interface LookaheadEvent {
  what: string;
  state: string;
  why: string;
  made_at: number | null;
  predicted: number;
}

/** It was predicted, came, was cleared, lapsed or was missed; `shelved`: nobody is to be told. */
export interface PredictedAlarmEvent {
  id: string;
  limit: string;
  status: string;
  first: SaidOfLimit;
  last: SaidOfLimit;
  ended_at: number | null;
  ended_clock_s: number | null;
  detail: string;
  lead_s: number | null;
  error_s: number | null;
  inside: boolean | null;
  said: string;
  again: PassedAgain;
  timed: boolean;
  shelved: boolean;
}

/** Up to 100 steps, in order of `n`. */
export interface AlarmEvent {
  changes: AlarmChange[];
}

/** More alarms than people can read, or no more; `count` in ten minutes, `n` of the step that says so. */
export interface FloodEvent {
  on: boolean;
  count: number;
  n: number;
}

/** Twins, relationships or points are others now: fetch the plant again. */
export interface PlantEvent {
  revision: number;
}

/** How far the evidence reaches, after each anchor and round of witnesses, and when an alarm comes or goes. */
export interface AuditEvent {
  size: number;
  checkpointed: number;
  witnessed: number;
  anchored: number;
  anchor_alarm: string;
  witness_alarm: string;
}

/** A retraining; `by`: who asked for it, `twinloop` where drift or time did. `course`: running, done, failed or cancelled; `share` of it done, 0 … 1; `words`: with what, or how it ended; `model`: the hash of what it made, "" for none yet. */
export interface TrainingRecord {
  row: string;
  why: string;
  by: string;
  begun: number;
  course: string;
  share: number;
  words: string;
  model: string;
}

/** A row [[learned]] of the plant at work. `state`: no model, refused, filling, serving, late or failed; `model`: the champion's hash, "" for none; `error`: mean squared error of the forecasts that came due, in variances of training; `held`: share of their intervals that held; `drifted`: what is no longer as in training; `training`: the newest retraining. */
export interface LearnedRecord {
  id: string;
  task: string;
  twins: number;
  columns: string[];
  every_s: number;
  state: string;
  why: string;
  model: string;
  known: number;
  took_ms: number | null;
  skipped: number;
  error: number | null;
  held: number | null;
  drifted: string[];
  retrain: string;
  training: TrainingRecord | null;
}

/** One move of a model to a stage; `verdict`: of the contest that let it go on, "" where there was none. */
export interface ModelStep {
  time: number;
  stage: string;
  by: string;
  why: string;
  verdict: string;
}

/** A model of the registry. `scope`: the row it competes for; `stage`: trained, shadow, canary, live, retired or rolled back; `share`: of the twins that it serves as a canary; `code`: version of Twinloop; `metrics`: on data held out; `problem`: why its file cannot be read, the fields of which are empty then. */
export interface ModelRecord {
  model: string;
  task: string;
  scope: string;
  stage: string;
  share: number;
  kind: string;
  columns: string[];
  data_hash: string;
  code: string;
  seed: number;
  parent: string;
  metrics: Record<string, string>;
  steps: ModelStep[];
  problem: string;
}

/** `reason`: kept with the model. */
export interface RetrainRequest {
  reason?: string;
}

/** Something bounded that waits. `lost`: how many did not fit since the start. */
export interface QueueInfo {
  name: string;
  waiting: number;
  most: number;
  lost: number;
}

/** A tier of history: raw, 1s, 1min or 1h. `kept_s` is null where it is kept for ever. */
export interface TierInfo {
  name: string;
  kept_s: number | null;
}

/** GET /api/v1/operations. `fault`: why /readyz would say no, "" while all is well; `counts`: readings and what became of them since the start; `clients`: WebSockets open now; `loop_worst_s`: the longest that the event loop was away, `loop_stalls`: how often over 10 ms; `sizes`: bytes of the parts of the data folder; `free_bytes`: what its disk has left; `backup`: the newest one since the start. */
export interface OperationsInfo {
  version: string;
  started: number;
  now: number;
  fault: string;
  clients: number;
  loop_stalls: number;
  loop_worst_s: number;
  counts: Record<string, number>;
  queues: QueueInfo[];
  sizes: Record<string, number>;
  free_bytes: number;
  tiers: TierInfo[];
  backup: BackupRun | null;
}

/** `address` is what stands behind the console's own address, `#/trends?…`; `shared`: everybody sees it. */
export interface SavedView {
  id: string;
  name: string;
  address: string;
  shared: boolean;
  by: string;
}

/** GET /api/v1/views. `startup`: the id of the one that opens first, "" for none. */
export interface SavedViews {
  views: SavedView[];
  startup: string;
}

/** POST /api/v1/views. */
export interface ViewRequest {
  name: string;
  address: string;
  shared?: boolean;
}

/** PATCH /api/v1/views/{id}: what is left out stays. */
export interface ViewChange {
  name?: string | null;
  address?: string | null;
}

/** PUT /api/v1/views/startup: "" for none. */
export interface StartupView {
  id: string;
}

/** POST /api/v1/notes. */
export interface NoteRequest {
  text: string;
}

/** What somebody wrote for the next shift. */
export interface HandoverNote {
  n: number;
  time: number;
  by: string;
  text: string;
}

/** An alarm that was active then. `since`: when it came. `acked`: somebody had acknowledged that it came, or the plant asks nobody to. `value`: null where it came with none. `silent`: it was shelved, suppressed or out of service: nobody was told of it. */
export interface PastAlarm {
  alarm: string;
  twin: string;
  point: string;
  priority: string;
  since: number;
  value: number | null;
  acked: boolean;
  silent: boolean;
}

/** A command that was not over then, and how far it was. */
export interface PastCommand {
  id: string;
  point: string;
  value: number | null;
  author: string;
  status: string;
  since: number;
}

/** GET /api/v1/state: every point that had been read, as of `at`, by what was known at `known`. The bytes of `columns` are base64 in JSON. `alarms` and `commands` at most 500 each, the newest first. */
export interface PlantState {
  at: number;
  known: number;
  columns: Columns;
  alarms: PastAlarm[];
  commands: PastCommand[];
}

/** An entry of the ledger as one thing that happened: a step of an alarm or command, an edit, a start … `subject`: the alarm, edit or task; `detail` of an alarm is its priority. `twins` and `points` that it touches. */
export interface Happening {
  entry: number;
  time: number;
  kind: string;
  action: string;
  by: string;
  subject: string;
  command: string;
  value: number | null;
  outcome: string;
  reason: string;
  detail: string;
  twins: string[];
  points: string[];
}

/** GET /api/v1/happenings: newest first; `next` is `before` of the page after, null when this is the last. */
export interface Happenings {
  happenings: Happening[];
  next: number | null;
}

export interface AnswerIntervention {
  at_s: number;
  point: string;
  value: number | string | null;
  verb: "set" | "add" | "run";
  ends: boolean;
}

export interface AnswerFigure {
  mean: number;
  quantiles: number[];
  half_width: number | null;
}

export interface AnswerDifference {
  mean: number;
  half_width: number | null;
  p_greater: number;
  resolved: boolean;
}

export interface AnswerLimitRisk {
  limit: string;
  probability: number[];
  low: number[];
  high: number[];
}

export interface AnswerDraft {
  point: string;
  value: number;
  at_s: number;
}

export interface AnswerOutcome {
  name: string;
  interventions: AnswerIntervention[];
  fans: Record<string, number[][]>;
  kpis: Record<string, AnswerFigure>;
  differences: Record<string, AnswerDifference>;
  limits: AnswerLimitRisk[];
  drafts: AnswerDraft[];
  by_hand: string[];
}

export interface AnswerGoal {
  kpi: string;
  sense: "max" | "min";
}

export interface AnswerChoice {
  name: string;
  goal: AnswerGoal;
  p_better: number;
  resolved: boolean;
  rivals: string[];
  reason: string;
}

export interface AnswerPlan {
  scenario: string;
  drafts: AnswerDraft[];
  by_hand: string[];
  reason: string;
  risks: string[];
}

export interface AnswerComparison {
  plant: string;
  taken_at: number;
  clock_s: number;
  state_hash: string;
  model_hash: string;
  backend: string;
  seed: number;
  replications: number;
  stopped: string;
  horizon_s: number;
  demand_multiplier: number | null;
  times_s: number[];
  units: Record<string, string>;
  outcomes: AnswerOutcome[];
  wall_s: number;
  why: string;
  kernel_hash: string;
  confidence: number;
  choice: AnswerChoice | null;
  question: Record<string, unknown>;
  base: Record<string, unknown>;
  versions: Record<string, string>;
  plan: AnswerPlan | null;
  quantiles: number[];
  digest: string;
}

export interface AnswerOption {
  name: string;
  mean: number;
  replications: number;
  survived: boolean;
}

export interface AnswerRanking {
  plant: string;
  taken_at: number;
  clock_s: number;
  state_hash: string;
  model_hash: string;
  kernel_hash: string;
  backend: string;
  why: string;
  seed: number;
  horizon_s: number;
  wall_s: number;
  versions: Record<string, string>;
  goal: AnswerGoal;
  method: string;
  best: string;
  p_correct: number;
  resolved: boolean;
  reason: string;
  replications: number;
  options: AnswerOption[];
  plan: AnswerPlan;
}

export interface AnswerBar {
  parameter: string;
  low_value: number;
  high_value: number;
  low: AnswerDifference;
  high: AnswerDifference;
}

export interface AnswerTornado {
  plant: string;
  taken_at: number;
  clock_s: number;
  state_hash: string;
  model_hash: string;
  kernel_hash: string;
  backend: string;
  why: string;
  seed: number;
  horizon_s: number;
  wall_s: number;
  versions: Record<string, string>;
  kpi: string;
  base: AnswerFigure;
  bars: AnswerBar[];
  replications: number;
  confidence: number;
}

export interface AnswerSearch {
  decisions: Record<string, number | string>;
  seen: number;
  trials: number;
  result: AnswerComparison;
  plan: AnswerPlan | null;
}

export type ClientMessage = Auth | Sub | Ping | Ask;

export type ServerMessage = Hello | Welcome | Snapshot | Delta | Event | Heartbeat | Answer | Problem;

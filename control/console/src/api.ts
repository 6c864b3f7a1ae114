// The HTTP side of the server, one function a route; must not know components or the WebSocket.
import type {
  AccountChange, AccountRecord, AccountRequest, AlarmDetail, AlarmList, AlarmRollup, AlarmShelfRequest, AlarmStatistics,
  AlarmStep, AlarmVerb, AlarmVerbAnswer, AuditHead, BackupRun, BranchInfo, CommandCheck, CommandPage, CommandRecord,
  CommandRequest, ErrorBody, GraphPicture, GroupRecord, HandoverNote, Happenings, LearnedRecord, LeaseRecord, LookaheadScores, LookaheadState,
  ModelRecord, OperationsInfo, Outcome, PlantInfo, PlantState, PredictedAlarm, PredictionRecord, QueryResult, SavedViews,
  SessionRecord, ShelfRequest, SignedOut, SignInWays, StopAnswer, StopInfo, StopRequest, Ticket, TokenMade, TokenRecord,
  TokenRequest, Trend, ViewChange, ViewRequest, WhatIfPlan, WhatIfRun, Who,
} from "./wire";

const PREFIX = "api/v1";

/** Whether the server said that there is no such thing (any longer). */
export const isGone = (error: unknown): boolean => error instanceof ApiError && error.status === 404;

/** The server's own words on what went wrong, with the HTTP status; status 0 when there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly body: ErrorBody,
  ) {
    super(body.message);
  }
}

export const plant = (): Promise<PlantInfo> => call("GET", "/plant");
/** Who is signed in, and what the role may do. */
export const who = (): Promise<Who> => call("GET", "/session");
export const ticket = (): Promise<Ticket> => call("POST", "/ticket", undefined, URGENT_MS);

export const commands = async (limit: number): Promise<CommandRecord[]> =>
  (await call<CommandPage>("GET", `/commands?limit=${limit}`)).commands;
export const openCommands = async (limit: number): Promise<CommandRecord[]> =>
  (await call<CommandPage>("GET", `/commands?open=true&limit=${limit}`)).commands;
export const command = (id: string): Promise<CommandRecord> => call("GET", `/commands/${part(id)}`);
export const prediction = (id: string): Promise<PredictionRecord> => call("GET", `/commands/${part(id)}/prediction`);
export const sendCommand = (request: CommandRequest): Promise<CommandRecord> => call("POST", "/commands", request);
/** What it would meet now: nothing is recorded or sent. */
export const checkCommand = (request: CommandRequest): Promise<CommandCheck> => call("POST", "/commands?dry_run=true", request);
/** One step that a person takes with a command; `reason` is kept in its record. */
export const onCommand = (verb: "operate" | "approve" | "reject" | "cancel", id: string, reason = ""): Promise<CommandRecord> =>
  call("POST", `/commands/${part(id)}/${verb}`, { reason });
export const settleCommand = (id: string, outcome: Outcome): Promise<CommandRecord> =>
  call("POST", `/commands/${part(id)}/settle`, outcome);

export const stops = (): Promise<StopInfo[]> => call("GET", "/stop");
export const stop = (id: string, request: StopRequest): Promise<StopAnswer> => call("POST", `/stop/${part(id)}`, request, URGENT_MS);

export const groups = (limit: number): Promise<GroupRecord[]> => call("GET", `/groups?limit=${limit}`);
export const cancelGroup = (id: string, reason = ""): Promise<GroupRecord> => call("POST", `/groups/${part(id)}/cancel`, { reason });
export const leases = (limit: number): Promise<LeaseRecord[]> => call("GET", `/leases?limit=${limit}`);
export const releaseLease = (id: string): Promise<LeaseRecord> => call("POST", `/leases/${part(id)}/release`, {});

export const whatIfs = (): Promise<WhatIfRun[]> => call("GET", "/whatif");
export const whatIf = (id: string): Promise<WhatIfRun> => call("GET", `/whatif/${part(id)}`);
export const startWhatIf = (request: WhatIfRun["request"]): Promise<WhatIfRun> =>
  call("POST", request.kind === "compare" ? "/whatif" : `/whatif/${request.kind}`, request);
/** The best of it as commands: nothing is submitted by asking. */
export const whatIfPlan = (id: string): Promise<WhatIfPlan> => call("GET", `/whatif/${part(id)}/plan`);
export const cancelWhatIf = (id: string): Promise<unknown> => call("DELETE", `/whatif/${part(id)}`);

export const lookahead = (): Promise<LookaheadState> => call("GET", "/lookahead");
export const predictedAlarms = (limit: number): Promise<PredictedAlarm[]> => call("GET", `/lookahead/alarms?limit=${limit}`);
export const lookaheadScores = (): Promise<LookaheadScores> => call("GET", "/lookahead/scores?limit=1");
export const shelve = (request: ShelfRequest): Promise<unknown> => call("POST", "/lookahead/shelve", request);
export const unshelve = (limit: string): Promise<unknown> => call("POST", "/lookahead/unshelve", { limit });

/** `asked`: kind, twin, point, by, command, since, until, before. */
export const audit = (last: number, asked: Record<string, string>): Promise<AuditHead> =>
  call("GET", `/audit?${new URLSearchParams({ last: String(last), ...asked })}`);
/** `failure` is "" when it is on the chain. */
export const anchorNow = (): Promise<{ anchored: number; failure: string }> => call("POST", "/audit/anchor", {}, LONG_MS);
/** Recomputes every batch of history: minutes for a long one. */
export const checkHistory = (): Promise<{ batches: number; expired: number; problems: { place: string; what: string }[]; ok: boolean }> =>
  call("POST", "/audit/history", {}, LONG_MS);
export const alarms = (query: Record<string, string>): Promise<AlarmList> => call("GET", `/alarms?${words(query)}`);
export const alarm = (id: string): Promise<AlarmDetail> => call("GET", `/alarms/${part(id)}`);
export const alarmHistory = (query: Record<string, string>): Promise<AlarmStep[]> => call("GET", `/alarms/history?${words(query)}`);
export const alarmStatistics = (query: Record<string, string>): Promise<AlarmStatistics> => call("GET", `/alarms/statistics?${words(query)}`);
export const alarmRollup = (): Promise<AlarmRollup[]> => call("GET", "/alarms/rollup");
export const onAlarms = (verb: string, body: AlarmVerb | AlarmShelfRequest): Promise<AlarmVerbAnswer> =>
  call("POST", `/alarms/${verb}`, body);
/** Where the same history is as CSV: a link, so that the browser saves it as it comes. */
export const alarmExport = (query: Record<string, string>): string => `${PREFIX}/alarms/export?${words(query)}`;

export const operations = (): Promise<OperationsInfo> => call("GET", "/operations");
export const startBackup = (folder: string): Promise<BackupRun> => call("POST", "/backup", { folder });
export const sessions = (all: boolean): Promise<SessionRecord[]> => call("GET", `/sessions?all=${all}`);
export const endSession = (id: string): Promise<unknown> => call("DELETE", `/sessions/${part(id)}`);
/** One's own others; `all`: everybody's but this one. */
export const endSessions = (all: boolean): Promise<unknown> => call("DELETE", `/sessions${all ? "?all=true" : ""}`);
export const accounts = (): Promise<AccountRecord[]> => call("GET", "/accounts");
export const addAccount = (request: AccountRequest): Promise<AccountRecord> => call("POST", "/accounts", request);
export const changeAccount = (name: string, change: AccountChange): Promise<AccountRecord> => call("PATCH", `/accounts/${part(name)}`, change);
export const tokens = (all: boolean): Promise<TokenRecord[]> => call("GET", `/tokens?all=${all}`);
export const giveToken = (request: TokenRequest): Promise<TokenMade> => call("POST", "/tokens", request);
export const endToken = (id: string): Promise<unknown> => call("DELETE", `/tokens/${part(id)}`);

export const savedViews = (): Promise<SavedViews> => call("GET", "/views");
export const saveView = (request: ViewRequest): Promise<unknown> => call("POST", "/views", request);
export const changeView = (id: string, change: ViewChange): Promise<unknown> => call("PATCH", `/views/${part(id)}`, change);
export const deleteView = (id: string): Promise<unknown> => call("DELETE", `/views/${part(id)}`);
export const restoreView = (id: string): Promise<unknown> => call("POST", `/views/${part(id)}/restore`, {});
/** "" for none. */
export const openFirst = (id: string): Promise<unknown> => call("PUT", "/views/startup", { id });
export const notes = (limit: number): Promise<HandoverNote[]> => call("GET", `/notes?limit=${limit}`);
export const addNote = (text: string): Promise<unknown> => call("POST", "/notes", { text });

export const learned = (): Promise<LearnedRecord[]> => call("GET", "/learned");
export const models = (): Promise<ModelRecord[]> => call("GET", "/models");
export const retrain = (row: string, reason: string): Promise<unknown> => call("POST", `/learned/${part(row)}/training`, { reason });
export const stopTraining = (row: string): Promise<unknown> => call("DELETE", `/learned/${part(row)}/training`);

export const signInWays = (): Promise<SignInWays> => call("GET", "/sign-in");
export const signIn = (account: string, password: string): Promise<unknown> => call("POST", "/session", { account, password });
/** Where to go on to, to sign out of the provider, too; "" for nowhere. */
export const signOut = async (): Promise<string> => (await call<SignedOut>("DELETE", "/session")).next;
/** `asked` is one of entry=3, command=ID and batch=7. */
export const auditProof = (asked: string): Promise<unknown> => call("GET", `/audit/proof?${asked}`);

/** `from` and `to` in ms since 1970; at most `max` samples come back. */
export function history(point: string, from: number, to: number, max: number): Promise<Trend> {
  return call("GET", `/history?point=${part(point)}&from=${Math.round(from)}&to=${Math.round(to)}&max=${max}`);
}

/** Alarms that came and cleared in a time, ms since 1970, newest first. */
export const alarmSteps = (from: number, to: number, limit: number): Promise<AlarmStep[]> =>
  call("GET", `/alarms/history?step=active,cleared&from=${moment(from)}&to=${moment(to)}&limit=${limit}`);
export const graphPicture = (): Promise<GraphPicture> => call("GET", "/graph/layout");
/** The whole plant at a moment; `known` null: as it is known today. */
export const stateAt = (at: number, known: number | null): Promise<PlantState> =>
  call("GET", `/state?at=${part(instant(at))}${known === null ? "" : `&known=${part(instant(known))}`}`);
/** Newest first; `before` is the `next` of the page before. */
export const happenings = (from: number, to: number, limit: number, before: number | null): Promise<Happenings> =>
  call("GET", `/happenings?from=${part(instant(from))}&to=${part(instant(to))}&limit=${limit}${before === null ? "" : `&before=${before}`}`);
export const query = (sql: string, limit: number): Promise<QueryResult> => call("POST", "/query", { sql, limit });
export const branches = (): Promise<BranchInfo[]> => call("GET", "/branches");
/** `at` null: of now; `known` null: with all that is known of that moment today. */
export const makeBranch = (name: string, at: number | null, known: number | null, note: string): Promise<BranchInfo> =>
  call("POST", "/branches", { name, at: at === null ? "" : instant(at), known: known === null ? "" : instant(known), note });
export const deleteBranch = (name: string): Promise<BranchInfo> => call("DELETE", `/branches/${part(name)}`);

const instant = (ms: number): string => new Date(ms).toISOString();

/** Longer than an answer takes that comes at all. A stop or a ticket is asked for again sooner. */
const LIMIT_MS = 30_000;
const URGENT_MS = 5_000;
/** What reads everything that was ever recorded. */
const LONG_MS = 600_000;

let reads = new AbortController();

/** Lets go of all questions that are under way and change nothing: a browser has six connections to a server. */
export function abandonReads(): void {
  reads.abort();
  reads = new AbortController();
}

async function call<T>(method: string, path: string, body?: unknown, limitMs = LIMIT_MS): Promise<T> {
  let response: Response;
  let text: string;
  const late = AbortSignal.timeout(limitMs);
  try {
    response = await fetch(PREFIX + path, {
      method,
      signal: method === "GET" ? AbortSignal.any([late, reads.signal]) : late,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    text = await response.text();
  } catch {
    const hint = method === "GET" ? "" : " What was asked may have been done: look before you ask again.";
    throw new ApiError(0, {
      code: "unreachable",
      message: late.aborted ? `The server did not answer within ${limitMs / 1000} s.` : "The server does not answer.",
      hint: `Check that it runs; the console goes on by itself once it does.${hint}`,
    });
  }
  if (!response.ok) throw new ApiError(response.status, errorBody(response.status, text));
  return (text === "" ? null : JSON.parse(text)) as T;
}

/** A proxy in between may answer in its own words: never show those as if they were ours. */
function errorBody(status: number, text: string): ErrorBody {
  try {
    const body = JSON.parse(text) as Partial<ErrorBody>;
    if (typeof body.message === "string") {
      return { code: body.code ?? "error", message: body.message, hint: body.hint ?? "", mistakes: body.mistakes ?? [], command: body.command ?? "" };
    }
  } catch {
    // Not JSON: fall through.
  }
  return { code: `http-${status}`, message: `The server answered with HTTP status ${status}.`, hint: "" };
}

/** Any thrown thing as something that can be shown. */
export function asErrorBody(error: unknown): ErrorBody {
  if (error instanceof ApiError) return error.body;
  return { code: "console", message: error instanceof Error ? error.message : String(error), hint: "" };
}

function words(query: Record<string, string>): string {
  return new URLSearchParams(query).toString();
}

/** A moment as the alarm routes want it. */
function moment(ms: number): string {
  return part(new Date(ms).toISOString());
}

function part(text: string): string {
  return encodeURIComponent(text);
}

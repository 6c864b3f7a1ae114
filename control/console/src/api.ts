// The HTTP side of the server, one function a route; must not know components or the WebSocket.
import type {
  AlarmDetail, AlarmList, AlarmRollup, AuditHead, BranchInfo, CommandCheck, CommandPage, CommandRecord, CommandRequest, ErrorBody, GraphPicture, GroupRecord, Happenings, LeaseRecord, LookaheadScores, LookaheadState, Outcome,
  PlantInfo, PlantState, PredictedAlarm, PredictionRecord, QueryResult, ShelfRequest, SignedOut, SignInWays, StopAnswer, StopInfo, StopRequest, Ticket, Trend, WhatIfPlan, WhatIfRun, Who,
} from "./wire";

const PREFIX = "api/v1";

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
export const ticket = (): Promise<Ticket> => call("POST", "/ticket");

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
export const stop = (id: string, request: StopRequest): Promise<StopAnswer> => call("POST", `/stop/${part(id)}`, request);

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

export const audit = (last: number, kind: string): Promise<AuditHead> =>
  call("GET", `/audit?last=${last}&kind=${encodeURIComponent(kind)}`);
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

export const graphPicture = (): Promise<GraphPicture> => call("GET", "/graph/layout");
/** All of them, whatever their state. */
export const everyAlarm = (): Promise<AlarmList> => call("GET", "/alarms?state=all&limit=5000");
/** Those that are not normal. */
export const retainedAlarms = (): Promise<AlarmList> => call("GET", "/alarms?state=retained&limit=5000");
export const alarmRollups = (): Promise<AlarmRollup[]> => call("GET", "/alarms/rollup");
export const alarm = (id: string): Promise<AlarmDetail> => call("GET", `/alarms/${part(id)}`);
/** The whole plant at a moment; `known` null: as it is known today. */
export const stateAt = (at: number, known: number | null): Promise<PlantState> =>
  call("GET", `/state?at=${part(instant(at))}${known === null ? "" : `&known=${part(instant(known))}`}`);
/** Newest first; `before` is the `next` of the page before. */
export const happenings = (from: number, to: number, limit: number, before: number | null): Promise<Happenings> =>
  call("GET", `/happenings?from=${part(instant(from))}&to=${part(instant(to))}&limit=${limit}${before === null ? "" : `&before=${before}`}`);
export const query = (sql: string, limit: number): Promise<QueryResult> => call("POST", "/query", { sql, limit });
export const makeBranch = (name: string, at: number, known: number | null, note: string): Promise<BranchInfo> =>
  call("POST", "/branches", { name, at: instant(at), known: known === null ? "" : instant(known), note });

const instant = (ms: number): string => new Date(ms).toISOString();

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(PREFIX + path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, {
      code: "unreachable",
      message: "The server does not answer.",
      hint: "Check that it runs; the console goes on by itself once it does.",
    });
  }
  const text = await response.text();
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

function part(text: string): string {
  return encodeURIComponent(text);
}

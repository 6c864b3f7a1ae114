// One WebSocket kept alive: ticket, subscribe, resume, reconnect; must not know what frames mean or how they are shown.
import { decode, encode } from "@msgpack/msgpack";
import { cost } from "./cost";
import { type ClientMessage, type Position, type ServerMessage, SUBPROTOCOL } from "../wire";

const RETRY_FIRST_MS = 250;
const RETRY_MOST_MS = 8_000;
/** An open socket that is silent for this long is given up: a proxy may hold a dead one open for minutes. */
const SILENCE_MOST_MS = 8_000;

const FRAMES = new Set<ServerMessage["t"]>(["snapshot", "delta", "event", "heartbeat"]);

/** An epoch may be larger than 2^53: it is kept and sent back exactly as it came, never reckoned with. */
export type Epoch = number | bigint;

export interface Listener {
  message(message: ServerMessage): void;
  /** Before anything of this life of the server comes: what it needs is made ready. It may be asked again meanwhile. */
  welcomed(epoch: Epoch): Promise<void>;
  /** A frame of the subscription, heartbeats too: the sign of life. A greeting alone is none. */
  alive(): void;
  closed(retryMs: number): void;
  /** The ticket was refused: reconnecting will not help. */
  signedOut(): void;
}

export interface Surroundings {
  ticket(): Promise<string>;
  open(protocol: string): WebSocket;
  /** Whether an error of `ticket` means "not signed in". */
  refused(error: unknown): boolean;
}

export class Connection {
  private socket: WebSocket | null = null;
  private position: { epoch: Epoch; seq: number } | null = null;
  private epoch: Epoch = 0;
  private attempts = 0;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private stopped = false;

  constructor(
    private readonly around: Surroundings,
    private readonly listener: Listener,
  ) {}

  async start(): Promise<void> {
    let ticket: string;
    try {
      ticket = await this.around.ticket();
    } catch (error) {
      if (this.around.refused(error)) this.listener.signedOut();
      else this.again();
      return;
    }
    if (this.stopped) return;
    const socket = this.around.open(SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event: MessageEvent<ArrayBuffer>) => this.receive(socket, event.data, ticket);
    socket.onclose = () => this.lost(socket);
    this.socket = socket;
    this.listenForSilence();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    this.socket?.close();
  }

  private receive(socket: WebSocket, data: ArrayBuffer, ticket: string): void {
    if (socket !== this.socket) return;
    const begun = performance.now();
    const bytes = new Uint8Array(data);
    const message = decode(bytes) as ServerMessage;
    this.listenForSilence();
    try {
      this.listener.message(message);
    } catch (error) {
      // Half of it may have been taken: only a snapshot makes the screen whole again.
      this.position = null;
      socket.close();
      this.lost(socket);
      throw error;
    }
    switch (message.t) {
      case "hello":
        this.send({ t: "auth", ticket });
        break;
      case "welcome":
        void this.subscribe(socket, exactEpoch(bytes));
        break;
      case "snapshot":
        this.position = { epoch: this.epoch, seq: message.seq };
        this.attempts = 0;
        break;
      case "delta":
      case "heartbeat":
        // These close a frame. An event inside it does not move the position: values of the same frame are still to
        // come, and events told twice do no harm.
        this.position = { epoch: this.epoch, seq: message.seq };
        this.attempts = 0;
        break;
      case "event":
        break;
      case "error":
        // Whatever it is that the server does not take, asking the same again would not help.
        this.position = null;
        break;
    }
    if (FRAMES.has(message.t)) this.listener.alive();
    if (message.t === "delta") cost.add(performance.now() - begun, bytes.length);
  }

  private async subscribe(socket: WebSocket, epoch: Epoch): Promise<void> {
    await this.listener.welcomed(epoch);
    if (socket !== this.socket) return;
    this.epoch = epoch;
    // An epoch is one life of the server: positions of an earlier one mean nothing to it, it would say so anyway.
    this.send({ t: "sub", from: this.position?.epoch === epoch ? (this.position as Position) : null });
  }

  private send(message: ClientMessage): void {
    this.socket?.send(encode(message, { useBigInt64: true }));
  }

  private listenForSilence(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      const socket = this.socket;
      if (socket === null) return;
      socket.close();
      // The closing handshake of a dead peer never ends: do not wait for it.
      this.lost(socket);
    }, SILENCE_MOST_MS);
  }

  private lost(socket: WebSocket): void {
    if (socket !== this.socket) return;
    this.socket = null;
    clearTimeout(this.silence);
    this.again();
  }

  private again(): void {
    if (this.stopped) return;
    const wait = retryAfter(this.attempts, Math.random());
    this.attempts += 1;
    this.listener.closed(wait);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => void this.start(), wait);
  }
}

function exactEpoch(welcome: Uint8Array): Epoch {
  return (decode(welcome, { useBigInt64: true }) as { epoch: Epoch }).epoch;
}

/** Doubling, with jitter so that many consoles do not return at the same moment. `chance` is 0…1. */
export function retryAfter(attempts: number, chance: number): number {
  return Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** attempts) * (0.5 + chance / 2);
}

import { decode, encode } from "@msgpack/msgpack";
import { beforeEach, expect, test, vi } from "vitest";
import { Connection, retryAfter } from "./connection";
import type { ClientMessage, ServerMessage } from "../wire";

/** The server's side of one socket, in the hands of the test. */
class FakeSocket {
  binaryType = "";
  sent: ClientMessage[] = [];
  closed = false;
  onmessage: (event: { data: ArrayBuffer }) => void = () => undefined;
  onclose: () => void = () => undefined;

  send(bytes: Uint8Array): void {
    this.sent.push(decode(bytes, { useBigInt64: true }) as ClientMessage);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onclose();
  }

  say(message: object): void {
    this.onmessage({ data: encode(message, { useBigInt64: true }).slice().buffer as ArrayBuffer });
  }
}

let sockets: FakeSocket[] = [];
let heard: ServerMessage["t"][] = [];

function connection(): Connection {
  return new Connection(
    {
      ticket: () => Promise.resolve(`ticket-${sockets.length}`),
      open: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket as unknown as WebSocket;
      },
      refused: () => false,
    },
    { message: (m) => heard.push(m.t), welcomed: () => Promise.resolve(), alive: () => undefined, closed: () => undefined, signedOut: () => undefined },
  );
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  heard = [];
});

async function greet(socket: FakeSocket, epoch: number | bigint): Promise<void> {
  socket.say({ t: "hello", protocol: "twinloop.v1.msgpack", version: "1" });
  socket.say({ t: "welcome", epoch, seq: 10, heartbeat_ms: 1000, time: 0, user: "u" });
  await vi.advanceTimersByTimeAsync(0);
}

const NO_COLUMNS = { point: new Uint8Array(), value: new Uint8Array() };

test("a lost socket is resumed with a new ticket from the last position held", async () => {
  await connection().start();
  await greet(sockets[0]!, 3);
  expect(sockets[0]!.sent).toEqual([{ t: "auth", ticket: "ticket-0" }, { t: "sub", from: null }]);
  sockets[0]!.say({ t: "snapshot", epoch: 3, seq: 10, columns: NO_COLUMNS });
  sockets[0]!.say({ t: "delta", seq: 11, columns: NO_COLUMNS });
  sockets[0]!.say({ t: "event", seq: 12, kind: "link", time: 0, body: {} });
  sockets[0]!.say({ t: "heartbeat", seq: 12, time: 0 });
  sockets[0]!.close();
  await vi.advanceTimersByTimeAsync(300);
  await greet(sockets[1]!, 3);
  expect(sockets[1]!.sent).toEqual([{ t: "auth", ticket: "ticket-1" }, { t: "sub", from: { epoch: 3, seq: 12 } }]);
});

test("a position of an earlier life of the server is not asked for", async () => {
  await connection().start();
  await greet(sockets[0]!, 3);
  sockets[0]!.say({ t: "snapshot", epoch: 3, seq: 10, columns: NO_COLUMNS });
  sockets[0]!.close();
  await vi.advanceTimersByTimeAsync(300);
  await greet(sockets[1]!, 4);
  expect(sockets[1]!.sent[1]).toEqual({ t: "sub", from: null });
});

test("an epoch larger than 2^53 is sent back exactly", async () => {
  const epoch = 1_795_234_497_535_174_347n;
  await connection().start();
  await greet(sockets[0]!, epoch);
  sockets[0]!.say({ t: "snapshot", epoch, seq: 10, columns: NO_COLUMNS });
  sockets[0]!.close();
  await vi.advanceTimersByTimeAsync(300);
  await greet(sockets[1]!, epoch);
  expect(sockets[1]!.sent[1]).toEqual({ t: "sub", from: { epoch, seq: 10 } });
});

test("after an error the next connection starts from nothing", async () => {
  await connection().start();
  await greet(sockets[0]!, 3);
  sockets[0]!.say({ t: "snapshot", epoch: 3, seq: 10, columns: NO_COLUMNS });
  sockets[0]!.say({ t: "error", code: "bad_request", message: "", hint: "" });
  sockets[0]!.close();
  await vi.advanceTimersByTimeAsync(300);
  await greet(sockets[1]!, 3);
  expect(sockets[1]!.sent[1]).toEqual({ t: "sub", from: null });
});

test("an open but silent socket is given up", async () => {
  await connection().start();
  await greet(sockets[0]!, 3);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(sockets[0]!.closed).toBe(true);
  expect(sockets.length).toBeGreaterThan(1);
});

test("an event alone does not move the position: the values of its frame are still to come", async () => {
  await connection().start();
  await greet(sockets[0]!, 3);
  sockets[0]!.say({ t: "snapshot", epoch: 3, seq: 10, columns: NO_COLUMNS });
  sockets[0]!.say({ t: "event", seq: 12, kind: "link", time: 0, body: {} });
  sockets[0]!.close();
  await vi.advanceTimersByTimeAsync(300);
  await greet(sockets[1]!, 3);
  expect(sockets[1]!.sent[1]).toEqual({ t: "sub", from: { epoch: 3, seq: 10 } });
});

test("waits double up to a limit and are spread by chance", () => {
  expect(retryAfter(0, 0)).toBe(125);
  expect(retryAfter(2, 1)).toBe(1_000);
  expect(retryAfter(50, 1)).toBe(8_000);
});

test("nothing is subscribed before the listener is ready for this life of the server", async () => {
  let ready: () => void = () => undefined;
  const of: unknown[] = [];
  const waiting = new Connection(
    {
      ticket: () => Promise.resolve("ticket"),
      open: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket as unknown as WebSocket;
      },
      refused: () => false,
    },
    {
      message: () => undefined, alive: () => undefined, closed: () => undefined, signedOut: () => undefined,
      welcomed: (epoch) => {
        of.push(epoch);
        return new Promise((done) => (ready = done));
      },
    },
  );
  await waiting.start();
  await greet(sockets[0]!, 5);
  expect(sockets[0]!.sent).toEqual([{ t: "auth", ticket: "ticket" }]);
  ready();
  await vi.advanceTimersByTimeAsync(0);
  expect(sockets[0]!.sent[1]).toEqual({ t: "sub", from: null });
  expect(of).toEqual([5]);
});

test("a frame that cannot be taken is no sign of life: a snapshot is asked for anew", async () => {
  let alive = 0;
  let broken = true;
  const opened = (): WebSocket => {
    const socket = new FakeSocket();
    sockets.push(socket);
    return socket as unknown as WebSocket;
  };
  const fails = new Connection(
    { ticket: () => Promise.resolve("ticket"), open: opened, refused: () => false },
    {
      welcomed: () => Promise.resolve(), closed: () => undefined, signedOut: () => undefined, alive: () => (alive += 1),
      message: (m) => {
        if (m.t === "delta" && broken) throw new Error("half a frame");
      },
    },
  );
  await fails.start();
  await greet(sockets[0]!, 3);
  sockets[0]!.say({ t: "snapshot", epoch: 3, seq: 10, columns: NO_COLUMNS });
  expect(() => sockets[0]!.say({ t: "delta", seq: 11, columns: NO_COLUMNS })).toThrow("half a frame");
  expect(alive).toBe(1);
  expect(sockets[0]!.closed).toBe(true);
  broken = false;
  await vi.advanceTimersByTimeAsync(1_000);
  await greet(sockets[1]!, 3);
  expect(sockets[1]!.sent[1]).toEqual({ t: "sub", from: null });
});

// A node-opcua server for the tests: many items of mixed types that change at a given rate; knows nothing of Twinloop.
//
//   node server.js [--port 0] [--items 1000] [--types mixed|double] [--rate 0] [--machines 0]
//                  [--modes None,Sign,SignAndEncrypt] [--policies None,Basic256Sha256] [--users name:password,...]
//                  [--anonymous true] [--accept true] [--pki FOLDER] [--limits NAME=N,...] [--shape NAME=N,...]
//
// Prints `READY {"endpoint":…, "port":…}` once it listens. Lines on stdin are commands, each answered by one JSON line:
//   {"do":"rate","changes_per_s":N}   start, change (or with 0 stop) the changes; the clock of `sent` starts again
//   {"do":"hold"}                     stop the changes; how many there were since then
//   {"do":"sent"}                     how many changes were made since then, and what each item holds
//   {"do":"set","node":"s=…","value":V,"status":"Bad…"}   one change by hand
//   {"do":"add","node":"s=…","value":V}                   a node that was not there
//   {"do":"drop","what":"subscriptions"|"sessions"|"sessions alone"}   end them without a word to the client
//   {"do":"count"}                    sessions and subscriptions there are
//   {"do":"stop"}                     shut down in order; the end of stdin does the same
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const {
  DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes, VariantArrayType,
  coerceNodeId, standardUnits,
} = require("node-opcua");

const TICK_MS = 10;

// What the items hold in turn with --types mixed; `of(n)` is the n-th value, exact in its type.
const KINDS = [
  ["Double", (n) => n / 8], ["Float", (n) => n / 8], ["Int32", (n) => n], ["UInt32", (n) => n],
  ["Int16", (n) => n % 30000], ["UInt16", (n) => n % 60000], ["SByte", (n) => n % 100], ["Byte", (n) => n % 200],
  ["Boolean", (n) => n % 2 === 1], ["Int64", (n) => [0, n]], ["UInt64", (n) => [0, n]],
  ["String", (n) => `text ${n}`],
];

// 64-bit values are pairs in node-opcua: said to be scalars, or they pass for arrays.
const scalar = (dataType, value) => ({ dataType, arrayType: VariantArrayType.Scalar, value });

function options() {
  const found = {
    port: "0", items: "1000", types: "mixed", rate: "0", machines: "0", modes: "None", policies: "None",
    users: "", anonymous: "true", accept: "true", pki: "", limits: "", shape: "",
  };
  const args = process.argv.slice(2);
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].replace(/^--/, "");
    if (!(name in found) || i + 1 >= args.length) throw new Error(`unknown option ${args[i]}`);
    found[name] = args[i + 1];
  }
  return found;
}

function numbers(text) {
  return Object.fromEntries(text.split(",").filter(Boolean).map((one) => [one.split("=")[0], Number(one.split("=")[1])]));
}

function limits(text) {
  const names = [
    "maxNodesPerRead", "maxNodesPerWrite", "maxNodesPerBrowse", "maxNodesPerMethodCall", "maxNodesPerRegisterNodes",
    "maxNodesPerTranslateBrowsePathsToNodeIds", "maxMonitoredItemsPerCall", "maxNodesPerHistoryReadData",
  ];
  return { ...Object.fromEntries(names.map((name) => [name, 10000])), ...numbers(text) };
}

function users(text) {
  const known = new Map(text.split(",").filter(Boolean).map((one) => [one.split(":")[0], one.slice(one.indexOf(":") + 1)]));
  return { isValidUser: (name, password) => known.has(name) && known.get(name) === password };
}

async function makeServer(asked) {
  const pki = asked.pki || fs.mkdtempSync(path.join(os.tmpdir(), "node-opcua-pki-"));
  if (!asked.pki) process.on("exit", () => fs.rmSync(pki, { recursive: true, force: true }));
  const made = (name) => new OPCUACertificateManager({
    rootFolder: path.join(pki, name), automaticallyAcceptUnknownCertificate: asked.accept === "true",
  });
  return new OPCUAServer({
    port: Number(asked.port),
    hostname: "127.0.0.1",
    host: "127.0.0.1",
    resourcePath: "/peer",
    buildInfo: { productName: "node-opcua peer of the Twinloop tests" },
    serverCertificateManager: made("server"),
    userCertificateManager: made("users"),
    securityModes: asked.modes.split(",").map((name) => MessageSecurityMode[name]),
    securityPolicies: asked.policies.split(",").map((name) => SecurityPolicy[name]),
    allowAnonymous: asked.anonymous === "true",
    userManager: users(asked.users),
    serverCapabilities: {
      maxSessions: 100, maxSubscriptions: 1000, maxSubscriptionsPerSession: 100, maxMonitoredItems: 1_000_000,
      maxMonitoredItemsPerSubscription: 300_000, ...numbers(asked.shape), operationLimits: limits(asked.limits),
    },
  });
}

class Field {
  constructor(server, asked) {
    this.server = server;
    this.space = server.engine.addressSpace;
    this.own = this.space.getOwnNamespace();
    this.items = [];
    this.steps = [];
    this.timer = null;
    this.sent = 0;
    this.fill(Number(asked.items), asked.types);
    this.extras();
    this.machines(Number(asked.machines));
    this.rate(Number(asked.rate));
  }

  fill(count, types) {
    let folder = null;
    for (let i = 0; i < count; i += 1) {
      if (i % 500 === 0) folder = this.own.addFolder("ObjectsFolder", { browseName: `Items${i / 500}` });
      const [dataType, of] = types === "double" ? KINDS[0] : KINDS[i % KINDS.length];
      const variable = this.own.addVariable({
        organizedBy: folder, browseName: `Item${i}`, nodeId: `s=item.${i}`, dataType, accessLevel: "CurrentRead",
        value: scalar(DataType[dataType], of(0)),
      });
      this.items.push({ variable, dataType: DataType[dataType], of });
      this.steps.push(0);
    }
  }

  extras() {
    const folder = this.own.addFolder("ObjectsFolder", { browseName: "Extras" });
    const add = (name, dataType, value) => this.own.addVariable({
      organizedBy: folder, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 0,
      accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite",
      value: scalar(DataType[dataType], value),
    });
    add("setpoint", "Double", 0);
    add("switch", "Boolean", false);
    add("recipe", "String", "none");
    add("count", "Int32", 0);
  }

  // Objects of a type with units, ranges and an enumeration, for discovery.
  machines(count) {
    if (!count) return;
    const type = this.own.addObjectType({ browseName: "MachineType" });
    this.own.addAnalogDataItem({
      componentOf: type, browseName: "Temperature", dataType: "Double", modellingRule: "Mandatory",
      engineeringUnits: standardUnits.degree_celsius, engineeringUnitsRange: { low: -40, high: 160 },
    });
    this.own.addVariable({ componentOf: type, browseName: "Running", dataType: "Boolean", modellingRule: "Mandatory" });
    this.own.addMultiStateDiscrete({
      componentOf: type, browseName: "Mode", enumStrings: ["Off", "Manual", "Auto"], modellingRule: "Mandatory",
    });
    const folder = this.own.addFolder("ObjectsFolder", { browseName: "Machines" });
    for (let i = 0; i < count; i += 1) {
      const made = type.instantiate({ browseName: `Machine${i}`, organizedBy: folder, nodeId: `s=machine.${i}` });
      made.temperature.setValueFromSource({ dataType: DataType.Double, value: 20 + (i % 50) });
      made.running.setValueFromSource({ dataType: DataType.Boolean, value: i % 2 === 0 });
    }
  }

  rate(changesPerSecond) {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
    this.sent = 0;
    if (!changesPerSecond) return;
    const begun = Date.now();
    let next = 0;
    this.timer = setInterval(() => {
      // What a late tick missed is made up for, one second at most.
      const due = Math.floor(((Date.now() - begun) * changesPerSecond) / 1000);
      for (let left = Math.min(due - this.sent, changesPerSecond); left > 0; left -= 1) {
        this.step(next);
        next = (next + 1) % this.items.length;
      }
    }, TICK_MS);
  }

  step(i) {
    const { variable, dataType, of } = this.items[i];
    this.steps[i] += 1;
    this.sent += 1;
    variable.setValueFromSource(scalar(dataType, of(this.steps[i])), StatusCodes.Good, new Date());
  }

  async drop(what) {
    for (const session of Object.values(this.server.engine._sessions)) {
      if (what === "sessions") await this.server.engine.closeSession(session.authenticationToken, true, "Terminated");
      else if (what === "sessions alone") await this.server.engine.closeSession(session.authenticationToken, false, "Timeout");
      else for (const id of session.publishEngine.subscriptions.map((one) => one.id)) session.deleteSubscription(id);
    }
  }
}

async function obey(field, line) {
  const wish = JSON.parse(line);
  const find = () => field.space.findNode(coerceNodeId(`ns=1;${wish.node}`));
  switch (wish.do) {
    case "rate":
      field.rate(wish.changes_per_s);
      return {};
    case "hold": {
      const { sent } = field;
      field.rate(0);
      return { sent };
    }
    case "sent":
      return { sent: field.sent, steps: field.steps };
    case "set": {
      const node = find();
      const { dataType } = node.readValue().value;
      node.setValueFromSource(scalar(dataType, wish.value), StatusCodes[wish.status ?? "Good"], new Date());
      return {};
    }
    case "add":
      field.own.addVariable({
        organizedBy: "ObjectsFolder", browseName: wish.node.slice(2), nodeId: wish.node, dataType: "Double",
        value: { dataType: DataType.Double, value: wish.value },
      });
      return {};
    case "count": {
      const { currentSessionCount: sessions, currentSubscriptionCount: subscriptions } = field.server.engine;
      return { sessions, subscriptions };
    }
    case "drop":
      await field.drop(wish.what);
      return {};
    case "stop":
      setImmediate(() => field.server.shutdown(50).then(() => process.exit(0)));
      return {};
    default:
      return { error: `unknown: ${line}` };
  }
}

async function main() {
  const server = await makeServer(options());
  await server.initialize();
  const field = new Field(server, options());
  await server.start();
  const port = server.endpoints[0].port;
  console.log(`READY ${JSON.stringify({ endpoint: `opc.tcp://127.0.0.1:${port}/peer`, port })}`);
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("close", () => process.exit(0));
  for await (const line of lines) {
    let answer;
    try {
      answer = await obey(field, line);
    } catch (error) {
      answer = { error: String(error) };
    }
    console.log(JSON.stringify(answer));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

// A node-opcua client for the tests: browses, reads, writes, calls, reads history and monitors; knows nothing of Twinloop.
//
//   node client.js --endpoint opc.tcp://… [--user NAME --password WORD] [--mode None --policy None] [--pki FOLDER]
//                  [--monitor "ns=2;s=a,ns=2;s=b"]
//
// Prints `READY {}` once its session is there. Lines on stdin are commands, each answered by one JSON line:
//   {"do":"read","node":"ns=2;s=…"}                     {"value":…,"type":…,"status":…,"source":ms,"server":ms}
//   {"do":"browse","node":…}                            [{"name":…,"node":…,"type":…,"reference":…}], forward references
//   {"do":"write","node":…,"type":"Boolean","value":V}  {"status":…}
//   {"do":"call","object":…,"method":…,"arguments":[{"dataType":…,"value":…}]}   {"status":…,"outputs":[…]}
//   {"do":"history","node":…,"start":ms,"end":ms,"most":N}   {"values":[[ms,value,status]…],"pages":N}
//   {"do":"monitored"}                                  what each monitored node said last, and how often
//   {"do":"life"}                                       {"lost":N,"restored":N}: of the connection
"use strict";

const readline = require("node:readline");
const {
  AttributeIds, BrowseDirection, ClientMonitoredItem, DataType, HistoryReadRequest, MessageSecurityMode,
  OPCUACertificateManager, OPCUAClient, ReadRawModifiedDetails, SecurityPolicy, TimestampsToReturn, UserTokenType,
} = require("node-opcua");

const LEAVE_MAX_MS = 2000;

function options() {
  const found = { endpoint: "", user: "", password: "", mode: "None", policy: "None", pki: "", monitor: "" };
  const args = process.argv.slice(2);
  for (let i = 0; i < args.length; i += 2) found[args[i].replace(/^--/, "")] = args[i + 1];
  return found;
}

const plain = (value) => (typeof value === "bigint" || Array.isArray(value) ? String(value) : value);

const commands = {
  async read(session, asked) {
    const found = await session.read({ nodeId: asked.node, attributeId: AttributeIds.Value });
    return {
      value: plain(found.value.value), type: DataType[found.value.dataType], status: found.statusCode.name,
      source: found.sourceTimestamp && found.sourceTimestamp.getTime(),
      server: found.serverTimestamp && found.serverTimestamp.getTime(),
    };
  },
  async browse(session, asked) {
    const found = await session.browse({
      nodeId: asked.node, browseDirection: BrowseDirection.Forward, includeSubtypes: true, nodeClassMask: 0,
      resultMask: 63,
    });
    return found.references.map((r) => ({
      name: r.browseName.name, node: r.nodeId.toString(), type: r.typeDefinition.toString(),
      reference: r.referenceTypeId.toString(),
    }));
  },
  async write(session, asked) {
    const value = { value: { dataType: DataType[asked.type], value: asked.value } };
    const status = await session.write({ nodeId: asked.node, attributeId: AttributeIds.Value, value });
    return { status: status.name };
  },
  async call(session, asked) {
    const inputs = asked.arguments.map((a) => ({ dataType: DataType[a.dataType], value: a.value }));
    const found = await session.call({ objectId: asked.object, methodId: asked.method, inputArguments: inputs });
    return { status: found.statusCode.name, outputs: (found.outputArguments || []).map((o) => plain(o.value)) };
  },
  async history(session, asked) {
    const values = [];
    let continuationPoint = null;
    let pages = 0;
    do {
      const request = new HistoryReadRequest({
        historyReadDetails: new ReadRawModifiedDetails({
          isReadModified: false, startTime: new Date(asked.start), endTime: new Date(asked.end),
          numValuesPerNode: asked.most, returnBounds: false,
        }),
        nodesToRead: [{ nodeId: asked.node, continuationPoint }],
        releaseContinuationPoints: false, timestampsToReturn: TimestampsToReturn.Both,
      });
      const result = (await session.historyRead(request)).results[0];
      if (result.statusCode.isNotGood()) return { status: result.statusCode.name };
      for (const v of result.historyData.dataValues) {
        values.push([v.sourceTimestamp.getTime(), plain(v.value.value), v.statusCode.name]);
      }
      continuationPoint = result.continuationPoint;
      pages += 1;
    } while (continuationPoint && continuationPoint.length && pages < 1000);
    return { values, pages };
  },
};

async function main() {
  const asked = options();
  const life = { lost: 0, restored: 0 };
  const monitored = {};
  const manager = asked.pki
    ? new OPCUACertificateManager({ rootFolder: asked.pki, automaticallyAcceptUnknownCertificate: true }) : undefined;
  if (manager) await manager.initialize();
  const client = OPCUAClient.create({
    clientCertificateManager: manager, securityMode: MessageSecurityMode[asked.mode],
    securityPolicy: SecurityPolicy[asked.policy], endpointMustExist: false, keepSessionAlive: true,
    requestedSessionTimeout: 60000, connectionStrategy: { maxRetry: 1000, initialDelay: 100, maxDelay: 500 },
  });
  client.on("connection_lost", () => { life.lost += 1; });
  client.on("after_reconnection", (error) => { if (!error) life.restored += 1; });
  await client.connect(asked.endpoint);
  const session = await client.createSession(asked.user
    ? { type: UserTokenType.UserName, userName: asked.user, password: asked.password }
    : { type: UserTokenType.Anonymous });
  if (asked.monitor) {
    const subscription = await session.createSubscription2({
      requestedPublishingInterval: 100, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
      publishingEnabled: true, maxNotificationsPerPublish: 1000,
    });
    for (const node of asked.monitor.split(",")) {
      monitored[node] = { changes: 0 };
      const item = ClientMonitoredItem.create(subscription, { nodeId: node, attributeId: AttributeIds.Value },
        { samplingInterval: 0, queueSize: 10, discardOldest: true }, TimestampsToReturn.Both);
      item.on("changed", (value) => {
        const said = monitored[node];
        said.changes += 1;
        said.value = plain(value.value.value);
        said.status = value.statusCode.name;
      });
    }
  }
  console.log("READY {}");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    let answer;
    try {
      if (command.do === "monitored") answer = monitored;
      else if (command.do === "life") answer = life;
      else answer = await commands[command.do](session, command);
    } catch (error) {
      answer = { error: String(error.message) };
    }
    console.log(JSON.stringify(answer));
  }
  // A session with a subscription outlives its connection: a server that is not told counts it for another minute.
  setTimeout(() => process.exit(0), LEAVE_MAX_MS);
  await session.close(true);
  process.exit(0);
}

main().catch((error) => {
  console.log(JSON.stringify({ error: String(error.message) }));
  process.exit(1);
});

// A node-opcua client for the tests: reads one value over each of several secure channels; knows nothing of Twinloop.
//
//   node secure_client.js --endpoint opc.tcp://… --pki FOLDER --channels Sign/Basic256Sha256,None/None
//                         --identities '{"somebody": {"user": …, "password": …}, "other": {"certificate": FILE.der,
//                         "key": FILE.pem}, "nobody": {}}' [--node "ns=2;s=Tank.Level"]
//
// Prints one JSON line: identity -> channel -> {"value":…} or {"error":…}.
"use strict";

const fs = require("node:fs");
const {
  MessageSecurityMode, OPCUACertificateManager, OPCUAClient, SecurityPolicy, UserTokenType,
} = require("node-opcua");

function options() {
  const found = {
    endpoint: "", pki: "", channels: "None/None", identities: '{"nobody": {}}', node: "ns=2;s=Tank.Level",
  };
  const args = process.argv.slice(2);
  for (let i = 0; i < args.length; i += 2) found[args[i].replace(/^--/, "")] = args[i + 1];
  return found;
}

function identity(asked) {
  if (asked.user) return { type: UserTokenType.UserName, userName: asked.user, password: asked.password };
  if (!asked.certificate) return { type: UserTokenType.Anonymous };
  return {
    type: UserTokenType.Certificate,
    certificateData: fs.readFileSync(asked.certificate),
    privateKey: fs.readFileSync(asked.key, "utf-8"),
  };
}

async function read(asked, manager, who, channel) {
  const [mode, policy] = channel.split("/");
  const client = OPCUAClient.create({
    clientCertificateManager: manager,
    securityMode: MessageSecurityMode[mode],
    securityPolicy: SecurityPolicy[policy],
    endpointMustExist: false,
    connectionStrategy: { maxRetry: 0, initialDelay: 100 },
    transportTimeout: 10000,
  });
  try {
    await client.connect(asked.endpoint);
    const session = await client.createSession(identity(who));
    const answer = await session.read({ nodeId: asked.node });
    await session.close();
    return { value: answer.value.value };
  } catch (error) {
    return { error: String(error.message) };
  } finally {
    await client.disconnect();
  }
}

async function main() {
  const asked = options();
  const manager = new OPCUACertificateManager({ rootFolder: asked.pki, automaticallyAcceptUnknownCertificate: true });
  await manager.initialize();
  const found = {};
  for (const [name, who] of Object.entries(JSON.parse(asked.identities))) {
    found[name] = {};
    for (const channel of asked.channels.split(",")) found[name][channel] = await read(asked, manager, who, channel);
  }
  console.log(JSON.stringify(found));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

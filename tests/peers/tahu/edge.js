// An edge node of Eclipse Tahu's JavaScript client. Started with the broker's port; takes one JSON command a line:
//   {"do": "birth"|"data", "device": ID or null, "metrics": [...], "compress": ALGORITHM or null}
//   {"do": "death", "device": ID}, {"do": "stop"}
// and prints one JSON line an event: {"event": "birth"}, {"event": "command", "device": …, "metrics": …}.
"use strict";
const readline = require("readline");
const sparkplug = require("sparkplug-client");

const say = (body) => process.stdout.write(JSON.stringify(body) + "\n");
const client = sparkplug.newClient({
  serverUrl: `tcp://127.0.0.1:${process.argv[2]}`,
  username: "",
  password: "",
  groupId: "Peer Group",
  edgeNode: "tahu",
  clientId: "tahu",
  publishDeath: true,
  mqttOptions: { reconnectPeriod: 200 },
});
client.on("birth", () => say({ event: "birth" }));
client.on("ncmd", (payload) => say({ event: "command", device: null, metrics: payload.metrics }));
client.on("dcmd", (device, payload) => say({ event: "command", device, metrics: payload.metrics }));

// JSON has no 64-bit integers; such values come as text.
const value = (metric) =>
  ["Int64", "UInt64", "DateTime"].includes(metric.type) ? Number(metric.value) : metric.value;

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  const payload = {
    timestamp: Date.now(),
    metrics: (command.metrics || []).map((metric) => ({ ...metric, value: value(metric) })),
  };
  const options = command.compress ? { compress: true, algorithm: command.compress } : {};
  const what = {
    birth: () =>
      command.device
        ? client.publishDeviceBirth(command.device, payload, options)
        : client.publishNodeBirth(payload, options),
    data: () =>
      command.device
        ? client.publishDeviceData(command.device, payload, options)
        : client.publishNodeData(payload, options),
    death: () => client.publishDeviceDeath(command.device, payload),
    stop: () => client.stop(),
  };
  what[command.do]();
});

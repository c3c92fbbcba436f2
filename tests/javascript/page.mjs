// Makes the calls that the page's own origin asks for, one after the other, and posts what came back.

import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { call } from "./call.mjs";

// A timeout is a header, which the preflight has to allow.
const defaultTimeoutMs = 60_000;

const TRANSPORTS = {
  "connect-json": (baseUrl) => createConnectTransport({ baseUrl, defaultTimeoutMs }),
  "connect-binary": (baseUrl) => createConnectTransport({ baseUrl, defaultTimeoutMs, useBinaryFormat: true }),
  "grpc-web": (baseUrl) => createGrpcWebTransport({ baseUrl, defaultTimeoutMs }),
};

for (;;) {
  const asked = await (await fetch("/call", { cache: "no-store" })).json();
  const outcome = await call(TRANSPORTS[asked.transport](asked.baseUrl), asked.body);
  await fetch("/outcome", { method: "POST", body: JSON.stringify(outcome) });
}

// node node_client.mjs TRANSPORT BASE_URL REQUEST: makes one call, and prints what came back as a line of JSON.

import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { call } from "./call.mjs";

const TRANSPORTS = {
  connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "grpc-web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  grpc: (baseUrl) => createGrpcTransport({ baseUrl }),
};

const [transport, baseUrl, body] = process.argv.slice(2);
console.log(JSON.stringify(await call(TRANSPORTS[transport](baseUrl), JSON.parse(body))));

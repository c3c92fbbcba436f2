// Makes the call over any transport, and tells what came back.

import { fromJson, toJson } from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { BadRequestSchema, ErrorInfoSchema, ResourceInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import {
  CreateImageSnapshotRequestSchema,
  Image_SnapshotSchema,
  StorageService,
} from "./gen/otterscale/storage/v1/storage_pb.js";

const DETAILS = [ErrorInfoSchema, ResourceInfoSchema, BadRequestSchema, Image_SnapshotSchema];

export async function call(transport, body) {
  const request = fromJson(CreateImageSnapshotRequestSchema, body);
  try {
    const reply = await createClient(StorageService, transport).createImageSnapshot(request);
    return { reply: toJson(Image_SnapshotSchema, reply) };
  } catch (caught) {
    const error = ConnectError.from(caught);
    return {
      code: codeToString(error.code),
      message: error.rawMessage,
      details: detailsOf(error),
      request_id: error.metadata.get("x-request-id"),
    };
  }
}

// The details by the last part of their type's name.
function detailsOf(error) {
  const found = DETAILS.flatMap((schema) =>
    error.findDetails(schema).map((detail) => [schema.name, toJson(schema, detail)]),
  );
  return Object.fromEntries(found);
}

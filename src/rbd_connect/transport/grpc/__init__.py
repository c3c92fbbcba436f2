"""gRPC on grpc.aio, with health and reflection."""

"""How calls come in: Connect and gRPC-Web over HTTP/1.1 (``http``), gRPC over HTTP/2 (``grpc``)."""

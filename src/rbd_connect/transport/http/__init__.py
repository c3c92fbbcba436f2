"""Connect and gRPC-Web on uvicorn."""

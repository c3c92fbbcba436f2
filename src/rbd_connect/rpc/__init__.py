"""One way for every call, whatever transport carries it: the pipeline, the service, the audit."""

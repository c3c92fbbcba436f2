"""The life of the process: start, serve, reload, drain, stop."""

"""librados and librbd: what a worker process does. Everything here blocks."""

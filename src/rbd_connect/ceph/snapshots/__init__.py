"""Snapshots: creating, deleting, protecting and describing one, and rolling back to it."""

"""The documents: pages that are written from tables, and the commands in them, which are run as they stand."""

"""Measurements, each a row of the table that `make bench` prints. They never fail a build."""

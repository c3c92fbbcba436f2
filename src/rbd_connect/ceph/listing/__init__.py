"""Listing all images of a cluster, as far as Ceph answers."""

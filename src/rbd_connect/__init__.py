"""A Connect-protocol RPC server that creates and manages Ceph RBD image snapshots."""

"""What has nothing to do with Ceph or RPC: logging, timers, the context of a call."""

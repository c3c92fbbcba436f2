"""A throwaway single-node Ceph of real daemons, for trying and for testing."""

from .cluster import DaemonName, DevCluster
from .daemons import Daemon, DevClusterError

__all__ = ["Daemon", "DaemonName", "DevCluster", "DevClusterError"]

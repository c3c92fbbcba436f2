"""A throwaway single-node Ceph of real daemons, for trying and for testing."""

from .cluster import DevCluster
from .conf import Shape
from .daemons import Daemon, DevClusterError

__all__ = ["Daemon", "DevCluster", "DevClusterError", "Shape"]

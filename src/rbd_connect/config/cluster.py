"""How to connect to the cluster of each scope."""

from dataclasses import dataclass
from pathlib import Path

from .settings import Settings

__all__ = ["ClusterConfig", "scope_configs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Where a scope's cluster is, as whom to connect, and how long librados may take for what, in seconds.

    ``namespaces`` are those to look into that may not be listed, as ``pool/namespace``.
    """

    scope: str
    conf: Path
    client: str
    keyring: Path | None
    connect_timeout: int
    mon_timeout: int
    osd_timeout: int
    namespaces: tuple[str, ...] = ()


def scope_configs(settings: Settings) -> list[ClusterConfig]:
    """Say how to connect to each scope's cluster."""
    return [
        ClusterConfig(scope=name, **scope.model_dump(), **settings.ceph.model_dump())
        for name, scope in settings.scopes.items()
    ]

"""Where images are: a pool's default namespace, or another."""

from dataclasses import dataclass

from rbd_connect.model.names import ImageSpec

__all__ = ["PoolNamespace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNamespace:
    """A namespace of a pool, "" for its default one. Its text is for the log, where no name breaks a line."""

    pool_id: int
    pool: str
    namespace: str

    def __str__(self) -> str:
        return f"namespace {self.namespace!r} of pool {self.pool!r}" if self.namespace else f"pool {self.pool!r}"

    def spec(self, scope: str, image: str) -> ImageSpec:
        return ImageSpec(scope=scope, pool=self.pool, namespace=self.namespace, image=image)

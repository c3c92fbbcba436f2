"""What Ceph was asked for and has not answered yet."""

import threading
from collections import Counter
from collections.abc import Hashable

__all__ = ["Unanswered"]


class Unanswered:
    """How many questions of which kinds are open, also those that nobody waits for any more. From any thread.

    A question that is open holds a thread, or a place among the operations that librados begins without waiting
    (``objecter_inflight_ops``). So no more are to be asked without end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[Hashable] = Counter()

    def of(self, kind: Hashable) -> int:
        return self._open[kind]

    def add(self, *kinds: Hashable) -> None:
        """Count a question of some kinds."""
        with self._lock:
            self._open.update(kinds)

    def remove(self, *kinds: Hashable) -> None:
        """Take away a question that was counted."""
        with self._lock:
            for kind in kinds:
                self._open[kind] -= 1
                if not self._open[kind]:
                    del self._open[kind]

    def __bool__(self) -> bool:
        return bool(self._open)

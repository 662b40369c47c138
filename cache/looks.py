"""How often rows were looked at: of each key once a minute, for a page that redraws twice a second looks once."""

import threading
from collections.abc import Callable

ONE_LOOK = 60.0  # seconds: reading an answer again within them is the same look at it


class Looks:
    """What this process found and did not find."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()  # guards the next three
        self.noted: dict[tuple[str, bool], float] = {}  # unix seconds of what was counted in the last minute
        self.hits = self.misses = 0

    def counted(self, key: str, found: bool) -> bool:
        """Count a hit or a miss; False if the same was counted within the last minute."""
        with self._lock:
            now = self._clock()
            self.noted = {each: at for each, at in self.noted.items() if 0 <= now - at < ONE_LOOK}
            if (key, found) in self.noted:
                return False
            self.noted[key, found] = now
            self.hits, self.misses = self.hits + found, self.misses + (not found)
            return True

"""One thread that does the newest of each kind of work, and forgets what has been overtaken."""

import logging
import threading
import time
from collections.abc import Callable

from ..errors import SplatDeblurError

logger = logging.getLogger(__name__)


class Worker:
    """Runs jobs one after the other; a job of the same name that still waits is replaced."""

    def __init__(self, lock: threading.Lock) -> None:
        """`lock` is held while a job runs: renderers share it, as the CPU's threads cannot be shared."""
        self._lock = lock
        self._jobs: dict[str, tuple[float, Callable[[], None]]] = {}
        self._changed = threading.Condition()
        self._is_running = True
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, name: str, job: Callable[[], None], delay_s: float = 0.0) -> None:
        """Runs `job` in `delay_s` seconds or as soon after that as there is time."""
        with self._changed:
            self._jobs[name] = (time.monotonic() + delay_s, job)
            self._changed.notify()

    def cancel(self, name: str) -> None:
        """Forgets a job that has not begun."""
        with self._changed:
            self._jobs.pop(name, None)

    def stop(self) -> None:
        """Ends after the job at hand."""
        with self._changed:
            self._is_running = False
            self._changed.notify()

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._changed:
            while self._is_running:
                if not self._jobs:
                    self._changed.wait()
                    continue
                name, (due, job) = min(self._jobs.items(), key=lambda item: item[1][0])
                left = due - time.monotonic()
                if left <= 0:
                    del self._jobs[name]
                    return name, job
                self._changed.wait(left)
        return None

    def _work(self) -> None:
        while (found := self._next()) is not None:
            name, job = found
            try:
                with self._lock:
                    job()
            except SplatDeblurError as error:
                logger.warning("%s", error)
            except Exception as error:  # whatever it is: the viewer goes on for the other browsers
                logger.warning("%s could not be shown: %s: %s", name, type(error).__name__, error)
                logger.debug("%s", name, exc_info=True)

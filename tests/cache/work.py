"""What tests of jobs share: work that waits until it is let go, work that fails, and the patience to wait for them."""

import threading

SOON = 10  # seconds any wait may take; none takes so long


class Gated:
    """Work that tells when it runs and goes on when let; counts its runs."""

    def __init__(self, payload: bytes = b"answer") -> None:
        self.payload = payload
        self.running, self.let = threading.Event(), threading.Event()
        self.runs = 0

    def __call__(self, progress) -> tuple[bytes, dict]:
        self.runs += 1
        progress(0, 2, "first batch")
        self.running.set()
        assert self.let.wait(SOON)
        progress(1, 2, "second batch")
        return self.payload, {"runs": self.runs}


def quick(progress) -> tuple[bytes, dict]:
    return b"quick", {}


def failing(error: BaseException):
    def work(progress):
        raise error

    return work


def wait_for_text(job, text: str) -> None:
    """Wait until the job says so (it is told by polling every tenth of a second)."""
    patience = threading.Event()
    for _ in range(SOON * 100):
        if text in job.text:
            return
        patience.wait(0.01)
    raise AssertionError(f"{job.standing} never said {text!r}")

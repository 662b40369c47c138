"""What tests of leases share: progress that can be stopped, and models leased for a moment."""

import json
import threading
import weakref

from models.loading.load import estimate

SECONDS = 30  # after which a test that hangs fails


class Cancelled(Exception):
    """What a job's progress raises when it is cancelled."""


class Watcher:
    """Progress that notes what is said, tells when a text was said, and can be told to cancel or to stop there."""

    def __init__(self, text="", stop=False):
        self.text, self.said = text, []
        self.heard, self.go_on, self.cancelled = threading.Event(), threading.Event(), threading.Event()
        if not stop:
            self.go_on.set()

    def __call__(self, done, total, text):
        self.said.append(text)
        if self.text and self.text in text:
            self.heard.set()
            assert self.go_on.wait(SECONDS)
        if self.cancelled.is_set():
            raise Cancelled

    def wait(self):
        assert self.heard.wait(SECONDS), f"'{self.text}' was not said, but {self.said}"


def spoilt(folder, **values):
    """Change values in config.json; None takes one out."""
    config = json.loads((folder / "config.json").read_text()) | values
    kept = {key: value for key, value in config.items() if key not in values or value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def fits(models, folder):
    """A budget for so many models of the size of one."""
    needs = estimate(folder).needs
    return lambda place: int(needs * models)


def names(leases):
    return [each.ref.name.rpartition("/")[2] for each in leases.residents()]


def used(leases, ref, progress=None):
    """Lease a model for a moment; a weak reference to it. Without progress it must not have to wait."""
    with leases.lease(ref, progress or _impatient) as subject:
        return weakref.ref(subject.model)


def _impatient(done, total, text):
    assert not text.startswith("waiting for"), text

"""Compute the answers that come with the app anew, and write them to probes/tour/answers.bundle.

    .venv/bin/python scripts/tour.py

It takes a few minutes on two cores. Run it when a probe's numbers have changed on purpose.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cache import bundle
from cache.store import Store
from models.lease import Leases
from probes.answer import answer
from probes.known import Known
from probes.question import resolve
from probes.tour.shipped import FILE, MODEL, QUESTIONS


def main() -> None:
    """Ask every question of a store that holds nothing, and pack the answers."""
    with TemporaryDirectory() as folder:
        store, leases, keys = Store(Path(folder) / "answers", 2**30), Leases(), []
        known = Known(store)
        with leases.lease(MODEL):
            for name, question in QUESTIONS.items():
                asked = resolve(question, known.identify)
                payload, about = answer(asked, leases.lease, store)
                store.put(asked.key, payload, about)
                keys.append(asked.key)
                print(f"{name}: {len(payload):,} bytes in {about['seconds']:.1f} s", flush=True)
        bundle.pack(store, keys, FILE, {"tour": list(QUESTIONS)})
        store.close()
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

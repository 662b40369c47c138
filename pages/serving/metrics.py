"""Numbers for Prometheus: jobs, queue, answers, models, memory. No names of people, models, texts or plans are among them."""

from collections import Counter
from collections.abc import Iterator

import psutil
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from pages import shell

PAGES = Histogram(
    "prunescope_page_seconds", "From a visitor's click, once this process takes it up, until the page is drawn.", ["page"],
    buckets=(0.03, 0.1, 0.3, 1, 3, 10), registry=None,
)  # fmt: skip
_STATES = ("queued", "running", "done", "failed", "cancelled")


async def answer(request: Request) -> Response:
    """The route ``/metrics``."""
    return Response(await run_in_threadpool(text), media_type=CONTENT_TYPE_LATEST)


def text() -> bytes:
    """All numbers as they are now, in Prometheus' text format; a registry of its own, so that nothing is counted twice."""
    registry = CollectorRegistry()
    registry.register(_Now())
    registry.register(PAGES)
    return generate_latest(registry)


class _Now:
    """What prometheus-client asks for its metrics."""

    def collect(self) -> Iterator[Metric]:
        """Families of metrics, each read once."""
        bench = shell.workbench()
        yield from _work(bench)
        try:
            yield from _answers(bench.store)
        except shell.StoreError:
            yield GaugeMetricFamily("prunescope_store_up", "Whether the store of answers can be read.", value=0)
        yield from _memory(bench.executor.residents())


def _work(bench) -> Iterator[Metric]:
    states = Counter(job.state for job in bench.jobs.list())
    jobs = GaugeMetricFamily("prunescope_jobs", "Jobs that this process remembers.", labels=["state"])
    for state in _STATES:
        jobs.add_metric([state], states[state])
    yield jobs
    yield GaugeMetricFamily("prunescope_queue_length", "Jobs that wait for their turn.", value=states["queued"])
    going = sum(not live.over.is_set() for live in bench.lives())
    yield GaugeMetricFamily("prunescope_generations", "Answers being written side by side.", value=going)


def _answers(store) -> Iterator[Metric]:
    entries = store.entries()
    yield GaugeMetricFamily("prunescope_store_up", "Whether the store of answers can be read.", value=1)
    yield GaugeMetricFamily("prunescope_store_rows", "Answers, and pieces that were learned for them.", value=len(entries))
    hits = sum(entry.hits for entry in entries)
    yield GaugeMetricFamily("prunescope_store_hits", "Uses of the rows now stored, counted at most once a minute.", value=hits)
    looked = "Lookups by this process of answers and pieces that were {}, counted at most once a minute each."
    yield CounterMetricFamily("prunescope_hits", looked.format("there"), value=store.looks.hits)
    yield CounterMetricFamily("prunescope_misses", looked.format("not there"), value=store.looks.misses)
    yield GaugeMetricFamily("prunescope_store_bytes", "Bytes stored.", value=sum(entry.bytes for entry in entries))
    yield GaugeMetricFamily("prunescope_store_limit_bytes", "Bytes that may be stored.", value=store.limit)


def _memory(residents) -> Iterator[Metric]:
    models = GaugeMetricFamily("prunescope_models", "Models in memory.", labels=["place", "state"])
    sizes = GaugeMetricFamily("prunescope_model_bytes", "Bytes of their weights.", labels=["place"])
    held = Counter((each.place, "held" if each.holders else "idle") for each in residents)
    for labels, count in held.items():
        models.add_metric(list(labels), count)
    for place in sorted({each.place for each in residents}):
        sizes.add_metric([place], sum(each.bytes for each in residents if each.place == place))
    yield models
    yield sizes
    used = psutil.Process().memory_info().rss
    yield GaugeMetricFamily("prunescope_resident_memory_bytes", "Memory of this process.", value=used)

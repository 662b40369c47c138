"""Ray as far as it is used: the connection to a cluster, what a model needs of a node, and a process there."""

import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from models.loading.load import estimate
from models.loading.memory import format_bytes
from models.subject import ModelRef
from probes.executors.host import Host
from refusal import Refusal
from settings import settings

ROOT = Path(__file__).parents[2]
ALONG = ("PYTHONPATH", "PRUNESCOPE_PATHS")  # of this process's environment, to the processes on nodes
AT_ONCE = 64  # calls that a process takes at the same time; each request is one
Needs = dict[str, float]  # CPUs, GPUs, bytes of memory


def connected() -> ModuleType:
    """Ray, connected to the cluster."""
    try:
        import ray
    except ImportError as error:
        raise Refusal(
            "Ray is not installed, so there is no cluster. Install it (pip install 'ray>=2.50'), or set PRUNESCOPE_EXECUTOR to "
            "threads or worker."
        ) from error
    try:
        ray.init(settings().ray, namespace="prunescope", log_to_driver=False, configure_logging=False)
    except Exception as error:  # of every kind, by what is wrong
        why = str(error).strip().partition("\n")[0]
        raise Refusal(
            f"The Ray cluster '{settings().ray}' cannot be reached: {why} This machine has to be one of its nodes: "
            "run ray start here, and set PRUNESCOPE_RAY to the address of its head."
        ) from error
    return ray


def possible(needs: Needs, ray: ModuleType) -> bool:
    """Whether a node that is alive has so much, whoever uses it now."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return any(all(node.get(what, 0) >= much for what, much in needs.items()) for node in nodes)


def needs_of(ref: ModelRef, ray: ModuleType) -> Needs:
    """What is to be reserved for a model: memory for its weights, and a GPU if it may take one and there is one.

    Raises
    ------
    Refusal
        There is no such model, or no node has so much.
    """
    needs = {"CPU": settings().ray_cpus, "memory": estimate(replace(ref, device="cpu")).needs}
    if ref.device == "cuda" or (ref.device in ("auto", "split") and possible({"GPU": 1}, ray)):
        needs["GPU"] = 1
    if not possible(needs, ray):
        raise Refusal(
            f"{ref.name} needs {said(needs)}, and no node of the cluster has that. Add a node, or choose another device, "
            "a smaller dtype or a smaller model."
        )
    return needs


def begun(ray: ModuleType, needs: Needs, group: Any) -> Any:
    """A process in a place; its code is the checkout at the same path on its node."""
    along = {name: os.environ[name] for name in ALONG if name in os.environ}
    along["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), along.get("PYTHONPATH"))))
    strategies = ray.util.scheduling_strategies
    return (
        ray.remote(Host)
        .options(
            num_cpus=needs["CPU"],
            num_gpus=needs.get("GPU", 0),
            memory=needs["memory"],
            max_concurrency=AT_ONCE,
            scheduling_strategy=strategies.PlacementGroupSchedulingStrategy(group),
            runtime_env={"env_vars": along},
        )
        .remote()
    )


def said(needs: Needs) -> str:
    """2 CPUs, a GPU and 3 GB of memory."""
    cpus, gpu = f"{needs['CPU']} CPU{'s' if needs['CPU'] > 1 else ''}", ", a GPU" if "GPU" in needs else ""
    return f"{cpus}{gpu} and {format_bytes(int(needs['memory']))} of memory"


def ended(error: Exception) -> str:
    """What to say to whoever asked something of a process that has ended."""
    why = f"{type(error).__name__}: {str(error).strip().rpartition(chr(10))[2].strip()[:300]}"
    return (
        f"The process on the cluster that computed this has ended, or its node has ({why}). Ask again to "
        "start a new one; fewer or shorter windows, or a smaller dtype, need less memory."
    )

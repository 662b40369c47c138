"""What an interpreter lacks to run the tests and benchmarks of GPUs; exit code 1 and one sentence if there is something."""

import sys
from importlib.util import find_spec

# Streamlit, plotly and Playwright are not among them: nothing here draws.
NEEDED = ("torch", "transformers", "accelerate", "numpy", "platformdirs", "psutil", "safetensors", "filelock", "pytest")


def missing() -> str:
    """The sentence; empty where everything is there."""
    name = sys.executable
    if sys.version_info < (3, 11):  # noqa: UP036 - run with whatever python a machine has
        return f"{name} is older than Python 3.11."
    if lacking := [each for each in NEEDED if find_spec(each) is None]:
        return f"{name} lacks {', '.join(lacking)}."
    import torch

    if not torch.cuda.is_available():
        built = "is built without CUDA" if torch.version.cuda is None else "sees no CUDA device"
        return f"torch {torch.__version__} of {name} {built}."
    return ""


if __name__ == "__main__":
    told = missing()
    print(told, end="")
    sys.exit(bool(told))

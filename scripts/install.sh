#!/bin/sh
# Make a virtual environment with everything PruneScope needs: its dependencies as they are locked, and the bundled model.
#
#   scripts/install.sh FOLDER [EXTRA ...]     extras of pyproject.toml: test, datasets, ...
#
# PYTHON       the interpreter to start from (python3)
# TORCH_INDEX  where to look for torch besides the usual place; PyTorch's own index for CPUs spares Linux machines
#              without a GPU some gigabytes: https://download.pytorch.org/whl/cpu
set -eu

venv=$1
shift
here=$(dirname "$0")
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "PruneScope needs Python 3.11 or newer, and $python is not. Name another: make run PYTHON=python3.12" >&2
    exit 1
}
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv" || {
    echo "The virtual environment could not be made. On Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
}

# Every file but those of torch is held against its hash; torch comes last and finds what it asks for.
wanted=$venv/requirements.txt
"$venv/bin/python" "$here/requirements.py" "$@" >"$wanted"
"$venv/bin/python" -m pip install --no-deps --require-hashes --requirement "$wanted"
"$venv/bin/python" -m pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement "$here/torch.txt"
"$venv/bin/python" -m pip install --no-deps --require-hashes --requirement "$here/bundled.txt"

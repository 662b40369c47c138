#!/bin/sh
# Run Python where there is a CUDA device: tests/gpu/python.sh ARGUMENTS
#
# PYTHON (python3) is taken as it is if it has torch for CUDA and the rest, else the virtual environment; if neither has,
# what is missing is told. PRUNESCOPE_TEST_DEVICE=cpu lets everything run anywhere, to look at the code and not at numbers.
for python in "${PYTHON:-python3}" .venv/bin/python; do
    command -v "$python" >/dev/null 2>&1 || continue
    missing=$("$python" tests/gpu/missing.py 2>/dev/null) && exec "$python" "$@"
    [ "${PRUNESCOPE_TEST_DEVICE:-}" = cpu ] && case $missing in torch*) exec "$python" "$@" ;; esac
    told="$told ${missing:-$python does not run.}"
done
echo "This needs a CUDA device, PyTorch built for it, and what the app's shell needs:${told:- there is no ${PYTHON:-python3}.}" >&2
exit 1

# PruneScope for CPUs:  docker build -t prunescope .
# For NVIDIA GPUs:      docker build -t prunescope:cuda --build-arg TORCH_INDEX= .
# It runs as an ordinary user and writes to /data and /tmp alone, so its root may be read-only: compose.yaml says how.
# The wheels of torch that everybody gets on Linux carry CUDA and need nothing but the driver of the host; those for CPUs
# are a tenth of the size, and come from PyTorch's own index.

FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY pyproject.toml ./
COPY scripts ./scripts
RUN TORCH_INDEX="$TORCH_INDEX" scripts/install.sh /opt/venv && \
    /opt/venv/bin/python scripts/sbom.py > /opt/venv/sbom.json
# The bundled model is unpacked here, so that the first visitor does not wait for it.
COPY measures ./measures
COPY texts ./texts
COPY models ./models
COPY settings ./settings
COPY refusal.py ./
RUN PRUNESCOPE_DATA=/data /opt/venv/bin/python -c "from models.loading import bundled; bundled.folder()"

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 prunescope
COPY --from=build /opt/venv /opt/venv
# A named volume starts as a copy of this folder; a mounted host folder starts empty and unpacks the model itself.
COPY --from=build --chown=prunescope:prunescope /data /data
WORKDIR /app
COPY .streamlit ./.streamlit
COPY benchmarks ./benchmarks
COPY cache ./cache
COPY charts ./charts
COPY measures ./measures
COPY models ./models
COPY pages ./pages
COPY plans ./plans
COPY probes ./probes
COPY texts ./texts
COPY settings ./settings
COPY app.py asgi.py refusal.py ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PRUNESCOPE_DATA=/data \
    HF_HOME=/data/hub \
    HF_HUB_DISABLE_TELEMETRY=1 \
    STREAMLIT_BROWSER_GATHER_USAGE_STATS=false \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none \
    STREAMLIT_SERVER_HEADLESS=true \
    FORWARDED_ALLOW_IPS=
USER 10001
# Scratch files of exports can be as large as the model: on a disk, and not in memory.
VOLUME ["/data", "/tmp"]
EXPOSE 8501
# Work stops between two batches, and the process ends within eight seconds.
STOPSIGNAL SIGTERM
# /ready answers 503 while the data directory cannot be written. There is no curl in this image.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/ready', timeout=8)"]
CMD ["python", "-m", "streamlit", "run", "asgi.py", "--server.address=0.0.0.0", "--server.port=8501"]

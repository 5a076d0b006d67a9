# One pod: a version of a model. Build from the top of the checkout:
#   docker build -f deploy/docker/pod.Dockerfile -t penstock-pod:0.1.0 .
# PIP_EXTRA_INDEX_URL may name an index with a smaller torch, built for the CPU alone or for one CUDA release.
FROM python:3.11.14-slim-bookworm AS build
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gateway gateway
COPY model_pod model_pod
COPY telemetry telemetry
COPY policies policies
COPY deploy deploy
RUN python -m venv /opt/penstock \
    && /opt/penstock/bin/pip install --no-cache-dir -c constraints.txt '.[pod]'
# For the demo's text model, and many like it; without what they ask for to reach a model hub, which a pod never does.
RUN /opt/penstock/bin/pip install --no-cache-dir --no-deps -c deploy/demo/text/requirements.txt safetensors tokenizers

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/penstock /opt/penstock
# Archives are unpacked below /var/lib/penstock, its sidecar listens below /run/penstock; all else can be read-only.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin penstock \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/penstock /run/penstock
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /var/lib/penstock
# Knows no callers: only gateways may reach it.
EXPOSE 8500
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8500/v2/health/live', timeout=2)"]
# The rest is said per pod: --model NAME --version NAME --archive FILE, and --records PATH where it has a sidecar.
ENTRYPOINT ["penstock", "pod", "--listen", "0.0.0.0:8500", "--extracted-dir", "/var/lib/penstock/extracted"]

# A sidecar: metrics for Prometheus, spans for any receiver of OTLP; no torch. Build from the top of the checkout:
#   docker build -f deploy/docker/sidecar.Dockerfile -t penstock-sidecar:0.1.0 .
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gateway gateway
COPY model_pod model_pod
COPY telemetry telemetry
COPY policies policies
COPY deploy deploy
RUN python -m venv /opt/penstock \
    && /opt/penstock/bin/pip install --no-cache-dir -c constraints.txt '.[telemetry]'

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/penstock /opt/penstock
# It writes its socket, in a volume that it shares with who records, and the spans that wait for their receiver, in one of
# its own. In others it finds the hub's socket and, beside the gateway, the objectives; everything else can be read-only.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin penstock \
    && install -d -o 10001 -g 10001 -m 0700 /run/penstock /run/penstock-hub /var/lib/penstock-gateway \
        /var/lib/penstock-queue
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/livez', timeout=2)"]
# The rest is said per sidecar: --records unix:PATH --export unix:PATH --queue DIR, and --pod http://HOST:8500 where it is a pod's.
ENTRYPOINT ["penstock", "sidecar", "--listen", "0.0.0.0:9464"]

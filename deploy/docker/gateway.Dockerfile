# The gateway alone: no torch. Build from the top of the checkout:
#   docker build -f deploy/docker/gateway.Dockerfile -t penstock-gateway:0.1.0 .
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gateway gateway
COPY model_pod model_pod
COPY telemetry telemetry
COPY policies policies
COPY deploy deploy
RUN python -m venv /opt/penstock \
    && /opt/penstock/bin/pip install --no-cache-dir -c constraints.txt '.[gateway]'

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/penstock /opt/penstock
# State (keys, the last good policy, budgets) lives in a volume, and so does the socket that its sidecar listens on;
# everything else can be read-only.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin penstock \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/penstock /run/penstock
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_RUNTIME_DIR=/var/lib/penstock/run
USER 10001:10001
VOLUME /var/lib/penstock
# As in mesh.yaml: inference and metrics. The management API stays on the container's loopback (`exec ... penstock
# status`).
EXPOSE 8080 8082
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["penstock", "gateway"]
# A load balancer needs a moment to see that a gateway is leaving, hence the delay before it refuses.
CMD ["--policies", "/etc/penstock/policies", "--state", "/var/lib/penstock", "--drain-delay-s", "5"]

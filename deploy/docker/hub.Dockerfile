# The hub: keeps traces and shows them in the browser; no torch. Build from the top of the checkout:
#   docker build -f deploy/docker/hub.Dockerfile -t penstock-hub:0.1.0 .
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
# What charts are drawn with, checked by its digest: nothing is fetched when the checkout has it.
RUN cd / && /opt/penstock/bin/python -m telemetry.hub.assets

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/penstock /opt/penstock
# Traces and the socket for spans live in volumes, and it reads the gateway's state in another; everything else can be
# read-only.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin penstock \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/penstock /run/penstock-hub /var/lib/penstock-gateway
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /var/lib/penstock
# Pages, for whoever has the token.
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8090/livez', timeout=2)"]
# The rest is said per hub: --token-file FILE, --mesh FILE (mesh.json in the gateway's state), and where it takes spans:
# --otlp-unix PATH, or --otlp HOST:PORT for who sends the token with them.
ENTRYPOINT ["penstock", "hub", "--listen", "0.0.0.0:8090", "--store", "/var/lib/penstock/traces", "--publish", "/var/lib/penstock/hub.json"]

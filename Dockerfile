# The worker, and every other command. ClickHouse and Kafka are elsewhere: DRIFTLINE_KAFKA, DRIFTLINE_CLICKHOUSE, DRIFTLINE_MODELS.
FROM python:3.11.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY sinks sinks
COPY src src
COPY streams streams
RUN python -m venv /opt/driftline \
 && /opt/driftline/bin/pip install --no-cache-dir --constraint constraints.txt '.[worker]'

FROM python:3.11.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home driftline \
 && install --directory --owner driftline /var/lib/driftline
COPY --from=build /opt/driftline /opt/driftline
ENV PATH=/opt/driftline/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/driftline
USER driftline
ENTRYPOINT ["driftline"]
CMD ["worker"]

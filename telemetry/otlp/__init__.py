"""OTLP: spans to and from the messages of the OpenTelemetry protocol, and the answers of a receiver."""

"""Readers of OTLP requests: traces and logs, protobuf or JSON."""

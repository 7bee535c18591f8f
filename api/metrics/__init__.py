"""Figures for Prometheus: /metrics."""

"""Benchmarks of the gateway: one core serves, another runs a fake upstream and the load generator.

README.md describes how to run them.
"""

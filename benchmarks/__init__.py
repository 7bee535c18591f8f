"""The benchmark: one gateway on one core, a fake upstream and a load generator on another; see
README.md.
"""

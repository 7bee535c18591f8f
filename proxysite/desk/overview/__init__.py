"""The overview of the desk: figures, charts, the health of pools, and matters for attention."""

"""The tools of a request that the gateway runs: read from its body, as a plan for its answer."""

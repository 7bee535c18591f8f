"""The types of a request and its answer on their way through the gateway."""

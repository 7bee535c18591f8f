"""The HTTP server: its processes, and the handling of requests, bodies and host names."""

"""The HTTP server: processes, requests, bodies, hosts."""

"""Outbound proxies: their URLs, tunnels through them, and connections on these."""

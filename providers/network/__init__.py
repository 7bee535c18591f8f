"""HTTP to upstreams: connections, name look-up, checks of addresses."""

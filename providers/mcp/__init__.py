"""The client of MCP servers, whose tools the gateway runs for its callers."""

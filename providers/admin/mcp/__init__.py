"""The admin page of MCP servers."""

"""OpenAI's WebSocket mode of /v1/responses: many turns on one connection."""

"""Requests to the endpoints beside chat."""

COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"


async def request_model(gateway, alice, path, **body):
    """Ask the model `m` at an endpoint, with these fields."""
    return await gateway.send_request("POST", path, alice.key, json={"model": "m"} | body)

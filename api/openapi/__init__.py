"""The OpenAPI document of all endpoints, and the page that shows it to people."""

"""The endpoints of OpenAI's Responses API."""

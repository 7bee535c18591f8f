"""Gemini's own interface (generativelanguage.googleapis.com/v1beta), official.

The credential is an API key in `x-goog-api-key`. Requests are chat bodies that become `contents`,
`tools` and `generationConfig`; answers are `candidates` that become chunks. Beyond its OpenAI
endpoint there are thoughts with their signatures, grounded answers with citations, safety settings,
and errors that say which quota is used up. A row's `options`: `thinking` ("level", "budget" or
"none": how the model's thinking is set, where its name does not say), `safety_settings` (a list as
the API has it). Source: Gemini's API reference (ai.google.dev): generate content, thinking, thought
signatures, function calling, grounding, embeddings, models; google.rpc's error details.
"""

from providers.adapters.gemini.gemini_adapter import Adapter

__all__ = ["Adapter"]

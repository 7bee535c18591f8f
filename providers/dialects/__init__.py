"""Dialect profiles: the differences of upstreams, and how requests are rewritten for them."""

from providers.dialects.anthropic_marks import rewrite_marked_body
from providers.dialects.profiles import PROFILES, find_dialect
from providers.dialects.refused_fields import RefusedFields
from providers.dialects.rewrite_body import find_omitted_fields, rewrite_chat_body

__all__ = [
    "PROFILES",
    "RefusedFields",
    "find_dialect",
    "find_omitted_fields",
    "rewrite_chat_body",
    "rewrite_marked_body",
]

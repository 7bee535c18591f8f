"""The values that rows choose from: token rotation, model capabilities, thinking."""

from django.db import models


class Rotation(models.TextChoices):
    """The order in which a provider's tokens are used."""

    ROUND_ROBIN = "round_robin", "round robin"
    LEAST_USED = "least_used", "least used"
    RANDOM = "random", "random"
    PRIORITY = "priority", "priority, then round robin"


class Mode(models.TextChoices):
    """The identity with which an upstream is called: a user or, where it allows that, a guest."""

    USER = "user", "user: with its tokens"
    GUEST = "guest", "guest: without a token"


class Capability(models.TextChoices):
    """The capabilities of a model. A row that lists none is not checked: the upstream decides."""

    CHAT = "chat", "chat completions"
    COMPLETIONS = "completions", "legacy completions"
    EMBEDDINGS = "embeddings", "embeddings"
    TOOLS = "tools", "tool calling"
    VISION = "vision", "image input"
    FILES = "files", "file input"
    REASONING = "reasoning", "reasoning output"
    IMAGES = "images", "images: making and editing"
    SPEECH = "speech", "reading texts aloud"
    TRANSCRIPTION = "transcription", "transcription and translation of audio"
    MODERATION = "moderation", "moderation"
    RERANK = "rerank", "ranking of documents"
    REALTIME = "realtime", "realtime sessions"


class ThinkingFormat(models.TextChoices):
    """The form in which an upstream sends a model's thinking."""

    SEPARATE = "separate", "in a field of its own, or nowhere"
    TAGGED = "tagged", "in the text, between tags"
    IMPLIED = "implied", "in the text, and the opening tag may be missing"


class Thinking(models.TextChoices):
    """The form in which callers get a model's thinking."""

    REASONING = "reasoning", "reasoning_content"
    INLINE = "inline", "in the text, between <think> tags"
    HIDDEN = "hidden", "nothing"


class Search(models.TextChoices):
    """The switch of web search, for models that can search the web."""

    ON = "on", "on"
    OFF = "off", "off"


class ServerTool(models.TextChoices):
    """The tools that the gateway runs itself for a model, where the operator wants it."""

    WEB_SEARCH = "web_search", "web search"
    MCP = "mcp", "tools of MCP servers"
    FILE_SEARCH = "file_search", "search in the caller's own files"


NO_SERVER_TOOLS = "none"  # in place of a list of tools: none, whatever the setting says


class LongPrompts(models.TextChoices):
    """The treatment of prompts that are longer than the context window."""

    FIT = "fit", "fit: excerpts in place of long texts"
    REFUSE = "refuse", "refuse: 400 context_length_exceeded"

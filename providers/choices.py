"""The words that rows choose from: how tokens rotate, what a model can do, how it thinks."""

from django.db import models


class Rotation(models.TextChoices):
    """The order in which a provider's tokens are used."""

    ROUND_ROBIN = "round_robin", "round robin"
    LEAST_USED = "least_used", "least used"
    RANDOM = "random", "random"
    PRIORITY = "priority", "priority, then round robin"


class Mode(models.TextChoices):
    """As whom an upstream with a guest entrance is asked."""

    USER = "user", "user: with its tokens"
    GUEST = "guest", "guest: without a token"


class Capability(models.TextChoices):
    """What a model can do. A row that lists none is not checked: the upstream decides."""

    CHAT = "chat", "chat completions"
    COMPLETIONS = "completions", "legacy completions"
    EMBEDDINGS = "embeddings", "embeddings"
    TOOLS = "tools", "tool calling"
    VISION = "vision", "image input"
    FILES = "files", "file input"
    REASONING = "reasoning", "reasoning output"


class Thinks(models.TextChoices):
    """Where a model puts its thinking."""

    SEPARATE = "separate", "in a field of its own, or nowhere"
    TAGGED = "tagged", "in the text, between tags"
    IMPLIED = "implied", "in the text, and the opening tag may be missing"


class Thinking(models.TextChoices):
    """What callers get of a model's thinking."""

    REASONING = "reasoning", "reasoning_content"
    INLINE = "inline", "in the text, between <think> tags"
    HIDDEN = "hidden", "nothing"


class Search(models.TextChoices):
    """Whether a model that can search the web does."""

    ON = "on", "on"
    OFF = "off", "off"

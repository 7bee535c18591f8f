"""The staff endpoints under /admin/, and how tests ask them."""

SECRETS = (
    "sk-first-of-the-pool-000001",
    "sk-second-of-the-pool-0002",
    "sk-third-of-the-pool-00003",
)
READING_PATHS = (
    "tokens/stats",
    "tokens/content",
    "tokens/consecutive-failures",
    "tokens/updater/status",
    "status",
)
CHANGING_PATHS = (
    "tokens/reset/0",
    "tokens/reset-all",
    "tokens/reload",
    "tokens/check",
    "tokens/update",
    "tokens/reset-consecutive",
    "tokens/updater/force-update",
    "switch_mode",
)


def read_refusal(answer):
    """Return the message of a 400 in the form of the old proxy."""
    status, found = answer
    assert (status, found["status"], found.keys()) == (400, "error", {"status", "message"}), answer
    return found["message"]

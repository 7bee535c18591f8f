"""The usage of several questions as one."""

from conversations.usage import guessed, summed, tokens


def test_usage_is_added_up_at_any_depth():
    first = {"prompt_tokens": 3, "details": {"cached": 1}, "cost": 0.5, "tier": "a", "estimated": True}
    second = {"prompt_tokens": 4, "details": {"cached": 2, "audio": None}, "cost": 0.25, "tier": "b"}
    assert summed(first, second) == {
        "prompt_tokens": 7,
        "details": {"cached": 3, "audio": None},
        "cost": 0.75,
        "tier": "b",
        "estimated": True,
    }
    assert summed({}, second) == second
    assert summed({"details": None}, {"details": {"cached": 2}}) == {"details": {"cached": 2}}


def test_guessed_tokens_of_words_and_of_signs():
    assert (tokens(""), tokens("abcdefgh"), tokens("北京大学"), tokens("a北京")) == (0, 2, 4, 3)


def test_what_no_upstream_counted_is_guessed_and_says_so():
    assert guessed(["abcdefgh", ""], ["abcd"]) == {
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "total_tokens": 11,
        "estimated": True,
    }

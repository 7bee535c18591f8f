import pytest

from api.authentication import (
    Caller,
)
from providers.exceptions import Forbidden


def test_a_caller_without_a_list_of_models_may_use_all() -> None:
    Caller(1, 1, frozenset(), float("inf")).require_model("any alias", "anything")


def test_a_caller_with_a_list_may_use_the_models_it_names_by_public_id_or_alias() -> None:
    caller = Caller(1, 1, frozenset({"kimi-k2", "fast"}), float("inf"))
    for name, public_id in (("kimi-k2", "kimi-k2"), ("alias", "kimi-k2"), ("fast", "another")):
        caller.require_model(name, public_id)
    for name, public_id in (
        ("another", "another"),
        ("alias", "another"),
        ("kimi", "kimi"),
        ("FAST", "another"),
    ):
        with pytest.raises(Forbidden) as caught:
            caller.require_model(name, public_id)
        assert (caught.value.shown_status, caught.value.shown_code) == (403, "model_not_allowed")
        assert (caught.value.param, caught.value.type) == ("model", "permission_error")
        assert public_id == name or public_id not in caught.value.message

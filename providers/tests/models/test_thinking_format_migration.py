"""Models of the release before their column `thinks` was renamed are the same models afterwards."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor

from providers.models import ChatModel
from providers.tests.database.topics import version

BEFORE = ("providers", "0005_plain_help_texts")
AFTER = ("providers", "0006_thinking_format")


def migrate_to_newest() -> None:
    """Migrate as `manage.py migrate` does, with the triggers that are installed after it."""
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)


@pytest.fixture
def migrate(transactional_db: None) -> Iterator[Callable[[tuple[str, str]], Any]]:
    """A function that migrates to a state and returns its models; in the end to the newest one."""

    def migrate_to(target: tuple[str, str]) -> Any:
        MigrationExecutor(connection).migrate([target])
        return MigrationExecutor(connection).loader.project_state([target]).apps

    yield migrate_to
    migrate_to_newest()


def create_old_models(apps: Any) -> None:
    """Write a model of each form of thinking, with the column's old name."""
    provider = apps.get_model("providers", "Provider").objects.create(
        name="acme", kind="openai_compatible", base_url="https://acme.example/v1"
    )
    for form in ("separate", "tagged", "implied"):
        apps.get_model("providers", "ChatModel").objects.create(
            public_id=form, upstream_name="m", provider=provider, thinks=form
        )


def test_models_keep_their_form_of_thinking(migrate: Callable[[tuple[str, str]], Any]) -> None:
    create_old_models(migrate(BEFORE))
    models = migrate(AFTER).get_model("providers", "ChatModel").objects
    forms = dict(models.values_list("public_id", "thinking_format"))
    assert forms == {"separate": "separate", "tagged": "tagged", "implied": "implied"}


def test_models_keep_their_form_of_thinking_on_the_way_back(
    migrate: Callable[[tuple[str, str]], Any],
) -> None:
    create_old_models(migrate(BEFORE))
    migrate(AFTER)
    models = migrate(BEFORE).get_model("providers", "ChatModel").objects
    assert models.get(public_id="tagged").thinks == "tagged"


def test_changes_are_still_noticed_and_wrong_forms_still_refused(
    migrate: Callable[[tuple[str, str]], Any],
) -> None:
    create_old_models(migrate(BEFORE))
    migrate_to_newest()
    before = version("catalogue")
    ChatModel.objects.filter(public_id="tagged").update(thinking_format="implied")
    assert version("catalogue") == before + 1
    with pytest.raises(IntegrityError, match="thinking_format"):
        ChatModel.objects.update(thinking_format="in verse")

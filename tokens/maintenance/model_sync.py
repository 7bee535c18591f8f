"""Add the models of an upstream's own list as rows, with the facts that it says of them.

No row is deleted or changed.
"""

from dataclasses import dataclass

from django.core.exceptions import ValidationError

from providers.models import ChatModel, Provider
from tokens.maintenance.model_diff import read_listed_models


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The public ids of a sync, by result.

    They were added, known already, listed under a name that no model may have, or are no longer
    listed.
    """

    added: list[str]
    known: list[str]
    unusable: list[str]
    gone: list[str]


def create_listed_models(
    provider: Provider, *, prefix: str = "", dry_run: bool = False
) -> SyncReport:
    """Add the models that the upstream lists, with public ids that begin with `prefix`.

    Writes nothing if `dry_run`. Raises GatewayError, VaultError.
    """
    listed = {model.name: model for model in read_listed_models(provider)}
    public_ids = dict(provider.models.values_list("upstream_name", "public_id"))
    used_public_ids = set(public_ids.values())
    gone = sorted(public_ids[name] for name in public_ids.keys() - listed.keys())
    report = SyncReport([], [], [], gone)
    new_models = []
    for name, listed_model in listed.items():
        facts = listed_model.list_facts()
        model = ChatModel(
            provider=provider, public_id=f"{prefix}{name}", upstream_name=name, **facts
        )
        if name in public_ids or model.public_id in used_public_ids:
            report.known.append(public_ids.get(name, model.public_id))
        elif not has_valid_fields(model):
            report.unusable.append(name)
        else:
            report.added.append(model.public_id)
            new_models.append(model)
    if not dry_run:
        ChatModel.objects.bulk_create(new_models, ignore_conflicts=True)
    return report


def has_valid_fields(model: ChatModel) -> bool:
    try:
        model.clean_fields()
    except ValidationError:
        return False
    return True

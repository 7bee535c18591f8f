"""Add a provider from a preset: cards to choose from, then the form with its fields filled in."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from providers import registry
from providers.models import ChatModel, Provider
from providers.presets import PRESETS, Preset
from providers.seed_presets import create_aliases

PRESET_FIELD = "preset"  # of the address of the form
LOCAL = gettext_lazy("On this machine")
OFFICIAL = gettext_lazy("Services")
UNOFFICIAL = gettext_lazy("Web sites (unofficial)")


@dataclass(frozen=True, slots=True)
class PresetCard:
    """One preset as the page shows it; `own_name` is the name of the provider that it adds."""

    name: str
    preset: Preset
    needs: str
    count: int  # providers that were added from it

    @property
    def adapter_label(self) -> str:
        return registry.get_adapter_class(self.preset.kind).label


def list_card_groups() -> list[tuple[Promise, list[PresetCard]]]:
    """Return the cards of all presets in groups, each with its title."""
    addresses = list(Provider.objects.values_list("kind", "base_url"))
    groups: dict[Promise, list[PresetCard]] = {OFFICIAL: [], LOCAL: [], UNOFFICIAL: []}
    for name, preset in PRESETS.items():
        count = addresses.count((preset.kind, preset.base_url))
        card = PresetCard(name, preset, describe_needs(preset), count)
        groups[find_group(preset)].append(card)
    return list(groups.items())


def find_group(preset: Preset) -> Promise:
    if not preset.is_official:
        return UNOFFICIAL
    return LOCAL if preset.fields.get("allow_private") else OFFICIAL


def describe_needs(preset: Preset) -> str:
    """Return in words which credentials a provider of this preset needs."""
    adapter = registry.get_adapter_class(preset.kind)
    if not preset.fields.get("needs_token", True):
        return _("No credential; only a superuser may add a server on this machine.")
    if adapter.can_sign_in:
        return _("Tokens of the site, or accounts (e-mail and password) that sign in.")
    if "guest" in adapter.modes:
        return _("Tokens of the site; it can also be asked as a guest.")
    if not preset.is_official:
        return _("Tokens of the site.")
    return _("API keys of the service.")


def build_initial_fields(name: str) -> dict[str, Any]:
    """Return the fields of a form that adds a provider from this preset."""
    preset = PRESETS[name]
    return {
        "name": find_free_name(name),
        "kind": preset.kind,
        "base_url": preset.base_url,
        **preset.fields,
    }


def find_free_name(name: str) -> str:
    """Return the name, or with the first number that makes it one that no provider has."""
    names = set(Provider.objects.filter(name__startswith=name).values_list("name", flat=True))
    if name not in names:
        return name
    return next(f"{name}-{n}" for n in range(2, len(names) + 3) if f"{name}-{n}" not in names)


def create_preset_models(provider: Provider, preset: Preset) -> int:
    """Create the models and aliases of the preset, and return how many models.

    Raises ValidationError when one does not fit; the page says so and the provider stays.
    """
    for fields in preset.models:
        model = ChatModel(provider=provider, **fields)
        model.full_clean()
        model.save()
    create_aliases(preset.aliases)
    return len(preset.models)


class PresetPage:
    """A mixin for the admin of providers: the page before the form, and the steps after it."""

    admin_site: Any
    opts: Any

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the cards first; `?preset=` leads to the form, with another word to an empty one."""
        is_first = request.method == "GET" and PRESET_FIELD not in request.GET
        if is_first and self.has_add_permission(request):  # type: ignore[attr-defined]
            return self.show_presets(request)
        answer: HttpResponse = super().add_view(  # type: ignore[misc]
            request, form_url, extra_context
        )
        return answer

    def show_presets(self, request: HttpRequest) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add provider"),
            "opts": self.opts,
            "groups": list_card_groups(),
        }
        return TemplateResponse(request, "admin/providers/provider/presets.html", context)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        name = request.GET.get(PRESET_FIELD, "")
        if name in PRESETS:
            return build_initial_fields(name)
        initial: dict[str, Any] = super().get_changeform_initial_data(request)  # type: ignore[misc]
        initial.pop(PRESET_FIELD, None)
        return initial

    def response_add(
        self, request: HttpRequest, obj: Provider, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Add the preset's models, and lead to the provider's page, where it can be tested."""
        preset = PRESETS.get(request.GET.get(PRESET_FIELD, ""))
        if preset is not None and preset.kind == obj.kind:
            self.add_preset_models(request, obj, preset)
        if {"_addanother", "_popup"} & request.POST.keys():
            answer: HttpResponse = super().response_add(  # type: ignore[misc]
                request, obj, post_url_continue
            )
            return answer
        messages.success(request, describe_next_step(obj))
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[obj.pk]))

    def add_preset_models(self, request: HttpRequest, provider: Provider, preset: Preset) -> None:
        try:
            count = create_preset_models(provider, preset)
        except ValidationError as error:
            messages.warning(request, " ".join(error.messages))
        else:
            if count:
                text = ngettext(
                    "%(count)d model was added with it.",
                    "%(count)d models were added with it.",
                    count,
                )
                messages.success(request, text % {"count": count})


def describe_next_step(provider: Provider) -> str:
    """Return the message that the provider was added, with the next step."""
    text = _("%(provider)s was added. Test its connection next, then sync its models.")
    if provider.needs_token and provider.destination:
        text = _(
            "%(provider)s was added. Import its tokens next, then test its connection and sync "
            "its models."
        )
    return text % {"provider": provider}

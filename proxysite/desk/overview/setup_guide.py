"""The steps from an empty gateway to the first answered request; each knows when it is done.

The last step waits for the first request. When that fails, it names the cause and the page on which
it is mended.
"""

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from api.models import ApiKey, Status, UsageDay, UsageRecord
from providers.choices import Mode
from providers.models import ChatModel, Provider
from tokens.models import UpstreamToken

OFFLINE_KIND = "echo"  # the adapter of the model that every new gateway has
SEARCHED_REQUESTS = 50  # latest requests that are looked at for the first one


@dataclass(frozen=True, slots=True)
class GuideStep:
    """One step: its name, a sentence, and the page on which it is done."""

    name: str
    text: str
    is_done: bool
    address: str
    button: str


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """The state of the last step: `answered`, `failed` or `waiting`.

    After a failure `cause` is a sentence, and `address` the page that mends it.
    """

    state: str
    record: UsageRecord | None = None
    cause: str = ""
    address: str = ""
    button: str = ""


@dataclass(frozen=True, slots=True)
class SetupGuide:
    steps: list[GuideStep]
    first_request: FirstRequest
    base_url: str
    model: str

    @property
    def next_step(self) -> GuideStep | None:
        """Return the first step that is not done."""
        return next((step for step in self.steps if not step.is_done), None)

    @property
    def is_done(self) -> bool:
        return self.first_request.state == "answered" and all(step.is_done for step in self.steps)


def build_setup_guide(request: HttpRequest) -> SetupGuide | None:
    """Return the guide, or None when every step is done or it is not for this person."""
    if isinstance(request.user, AnonymousUser) or not request.user.has_perm(
        "providers.add_provider"
    ):
        return None
    steps = list_steps()
    first_request = find_first_request()
    guide = SetupGuide(
        steps, first_request, request.build_absolute_uri("/v1"), find_example_model()
    )
    return None if guide.is_done else guide


def list_steps() -> list[GuideStep]:
    """Return the steps before the first request."""
    providers = Provider.objects.filter(enabled=True).exclude(kind=OFFLINE_KIND)
    first = providers.order_by("pk").first()
    pages = [reverse("admin:providers_provider_changelist")]
    if first is not None:
        pages.insert(0, find_provider_page(first.pk))
    has_models = ChatModel.objects.filter(provider__in=providers).exists()
    needs_no_token = providers.filter(Q(needs_token=False) | Q(mode=Mode.GUEST)).exists()
    has_tokens = needs_no_token or UpstreamToken.objects.filter(provider__in=providers).exists()
    import_page = reverse("admin:tokens_upstreamtoken_import")
    return [
        GuideStep(
            _("Add a provider"),
            _("The service that answers, for example OpenAI or a server of your own."),
            first is not None,
            reverse("admin:providers_provider_add"),
            _("Add a provider"),
        ),
        GuideStep(
            _("Import tokens"),
            _("Your credentials at this provider, one or thousands."),
            has_tokens,
            f"{import_page}?provider={first.pk}" if first else import_page,
            _("Import tokens"),
        ),
        GuideStep(
            _("Test the connection and add models"),
            _("The provider's page shows whether it answers, and lists its models."),
            has_models,
            pages[0],
            _("Open the provider"),
        ),
        GuideStep(
            _("Issue an API key"),
            _("The credential for your programs. It is shown once."),
            ApiKey.objects.filter_valid().exclude_session_keys().exists(),
            reverse("admin:api_apikey_add"),
            _("Issue a key"),
        ),
    ]


def find_provider_page(pk: int) -> str:
    return reverse("admin:providers_provider_change", args=[pk])


def find_example_model() -> str:
    """Return a model for the example: one of a real provider where there is one."""
    models = ChatModel.objects.filter(provider__enabled=True).order_by("pk")
    names = models.exclude(provider__kind=OFFLINE_KIND).values_list("public_id", flat=True)
    return names.first() or "echo"


# --- the first request ----------------------------------------------------------------------------
def find_first_request() -> FirstRequest:
    """Return whether a request was answered, or why the latest one was not."""
    latest = list(UsageRecord.objects.order_by("-pk")[:SEARCHED_REQUESTS])
    for record in latest:
        if record.status == Status.COMPLETE:
            return FirstRequest("answered", record)
    if UsageDay.objects.filter(status=Status.COMPLETE).exists():
        return FirstRequest("answered")
    if not latest:
        return FirstRequest("waiting")
    cause, page, button = explain_failure(latest[0])
    return FirstRequest("failed", latest[0], cause, page, button)


def explain_failure(record: UsageRecord) -> tuple[str, str, str]:
    """Return why a request failed, the page on which that is mended, and its name."""
    if record.status == Status.REFUSED:
        return (
            _("A limit refused the request: %(limit)s.") % {"limit": record.refused_by},
            reverse("admin:api_apikey_changelist"),
            _("Look at the keys"),
        )
    other = (
        _("The request ended with “%(code)s”.") % {"code": record.error_code or record.status},
        reverse("admin:api_usagerecord_change", args=[record.pk]),
        _("Look at the request"),
    )
    return explain_codes(record.model).get(record.error_code, other)


def explain_codes(model_name: str) -> dict[str, tuple[str, str, str]]:
    """Return the causes behind error codes, each with the page that mends it, and its name."""
    token_page = reverse("admin:tokens_upstreamtoken_changelist")
    provider_page = reverse("admin:providers_provider_changelist")
    model = {"model": model_name}
    return {
        "no_upstream_token": (
            _("The provider of the model %(model)s has no token.") % model,
            reverse("admin:tokens_upstreamtoken_import"),
            _("Import tokens"),
        ),
        "no_available_token": (
            _("No token of the model's provider can be used: they were rejected or have expired."),
            token_page,
            _("Look at the tokens"),
        ),
        "no_token_answered": (
            _("The upstream rejected the tokens that were tried."),
            token_page,
            _("Look at the tokens"),
        ),
        "model_not_found": (
            _("There is no model with the name %(model)s.") % model,
            reverse("admin:providers_chatmodel_changelist"),
            _("Look at the models"),
        ),
        "model_not_allowed": (
            _("The API key may not use the model %(model)s.") % model,
            reverse("admin:api_apikey_changelist"),
            _("Look at the keys"),
        ),
        "upstream_unreachable": (
            _("The upstream cannot be reached: its address or the network is wrong."),
            provider_page,
            _("Look at the providers"),
        ),
        "upstream_tls": (
            _("The upstream's certificate is not valid."),
            provider_page,
            _("Look at the providers"),
        ),
        "provider_unavailable": (
            _("The provider failed several times, so it is not asked for a while."),
            provider_page,
            _("Look at the providers"),
        ),
    }

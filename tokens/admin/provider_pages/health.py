"""The health of a provider on its page and in the list: circuit breaker, and tokens by state."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from providers.admin.big_tables import render_badge
from providers.admin.page_times import render_time
from providers.choices import Mode
from providers.models import ChatModel, Provider
from tokens.admin.token_state import name_state
from tokens.models import BreakerState, Refresh, UpstreamToken
from tokens.outcomes.breaker import CAUSE_LIMITED, SEVERAL_CALLERS
from tokens.outcomes.breaker_sharing import find_open_breakers
from tokens.provider_counts import TOKEN_STATES, complete_counts, count_by_provider

VIEW_TOKENS = "tokens.view_upstreamtoken"
COLOUR_BY_STATE = {"active": "good", "disabled": "bad", "expired": "off"}  # the others wait


def find_open_breaker(provider: Provider) -> BreakerState | None:
    """Return the provider's breaker if it is open or half-open."""
    return find_open_breakers().filter(pk=provider.pk).first()


def has_open_breaker(provider: Provider) -> bool:
    return find_open_breaker(provider) is not None


# --- the section “Health” -------------------------------------------------------------------------
def render_health(request: HttpRequest, provider: Provider) -> SafeString:
    """Return whether the provider is called, and why not."""
    lines = [render_call_state(provider)]
    state = find_open_breaker(provider)
    if provider.enabled and state is not None:
        lines.append(render_breaker(state))
    refresh = Refresh.objects.filter(pk=provider.pk).exclude(last_error="").first()
    if refresh is not None:
        lines.append(
            format_html(
                '<p class="notice notice-wait">{}</p>',
                _("The last renewal of its tokens failed: %(error)s")
                % {"error": refresh.last_error},
            )
        )
    return format_html_join("", "{}", ((line,) for line in lines))


def render_call_state(provider: Provider) -> SafeString:
    """Return one line: paused, set aside, not asked, or asked as usual."""
    if not provider.enabled:
        badge, text = render_badge("off", _("paused")), _("None of its models answers.")
    elif provider.set_aside_reason:
        badge = render_badge("bad", _("set aside"))
        text = _("It is not called until somebody confirms its address.")
    elif has_open_breaker(provider):
        badge, text = render_badge("bad", _("not asked now")), ""
    else:
        badge, text = render_badge("good", _("asked as usual")), _("Its circuit breaker is closed.")
    return format_html("<p>{} {}</p>", badge, text)


def render_breaker(state: BreakerState) -> SafeString:
    """Return until when an open breaker keeps requests away, since when, for whom and why."""
    rows = [(_("Why"), state.reason or _("no reason is known"))]
    if state.opened_at is not None:
        rows.append((_("Since"), render_time(state.opened_at)))
    if state.open_until is not None and state.open_until > timezone.now():
        rows.append((_("Until"), render_time(state.open_until)))
    else:
        rows.append((_("Until"), _("the next request, which finds out whether it works again")))
    rows.append((_("For whom"), describe_scope(state)))
    body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', rows)
    return format_html('<div class="table-wrap"><table class="table">{}</table></div>', body)


def describe_scope(state: BreakerState) -> str:
    """Return which requests an open breaker keeps away."""
    if state.cause == CAUSE_LIMITED:
        return _("all requests: the provider limits its tokens as a whole")
    if len(state.asked_models) == 1 and state.asked_models[0]:
        return _("requests for the model %(model)s") % {"model": state.asked_models[0]}
    if 0 < len(state.callers) < SEVERAL_CALLERS:
        return _("the callers whose requests failed; others may still ask")
    return _("all requests")


# --- the section “Tokens” -------------------------------------------------------------------------
def render_token_counts(request: HttpRequest, provider: Provider) -> SafeString:
    """Return the number of tokens in each state, each a link to the list of them."""
    counts = count_by_provider(UpstreamToken.objects.filter(provider=provider)).get(provider.pk)
    if counts is None:
        return render_no_tokens(provider)
    shown = [(state, counts[state]) for state in TOKEN_STATES if counts[state]]
    badges = format_html_join(
        " ",
        '<a href="{}">{}</a>',
        (
            (
                build_list_address(provider, state),
                render_badge(COLOUR_BY_STATE.get(state, "wait"), f"{count:,} {name_state(state)}"),
            )
            for state, count in shown
        ),
    )
    all_tokens = format_html(
        '<a href="{}">{}</a>',
        build_list_address(provider),
        ngettext("Its %(count)s token", "All %(count)s tokens", counts["total"])
        % {"count": f"{counts['total']:,}"},
    )
    return format_html("<p>{}</p><p>{}</p>", badges, all_tokens)


def render_no_tokens(provider: Provider) -> SafeString:
    """Return that a provider has no tokens, and where one adds them."""
    if not provider.needs_token:
        return format_html("<p>{}</p>", _("It asks for no token."))
    query = urlencode({"provider": provider.pk})
    address = f"{reverse('admin:tokens_upstreamtoken_import')}?{query}"
    return format_html(
        '<p class="notice notice-wait">{} <a href="{}">{}</a></p>',
        _("It has no tokens, so none of its models can answer."),
        address,
        _("Import tokens"),
    )


def build_list_address(provider: Provider, state: str = "") -> str:
    """Return the address of the list of a provider's tokens, of those in one state if given."""
    query: dict[str, object] = {"provider__id__exact": provider.pk}
    if state:
        query["is"] = "usable" if state == "active" else state
    return f"{reverse('admin:tokens_upstreamtoken_changelist')}?{urlencode(query)}"


# --- columns of the list --------------------------------------------------------------------------
def prepare_breaker_column() -> Callable[[Provider], object]:
    """Read the open breakers, and return the cell of a provider."""
    reasons = dict(find_open_breakers().values_list("pk", "reason"))

    def render_cell(provider: Provider) -> object:
        if not provider.enabled or provider.set_aside_reason:
            return "-"
        if provider.pk in reasons:
            badge = render_badge("bad", _("not asked now"))
            return format_html('<span title="{}">{}</span>', reasons[provider.pk], badge)
        return render_badge("good", _("asked"))

    return render_cell


def prepare_token_column() -> Callable[[Provider], object]:
    """Count the tokens of all providers, and return the cell of a provider."""
    counts_by_provider = count_by_provider(UpstreamToken.objects.all())

    def render_cell(provider: Provider) -> object:
        counts = counts_by_provider.get(provider.pk) or complete_counts({})
        if not counts["total"]:
            return "-" if not provider.needs_token else render_badge("bad", _("none"))
        text = _("%(active)s of %(total)s") % {
            "active": f"{counts['active']:,}",
            "total": f"{counts['total']:,}",
        }
        return format_html('<a href="{}">{}</a>', build_list_address(provider), text)

    return render_cell


def prepare_usable_column() -> Callable[[ChatModel], object]:
    """Find the providers with a usable token, and return the cell of a model."""
    usable = set(
        UpstreamToken.objects.filter_usable()
        .order_by()
        .values_list("provider_id", flat=True)
        .distinct()
    )
    open_ids = set(find_open_breakers().values_list("pk", flat=True))

    def render_cell(model: ChatModel) -> object:
        provider = model.provider
        if not model.enabled or not provider.enabled:
            return render_badge("off", _("off"))
        if provider.set_aside_reason:
            return render_badge("bad", _("set aside"))
        needs_token = provider.needs_token and provider.mode != Mode.GUEST
        if needs_token and provider.pk not in usable:
            return render_badge("bad", _("no usable token"))
        if provider.pk in open_ids:
            return render_badge("wait", _("not asked now"))
        return render_badge("good", _("yes"))

    return render_cell

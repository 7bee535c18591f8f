"""The addresses of the overview and of its buttons, below /admin/."""

from django.urls import path

from proxysite.desk.overview import overview_page, provider_forms
from proxysite.desk.overview.attention import attention_deeds

urlpatterns = [
    path("", overview_page.show_overview),
    path("overview/first-request", overview_page.show_first_request, name="overview-first-request"),
    path("overview/top", overview_page.show_top_lists, name="overview-top"),
    path("overview/tokens", attention_deeds.change_tokens, name="overview-tokens"),
    path("overview/alerts", attention_deeds.send_alerts_again, name="overview-alerts"),
    path("mode", provider_forms.switch_mode, name="overview-mode"),
]

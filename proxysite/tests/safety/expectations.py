"""Who may open which address: one line for each, written by a person.

The roles are single letters: V Viewer, O Operator, B Billing, A Administrator. A superuser may open
whatever exists. A new address, model or parameter without a line here fails the tests.

    MODEL_PAGES   "app.model": who may view, add, change and delete its rows; "-" is nobody, not
                  even a superuser
    PAGES         an address's pattern: who may open it. LOGGED_IN is every member of staff, ANYONE
                  needs no login; POST_ONLY are addresses that a GET must not work at
    ROW_PAGES     the last part of a page of one row or of a list, beside Django's own
"""

from dataclasses import dataclass

ALL = "VOBA"
NOBODY = "-"
SUPERUSER = ""  # nobody but superusers
ANYONE = "anyone"
LOGGED_IN = "logged in"  # members of staff
USERS = "users"  # everybody with an account, on their own rows
PROBE = "probe"  # tells whether the gateway runs; tested with it
API_KEY = "API key"  # a session alone opens nothing


@dataclass(frozen=True)
class Rights:
    view: str
    add: str = NOBODY
    change: str = NOBODY
    delete: str = NOBODY


MODEL_PAGES = {
    "api.alertdelivery": Rights(ALL, change="OA"),
    "api.alertevent": Rights(ALL),
    "api.batch": Rights(ALL, change="OA"),
    "api.apikey": Rights(ALL, "OA", "OA", "A"),
    "api.price": Rights(ALL, "BA", "BA", "BA"),
    "api.team": Rights(ALL, "OBA", "OBA", "OBA"),
    "api.usagerecord": Rights(ALL),
    "api.invitation": Rights("OA", "OA", delete="OA"),
    "auth.group": Rights(ALL, SUPERUSER, SUPERUSER, SUPERUSER),
    "auth.user": Rights(ALL, "OA", "OA", "A"),
    "axes.accessattempt": Rights("OA"),
    "axes.accessfailurelog": Rights("A"),
    "axes.accesslog": Rights("A"),
    "conversations.conversation": Rights("A", delete="A"),
    "conversations.document": Rights("A", "A", delete="A"),
    "conversations.storedfile": Rights("A", delete="A"),
    "django_celery_beat.crontabschedule": Rights(SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat.intervalschedule": Rights(SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat.periodictask": Rights("A", SUPERUSER, "A", SUPERUSER),
    "providers.chatmodel": Rights(ALL, "OA", "OA", "OA"),
    "providers.deletion": Rights(ALL),
    "providers.mcpserver": Rights(ALL, "OA", "OA", "OA"),
    "providers.modelalias": Rights(ALL, "OA", "OA", "OA"),
    "providers.provider": Rights(ALL, "OA", "OA", "OA"),
    "providers.virtualmodel": Rights(ALL, "OA", "OA", "OA"),
    "proxysite.auditentry": Rights("A"),
    "proxysite.loginsession": Rights("OA", delete="A"),
    "tokens.importbatch": Rights(ALL, change="OA"),
    "tokens.upstreamaccount": Rights(ALL, "OA", "OA", "OA"),
    "tokens.upstreamtoken": Rights(ALL, "OA", "OA", "OA"),
}
# the last part of an address of a model: the right that it needs
ROW_PAGES = {
    "changelist": "view",
    "history": "view",
    "change": "view",
    "add": "add",
    "delete": "delete",
    "search": "view",
    "csv": "view",
    "rotate": "change",
    "revoke": "change",
    "block": "change",
    "unblock": "change",
    "logout": "change",
    "import": "add",
    "password_change": "change",
    "confirm": "change",
    "switch": "change",
    "ask_again": "change",
    "test": "change",
    "apply_test": "change",
    "sync": "change",
    "apply_sync": "change",
    "route": "view",
    "check": "change",
    "reset": "change",
    "enable": "change",
    "disable": "change",
    "move": "change",
    "part": "view",
    "apply": "change",
    "discard": "change",
    "undo": "change",  # who may delete tokens; the same people
    "move_chosen": "change",
    "result": "view",
    "stop": "change",
    "resume": "change",
    "export": "view",
    "suggest": "view",
    "export_one": "view",
    "delete_all": "delete",
}
# where a page of one model is for others than the page of that name elsewhere
OTHER_RIGHTS = {("tokens.upstreamtoken", "export"): "A"}
# a form without the right password is refused
PASSWORD_PAGES = {"admin/confirm-password/"}
# pages that look for a row of their own, which is not there
MISSING_ROWS = ("/result/", "/delete-all/")
PAGES = {
    "admin/": LOGGED_IN,
    "admin/login/": ANYONE,
    "admin/logout/": ANYONE,
    "admin/search": LOGGED_IN,
    "admin/password_change/": LOGGED_IN,
    "admin/password_change/done/": LOGGED_IN,
    "admin/jsi18n/": LOGGED_IN,
    "admin/locks/": "OA",
    "admin/locks/lift": "A",
    "admin/live/": ALL,
    "admin/live/frame": ALL,
    "admin/tasks/<uuid:task_id>/": ALL,
    "admin/tasks/<uuid:task_id>/part": ALL,
    "admin/tasks/<uuid:task_id>/stop": "OA",
    "admin/overview/first-request": "OA",
    "admin/overview/top": ALL,
    "admin/overview/tokens": "OA",
    "admin/overview/alerts": "OA",
    "admin/routing/": ALL,
    "admin/confirm-password/": LOGGED_IN,
    "admin/mode": "OA",
    "admin/import": "OA",
    "admin/status": ALL,
    "admin/switch_mode": "OA",
    "admin/tokens/stats": ALL,
    "admin/tokens/content": ALL,
    "admin/tokens/consecutive-failures": ALL,
    "admin/tokens/updater/status": ALL,
    "admin/tokens/updater/force-update": "OA",
    "admin/tokens/reset/<str:name>": "OA",
    "admin/tokens/reset-all": "OA",
    "admin/tokens/reset-consecutive": "OA",
    "admin/tokens/reload": "OA",
    "admin/tokens/check": "OA",
    "admin/tokens/update": "OA",
    "playground/": USERS,
    "playground/key": USERS,
    "playground/turns/<uuid:turn_id>": USERS,
    "portal/login/": ANYONE,
    "portal/logout/": ANYONE,
    "portal/password/reset/": ANYONE,
    "portal/password/reset/<str:uidb64>/<str:token>/": ANYONE,
    "portal/join/<str:token>/": ANYONE,
    "portal/sign-up/": ANYONE,
    "portal/": USERS,
    "portal/account/": USERS,
    "portal/password/": USERS,
    "portal/keys/": USERS,
    "portal/keys/new/": USERS,
    "portal/keys/<int:key_id>/": USERS,
    "portal/keys/<int:key_id>/rotate/": USERS,
    "portal/keys/<int:key_id>/revoke/": USERS,
    "portal/usage/": USERS,
    "portal/requests/": USERS,
    "portal/requests.csv": USERS,
    "portal/requests/<str:request_id>/": USERS,
    "portal/conversations/": USERS,
    "portal/conversations/export/": USERS,
    "portal/conversations/delete/": USERS,
    "portal/conversations/<str:conversation_id>/": USERS,
    "portal/conversations/<str:conversation_id>/export/": USERS,
    "portal/conversations/<str:conversation_id>/delete/": USERS,
    "portal/files/": USERS,
    "portal/files/delete/": USERS,
    "portal/files/<str:file_id>/": USERS,
    "portal/files/<str:file_id>/delete/": USERS,
    "portal/models/": USERS,
    "portal/clients/": USERS,
    "api/docs/": ANYONE,
    "api/schema/": ANYONE,
    "i18n/setlang/": ANYONE,
    "tokenize": API_KEY,  # vLLM's addresses, beside those below /v1/
    "detokenize": API_KEY,
    "": ANYONE,
    "favicon.ico": PROBE,
    "health": PROBE,
    "metrics": ALL,
    "healthz": PROBE,
    "readyz": PROBE,
    "rerank": API_KEY,
    "v2/rerank": API_KEY,
    r"^v1(/.*)?$": PROBE,  # says that there is nothing
}
POST_ONLY = {
    "admin/logout/",
    "portal/logout/",
    "portal/keys/<int:key_id>/rotate/",
    "portal/keys/<int:key_id>/revoke/",
    "playground/key",
    "admin/search",
    "admin/locks/lift",
    "admin/tasks/<uuid:task_id>/stop",
    "admin/overview/tokens",
    "admin/overview/alerts",
    "admin/mode",
    "admin/import",
    "admin/switch_mode",
    "admin/tokens/reset/<str:name>",
    "admin/tokens/reset-all",
    "admin/tokens/reset-consecutive",
    "admin/tokens/reload",
    "admin/tokens/check",
    "admin/tokens/update",
    "admin/tokens/updater/force-update",
}
POST_ONLY_ROW_PAGES = set(
    "move_chosen search block unblock logout switch ask_again apply_test apply_sync check reset "
    "enable disable apply discard stop resume".split()
)
# they call an upstream
NETWORK_PAGES = ("/test/", "/sync/", "/check/")
# JSON for programs: a stranger gets 401, not the page of the login
JSON_PAGES = {
    name
    for name in PAGES
    if name.startswith(("admin/tokens/", "admin/status", "admin/switch_", "metrics"))
}
CHANGES_TOKENS = "OA"  # a POST to JSON that only a GET answers is refused to all others first
# JSON for pages of our own: whoever may not see the page gets 403, also without a login
PAGE_PARTS = {"admin/live/frame"}
# patterns that only lead on, or that Django asks with parameters of its own
LEFT_OUT = (
    r"admin/(?P<url>.*)$",  # adds a slash, or says that there is nothing
    "admin/r/<path:content_type_id>/<path:object_id>/",  # no model has a page on a site
    "admin/autocomplete/",  # tested by itself: it asks the admin of the model
    "/<path:object_id>/",  # leads on to the change page
    "admin/^(?P<app_label>",  # the list of one app: what the person may see
)
# values of parameters that are no ids of rows
UUID = "01234567-89ab-cdef-0123-456789abcdef"
PARAMETERS = {
    "name": "nothing",
    "task_id": UUID,
    "turn_id": UUID,
    "key_id": "999999",
    "request_id": "req_x",
    "conversation_id": "x",
    "file_id": "x",
    "uidb64": "x",
    "token": "x",
}
# tables that a GET may write: who was seen where, which page of content was opened
NOTED_PAGES = ("/admin/conversations/conversation/",)  # whoever reads content is noted
BOOKKEEPING = ("django_session", "proxysite_loginsession")

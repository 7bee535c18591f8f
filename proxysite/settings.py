"""Every setting, read from the environment or a `.env` file beside manage.py.

Each setting is declared once, here: its name, type and range (the method of `env`), its default
and one sentence for the person who edits it. `docs/settings.md` and `.env.example` are written from
these declarations: `manage.py write_docs`. The rest of the project reads
`django.conf.settings` only. Limits carry their unit in the name, and each has a default. Values
that are not allowed end the program with one line for each variable.
"""

import sys
from pathlib import Path
from typing import Any

from proxysite.configuration import (
    database_settings,
    email_settings,
    env_aliases,
    env_file,
    locations,
    sign_in_settings,
)
from proxysite.home import Home
from proxysite.logging import build_logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"
env = env_file.load_environment(BASE_DIR / ".env")
env.record_aliases(env_aliases.apply_aliases(env.variables, env.find_source))

# --- the home -------------------------------------------------------------------------------------
env.begin_group("Home")
IS_SERVING = locations.is_serving(sys.argv)  # only `serve` makes a home; all others find one
MARKER_FILE = locations.declare_marker_file(env, BASE_DIR)
if not IS_SERVING:
    locations.suggest_home(env, MARKER_FILE)
HOME = Home(
    env.read_folder(
        "PROXYSITE_HOME",
        "var",
        "Directory of everything that a run writes: database, secrets, files, unwritten records.",
        beside=BASE_DIR,
    )
)
if not IS_SERVING:
    locations.suggest_database(env, HOME)

# --- secrets: missing ones are read from the home at the end of this file -------------------------
env.begin_group(
    "Secrets",
    "Without them they are made at random on the first start and kept in "
    "PROXYSITE_HOME/secrets.env. Machines that share a database need the same ones.",
)
_given_secrets = {
    "SECRET_KEY": env.read_secret(
        "SECRET_KEY", "Signs sessions of the admin; 50 characters or more."
    ),
    "FIELD_KEYS": env.read_secret(
        "FIELD_KEYS",
        "Encrypt upstream tokens: id:base64 of 32 bytes, comma separated; the first encrypts, all "
        "decrypt.",
    ),
    "KEY_PEPPER": env.read_secret(
        "KEY_PEPPER",
        "Goes into the digests of API keys; 32 characters or more; a change voids every API key.",
    ),
}

# --- addresses, hosts and https -------------------------------------------------------------------
env.begin_group("Addresses, hosts and https")
HOST = env.read_plain_text(
    "HOST", "127.0.0.1", "Address to listen on; 0.0.0.0 listens on every network."
)
PORT = env.read_count("PORT", 8000, "Port to listen on.", least=0, most=65_535)
ALLOWED_HOSTS = env.read_host_names(
    "ALLOWED_HOSTS",
    ["localhost", "127.0.0.1", "[::1]"],
    "Host names of the admin and other pages; /v1/ and the probes answer under any name.",
)
BEHIND_TLS = env.read_switch(
    "BEHIND_TLS",
    False,
    "True behind a proxy that speaks https: secure cookies, HSTS, and pages redirect to https.",
)
HSTS_SECONDS = env.read_whole_seconds(
    "HSTS_SECONDS",
    31_536_000,
    "With BEHIND_TLS browsers insist on https for so long; 0: they do not.",
    least=0,
)
HSTS_SUBDOMAINS = env.read_switch(
    "HSTS_SUBDOMAINS", True, "HSTS is also for all names below this host."
)
CSRF_TRUSTED_ORIGINS = env.read_origins(
    "CSRF_TRUSTED_ORIGINS",
    [],
    "Origins from which the admin takes forms, when a proxy changes the host name.",
)
CORS_ALLOWED_ORIGINS = env.read_origins(
    "CORS_ALLOWED_ORIGINS",
    [],
    "Origins of web pages that may call /v1/ from a browser; * allows all.",
    wildcard=True,
)
DEBUG = env.read_switch(
    "DJANGO_DEBUG", False, "Django's debug pages; never where others can reach them."
)
ADMIN_SESSION_SECONDS = env.read_whole_seconds(
    "ADMIN_SESSION_SECONDS", 43_200, "A login to the admin lasts so long."
)

ENVIRONMENT_LABEL = env.read_plain_text(
    "ENVIRONMENT_LABEL",
    "",
    "Shown on each page of the admin, for example production or test.",
)
CSRF_FAILURE_VIEW = "proxysite.desk.error_pages.answer_csrf_failure"

CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ALLOWED_ORIGINS  # under /v1/ no cookie counts, only API keys
CORS_ALLOWED_ORIGINS = [origin for origin in CORS_ALLOWED_ORIGINS if origin != "*"]
# Wrong addresses too, so that a page can read what the right one is.
CORS_URLS_REGEX = r"^/(?!(?:admin|portal|playground|static|ws)(?:/|$)).+$"
# Any header; browsers want "authorization" by its name, and old ones do not know the asterisk.
CORS_ALLOW_HEADERS = """
    * accept authorization content-type idempotency-key user-agent x-api-key api-key
    x-requested-with openai-organization openai-project
    x-stainless-arch x-stainless-lang x-stainless-os
    x-stainless-package-version x-stainless-retry-count x-stainless-runtime x-stainless-timeout
    x-stainless-runtime-version x-stainless-async x-stainless-read-timeout
    x-stainless-helper-method x-stainless-poll-helper x-stainless-custom-poll-interval
    openai-beta x-title http-referer anthropic-version anthropic-beta x-client-request-id
    anthropic-dangerous-direct-browser-access
""".split()
CORS_EXPOSE_HEADERS = """
    x-request-id request-id openai-processing-ms openai-version
    retry-after retry-after-ms x-should-retry
    idempotent-replayed idempotent-stored x-proxysite-provider x-proxysite-model
""".split()
CORS_PREFLIGHT_MAX_AGE = 86_400
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_HSTS_SECONDS = HSTS_SECONDS if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS and HSTS_SUBDOMAINS
# Only pages for people redirect to https: programs follow no redirect of a POST, and may call
# the gateway directly, beside its proxy.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^health$", r"^v1(/|$)"]
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = ADMIN_SESSION_SECONDS
X_FRAME_OPTIONS = "DENY"

# --- apps, middleware and templates ---------------------------------------------------------------
INSTALLED_APPS = [
    # only `runserver` needs daphne, whose Twisted takes 19 MB
    *(["daphne"] if "runserver" in sys.argv else []),
    "proxysite.desk.site.DeskConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "axes",
    "channels",
    "django_celery_beat",
    "providers",
    "tokens",
    "conversations",
    "api",
    "proxysite",
]
MIDDLEWARE = [
    "proxysite.server.content_security.ContentSecurity",
    "proxysite.desk.viewer.ViewerPreferences",
    "proxysite.desk.null_characters.NullCharacters",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "proxysite.access.last_seen.LastSeen",
    "proxysite.audit.actor.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "proxysite.urls"
ASGI_APPLICATION = "proxysite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "proxysite.desk.shell_context.describe_shell",
            ],
        },
    },
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]

# --- logins ---------------------------------------------------------------------------------------
env.begin_group("Logins", "How failed logins are slowed down; see docs/security.md.")
TRUSTED_PROXIES = env.read_networks(
    "TRUSTED_PROXIES", [], "Proxies whose X-Forwarded-For is believed."
)
AXES_FAILURE_LIMIT = env.read_count(
    "LOGIN_FAILURE_LIMIT", 10, "Failed logins of one name from one address; then it is locked."
)
LOGIN_ADDRESS_LIMIT = env.read_count(
    "LOGIN_ADDRESS_LIMIT",
    50,
    "Failed logins from one address, whatever the names; then it is locked.",
)
LOGIN_NAME_LIMIT = env.read_count(
    "LOGIN_NAME_LIMIT",
    100,
    "Failed logins of one name from any address; then its logins are slowed down.",
)
LOGIN_NAME_PAUSE_SECONDS = env.read_seconds(
    "LOGIN_NAME_PAUSE_SECONDS", 10, "Pause between two logins of such a name."
)
LOGIN_KNOWN_DAYS = env.read_count(
    "LOGIN_KNOWN_DAYS",
    90,
    "An address from which a user has logged in is free of the last two locks for so long.",
)
AXES_COOLOFF_TIME = env.read_number(
    "LOGIN_LOCK_HOURS", 0.25, "A lock lasts so long.", least=0.001, most=8_760
)
SESSION_SEEN_SECONDS = env.read_seconds(
    "SESSION_SEEN_SECONDS", 60, "The time a browser was last seen is written once in so long."
)
USER_IMPORT_LINES = env.read_count(
    "USER_IMPORT_LINES", 5_000, "Users that one CSV file may have on the page that imports them."
)
AUDIT_DAYS = env.read_count(
    "AUDIT_DAYS", 730, "Entries of the audit log are kept for so long; 0: for ever.", least=0
)
LOGINS_AT_ONCE = env.read_count(
    "LOGINS_AT_ONCE", 1, "Passwords that a process hashes at the same time."
)
LOGINS_WAITING = env.read_count(
    "LOGINS_WAITING", 20, "Logins that wait for it in a process; more get a 503."
)
LOGINS_WAITING_PER_ADDRESS = env.read_count(
    "LOGINS_WAITING_PER_ADDRESS", 5, "Logins of one address that wait for it."
)
LOGIN_WAIT_SECONDS = env.read_seconds(
    "LOGIN_WAIT_SECONDS", 10, "A login waits so long at most; then it gets a 503."
)
SIGN_IN = sign_in_settings.declare_sign_in(env)
OIDC_ROLES = env.read_names(
    "OIDC_ROLES",
    [],
    "Roles that groups of the provider give, as group=Role: ops=Operator,bosses=Administrator.",
)
OIDC_GROUPS_CLAIM = env.read_plain_text(
    "OIDC_GROUPS_CLAIM", "groups", "Claim of the provider that lists a person's groups."
)
OIDC_USERNAME_CLAIM = env.read_plain_text(
    "OIDC_USERNAME_CLAIM", "preferred_username", "Claim of the provider that names the user."
)
OIDC_CREATE_USERS = env.read_switch(
    "OIDC_CREATE_USERS", False, "A person who is not known here gets a user at the first login."
)
OIDC_LINK_USERS = env.read_switch(
    "OIDC_LINK_USERS",
    False,
    "A person's first login is joined with the user of the same name; only if nobody can choose a "
    "name at the provider.",
)
if SIGN_IN.is_enabled:
    INSTALLED_APPS += sign_in_settings.APPS
    MIDDLEWARE += [
        "allauth.account.middleware.AccountMiddleware",
        "proxysite.access.sign_in.second_step.SecondStepMiddleware",
    ]
    globals().update(sign_in_settings.build_sign_in_settings(SIGN_IN))
AXES_HANDLER = "proxysite.access.login_locks.LoginLocks"
AXES_USERNAME_CALLABLE = "proxysite.access.login_locks.read_username"
AXES_LOCKOUT_CALLABLE = "proxysite.access.login_locks.answer_locked"
AXES_CLIENT_IP_CALLABLE = "providers.network.client_address.counted_address"
# the failures that a good login resets; the other locks are our own
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
# a user who waits is let in, whatever others try meanwhile
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_VERBOSE = False

# --- the portal -----------------------------------------------------------------------------------
env.begin_group("Portal", "The pages of ordinary users under /portal/; see docs/portal.md.")
PORTAL = env.read_switch("PORTAL", True, "Whether /portal/ is there; false: it answers 404.")
PORTAL_KEYS = env.read_choice(
    "PORTAL_KEYS",
    "permitted",
    "Who issues API keys in the portal: nobody, users who are permitted to, or all users.",
    values=("nobody", "permitted", "all"),
)
PORTAL_MOST_KEYS = env.read_count(
    "PORTAL_MOST_KEYS", 10, "Valid keys that a user may have before the portal issues no more."
)
PORTAL_LONGEST_KEY_DAYS = env.read_count(
    "PORTAL_LONGEST_KEY_DAYS",
    365,
    "A key that a user issues expires so many days later at the latest; 0: it need not expire.",
    least=0,
    most=36_500,
)
PORTAL_LONGEST_OVERLAP_HOURS = env.read_count(
    "PORTAL_LONGEST_OVERLAP_HOURS",
    168,
    "After a rotation in the portal the old secret works so many hours more at most.",
    least=0,
    most=8_760,
)
PORTAL_CSV_ROWS = env.read_count(
    "PORTAL_CSV_ROWS", 1_000_000, "Most requests in one CSV file that a user downloads."
)
PORTAL_SIGN_UP = env.read_switch(
    "PORTAL_SIGN_UP", False, "Anybody who reaches the portal may create an account there."
)
PORTAL_SIGN_UP_TEAM = env.read_plain_text(
    "PORTAL_SIGN_UP_TEAM", "", "Team of users who sign up, for its limits; for example Guests."
)
PORTAL_SIGN_UPS_PER_HOUR = env.read_count(
    "PORTAL_SIGN_UPS_PER_HOUR", 20, "Accounts that people may create by signing up, per hour."
)
PORTAL_RESET_PAUSE_SECONDS = env.read_whole_seconds(
    "PORTAL_RESET_PAUSE_SECONDS",
    300,
    "A user who forgot the password gets at most one e-mail within it; needs EMAIL_URL.",
)
PORTAL_RESET_HOURS = env.read_number(
    "PORTAL_RESET_HOURS", 2, "The link in such an e-mail works so long.", least=0.1, most=168
)
PASSWORD_RESET_TIMEOUT = int(PORTAL_RESET_HOURS * 3_600)
INVITATION_MOST_DAYS = env.read_count(
    "INVITATION_MOST_DAYS", 90, "An invitation may be valid for so long.", most=3_650
)
LOGIN_URL = "portal-login"
LOGIN_REDIRECT_URL = "portal-home"

# --- Django and its REST framework ----------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["api.schemas.drf_parsers.BoundedJSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "EXCEPTION_HANDLER": "api.exceptions.rest_framework_handler",
    "DEFAULT_SCHEMA_CLASS": "api.openapi.document.EndpointSchema",
    "UNAUTHENTICATED_USER": None,
}
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "proxysite" / "locale"]
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = BEHIND_TLS
LANGUAGE_COOKIE_AGE = 365 * 86_400  # seconds
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = HOME.root / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- database -------------------------------------------------------------------------------------
env.begin_group("Database")
DATABASE_URL = env.read_database_url(
    "DATABASE_URL",
    locations.sqlite_url(HOME.root / "proxysite.sqlite3"),
    "For example postgres://user:password@host:5432/name; empty: SQLite in the home.",
)
DATABASE_TIMEOUT_SECONDS = env.read_whole_seconds(
    "DATABASE_TIMEOUT_SECONDS", 2, "A database that does not answer within it counts as away."
)
STATEMENT_TIMEOUT_SECONDS = env.read_whole_seconds(
    "STATEMENT_TIMEOUT_SECONDS", 30, "One statement on Postgres may take so long."
)
DATABASE_POOL_SIZE = env.read_count(
    "DATABASE_POOL_SIZE", 14, "Connections to Postgres, per process."
)
DATABASES = {
    "default": database_settings.build_database_settings(
        locations.parse_database_url(env, DATABASE_URL),
        wait_seconds=DATABASE_TIMEOUT_SECONDS,
        statement_seconds=STATEMENT_TIMEOUT_SECONDS,
        pool_size=DATABASE_POOL_SIZE,
    )
}
EMBEDDED_DATABASE = DATABASES["default"]["ENGINE"].endswith("sqlite3")

# --- Redis, Celery, channels ----------------------------------------------------------------------
env.begin_group("Redis and Celery")
REDIS_URL = env.read_url(
    "REDIS_URL",
    "",
    "For example redis://host:6379/0; empty: the queue of tasks lies in the home.",
    schemes=("redis", "rediss", "unix"),
)
EMBEDDED_WORKER = env.read_switch(
    "EMBEDDED_WORKER", True, "Celery's worker and beat run as threads of `serve`."
)
CELERY_BROKER_URL = REDIS_URL or "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"socket_timeout": 5, "socket_connect_timeout": 2}
    if REDIS_URL
    else {
        "data_folder_in": str(HOME.root / "queue"),
        "data_folder_out": str(HOME.root / "queue"),
        "control_folder": str(HOME.root / "control"),
        "polling_interval": 0.5,
    }
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# --- metrics --------------------------------------------------------------------------------------
env.begin_group("Metrics", "Figures for Prometheus; see docs/metrics.md.")
METRICS_TOKEN = env.read_secret(
    "METRICS_TOKEN",
    "A bearer that may read /metrics, also while the database is away; empty: staff only.",
)
METRICS_SERIES = env.read_count(
    "METRICS_SERIES",
    2_000,
    "Combinations of labels that requests may have; models beyond it are shown as `other`.",
)

# --- the live board -------------------------------------------------------------------------------
env.begin_group("Live board", "Bounds of the live board; see docs/live-board.md.")
LIVE_VIEWERS = env.read_count(
    "LIVE_VIEWERS", 20, "Viewers of the live board per process; more of them poll."
)
LIVE_ROWS = env.read_count(
    "LIVE_ROWS", 100, "Running requests, and finished ones, that the board shows.", most=1_000
)
LIVE_FRAME_BYTES = env.read_size_bytes(
    "LIVE_FRAME_BYTES", 128 * 2**10, "Largest message to a viewer; what does not fit is left out."
)
LIVE_RECHECK_SECONDS = env.read_seconds(
    "LIVE_RECHECK_SECONDS", 5, "A viewer's session and permission are checked again after it."
)

# --- limits of requests ---------------------------------------------------------------------------
env.begin_group("Limits of requests", "Bounds of requests; see docs/limits.md.")
BODY_LIMIT_BYTES = env.read_size_bytes(
    "BODY_LIMIT_BYTES", 16 * 2**20, "Largest body of a request with a valid API key or session."
)
OPEN_BODY_LIMIT_BYTES = env.read_size_bytes(
    "OPEN_BODY_LIMIT_BYTES",
    32 * 2**10,
    "Largest body of a request without a valid API key or session.",
)
FORM_LIMIT_BYTES = env.read_size_bytes(
    "FORM_LIMIT_BYTES",
    48 * 2**20,
    "Largest form with images or a recording for a model; it waits on disk, twice for a moment.",
)
BODY_MEMORY_BYTES = env.read_size_bytes(
    "BODY_MEMORY_BYTES",
    2**20,
    "One body takes so much memory while it arrives; the rest waits on disk.",
)
BODIES_BYTES = env.read_size_bytes(
    "BODIES_BYTES", 128 * 2**20, "Memory of all bodies in a process; more get a 503."
)
BODIES_BYTES_PER_KEY = env.read_count(
    "BODIES_BYTES_PER_KEY",
    64 * 2**20,
    "Memory of the bodies of one API key or user in a process; more get a 429; 0: no limit.",
    least=0,
)
BODIES_DISK_BYTES = env.read_size_bytes(
    "BODIES_DISK_BYTES", 2**30, "Disk space of the bodies that arrive at a process; more get a 503."
)
HEAD_LIMIT_BYTES = env.read_size_bytes(
    "HEAD_LIMIT_BYTES", 64 * 2**10, "Largest head (request line and headers) of a request."
)
HEAD_SECONDS = env.read_seconds("HEAD_SECONDS", 10, "A request's head must be complete within it.")
BODY_SECONDS = env.read_seconds("BODY_SECONDS", 60, "A request's body must be complete within it.")
STALL_SECONDS = env.read_seconds(
    "STALL_SECONDS", 60, "A caller that reads nothing of its answer for so long is dropped."
)
KEEPALIVE_SECONDS = env.read_whole_seconds(
    "KEEPALIVE_SECONDS", 75, "An idle connection of a caller is closed after it."
)
GRACE_SECONDS = env.read_whole_seconds(
    "GRACE_SECONDS", 30, "Running answers may finish within it after SIGTERM.", least=0
)
REQUESTS_IN_FLIGHT = env.read_count(
    "REQUESTS_IN_FLIGHT", 5_000, "Running requests of a process; more get a 503."
)
REQUESTS_IN_FLIGHT_PER_KEY = env.read_count(
    "REQUESTS_IN_FLIGHT_PER_KEY",
    1_000,
    "Running requests of one API key in a process; more get a 429; 0: no limit.",
    least=0,
)
RESPONSE_SOCKETS = env.read_count(
    "RESPONSE_SOCKETS",
    1_000,
    "WebSockets on /v1/responses per process; more get a 503; 0: there are none, and a client gets "
    "a 426.",
    least=0,
)
RESPONSE_SOCKETS_PER_KEY = env.read_count(
    "RESPONSE_SOCKETS_PER_KEY", 100, "WebSockets of one API key per process; more get a 429."
)
RESPONSE_SOCKET_MESSAGE_BYTES = env.read_size_bytes(
    "RESPONSE_SOCKET_MESSAGE_BYTES",
    16 * 2**20,
    "Largest message of a client on such a WebSocket; a larger one ends it (1009).",
)
RESPONSE_SOCKET_STATE_BYTES = env.read_size_bytes(
    "RESPONSE_SOCKET_STATE_BYTES",
    16 * 2**20,
    "A WebSocket remembers at most so much of its responses that are not stored.",
)
RESPONSE_SOCKETS_STATE_BYTES = env.read_size_bytes(
    "RESPONSE_SOCKETS_STATE_BYTES",
    256 * 2**20,
    "All WebSockets of a process remember at most so much together.",
)
RESPONSE_SOCKET_RUNNING_TURNS = env.read_count(
    "RESPONSE_SOCKET_RUNNING_TURNS", 16, "Turns that run on one WebSocket at the same time."
)
RESPONSE_SOCKET_WAITING_TURNS = env.read_count(
    "RESPONSE_SOCKET_WAITING_TURNS",
    32,
    "Turns that wait on one WebSocket for others to end; more get a 429.",
)
RESPONSE_SOCKET_LANES = env.read_count(
    "RESPONSE_SOCKET_LANES", 32, "Different `stream_id` values of one WebSocket."
)
RESPONSE_SOCKET_IDLE_SECONDS = env.read_seconds(
    "RESPONSE_SOCKET_IDLE_SECONDS", 900, "A WebSocket without a turn is closed after it."
)
RESPONSE_SOCKET_SECONDS = env.read_seconds(
    "RESPONSE_SOCKET_SECONDS", 3_600, "A WebSocket is closed after it, when its turns have ended."
)
JSON_DEPTH = env.read_count("JSON_DEPTH", 64, "Levels of lists and objects in a body.", most=500)
JSON_ITEMS = env.read_count(
    "JSON_ITEMS", 200_000, "Brackets, colons and commas of a body, those in texts not counted."
)
JSON_ESCAPES = env.read_count(
    "JSON_ESCAPES", 4_000_000, "Backslashes of a body; a text of nothing else is slow to parse."
)
JSON_INLINE_BYTES = env.read_size_bytes(
    "JSON_INLINE_BYTES",
    64 * 2**10,
    "Larger bodies are parsed in a thread, so that streams go on meanwhile.",
)
MESSAGES_LIMIT = env.read_count(
    "MESSAGES_LIMIT", 2_048, "Messages, items or prompts of one request."
)
INPUTS_LIMIT = env.read_count("INPUTS_LIMIT", 2_048, "Texts of one embeddings request.")
TOOLS_LIMIT = env.read_count("TOOLS_LIMIT", 128, "Tools or functions of one request.")
LOOP_STALL_SECONDS = env.read_seconds(
    "LOOP_STALL_SECONDS",
    0.2,
    "An event loop that stands still for so long is logged with its cause; 0: never.",
    least=0,
)
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT_BYTES

# --- limits of API keys, users and teams ----------------------------------------------------------
env.begin_group(
    "Limits of callers", "How requests keep to the limits of docs/limits-and-budgets.md."
)
LIMIT_WAIT_SECONDS = env.read_seconds(
    "LIMIT_WAIT_SECONDS",
    20,
    "Longest wait for money of a budget that running requests have reserved; then the request is "
    "refused.",
    least=0,
)
LIMIT_LEASE_SECONDS = env.read_seconds(
    "LIMIT_LEASE_SECONDS", 15, "After that time a killed process holds nothing of a limit.", least=1
)
RESERVED_COMPLETION_TOKENS = env.read_count(
    "RESERVED_COMPLETION_TOKENS",
    4_096,
    "Completion tokens for which money is reserved when a request sets no limit to them.",
)
DEFAULT_KEY_LIMITS = env.read_plain_text(
    "DEFAULT_KEY_LIMITS",
    "",
    "Limits of each new key that gets no others: rpm=60,tpm=100000,concurrency=4,budget=5/day.",
)

# --- playground -----------------------------------------------------------------------------------
env.begin_group("Playground", "The page where signed-in users try models; see docs/playground.md.")
PLAYGROUND = env.read_switch(
    "PLAYGROUND", True, "The page /playground/ exists; false: it is not found."
)
PLAYGROUND_KEY_SECONDS = env.read_whole_seconds(
    "PLAYGROUND_KEY_SECONDS",
    1_800,
    "The API key of a session of the playground ends after so long without use, and with the "
    "session.",
    least=60,
)
PLAYGROUND_MOST_KEYS = env.read_count(
    "PLAYGROUND_MOST_KEYS",
    2,
    "Keys of the playground that a user has at the same time, in as many sessions; each has the "
    "limits of the user's key once more.",
)
PLAYGROUND_TURN_TOKENS = env.read_count(
    "PLAYGROUND_TURN_TOKENS",
    32_768,
    "Earlier turns of a conversation, at most, when one of its turns is run again there.",
    least=0,
)

# --- files of users -------------------------------------------------------------------------------
env.begin_group("Files of users")
UPLOADS = env.read_count("UPLOADS", 64, "Uploads at the same time, per process.", least=0)
UPLOADS_PER_USER = env.read_count(
    "UPLOADS_PER_USER", 4, "Uploads of one user at the same time, per process.", least=0
)
FILE_LIMIT_BYTES = env.read_size_bytes("FILE_LIMIT_BYTES", 32 * 2**20, "Largest uploaded file.")
FILES_PER_USER = env.read_count("FILES_PER_USER", 1_000, "Files that a user may store.", least=0)
FILES_BYTES_PER_USER = env.read_count(
    "FILES_BYTES_PER_USER", 2 * 2**30, "Size of all files that a user may store.", least=0
)
UPLOAD_LIMIT_BYTES = env.read_size_bytes(
    "UPLOAD_LIMIT_BYTES",
    512 * 2**20,
    "Largest file that comes in parts (/v1/uploads); of one larger than FILE_LIMIT_BYTES no text "
    "is read.",
)
UPLOAD_PART_BYTES = env.read_size_bytes("UPLOAD_PART_BYTES", 64 * 2**20, "Largest part of a file.")
UPLOAD_PARTS = env.read_count("UPLOAD_PARTS", 1_000, "Parts of one file.", most=10_000)
UPLOAD_LIFETIME_SECONDS = env.read_seconds(
    "UPLOAD_LIFETIME_SECONDS", 3_600, "A file that comes in parts has to be complete within it."
)
UPLOADS_PENDING_PER_USER = env.read_count(
    "UPLOADS_PENDING_PER_USER", 20, "Files in parts of one user that are not complete."
)
FILE_TEXT_CHARS = env.read_count(
    "FILE_TEXT_CHARS", 4_000_000, "Longest text that one file or document may have."
)
FILE_TEXT_SECONDS = env.read_seconds(
    "FILE_TEXT_SECONDS", 10, "Reading the text of one file may take so long."
)
FILE_URL_SECONDS = env.read_seconds(
    "FILE_URL_SECONDS",
    10,
    "Fetching the files of one request by their URLs may take so long; 0: none is fetched, as "
    "where PROXY_URL is set.",
    least=0,
)
FILE_URL_ALLOW_PRIVATE = env.read_switch(
    "FILE_URL_ALLOW_PRIVATE", False, "URLs of files may lead to this machine or network."
)
UNFITTED_TEXT_CHARS = env.read_count(
    "UNFITTED_TEXT_CHARS",
    500_000,
    "Text of files in a request to a model whose context window is not known.",
)
# the next directory does not exist before the first `serve`
SILENCED_SYSTEM_CHECKS = ["files.E001"]
# the directory for uploads and large bodies while they arrive
FILE_UPLOAD_TEMP_DIR = str(HOME.root / "uploads")

# --- conversations --------------------------------------------------------------------------------
env.begin_group("Conversations", "See docs/conversations.md.")
CONVERSATION_WAIT_SECONDS = env.read_seconds(
    "CONVERSATION_WAIT_SECONDS",
    30,
    "A request waits so long for the turn before it, then gets a 409.",
    least=0,
)
TURN_LEASE_SECONDS = env.read_seconds(
    "TURN_LEASE_SECONDS", 60, "After a crash a conversation stays locked for so long at most."
)
CONTEXT_TOKENS = env.read_count(
    "CONTEXT_TOKENS", 32_768, "History that goes to a model whose context window is not known."
)
PROMPT_SHARE = env.read_share(
    "PROMPT_SHARE",
    0.8,
    "Part of a model's context window that a prompt may fill; the rest is for the answer.",
)
SESSION_IDLE_SECONDS = env.read_whole_seconds(
    "SESSION_IDLE_SECONDS",
    3_600,
    "A session without a turn for so long is deleted; 0: never.",
    least=0,
)
CONVERSATION_IDLE_SECONDS = env.read_whole_seconds(
    "CONVERSATION_IDLE_SECONDS",
    2_592_000,
    "Any other conversation without a turn for so long is deleted; 0: never.",
    least=0,
)
RESPONSE_KEEP_SECONDS = env.read_whole_seconds(
    "RESPONSE_KEEP_SECONDS",
    2_592_000,
    "Stored responses and completions are deleted after it; 0: never.",
    least=0,
)
BACKGROUND_PER_USER = env.read_count(
    "BACKGROUND_PER_USER",
    100,
    "Background responses of a user at the same time, per process; 0: no limit.",
    least=0,
)
STORED_ANSWER_BYTES = env.read_size_bytes(
    "STORED_ANSWER_BYTES",
    16 * 2**20,
    "Largest stored answer; of a longer one the beginning is kept.",
)
STORED_BYTES_PER_USER = env.read_count(
    "STORED_BYTES_PER_USER",
    4 * 2**30,
    "Size of everything that is stored for a user; 0: no limit.",
    least=0,
)
SEARCH_TEXT_CHARS = env.read_count(
    "SEARCH_TEXT_CHARS", 20_000, "Text of one item that is indexed for search.", most=100_000
)
AUDIT_READING = env.read_switch(
    "AUDIT_READING",
    True,
    "The history of a conversation notes who of the staff opened it, if it is not their own.",
)
FAREWELL_TRIES = env.read_count(
    "FAREWELL_TRIES",
    8,
    "Attempts to delete a chat at the upstream that keeps it; all together take about a day.",
    least=0,
)

# --- long documents -------------------------------------------------------------------------------
env.begin_group("Long documents", "See docs/long-documents.md.")
DOCUMENT_SECONDS = env.read_seconds(
    "DOCUMENT_SECONDS", 30, "Dividing one document into passages may take so long."
)
DOCUMENTS_PER_USER = env.read_count(
    "DOCUMENTS_PER_USER", 1_000, "Documents that a user may have.", least=0
)
DOCUMENT_IDLE_SECONDS = env.read_whole_seconds(
    "DOCUMENT_IDLE_SECONDS",
    604_800,
    "A text of a request that is not used for so long is deleted.",
    least=0,
)
DOCUMENT_CACHE_BYTES = env.read_size_bytes(
    "DOCUMENT_CACHE_BYTES",
    128 * 2**20,
    "Indexes of documents that are kept in memory, per process.",
    least=0,
)
EMBEDDING_MODEL = env.read_plain_text(
    "EMBEDDING_MODEL",
    "",
    "Public id of an embedding model, or local; empty: documents are searched by words alone.",
)
EMBEDDING_SECONDS = env.read_seconds(
    "EMBEDDING_SECONDS", 5, "A question waits so long for its embedding."
)

# --- time limits of an upstream call --------------------------------------------------------------
env.begin_group("Time limits of upstreams", "A provider's row may set the first four otherwise.")
CONNECT_SECONDS = env.read_seconds(
    "CONNECT_SECONDS", 5, "Connecting to an upstream may take so long."
)
FIRST_BYTE_SECONDS = env.read_seconds(
    "FIRST_BYTE_SECONDS", 120, "A streamed answer must begin within it."
)
GAP_SECONDS = env.read_seconds("GAP_SECONDS", 60, "Longest pause between two pieces of a stream.")
TOTAL_SECONDS = env.read_seconds(
    "TOTAL_SECONDS", 600, "One request with all its attempts may take so long."
)
TAIL_SECONDS = env.read_seconds(
    "TAIL_SECONDS",
    5,
    "A stream may take so long for usage and [DONE] after its finish reason.",
    least=0,
)
PING_SECONDS = env.read_seconds(
    "PING_SECONDS", 10, "After so much silence a comment (or ping) is sent to the caller."
)

# --- failover -------------------------------------------------------------------------------------
env.begin_group("Failover", "Which attempts follow a failed one; see docs/errors.md.")
MAX_ATTEMPTS = env.read_count(
    "MAX_ATTEMPTS",
    3,
    "Attempts of one request that the provider fails; one more while it answers others.",
)
MAX_TOKENS_TRIED = env.read_count(
    "MAX_TOKENS_TRIED", 20, "Tokens tried for one request; those that are refused cost no pause."
)
ONLY_TOKEN_RETRIES = env.read_count(
    "ONLY_TOKEN_RETRIES",
    2,
    "Retries with the last credential that is left, after a failure that may be temporary.",
    least=0,
)
LAST_CHANCE_SECONDS = env.read_seconds(
    "LAST_CHANCE_SECONDS",
    2,
    "A request that failed so often waits for the success of others, then tries once more.",
)
ATTEMPT_PAUSE_SECONDS = env.read_seconds(
    "ATTEMPT_PAUSE_SECONDS", 0.5, "Pause before a provider that failed is asked again.", least=0
)
RETRY_SHARE = env.read_share(
    "RETRY_SHARE", 0.2, "Retries at a failing provider, as a share of its requests in 10 seconds."
)
RETRIES_PER_SECOND = env.read_count(
    "RETRIES_PER_SECOND", 3, "The same as a number per second, if that is more.", least=0
)
NAME_UPSTREAMS = env.read_switch(
    "NAME_UPSTREAMS",
    True,
    "The headers x-proxysite-provider and x-proxysite-model name who answered.",
)
TOOL_SUPPORT = env.read_switch(
    "TOOL_SUPPORT",
    True,
    "The prompt explains tools to models that cannot call them; false: they refuse tools.",
)

# --- states of tokens and providers ---------------------------------------------------------------
env.begin_group("States of tokens and providers")
MAX_TOKEN_FAILURES = env.read_count(
    "MAX_TOKEN_FAILURES", 3, "Consecutive strikes that disable a token."
)
REST_SECONDS = env.read_seconds(
    "REST_SECONDS",
    5,
    "Cooldown of a rate-limited token whose upstream names no time; it doubles each time.",
    least=0,
)
MAX_REST_SECONDS = env.read_seconds(
    "MAX_REST_SECONDS", 3_600, "Longest cooldown of a rate-limited token."
)
QUOTA_REST_SECONDS = env.read_seconds(
    "QUOTA_REST_SECONDS", 3_600, "Cooldown of an exhausted token whose reset time is not known."
)
FAILING_SECONDS = env.read_seconds(
    "FAILING_SECONDS",
    5,
    "Cooldown of a token that fails while others answer; it doubles each time.",
)
MAX_FAILING_SECONDS = env.read_seconds(
    "MAX_FAILING_SECONDS", 300, "Longest cooldown of a failing token."
)
MAX_PROVIDER_REST_SECONDS = env.read_seconds(
    "MAX_PROVIDER_REST_SECONDS",
    60,
    "Longest cooldown of a provider that limits all its tokens together.",
)
BREAKER_FAILURES = env.read_count(
    "BREAKER_FAILURES",
    5,
    "Failed requests that open a circuit breaker, if they are half of the latest.",
)
BREAKER_SECONDS = env.read_seconds(
    "BREAKER_SECONDS",
    10,
    "A circuit breaker stays open so long, then one request probes; doubles up to a minute.",
)

# --- connections to upstreams ---------------------------------------------------------------------
env.begin_group("Connections to upstreams")
PROXY_URL = env.read_url(
    "PROXY_URL",
    "",
    "Proxy to upstreams, for example socks5://127.0.0.1:1080; not for those with “allow private”.",
    schemes=("http", "https", "socks5", "socks5h"),
)
UPSTREAM_ANSWER_BYTES = env.read_size_bytes(
    "UPSTREAM_ANSWER_BYTES", 64 * 2**20, "Largest whole answer of an upstream."
)
UPSTREAM_EVENT_BYTES = env.read_size_bytes(
    "UPSTREAM_EVENT_BYTES", 8 * 2**20, "Largest event of a stream."
)
UPSTREAM_STREAM_BYTES = env.read_size_bytes("UPSTREAM_STREAM_BYTES", 512 * 2**20, "Largest stream.")
UPSTREAM_IDLE_SECONDS = env.read_seconds(
    "UPSTREAM_IDLE_SECONDS", 30, "An idle connection is used again within it."
)
RESEND_SECONDS = env.read_seconds(
    "RESEND_SECONDS",
    1,
    "A reused connection that closes so soon is replaced, and the request sent again.",
    least=0,
)
DNS_KEEP_SECONDS = env.read_seconds(
    "DNS_KEEP_SECONDS", 30, "The addresses of a host are used again within it.", least=0
)
DNS_STALE_SECONDS = env.read_seconds(
    "DNS_STALE_SECONDS",
    300,
    "Old addresses are used for so long while a new look-up fails.",
    least=0,
)
DNS_FAILED_SECONDS = env.read_seconds(
    "DNS_FAILED_SECONDS", 5, "A name that was not found is not looked up again within it.", least=0
)
DNS_LOOKUPS = env.read_count(
    "DNS_LOOKUPS", 64, "Look-ups at the same time for all hosts, per process; two for one host."
)

# --- web search -----------------------------------------------------------------------------------
env.begin_group("Web search")
SEARCH_BACKEND = env.read_choice(
    "SEARCH_BACKEND",
    "",
    "Backend of /v1/web_search; empty: it answers 501.",
    values=("searxng", "brave", "tavily"),
)
SEARCH_URL = env.read_url(
    "SEARCH_URL",
    "",
    "Address of a SearXNG that allows the format json; Brave and Tavily need none.",
    schemes=("https", "http"),
)
SEARCH_KEY = env.read_secret("SEARCH_KEY", "API key of Brave or Tavily.")
SEARCH_ALLOW_PRIVATE = env.read_switch(
    "SEARCH_ALLOW_PRIVATE", False, "SEARCH_URL may be on this machine or network, and plain http."
)
SEARCH_SECONDS = env.read_seconds("SEARCH_SECONDS", 15, "One search may take so long.")
SEARCH_ANSWER_BYTES = env.read_size_bytes(
    "SEARCH_ANSWER_BYTES", 4 * 2**20, "Largest answer of the backend."
)

# --- tools that the gateway runs ------------------------------------------------------------------
env.begin_group(
    "Tools that the gateway runs",
    "For /v1/responses and /v1/chat/completions; off by default. See docs/server-side-tools.md.",
)
SERVER_TOOLS = env.read_names(
    "SERVER_TOOLS",
    [],
    "Tools that the gateway runs for all models: web_search, mcp, file_search; a model's row may "
    "name others.",
)
SERVER_TOOL_ROUNDS = env.read_count(
    "SERVER_TOOL_ROUNDS", 10, "Upstream calls of one request with such tools, the answer included."
)
SERVER_TOOL_CALLS = env.read_count(
    "SERVER_TOOL_CALLS", 32, "Calls of such tools for one request; max_tool_calls may lower it."
)
SERVER_TOOL_SECONDS = env.read_seconds(
    "SERVER_TOOL_SECONDS", 300, "After this time a request calls no further tools."
)
SERVER_TOOL_RESULT_BYTES = env.read_size_bytes(
    "SERVER_TOOL_RESULT_BYTES", 64 * 2**10, "Text of one result that the model gets.", least=256
)
MCP_CALL_SECONDS = env.read_seconds(
    "MCP_CALL_SECONDS", 60, "One call of an MCP server may take so long."
)
MCP_ANSWER_BYTES = env.read_size_bytes(
    "MCP_ANSWER_BYTES", 2**20, "Largest answer of an MCP server.", least=1_024
)
MCP_TOOLS_SECONDS = env.read_seconds(
    "MCP_TOOLS_SECONDS", 300, "The list of a server's tools is kept so long."
)
MCP_SERVERS_LIMIT = env.read_count("MCP_SERVERS_LIMIT", 8, "MCP servers of one request.")

# --- life of tokens -------------------------------------------------------------------------------
env.begin_group(
    "Life of tokens", "Renewal, checks, and the claims of tokens that have one stream at a time."
)
RENEW_BEFORE_SECONDS = env.read_seconds(
    "RENEW_BEFORE_SECONDS", 600, "A token is renewed so long before it expires.", least=0
)
RENEW_LEASE_SECONDS = env.read_seconds(
    "RENEW_LEASE_SECONDS", 30, "One process has so long to renew a token, then another one may."
)
REFRESH_WINDOW_SECONDS = env.read_seconds(
    "REFRESH_WINDOW_SECONDS",
    300,
    "A pool whose tokens fail is renewed as a whole at most once within it.",
    least=0,
)
CLAIM_SECONDS = env.read_seconds(
    "CLAIM_SECONDS", 60, "After a crash the claim of a token's only stream lasts so long at most."
)
CLAIM_WAIT_SECONDS = env.read_seconds(
    "CLAIM_WAIT_SECONDS",
    30,
    "A request waits so long while the streams of all tokens are in use.",
    least=0,
)
RESUME_WAIT_SECONDS = env.read_seconds(
    "RESUME_WAIT_SECONDS",
    3,
    "A request waits so long for the token of its own conversation.",
    least=0,
)
CHECK_SECONDS = env.read_seconds("CHECK_SECONDS", 3_600, "Every token is checked once within it.")
CHECKS_PER_MINUTE = env.read_count(
    "CHECKS_PER_MINUTE", 60, "Checks of one provider's tokens per minute; more wait for their turn."
)
TRANSITION_DAYS = env.read_count(
    "TRANSITION_DAYS", 30, "Changes of token states are kept for so long.", least=0
)
TOMBSTONE_SECONDS = env.read_seconds(
    "TOMBSTONE_SECONDS",
    86_400,
    "A process that is away for longer reads all tokens and API keys anew.",
)
TOKEN_COUNTERS_SECONDS = env.read_seconds(
    "TOKEN_COUNTERS_SECONDS", 10, "The request counts of tokens are written so often."
)
TOKEN_COUNTERS_ROWS = env.read_count(
    "TOKEN_COUNTERS_ROWS", 5_000, "The counts of so many tokens are written each time."
)
STICKY_CONVERSATIONS = env.read_count(
    "STICKY_CONVERSATIONS", 10_000, "Conversations whose token is remembered, per process.", least=0
)

# --- import and export of tokens ------------------------------------------------------------------
env.begin_group("Import and export of tokens", "See docs/importing-tokens.md.")
IMPORT_BYTES = env.read_size_bytes(
    "IMPORT_BYTES",
    64 * 2**20,
    "Largest file of tokens; a page takes no more than BODY_LIMIT_BYTES.",
)
IMPORT_LINES = env.read_count("IMPORT_LINES", 500_000, "Most lines of a file of tokens.")
IMPORT_LINE_CHARS = env.read_count(
    "IMPORT_LINE_CHARS", 65_536, "Characters of a line of it; a longer line is malformed."
)
IMPORT_INLINE_LINES = env.read_count(
    "IMPORT_INLINE_LINES",
    2_000,
    "A page waits for an import of so many lines; the worker does larger ones.",
    least=0,
)
IMPORT_TEXT_SECONDS = env.read_whole_seconds(
    "IMPORT_TEXT_SECONDS",
    3_600,
    "An upload is kept sealed for so long, until it is imported.",
)
IMPORT_VERDICT_DAYS = env.read_count(
    "IMPORT_VERDICT_DAYS", 30, "Days after which the verdicts of an import are deleted."
)
REAUTHENTICATION_SECONDS = env.read_whole_seconds(
    "REAUTHENTICATION_SECONDS",
    300,
    "A password that was entered again, before an export of secrets, holds for so long.",
)

# --- usage ----------------------------------------------------------------------------------------
env.begin_group("Usage", "Usage records and their sums; see docs/usage.md.")
USAGE_DAYS = env.read_count(
    "USAGE_DAYS",
    0,
    "Days after which usage records are deleted; their sums stay. 0: the records stay, too.",
    least=0,
)
REQUEST_SEARCH_SECONDS = env.read_seconds(
    "REQUEST_SEARCH_SECONDS",
    0.08,
    "Time for which the list of requests in the admin looks through records without an index.",
)
REQUEST_EXPORT_ROWS = env.read_count(
    "REQUEST_EXPORT_ROWS", 100_000, "Requests in one CSV file of the admin.", most=10_000_000
)
USAGE_GROUPS = env.read_count(
    "USAGE_GROUPS", 10_000, "Most groups of one answer of /v1/usage and of the command `usage`."
)

# --- batches --------------------------------------------------------------------------------------
env.begin_group("Batches", "Many requests in one file; see docs/batches.md.")
BATCH_FILE_BYTES = env.read_size_bytes(
    "BATCH_FILE_BYTES", 200 * 2**20, "Largest uploaded file with the purpose batch."
)
BATCH_LINES = env.read_count("BATCH_LINES", 100_000, "Lines that one batch may have.")
BATCH_LINE_BYTES = env.read_size_bytes("BATCH_LINE_BYTES", 4 * 2**20, "Longest line of a batch.")
BATCH_OUTPUT_BYTES = env.read_count(
    "BATCH_OUTPUT_BYTES",
    2 * 2**30,
    "Size of all answers of a batch; beyond it the other lines are not asked.",
)
BATCHES_PER_USER = env.read_count(
    "BATCHES_PER_USER", 20, "Unfinished batches that a user may have."
)
BATCH_SECONDS = env.read_whole_seconds(
    "BATCH_SECONDS", 86_400, "The completion window of 24h: a batch expires after so long."
)
BATCHES_AT_ONCE = env.read_count(
    "BATCHES_AT_ONCE", 4, "Batches that one process runs at the same time."
)
BATCH_LINES_AT_ONCE = env.read_count(
    "BATCH_LINES_AT_ONCE", 8, "Lines of one batch that are answered at the same time.", most=1_000
)
BATCH_SPARE_SHARE = env.read_share(
    "BATCH_SPARE_SHARE",
    0.2,
    "Part of the requests and tokens per minute that batches leave to other requests.",
)
BATCH_LINE_TRIES = env.read_count(
    "BATCH_LINE_TRIES", 4, "A line whose upstream fails is asked so many times at most."
)
BATCH_QUOTA_SECONDS = env.read_whole_seconds(
    "BATCH_QUOTA_SECONDS",
    3_600,
    "A batch whose budget is spent waits so long for money; then its lines fail.",
    least=0,
)
BATCH_LEASE_SECONDS = env.read_seconds(
    "BATCH_LEASE_SECONDS", 30, "After a crash another process takes a batch up so much later."
)
BATCH_DAYS = env.read_count(
    "BATCH_DAYS", 90, "Days after its end until a batch is deleted; its files end by themselves."
)

# --- idempotent requests --------------------------------------------------------------------------
env.begin_group("Idempotent requests", "Requests with an Idempotency-Key; see docs/idempotency.md.")
IDEMPOTENCY_SECONDS = env.read_whole_seconds(
    "IDEMPOTENCY_SECONDS", 86_400, "An answer is kept for so long for its key.", least=0
)
IDEMPOTENCY_LEASE_SECONDS = env.read_seconds(
    "IDEMPOTENCY_LEASE_SECONDS", 30, "After a crash a key stays locked for so long at most."
)
IDEMPOTENCY_ANSWER_BYTES = env.read_size_bytes(
    "IDEMPOTENCY_ANSWER_BYTES", 2**20, "Largest answer that is kept."
)
IDEMPOTENCY_BYTES_PER_USER = env.read_count(
    "IDEMPOTENCY_BYTES_PER_USER",
    64 * 2**20,
    "Size of a user's kept answers; beyond it the oldest are deleted.",
)
IDEMPOTENCY_KEYS_PER_USER = env.read_count(
    "IDEMPOTENCY_KEYS_PER_USER",
    2_000,
    "Number of a user's kept answers; beyond it the oldest are deleted.",
)

# --- deletions ------------------------------------------------------------------------------------
env.begin_group("Deletions")
DELETION_WAIT_SECONDS = env.read_number(
    "DELETION_WAIT_SECONDS",
    2,
    "A page waits so long for a deletion, then the worker goes on with it.",
)
DELETION_RUN_SECONDS = env.read_number(
    "DELETION_RUN_SECONDS", 20, "One task deletes for so long, then a new task goes on."
)

# --- actions on many tokens -----------------------------------------------------------------------
env.begin_group("Actions on many tokens")
ORDER_RUN_SECONDS = env.read_number(
    "ORDER_RUN_SECONDS",
    20,
    "One task checks or changes tokens for so long, then a new task goes on.",
)
CONNECTION_TEST_SECONDS = env.read_number(
    "CONNECTION_TEST_SECONDS", 45, "A person waits no longer for the test of a connection."
)

# --- usage records --------------------------------------------------------------------------------
env.begin_group("Usage records")
SPOOL_LIMIT_BYTES = env.read_size_bytes(
    "SPOOL_LIMIT_BYTES", 64 * 2**20, "Usage records on disk while the database is away.", least=0
)
UNWRITTEN_LIMIT_BYTES = env.read_size_bytes(
    "UNWRITTEN_LIMIT_BYTES", 16 * 2**20, "Usage records in memory while the disk is full too."
)
DISK_WARNING_BYTES = env.read_size_bytes(
    "DISK_WARNING_BYTES",
    2**30,
    "The overview warns when less is free on the disk of PROXYSITE_HOME.",
    least=0,
)
BACKUP_WARN_DAYS = env.read_count(
    "BACKUP_WARN_DAYS",
    7,
    "The overview warns when the last run of backup is so many days ago; 0: never.",
    least=0,
    most=3_650,
)
COUNT_INLINE_BYTES = env.read_size_bytes(
    "COUNT_INLINE_BYTES", 16 * 2**10, "The tokens of longer texts are counted in a thread.", least=0
)
COUNT_EXACT_CHARS = env.read_count(
    "COUNT_EXACT_CHARS", 2**20, "Of longer texts only a sample is counted."
)
COUNT_KEPT_BYTES = env.read_size_bytes(
    "COUNT_KEPT_BYTES",
    4 * 2**20,
    "Text of one answer that is kept to count its tokens when the upstream does not.",
)
COUNT_CACHE_CHARS = env.read_count(
    "COUNT_CACHE_CHARS", 2**20, "Counted text after which the tokenizer forgets its cache of words."
)
KEY_CACHE_SIZE = env.read_count(
    "KEY_CACHE_SIZE", 20_000, "API keys that are kept in memory, per process."
)

# --- alerts ---------------------------------------------------------------------------------------
env.begin_group("Alerts", "About budgets, limits and prices; see docs/alerts.md.")
ALERT_WEBHOOK_URL = env.read_secret(
    "ALERT_WEBHOOK_URL", "Address that gets alerts as signed JSON, for example https://host/path."
)
ALERT_WEBHOOK_SECRET = env.read_secret(
    "ALERT_WEBHOOK_SECRET",
    "Signs them: whsec_ and the base64 of 32 random bytes or more; or a text of 32 bytes or more.",
)
ALERT_ALLOW_PRIVATE = env.read_switch(
    "ALERT_ALLOW_PRIVATE",
    False,
    "ALERT_WEBHOOK_URL may be on this machine or network, and plain http.",
)
ALERT_WEBHOOK_SECONDS = env.read_number(
    "ALERT_WEBHOOK_SECONDS",
    20,
    "One attempt at the webhook may take so long.",
    least=0.001,
    most=120,
)
ALERT_EMAILS = env.read_emails(
    "ALERT_EMAILS", [], "Operators who get every alert by e-mail; needs EMAIL_URL."
)
ALERT_TRIES = env.read_count(
    "ALERT_TRIES",
    16,
    "Attempts at one delivery; by default all together take about 30 hours.",
    most=1_000,
)
ALERT_RETRY_SECONDS = env.read_seconds(
    "ALERT_RETRY_SECONDS", 10, "Pause after the first failed attempt; it doubles each time."
)
ALERT_RETRY_MAX_SECONDS = env.read_seconds(
    "ALERT_RETRY_MAX_SECONDS", 21_600, "Longest pause between two attempts."
)
ALERT_KEEP_DAYS = env.read_count(
    "ALERT_KEEP_DAYS", 400, "Alerts are kept for so long.", least=60, most=36_500
)
EMAIL_URL = env.read_secret(
    "EMAIL_URL",
    "Mail server: smtp://, smtp+tls:// (STARTTLS) or smtp+ssl://, then user:password@host:port.",
)
EMAIL_FROM = env.read_plain_text(
    "EMAIL_FROM", "proxysite@localhost", "Sender of e-mails, for example alerts@gateway.example."
)
EMAIL_SECONDS = env.read_number(
    "EMAIL_SECONDS", 10, "A mail server may be silent for so long.", least=0.001, most=20
)
globals().update(email_settings.read_mail_server(env, EMAIL_URL))
EMAIL_TIMEOUT = EMAIL_SECONDS
DEFAULT_FROM_EMAIL = EMAIL_FROM

# --- credentials of the K2Think and Kimi proxies: taken into rows at each start -------------------
env.begin_group(
    "Coming from the K2Think and Kimi proxies",
    "Read at each start, each value once; see docs/coming-from-k2think-and-kimi.md.",
)
VALID_API_KEY = env.read_secret("VALID_API_KEY", "An API key of a user whom all share.")
DEFAULT_AUTHKEYS = env.read_names("DEFAULT_AUTHKEYS", [], "More such API keys.", is_secret=True)
KIMI_TOKENS = env.read_names("KIMI_TOKENS", [], "Tokens of Kimi's web site.", is_secret=True)
K2THINK_TOKEN = env.read_names(
    "K2THINK_TOKEN", [], "Tokens of K2-Think's web site.", is_secret=True
)
CREDENTIALS_FOLDER = env.read_plain_text(
    "CREDENTIALS_FOLDER", "", "Directory of these files; empty: the one in which `serve` starts."
)
TOKENS_FILE = env.read_plain_text("TOKENS_FILE", "", "File of tokens for TOKENS_PROVIDER.")
USER_TOKENS_FILE = env.read_plain_text(
    "USER_TOKENS_FILE", "", "The same; it wins over TOKENS_FILE."
)
GUEST_TOKENS_FILE = env.read_plain_text(
    "GUEST_TOKENS_FILE", "", "Not needed: a guest has no token."
)
ACCOUNTS_FILE = env.read_plain_text(
    "ACCOUNTS_FILE", "", "File of accounts: email:password lines, or JSON."
)
TOKENS_PROVIDER = env.read_plain_text(
    "TOKENS_PROVIDER", "k2think-web", "Provider of the tokens in these files."
)
PROXY_MODE = env.read_plain_text(
    "PROXY_MODE", "", "Mode of the provider k2think-web: guest or user."
)
USER_API_URL = env.read_plain_text("USER_API_URL", "", "Base URL of K2-Think for users.")
GUEST_API_URL = env.read_plain_text("GUEST_API_URL", "", "Base URL of K2-Think for guests.")
OUTPUT_THINKING = env.read_switch(
    "OUTPUT_THINKING", True, "False: the models of k2think-web hide their thinking."
)
PASSTHROUGH_PROVIDER = env.read_plain_text(
    "PASSTHROUGH_PROVIDER",
    "",
    "Provider whose tokens a caller may send in place of an API key; in force on every start.",
)

# --- logging --------------------------------------------------------------------------------------
env.begin_group("Logging")
LOG_LEVEL = env.read_choice(
    "LOG_LEVEL",
    "INFO",
    "Least important lines that are logged.",
    values=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
)
LOG_FORMAT = env.read_choice(
    "LOG_FORMAT",
    "line",
    "Form of a line in the log: text for people, or one JSON object for programs.",
    values=("line", "json"),
)
LOGGING = build_logging_config(LOG_LEVEL, LOG_FORMAT)
LOGGING_CONFIG = "logging.config.dictConfig"

# --- faults of the settings -----------------------------------------------------------------------
env.add_spelling_warnings((*env_aliases.ALIASES, *env_aliases.DEBUG_VARIABLES))
env.raise_problems()
# declarations, values in force and their sources, for `show_settings` and the commands
DECLARED = env.declared_settings
SETTING_GROUPS = env.groups
SETTING_WARNINGS = env.warnings

# --- secrets: only now, so that `serve` makes no home for settings that are wrong -----------------
_secrets = locations.complete_secrets(env, HOME, _given_secrets, makes_home=IS_SERVING)
HAS_SECRETS = _secrets.are_stored  # otherwise they are random, for commands that need none
SECRET_KEY = _secrets["SECRET_KEY"]
# "id:base64 of 32 bytes" each; the first encrypts, all decrypt
FIELD_KEYS = _secrets["FIELD_KEYS"].split(",")
# for digests of API keys and fingerprints of tokens; a change voids every API key
KEY_PEPPER = _secrets["KEY_PEPPER"]
if HAS_SECRETS:
    locations.make_home_folders(HOME)

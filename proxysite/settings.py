"""Every setting, read from the environment or a `.env` file beside manage.py.

`.env.example` lists the settings that a person may set. The rest of the project reads
`django.conf.settings` only. Limits carry their unit in the name, and each has a default. Each
setting is declared by one line that knows its type and range
(`proxysite.configuration.declarations`). Values that are not allowed end the program with one line
for each variable.
"""

import sys
from pathlib import Path
from typing import Any

from proxysite.configuration import database_settings, declarations, locations
from proxysite.first_run import env_aliases
from proxysite.home import Home
from proxysite.logging import build_logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
env = declarations.load_environment(BASE_DIR / ".env")
env.record_aliases(env_aliases.apply_aliases(env.variables))

# --- the home and its secrets ---------------------------------------------------------------------
IS_SERVING = locations.is_serving(sys.argv)  # only `serve` makes a home; all others find one
# the file in which `serve` notes its home, for commands beside it
MARKER_FILE = locations.declare_marker_file(env, BASE_DIR)
if not IS_SERVING:
    locations.suggest_home(env, MARKER_FILE)
HOME = Home(env.read_folder("PROXYSITE_HOME", BASE_DIR / "var", beside=BASE_DIR))
if not IS_SERVING:
    locations.suggest_database(env, HOME)
_given_secrets = {  # missing ones are read from the home at the end of this file
    "SECRET_KEY": env.read_secret("SECRET_KEY"),
    "FIELD_KEYS": env.read_secret("FIELD_KEYS"),
    "KEY_PEPPER": env.read_secret("KEY_PEPPER"),
}

# --- addresses, hosts and https -------------------------------------------------------------------
VERSION = "0.1.0"
DEBUG = env.read_switch("DJANGO_DEBUG", False)
BEHIND_TLS = env.read_switch(
    "BEHIND_TLS", False
)  # people reach the site over https, through a proxy
HOST = env.read_plain_text("HOST", "127.0.0.1")
PORT = env.read_count("PORT", 8000, least=0, most=65_535)
# names of the admin and other pages; /v1/ and probes answer under any name
ALLOWED_HOSTS = env.read_host_names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.read_origins("CSRF_TRUSTED_ORIGINS", [])
CORS_ALLOWED_ORIGINS = env.read_origins("CORS_ALLOWED_ORIGINS", [], wildcard=True)
CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ALLOWED_ORIGINS  # under /v1/ no cookie counts, only API keys
CORS_ALLOWED_ORIGINS = [origin for origin in CORS_ALLOWED_ORIGINS if origin != "*"]
CORS_URLS_REGEX = r"^/v1/.*$"
CORS_ALLOW_HEADERS = [
    *(
        "accept",
        "authorization",
        "content-type",
        "idempotency-key",
        "user-agent",
        "x-api-key",
        "x-requested-with",
    ),
    *(
        "openai-organization",
        "openai-project",
        "x-stainless-arch",
        "x-stainless-lang",
        "x-stainless-os",
    ),
    *(
        "x-stainless-package-version",
        "x-stainless-retry-count",
        "x-stainless-runtime",
        "x-stainless-timeout",
    ),
    *(
        "x-stainless-runtime-version",
        "x-stainless-async",
        "x-stainless-read-timeout",
        "x-stainless-helper-method",
    ),
]
CORS_EXPOSE_HEADERS = [
    *(
        "x-request-id",
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
    ),
    *("idempotent-replayed", "idempotent-stored", "x-proxysite-provider", "x-proxysite-model"),
]
CORS_PREFLIGHT_MAX_AGE = 86_400
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
# browsers insist on https for so long; 0: they do not
HSTS_SECONDS = env.read_whole_seconds("HSTS_SECONDS", 31_536_000, least=0)
HSTS_SUBDOMAINS = env.read_switch("HSTS_SUBDOMAINS", True)
SECURE_HSTS_SECONDS = HSTS_SECONDS if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS and HSTS_SUBDOMAINS
# Only pages for people redirect to https: programs follow no redirect of a POST, and may call
# the gateway directly, beside its proxy.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^health$", r"^v1(/|$)"]
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = env.read_whole_seconds("ADMIN_SESSION_SECONDS", 43_200)
X_FRAME_OPTIONS = "DENY"

# --- apps, middleware and templates ---------------------------------------------------------------
INSTALLED_APPS = [
    # only `runserver` needs daphne, whose Twisted takes 19 MB
    *(["daphne"] if "runserver" in sys.argv else []),
    "django.contrib.admin",
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
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
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
TRUSTED_PROXIES = env.read_networks(
    "TRUSTED_PROXIES", []
)  # proxies whose X-Forwarded-For is believed
AXES_FAILURE_LIMIT = env.read_count(
    "LOGIN_FAILURE_LIMIT", 10
)  # failures of one name from one address
# failures from one address, whatever the names
LOGIN_ADDRESS_LIMIT = env.read_count("LOGIN_ADDRESS_LIMIT", 50)
# failures of one name from anywhere; then its tries are slowed down
LOGIN_NAME_LIMIT = env.read_count("LOGIN_NAME_LIMIT", 100)
# between two tries of such a name
LOGIN_NAME_PAUSE_SECONDS = env.read_seconds("LOGIN_NAME_PAUSE_SECONDS", 10)
# an address from which a user has logged in stays known for so long
LOGIN_KNOWN_DAYS = env.read_count("LOGIN_KNOWN_DAYS", 90)
AXES_COOLOFF_TIME = env.read_number("LOGIN_LOCK_HOURS", 0.25, least=0.001, most=8_760)
LOGINS_AT_ONCE = env.read_count(
    "LOGINS_AT_ONCE", 1
)  # passwords hashed at the same time, per process
LOGINS_WAITING = env.read_count(
    "LOGINS_WAITING", 20
)  # logins that wait, per process; more get a 503
LOGINS_WAITING_PER_ADDRESS = env.read_count("LOGINS_WAITING_PER_ADDRESS", 5)
LOGIN_WAIT_SECONDS = env.read_seconds("LOGIN_WAIT_SECONDS", 10)
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
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["api.schemas.drf_parsers.BoundedJSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "EXCEPTION_HANDLER": "api.exceptions.rest_framework_handler",
    "UNAUTHENTICATED_USER": None,
}
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = HOME.root / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- database -------------------------------------------------------------------------------------
DATABASE_URL = env.read_database_url(
    "DATABASE_URL", locations.sqlite_url(HOME.root / "proxysite.sqlite3")
)
# a database that does not answer within it counts as away
DATABASE_TIMEOUT_SECONDS = env.read_whole_seconds("DATABASE_TIMEOUT_SECONDS", 2)
DATABASES = {
    "default": database_settings.build_database_settings(
        locations.parse_database_url(env, DATABASE_URL),
        wait_seconds=DATABASE_TIMEOUT_SECONDS,
        statement_seconds=env.read_whole_seconds("STATEMENT_TIMEOUT_SECONDS", 30),
        pool_size=env.read_count("DATABASE_POOL_SIZE", 14),
    )
}
EMBEDDED_DATABASE = DATABASES["default"]["ENGINE"].endswith("sqlite3")

# --- Redis, Celery, channels ----------------------------------------------------------------------
REDIS_URL = env.read_url("REDIS_URL", "", ("redis", "rediss", "unix"))
# Celery worker and beat run as threads of `serve`
EMBEDDED_WORKER = env.read_switch("EMBEDDED_WORKER", True)
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

# --- limits of requests ---------------------------------------------------------------------------
BODY_LIMIT_BYTES = env.read_size_bytes("BODY_LIMIT_BYTES", 16 * 2**20)
# of a request without a valid API key or session
OPEN_BODY_LIMIT_BYTES = env.read_size_bytes("OPEN_BODY_LIMIT_BYTES", 32 * 2**10)
HEAD_LIMIT_BYTES = env.read_size_bytes("HEAD_LIMIT_BYTES", 64 * 2**10)
HEAD_SECONDS = env.read_seconds("HEAD_SECONDS", 10)  # a request's head must be complete within it
BODY_SECONDS = env.read_seconds("BODY_SECONDS", 60)  # a request's body must be complete within it
# a caller that reads nothing for so long is dropped
STALL_SECONDS = env.read_seconds("STALL_SECONDS", 60)
KEEPALIVE_SECONDS = env.read_whole_seconds("KEEPALIVE_SECONDS", 75)
# running answers may finish within it after SIGTERM
GRACE_SECONDS = env.read_whole_seconds("GRACE_SECONDS", 30, least=0)
REQUESTS_IN_FLIGHT = env.read_count("REQUESTS_IN_FLIGHT", 5_000)  # per process; more get a 503
JSON_DEPTH = env.read_count("JSON_DEPTH", 64, most=500)
# an event loop that stands still for so long is logged with its cause; 0: never
LOOP_STALL_SECONDS = env.read_seconds("LOOP_STALL_SECONDS", 0.2, least=0)
JSON_ITEMS = env.read_count("JSON_ITEMS", 200_000)  # brackets, colons and commas outside of strings
# larger bodies are parsed in a thread
JSON_INLINE_BYTES = env.read_size_bytes("JSON_INLINE_BYTES", 64 * 2**10)
# backslashes in a body; a string of nothing else is slow to parse
JSON_ESCAPES = env.read_count("JSON_ESCAPES", 4_000_000)
# of one body while it arrives; a larger one waits on disk
BODY_MEMORY_BYTES = env.read_size_bytes("BODY_MEMORY_BYTES", 2**20)
BODIES_BYTES = env.read_size_bytes(
    "BODIES_BYTES", 128 * 2**20
)  # of all bodies in memory, per process
# of the bodies of one API key or user; 0: no limit
BODIES_BYTES_PER_KEY = env.read_count("BODIES_BYTES_PER_KEY", 64 * 2**20, least=0)
# of all bodies on disk while they arrive, per process
BODIES_DISK_BYTES = env.read_size_bytes("BODIES_DISK_BYTES", 2**30)
# per process; 0: no limit
REQUESTS_IN_FLIGHT_PER_KEY = env.read_count("REQUESTS_IN_FLIGHT_PER_KEY", 1_000, least=0)
MESSAGES_LIMIT = env.read_count(
    "MESSAGES_LIMIT", 2_048
)  # messages, items or prompts of one request
INPUTS_LIMIT = env.read_count("INPUTS_LIMIT", 2_048)  # texts of one embeddings request
TOOLS_LIMIT = env.read_count("TOOLS_LIMIT", 128)  # tools or functions of one request
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT_BYTES

# --- files of users -------------------------------------------------------------------------------
FILE_LIMIT_BYTES = env.read_size_bytes("FILE_LIMIT_BYTES", 32 * 2**20)  # of one uploaded file
UPLOADS = env.read_count("UPLOADS", 64, least=0)  # uploads at the same time, per process
UPLOADS_PER_USER = env.read_count("UPLOADS_PER_USER", 4, least=0)
FILES_PER_USER = env.read_count("FILES_PER_USER", 1_000, least=0)
FILES_BYTES_PER_USER = env.read_count("FILES_BYTES_PER_USER", 2 * 2**30, least=0)
FILE_TEXT_CHARS = env.read_count("FILE_TEXT_CHARS", 4_000_000)  # of the text of one document
# of text from files, for a model whose context window is not known
UNFITTED_TEXT_CHARS = env.read_count("UNFITTED_TEXT_CHARS", 500_000)
FILE_TEXT_SECONDS = env.read_seconds("FILE_TEXT_SECONDS", 10)  # to read one document
# the next directory does not exist before the first `serve`
SILENCED_SYSTEM_CHECKS = ["files.E001"]
# the directory for uploads and large bodies while they arrive
FILE_UPLOAD_TEMP_DIR = str(HOME.root / "uploads")

# --- conversations --------------------------------------------------------------------------------
# a request waits so long for the turn before it, then gets a 409
CONVERSATION_WAIT_SECONDS = env.read_seconds("CONVERSATION_WAIT_SECONDS", 30, least=0)
# after a crash a conversation stays locked for so long at most
TURN_LEASE_SECONDS = env.read_seconds("TURN_LEASE_SECONDS", 60)
CONTEXT_TOKENS = env.read_count(
    "CONTEXT_TOKENS", 32_768
)  # of a model whose context window is not known
# of a model's context window; the rest is for the answer
PROMPT_SHARE = env.read_share("PROMPT_SHARE", 0.8)
# a session without a turn for so long is deleted; 0: never
SESSION_IDLE_SECONDS = env.read_whole_seconds("SESSION_IDLE_SECONDS", 3_600, least=0)
# any other conversation without a turn for so long is deleted; 0: never
CONVERSATION_IDLE_SECONDS = env.read_whole_seconds("CONVERSATION_IDLE_SECONDS", 2_592_000, least=0)
# stored responses and completions are deleted after it; 0: never
RESPONSE_KEEP_SECONDS = env.read_whole_seconds("RESPONSE_KEEP_SECONDS", 2_592_000, least=0)
# background responses of a user at the same time, per process; 0: no limit
BACKGROUND_PER_USER = env.read_count("BACKGROUND_PER_USER", 100, least=0)
# of one answer; of a longer one the beginning is kept
STORED_ANSWER_BYTES = env.read_size_bytes("STORED_ANSWER_BYTES", 16 * 2**20)
# of all stored contents of a user; 0: no limit
STORED_BYTES_PER_USER = env.read_count("STORED_BYTES_PER_USER", 4 * 2**30, least=0)
# of one item that are indexed for search
SEARCH_TEXT_CHARS = env.read_count("SEARCH_TEXT_CHARS", 20_000, most=100_000)
# attempts to delete a chat at its upstream; the pauses double, all take about a day
FAREWELL_TRIES = env.read_count("FAREWELL_TRIES", 8, least=0)

# --- long documents -------------------------------------------------------------------------------
DOCUMENT_SECONDS = env.read_seconds("DOCUMENT_SECONDS", 30)  # to divide one document into passages
DOCUMENTS_PER_USER = env.read_count("DOCUMENTS_PER_USER", 1_000, least=0)
# a text of a request that is not used for so long is deleted
DOCUMENT_IDLE_SECONDS = env.read_whole_seconds("DOCUMENT_IDLE_SECONDS", 604_800, least=0)
# of document indexes in memory, per process
DOCUMENT_CACHE_BYTES = env.read_size_bytes("DOCUMENT_CACHE_BYTES", 128 * 2**20, least=0)
# a model's public id, or `local`; empty: documents are searched by words alone
EMBEDDING_MODEL = env.read_plain_text("EMBEDDING_MODEL")
# a question waits so long for its embedding
EMBEDDING_SECONDS = env.read_seconds("EMBEDDING_SECONDS", 5)

# --- relaying -------------------------------------------------------------------------------------
PING_SECONDS = env.read_seconds(
    "PING_SECONDS", 10
)  # of silence, then a comment is sent to the caller
# attempts of one request that the provider fails; then the request fails
MAX_ATTEMPTS = env.read_count("MAX_ATTEMPTS", 3)
MAX_TOKENS_TRIED = env.read_count("MAX_TOKENS_TRIED", 20)  # for one request, whatever the outcome
# with the only credential, if the failure may be temporary
ONLY_TOKEN_RETRIES = env.read_count("ONLY_TOKEN_RETRIES", 1, least=0)
# a request that failed so often waits for the success of others, then tries once more
LAST_CHANCE_SECONDS = env.read_seconds("LAST_CHANCE_SECONDS", 2)
# retries at a failing provider, as a share of its requests in 10 seconds …
RETRY_SHARE = env.read_share("RETRY_SHARE", 0.2)
RETRIES_PER_SECOND = env.read_count(
    "RETRIES_PER_SECOND", 3, least=0
)  # … or so many, if that is more
# before a provider that failed is asked again
ATTEMPT_PAUSE_SECONDS = env.read_seconds("ATTEMPT_PAUSE_SECONDS", 0.5, least=0)
# headers of an answer name its provider and model
NAME_UPSTREAMS = env.read_switch("NAME_UPSTREAMS", True)
# models that cannot call tools are told in the prompt how to call them
TOOL_SUPPORT = env.read_switch("TOOL_SUPPORT", True)
MAX_TOKEN_FAILURES = env.read_count(
    "MAX_TOKEN_FAILURES", 3
)  # consecutive strikes that disable a token
# cooldown of a rate-limited token whose upstream names no time
REST_SECONDS = env.read_seconds("REST_SECONDS", 5, least=0)
MAX_REST_SECONDS = env.read_seconds("MAX_REST_SECONDS", 3_600)
# cooldown of an exhausted token whose reset time is not known
QUOTA_REST_SECONDS = env.read_seconds("QUOTA_REST_SECONDS", 3_600)
# cooldown of a token that fails while others answer; it doubles each time
FAILING_SECONDS = env.read_seconds("FAILING_SECONDS", 5)
MAX_FAILING_SECONDS = env.read_seconds("MAX_FAILING_SECONDS", 300)
# longest cooldown of a provider that limits all its tokens together
MAX_PROVIDER_REST_SECONDS = env.read_seconds("MAX_PROVIDER_REST_SECONDS", 60)
# failed requests that open the circuit breaker, if they are half of the latest
BREAKER_FAILURES = env.read_count("BREAKER_FAILURES", 5)
# the circuit breaker stays open for so long, doubling up to a minute; then one probe
BREAKER_SECONDS = env.read_seconds("BREAKER_SECONDS", 10)
CONNECT_SECONDS = env.read_seconds("CONNECT_SECONDS", 5)
FIRST_BYTE_SECONDS = env.read_seconds("FIRST_BYTE_SECONDS", 120)
GAP_SECONDS = env.read_seconds("GAP_SECONDS", 60)  # between two pieces of a stream
TOTAL_SECONDS = env.read_seconds("TOTAL_SECONDS", 600)  # one request with all its attempts
# a stream may take so long for usage and [DONE] after its finish reason
TAIL_SECONDS = env.read_seconds("TAIL_SECONDS", 5, least=0)
UPSTREAM_ANSWER_BYTES = env.read_size_bytes(
    "UPSTREAM_ANSWER_BYTES", 64 * 2**20
)  # of one whole answer
UPSTREAM_EVENT_BYTES = env.read_size_bytes(
    "UPSTREAM_EVENT_BYTES", 8 * 2**20
)  # of one event of a stream
UPSTREAM_STREAM_BYTES = env.read_size_bytes(
    "UPSTREAM_STREAM_BYTES", 512 * 2**20
)  # of a whole stream
# an idle connection is reused within it
UPSTREAM_IDLE_SECONDS = env.read_seconds("UPSTREAM_IDLE_SECONDS", 30)
# a reused connection that closes so soon after a request is replaced, and the request sent again
RESEND_SECONDS = env.read_seconds("RESEND_SECONDS", 1, least=0)
# addresses of a host are used again within it
DNS_KEEP_SECONDS = env.read_seconds("DNS_KEEP_SECONDS", 30, least=0)
# old addresses are used for so long while a new look-up fails
DNS_STALE_SECONDS = env.read_seconds("DNS_STALE_SECONDS", 300, least=0)
# a name that was not found is not looked up again within it
DNS_FAILED_SECONDS = env.read_seconds("DNS_FAILED_SECONDS", 5, least=0)
DNS_LOOKUPS = env.read_count("DNS_LOOKUPS", 64)  # at the same time for all hosts, two for one host

# --- web search -----------------------------------------------------------------------------------
# empty: web search answers 501
SEARCH_BACKEND = env.read_choice("SEARCH_BACKEND", "", ("searxng", "brave", "tavily"))
# of a SearXNG; empty for Brave and Tavily: their own
SEARCH_URL = env.read_url("SEARCH_URL", "", ("https", "http"))
SEARCH_KEY = env.read_secret("SEARCH_KEY")  # of Brave or Tavily
# SEARCH_URL may be on this machine or network
SEARCH_ALLOW_PRIVATE = env.read_switch("SEARCH_ALLOW_PRIVATE", False)
SEARCH_SECONDS = env.read_seconds("SEARCH_SECONDS", 15)  # of one search
SEARCH_ANSWER_BYTES = env.read_size_bytes("SEARCH_ANSWER_BYTES", 4 * 2**20)  # of a backend's answer

# --- token life -----------------------------------------------------------------------------------
# a token is renewed so long before it expires
RENEW_BEFORE_SECONDS = env.read_seconds("RENEW_BEFORE_SECONDS", 600, least=0)
# one process has so long to renew a token, then another one may
RENEW_LEASE_SECONDS = env.read_seconds("RENEW_LEASE_SECONDS", 30)
# a whole pool is renewed at most once within it
REFRESH_WINDOW_SECONDS = env.read_seconds("REFRESH_WINDOW_SECONDS", 300, least=0)
# after a crash the claim of a token's only stream lasts so long at most
CLAIM_SECONDS = env.read_seconds("CLAIM_SECONDS", 60)
# a request waits so long while the streams of all tokens are in use
CLAIM_WAIT_SECONDS = env.read_seconds("CLAIM_WAIT_SECONDS", 30, least=0)
# a request waits so long for the token of its own conversation
RESUME_WAIT_SECONDS = env.read_seconds("RESUME_WAIT_SECONDS", 3, least=0)
CHECK_SECONDS = env.read_seconds("CHECK_SECONDS", 3_600)  # every token is checked once within it
# checks of one provider's tokens; more wait for their turn
CHECKS_PER_MINUTE = env.read_count("CHECKS_PER_MINUTE", 60)
# changes of token states are kept for so long
TRANSITION_DAYS = env.read_count("TRANSITION_DAYS", 30, least=0)
# a process that is away for longer reads all tokens and API keys anew
TOMBSTONE_SECONDS = env.read_seconds("TOMBSTONE_SECONDS", 86_400)
# the request counts of tokens are written so often
TOKEN_COUNTERS_SECONDS = env.read_seconds("TOKEN_COUNTERS_SECONDS", 10)
# the counts of so many tokens are written each time
TOKEN_COUNTERS_ROWS = env.read_count("TOKEN_COUNTERS_ROWS", 5_000)
# conversations whose token is remembered, per process
STICKY_CONVERSATIONS = env.read_count("STICKY_CONVERSATIONS", 10_000, least=0)
# an answer is kept for so long for its idempotency key
IDEMPOTENCY_SECONDS = env.read_whole_seconds("IDEMPOTENCY_SECONDS", 86_400, least=0)
# after a crash an idempotency key stays locked for so long at most
IDEMPOTENCY_LEASE_SECONDS = env.read_seconds("IDEMPOTENCY_LEASE_SECONDS", 30)
# a larger answer is not kept
IDEMPOTENCY_ANSWER_BYTES = env.read_size_bytes("IDEMPOTENCY_ANSWER_BYTES", 2**20)
# the oldest answers beyond it are deleted
IDEMPOTENCY_BYTES_PER_USER = env.read_count("IDEMPOTENCY_BYTES_PER_USER", 64 * 2**20)
# the oldest answers beyond it are deleted
IDEMPOTENCY_KEYS_PER_USER = env.read_count("IDEMPOTENCY_KEYS_PER_USER", 2_000)

# --- deletions ------------------------------------------------------------------------------------
# a person waits so long for a deletion, then the worker goes on with it
DELETION_WAIT_SECONDS = env.float("DELETION_WAIT_SECONDS", default=2)
# of one task; the rest is done by a new task
DELETION_RUN_SECONDS = env.float("DELETION_RUN_SECONDS", default=20)

# --- accounting -----------------------------------------------------------------------------------
# usage records on disk while the database is away
SPOOL_LIMIT_BYTES = env.read_size_bytes("SPOOL_LIMIT_BYTES", 64 * 2**20, least=0)
# usage records in memory while the disk is full too
UNWRITTEN_LIMIT_BYTES = env.read_size_bytes("UNWRITTEN_LIMIT_BYTES", 16 * 2**20)
# the tokens of longer texts are counted in a thread
COUNT_INLINE_BYTES = env.read_size_bytes("COUNT_INLINE_BYTES", 16 * 2**10, least=0)
COUNT_EXACT_CHARS = env.read_count(
    "COUNT_EXACT_CHARS", 2**20
)  # of longer texts a sample is counted
# of one answer that are kept to count its tokens
COUNT_KEPT_BYTES = env.read_size_bytes("COUNT_KEPT_BYTES", 4 * 2**20)
# the tokenizer's cache of words is emptied beyond it
COUNT_CACHE_CHARS = env.read_count("COUNT_CACHE_CHARS", 2**20)
KEY_CACHE_SIZE = env.read_count("KEY_CACHE_SIZE", 20_000)

# --- credentials of the K2Think and Kimi proxies: taken into rows on the first start --------------
VALID_API_KEY = env.read_secret("VALID_API_KEY")
DEFAULT_AUTHKEYS = env.read_names("DEFAULT_AUTHKEYS", [], is_secret=True)
KIMI_TOKENS = env.read_names("KIMI_TOKENS", [], is_secret=True)
TOKENS_FILE = env.read_plain_text("TOKENS_FILE")
USER_TOKENS_FILE = env.read_plain_text("USER_TOKENS_FILE")
GUEST_TOKENS_FILE = env.read_plain_text("GUEST_TOKENS_FILE")
ACCOUNTS_FILE = env.read_plain_text("ACCOUNTS_FILE")
# the provider of the tokens in these files
TOKENS_PROVIDER = env.read_plain_text("TOKENS_PROVIDER", "k2think-web")
PROXY_MODE = env.read_plain_text("PROXY_MODE")
USER_API_URL = env.read_plain_text("USER_API_URL")
GUEST_API_URL = env.read_plain_text("GUEST_API_URL")
# the provider whose tokens a caller may send in place of an API key
PASSTHROUGH_PROVIDER = env.read_plain_text("PASSTHROUGH_PROVIDER")

# --- logging --------------------------------------------------------------------------------------
LOG_LEVEL = env.read_choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
LOGGING = build_logging_config(LOG_LEVEL)
LOGGING_CONFIG = "logging.config.dictConfig"

# --- faults of the settings -----------------------------------------------------------------------
env.add_spelling_warnings((*env_aliases.ALIASES, *env_aliases.DEBUG_VARIABLES))
env.raise_problems()
DECLARED = (
    env.declared_settings
)  # values in force and their sources, for `show_settings` and the commands
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

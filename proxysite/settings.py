"""Every setting, read from the environment (or a `.env` file beside manage.py); `.env.example` lists what a person
may set.

The rest of the project reads `django.conf.settings` only. Limits carry their unit in the name; each has a default.
"""

import sys
from pathlib import Path
from typing import Any

import environ

from proxysite import aliases, databases
from proxysite.home import Home
from proxysite.logging import configured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(str(BASE_DIR / ".env"))
aliases.apply(env.ENVIRON)

# --- the home and its secrets ---------------------------------------------------------------------------------------
HOME = Home(Path(env.str("PROXYSITE_HOME", default=str(BASE_DIR / "var"))).absolute())


def secret(name: str) -> str:
    """The secret of the environment, else the one kept in the home."""
    return env.str(name, default="") or HOME.secrets()[name]


SECRET_KEY = secret("SECRET_KEY")
FIELD_KEYS = secret("FIELD_KEYS").split(",")  # "id:base64 of 32 bytes", the first encrypts, all decrypt
KEY_PEPPER = secret("KEY_PEPPER")  # of API key digests and token fingerprints: changing it voids every API key

# --- where and how it is served -------------------------------------------------------------------------------------
VERSION = "0.1.0"
DEBUG = env.bool("DJANGO_DEBUG", default=False)
BEHIND_TLS = env.bool("BEHIND_TLS", default=False)  # people reach the site over https, through a proxy
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ALLOWED_ORIGINS  # no cookie counts under /v1/, keys do
CORS_ALLOWED_ORIGINS = [origin for origin in CORS_ALLOWED_ORIGINS if origin != "*"]
CORS_URLS_REGEX = r"^/v1/.*$"
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-type", "idempotency-key", "user-agent", "x-api-key", "x-requested-with"),
    *("openai-organization", "openai-project", "x-stainless-arch", "x-stainless-lang", "x-stainless-os"),
    *("x-stainless-package-version", "x-stainless-retry-count", "x-stainless-runtime", "x-stainless-timeout"),
    *("x-stainless-runtime-version", "x-stainless-async", "x-stainless-read-timeout", "x-stainless-helper-method"),
]
CORS_EXPOSE_HEADERS = [
    *("x-request-id", "openai-processing-ms", "openai-version", "retry-after", "retry-after-ms", "x-should-retry"),
    *("idempotent-replayed", "idempotent-stored", "x-proxysite-provider", "x-proxysite-model"),
]
CORS_PREFLIGHT_MAX_AGE = 86_400
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS
# people alone are sent to https: programs follow no redirect of a POST, and may ask the gateway beside its proxy
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^health$", r"^v1(/|$)"]
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = env.int("ADMIN_SESSION_SECONDS", default=43_200)
X_FRAME_OPTIONS = "DENY"

# --- what it is made of ---------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    *(["daphne"] if "runserver" in sys.argv else []),  # only it needs daphne, and Twisted is 19 MB
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
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", default=10)
AXES_COOLOFF_TIME = env.float("LOGIN_LOCK_HOURS", default=0.25)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_VERBOSE = False
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["api.parsers.BoundedJSONParser"],
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
STATIC_ROOT = HOME.path("static", "files").parent
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- database -------------------------------------------------------------------------------------------------------
DATABASE_URL = env.str("DATABASE_URL", default="") or f"sqlite:///{HOME.root / 'proxysite.sqlite3'}"
DATABASE_TIMEOUT_SECONDS = env.int("DATABASE_TIMEOUT_SECONDS", default=2)  # after it a database counts as away

if DATABASE_URL.startswith("sqlite"):
    HOME.path("proxysite.sqlite3")
DATABASES = {
    "default": databases.configured(
        dict(env.db_url_config(DATABASE_URL)),
        wait_seconds=DATABASE_TIMEOUT_SECONDS,
        statement_seconds=env.int("STATEMENT_TIMEOUT_SECONDS", default=30),
        pool_size=env.int("DATABASE_POOL_SIZE", default=8),
    )
}
EMBEDDED_DATABASE = DATABASES["default"]["ENGINE"].endswith("sqlite3")

# --- Redis, Celery, channels ----------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
EMBEDDED_WORKER = env.bool("EMBEDDED_WORKER", default=True)  # Celery worker and beat as threads of `serve`
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
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# --- limits of what comes in ----------------------------------------------------------------------------------------
BODY_LIMIT_BYTES = env.int("BODY_LIMIT_BYTES", default=16 * 2**20)
OPEN_BODY_LIMIT_BYTES = env.int("OPEN_BODY_LIMIT_BYTES", default=32 * 2**10)  # of a request without any key
HEAD_LIMIT_BYTES = env.int("HEAD_LIMIT_BYTES", default=64 * 2**10)
HEAD_SECONDS = env.float("HEAD_SECONDS", default=10)  # a request's head must be complete within it
BODY_SECONDS = env.float("BODY_SECONDS", default=60)  # and its body within it
STALL_SECONDS = env.float("STALL_SECONDS", default=60)  # a client that reads nothing for so long is dropped
KEEPALIVE_SECONDS = env.int("KEEPALIVE_SECONDS", default=75)
GRACE_SECONDS = env.int("GRACE_SECONDS", default=30)  # running answers may finish within it after SIGTERM
REQUESTS_IN_FLIGHT = env.int("REQUESTS_IN_FLIGHT", default=5_000)  # per process; more get a 503
JSON_DEPTH = env.int("JSON_DEPTH", default=64)
JSON_ITEMS = env.int("JSON_ITEMS", default=200_000)  # brackets, colons and commas outside of texts
JSON_INLINE_BYTES = env.int("JSON_INLINE_BYTES", default=64 * 2**10)  # larger bodies are read in a thread
JSON_ESCAPES = env.int("JSON_ESCAPES", default=4_000_000)  # backslashes: a text of nothing else is slow to read
BODY_MEMORY_BYTES = env.int("BODY_MEMORY_BYTES", default=2**20)  # of one body that arrives; the rest goes to disk
BODIES_BYTES = env.int("BODIES_BYTES", default=128 * 2**20)  # of all bodies in memory, per process
BODIES_BYTES_PER_KEY = env.int("BODIES_BYTES_PER_KEY", default=64 * 2**20)  # of one key or user; 0: no limit
BODIES_DISK_BYTES = env.int("BODIES_DISK_BYTES", default=2**30)  # of bodies on disk while they arrive, per process
REQUESTS_IN_FLIGHT_PER_KEY = env.int("REQUESTS_IN_FLIGHT_PER_KEY", default=1_000)  # per process; 0: no limit
MESSAGES_LIMIT = env.int("MESSAGES_LIMIT", default=2_048)  # messages, items or prompts of one request
INPUTS_LIMIT = env.int("INPUTS_LIMIT", default=2_048)  # texts of one embeddings request
TOOLS_LIMIT = env.int("TOOLS_LIMIT", default=128)  # tools or functions of one request
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT_BYTES

# --- files of users ------------------------------------------------------------------------------------------------
FILE_LIMIT_BYTES = env.int("FILE_LIMIT_BYTES", default=32 * 2**20)  # of one uploaded file
UPLOADS = env.int("UPLOADS", default=64)  # on their way at the same time, per process
UPLOADS_PER_USER = env.int("UPLOADS_PER_USER", default=4)
FILES_PER_USER = env.int("FILES_PER_USER", default=1_000)
FILES_BYTES_PER_USER = env.int("FILES_BYTES_PER_USER", default=2 * 2**30)
FILE_TEXT_CHARS = env.int("FILE_TEXT_CHARS", default=4_000_000)  # of text that one document may have
UNFITTED_TEXT_CHARS = env.int("UNFITTED_TEXT_CHARS", default=500_000)  # of files for a model whose window is not known
FILE_TEXT_SECONDS = env.float("FILE_TEXT_SECONDS", default=10)  # reading one document may take
FILE_UPLOAD_TEMP_DIR = str(HOME.path("uploads", "x").parent)  # where what does not fit into memory goes on its way

# --- conversations --------------------------------------------------------------------------------------------------
CONVERSATION_WAIT_SECONDS = env.float("CONVERSATION_WAIT_SECONDS", default=30)  # for the turn before; then 409
TURN_LEASE_SECONDS = env.float("TURN_LEASE_SECONDS", default=60)  # a killed process keeps a conversation no longer
CONTEXT_TOKENS = env.int("CONTEXT_TOKENS", default=32_768)  # of a model whose window is not known
PROMPT_SHARE = env.float("PROMPT_SHARE", default=0.8)  # of a model's window; the rest is for the answer
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", default=3_600)  # of a session without a turn; 0: for ever
CONVERSATION_IDLE_SECONDS = env.int("CONVERSATION_IDLE_SECONDS", default=2_592_000)  # the same of any other
RESPONSE_KEEP_SECONDS = env.int("RESPONSE_KEEP_SECONDS", default=2_592_000)  # responses and stored completions
SEARCH_TEXT_CHARS = env.int("SEARCH_TEXT_CHARS", default=20_000)  # of one item by which it is found; 100,000 at most
FAREWELL_TRIES = env.int("FAREWELL_TRIES", default=8)  # to delete a chat at its upstream, doubling pauses; a day

# --- long documents -------------------------------------------------------------------------------------------------
DOCUMENT_SECONDS = env.float("DOCUMENT_SECONDS", default=30)  # dividing one document may take
DOCUMENTS_PER_USER = env.int("DOCUMENTS_PER_USER", default=1_000)
DOCUMENT_IDLE_SECONDS = env.int("DOCUMENT_IDLE_SECONDS", default=604_800)  # a request's text goes when unused so long
DOCUMENT_CACHE_BYTES = env.int("DOCUMENT_CACHE_BYTES", default=128 * 2**20)  # of indexes in memory, per process
EMBEDDING_MODEL = env.str("EMBEDDING_MODEL", default="")  # a model's public id, or `local`; empty: by words alone
EMBEDDING_SECONDS = env.float("EMBEDDING_SECONDS", default=5)  # a question waits so long for its embedding

# --- relaying -------------------------------------------------------------------------------------------------------
PING_SECONDS = env.float("PING_SECONDS", default=10)  # of silence, then a comment goes out
MAX_ATTEMPTS = env.int("MAX_ATTEMPTS", default=3)  # of one request that the provider fails; then it gives up
MAX_TOKENS_TRIED = env.int("MAX_TOKENS_TRIED", default=20)  # for one request, refused ones and all others
RETRY_SHARE = env.float("RETRY_SHARE", default=0.2)  # retries at a failing provider, of its requests in 10 seconds …
RETRIES_PER_SECOND = env.int("RETRIES_PER_SECOND", default=3)  # … or so many, if that is more
ATTEMPT_PAUSE_SECONDS = env.float("ATTEMPT_PAUSE_SECONDS", default=0.5)  # before a failed provider is asked again
NAME_UPSTREAMS = env.bool("NAME_UPSTREAMS", default=True)  # headers of an answer say which provider and model it is of
TOOL_SUPPORT = env.bool("TOOL_SUPPORT", default=True)  # models that cannot call tools are told in words how to
MAX_TOKEN_FAILURES = env.int("MAX_TOKEN_FAILURES", default=3)  # consecutive strikes that disable a token
REST_SECONDS = env.float("REST_SECONDS", default=5)  # of a rate-limited token whose upstream names no time
MAX_REST_SECONDS = env.float("MAX_REST_SECONDS", default=3_600)
QUOTA_REST_SECONDS = env.float("QUOTA_REST_SECONDS", default=3_600)  # of an exhausted token whose reset is not known
FAILING_SECONDS = env.float("FAILING_SECONDS", default=5)  # of a token that fails while others answer; doubles
MAX_FAILING_SECONDS = env.float("MAX_FAILING_SECONDS", default=300)
MAX_PROVIDER_REST_SECONDS = env.float("MAX_PROVIDER_REST_SECONDS", default=60)  # that limits all tokens together
BREAKER_FAILURES = env.int("BREAKER_FAILURES", default=5)  # failed requests, and half of the latest, that open it
BREAKER_SECONDS = env.float("BREAKER_SECONDS", default=10)  # then one probe; the pause doubles up to a minute
CONNECT_SECONDS = env.float("CONNECT_SECONDS", default=5)
FIRST_BYTE_SECONDS = env.float("FIRST_BYTE_SECONDS", default=120)
GAP_SECONDS = env.float("GAP_SECONDS", default=60)  # between two pieces of a stream
TOTAL_SECONDS = env.float("TOTAL_SECONDS", default=600)  # one request with all its attempts
TAIL_SECONDS = env.float("TAIL_SECONDS", default=5)  # for usage and [DONE] after the finish reason
UPSTREAM_ANSWER_BYTES = env.int("UPSTREAM_ANSWER_BYTES", default=64 * 2**20)  # of one whole answer
UPSTREAM_EVENT_BYTES = env.int("UPSTREAM_EVENT_BYTES", default=8 * 2**20)  # of one event of a stream
UPSTREAM_IDLE_SECONDS = env.float("UPSTREAM_IDLE_SECONDS", default=30)  # a kept connection is reused within it

# --- connections to upstreams ---------------------------------------------------------------------------------------
RESEND_SECONDS = env.float("RESEND_SECONDS", default=1)  # a kept connection that closes so soon was closed before use
DNS_KEEP_SECONDS = env.float("DNS_KEEP_SECONDS", default=30)  # addresses of a host are used again within it
DNS_STALE_SECONDS = env.float("DNS_STALE_SECONDS", default=300)  # and for so long while a new look-up fails
DNS_FAILED_SECONDS = env.float("DNS_FAILED_SECONDS", default=5)  # a name that was not found is not looked up again
DNS_LOOKUPS = env.int("DNS_LOOKUPS", default=64)  # at the same time, for all hosts; two for one host

# --- web search -----------------------------------------------------------------------------------------------------
SEARCH_BACKEND = env.str("SEARCH_BACKEND", default="")  # searxng, brave or tavily; none: /v1/web_search is a 501
SEARCH_URL = env.str("SEARCH_URL", default="")  # of a SearXNG; the others' own when empty
SEARCH_KEY = env.str("SEARCH_KEY", default="")  # of Brave or Tavily
SEARCH_ALLOW_PRIVATE = env.bool("SEARCH_ALLOW_PRIVATE", default=False)  # SEARCH_URL may be on this machine or network
SEARCH_SECONDS = env.float("SEARCH_SECONDS", default=15)  # one search may take
SEARCH_ANSWER_BYTES = env.int("SEARCH_ANSWER_BYTES", default=4 * 2**20)  # of a backend's answer

# --- token life -----------------------------------------------------------------------------------------------------
RENEW_BEFORE_SECONDS = env.float("RENEW_BEFORE_SECONDS", default=600)  # a token that can be renewed is, before it ends
RENEW_LEASE_SECONDS = env.float("RENEW_LEASE_SECONDS", default=30)  # to renew a token; then another process may
REFRESH_WINDOW_SECONDS = env.float("REFRESH_WINDOW_SECONDS", default=300)  # a whole pool is renewed once within it
CLAIM_SECONDS = env.float("CLAIM_SECONDS", default=60)  # a killed process keeps a token's one stream no longer
CLAIM_WAIT_SECONDS = env.float("CLAIM_WAIT_SECONDS", default=30)  # while the streams of all tokens are in use
RESUME_WAIT_SECONDS = env.float("RESUME_WAIT_SECONDS", default=3)  # for the stream of a conversation's own token
CHECK_SECONDS = env.float("CHECK_SECONDS", default=3_600)  # every token is checked once within it
CHECKS_PER_MINUTE = env.int("CHECKS_PER_MINUTE", default=60)  # of one provider's tokens; more wait for their turn
TRANSITION_DAYS = env.int("TRANSITION_DAYS", default=30)  # changes of tokens' states are kept so long
TOMBSTONE_SECONDS = env.float("TOMBSTONE_SECONDS", default=86_400)  # who is away for longer reads all tokens and keys
TOKEN_COUNTERS_SECONDS = env.float("TOKEN_COUNTERS_SECONDS", default=10)  # requests per token are written so often
TOKEN_COUNTERS_ROWS = env.int("TOKEN_COUNTERS_ROWS", default=5_000)  # of that many tokens each time
STICKY_CONVERSATIONS = env.int("STICKY_CONVERSATIONS", default=10_000)  # whose token is remembered, per process

# --- idempotent requests --------------------------------------------------------------------------
IDEMPOTENCY_SECONDS = env.int("IDEMPOTENCY_SECONDS", default=86_400)  # an answer is kept so long for its key
IDEMPOTENCY_LEASE_SECONDS = env.float("IDEMPOTENCY_LEASE_SECONDS", default=30)  # a killed process holds a key no longer
IDEMPOTENCY_ANSWER_BYTES = env.int("IDEMPOTENCY_ANSWER_BYTES", default=2**20)  # a larger answer is not kept
IDEMPOTENCY_BYTES_PER_USER = env.int("IDEMPOTENCY_BYTES_PER_USER", default=64 * 2**20)  # then the oldest go
IDEMPOTENCY_KEYS_PER_USER = env.int("IDEMPOTENCY_KEYS_PER_USER", default=2_000)  # likewise

# --- accounting -----------------------------------------------------------------------------------------------------
SPOOL_LIMIT_BYTES = env.int("SPOOL_LIMIT_BYTES", default=64 * 2**20)  # of finished rows while the database is away
UNWRITTEN_LIMIT_BYTES = env.int("UNWRITTEN_LIMIT_BYTES", default=16 * 2**20)  # of rows in memory on a full disk
COUNT_INLINE_BYTES = env.int("COUNT_INLINE_BYTES", default=16 * 2**10)  # longer texts are counted in a thread
KEY_CACHE_SIZE = env.int("KEY_CACHE_SIZE", default=20_000)

# --- credentials of the K2Think and Kimi proxies: taken into rows on the first start --------------------------------
VALID_API_KEY = env.str("VALID_API_KEY", default="")
DEFAULT_AUTHKEYS = env.list("DEFAULT_AUTHKEYS", default=[])
KIMI_TOKENS = env.list("KIMI_TOKENS", default=[])
TOKENS_FILE = env.str("TOKENS_FILE", default="")
USER_TOKENS_FILE = env.str("USER_TOKENS_FILE", default="")
GUEST_TOKENS_FILE = env.str("GUEST_TOKENS_FILE", default="")
ACCOUNTS_FILE = env.str("ACCOUNTS_FILE", default="")
TOKENS_PROVIDER = env.str("TOKENS_PROVIDER", default="k2think-web")  # whose tokens those files hold
PROXY_MODE = env.str("PROXY_MODE", default="")
USER_API_URL = env.str("USER_API_URL", default="")
GUEST_API_URL = env.str("GUEST_API_URL", default="")
PASSTHROUGH_PROVIDER = env.str("PASSTHROUGH_PROVIDER", default="")  # whose tokens a bearer that is no key may be

# --- logging --------------------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = configured(LOG_LEVEL)
LOGGING_CONFIG = "logging.config.dictConfig"

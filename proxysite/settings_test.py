"""Settings of the tests: the shipped ones, with a temporary home per process and cheap passwords.

DATABASE_URL and REDIS_URL choose the services that are tested, as for `serve`. Without them the
tests use an SQLite file and nothing else.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from proxysite.home import Home

_home = tempfile.mkdtemp(prefix="proxysite-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["PROXYSITE_HOME"] = _home
os.environ["MARKER_FILE"] = "none"
Home(Path(_home)).load_or_make_secrets()
for _name in ("DATABASE_URL", "REDIS_URL"):
    os.environ.setdefault(_name, "")  # a developer's own .env must not change the tests

from proxysite.settings import *  # noqa: E402, F403
from proxysite.settings import DATABASES, EMBEDDED_DATABASE, HOME, LOGGING  # noqa: E402

DEBUG = False
BEHIND_TLS = SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
CORS_ALLOWED_ORIGINS = ["https://app.example"]
# look for a static file when it is requested, not for all of them at each start
WHITENOISE_AUTOREFRESH = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# several runs may share a server: each process creates databases of its own
DATABASES["default"]["TEST"] = {
    "NAME": str(HOME.root / "test.sqlite3")
    if EMBEDDED_DATABASE
    else f"test_proxysite_{os.getpid()}"
}
# nothing here must survive a crash: no commit waits for the disk
if EMBEDDED_DATABASE:
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"
    DATABASES["default"]["CONN_MAX_AGE"] = None  # opening one takes longer than most queries
else:
    DATABASES["default"]["OPTIONS"]["options"] += " -c synchronous_commit=off"

BODY_LIMIT_BYTES = 2**20
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT_BYTES
ATTEMPT_PAUSE_SECONDS = 0.01
# one scripted fault must reach the caller; tests of retries switch them on
ONLY_TOKEN_RETRIES = 0
LOGGING["root"]["level"] = "WARNING"
LOOP_STALL_SECONDS = 0  # the loop stands still between tests

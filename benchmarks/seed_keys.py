"""Write made-up API keys of one user to the database.

COUNT is the number of keys:

    python -m benchmarks.seed_keys COUNT
"""

import os
import sys

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    django.setup()
    from django.contrib.auth.models import User

    from api.keys import digest_key
    from api.models import ApiKey

    crowd = User.objects.create_user("crowd")
    keys = (
        ApiKey(user=crowd, prefix=f"bench{number:011}", digest=digest_key(f"sk-made-up-{number}"))
        for number in range(int(sys.argv[1]))
    )
    ApiKey.objects.bulk_create(keys, batch_size=2_000)


if __name__ == "__main__":
    main()

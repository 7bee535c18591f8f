#!/usr/bin/env python
"""Django's command line for this project; `manage.py help` lists what it can do."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    try:
        from proxysite.command_line import CommandLine
    except ModuleNotFoundError as error:
        if error.name != "django":
            raise
        sys.exit(
            "This Python has no Django: run .venv/bin/python manage.py, after the first `make "
            "serve`."
        )
    CommandLine(sys.argv).execute()


if __name__ == "__main__":
    main()

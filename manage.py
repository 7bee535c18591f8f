#!/usr/bin/env python
"""Django's command line for this project; `manage.py help` lists what it can do."""

import errno
import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"The disk is full: nothing more can be written{f' to {error.filename}' if error.filename else ''}.")


if __name__ == "__main__":
    main()

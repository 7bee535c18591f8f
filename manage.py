#!/usr/bin/env python
"""Django's command line for this project; `manage.py help` lists what it can do."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    from proxysite.command_line import CommandLine

    CommandLine(sys.argv).execute()


if __name__ == "__main__":
    main()

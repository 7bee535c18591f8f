"""Run `manage.py` from the fork server: what a shell of a test calls in place of Python.

    python -I -S forked_manage.py SOCKET MANAGE ARGUMENT…

It imports next to nothing. The exit status is that of the command.
"""

import json
import os
import socket
import sys


def main() -> int:
    address, *arguments = sys.argv[1:]
    launch = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    status_pipe, write_end = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(launch).encode()], [0, 1, 2, write_end])
    os.close(write_end)
    with open(status_pipe, encoding="ascii") as numbers:
        _, status = numbers.read().split()
    return int(status)


if __name__ == "__main__":
    sys.exit(main())

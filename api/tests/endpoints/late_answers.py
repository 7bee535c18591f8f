"""Answers of the upstream that come when the test says so."""


def send_late(gate, script):
    """Return `script`, which waits until the test opens the gate."""

    async def wait_and_send(exchange):
        await gate.wait_until_open()
        await script(exchange)

    return wait_and_send

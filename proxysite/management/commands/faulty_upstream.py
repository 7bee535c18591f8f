"""The command `faulty_upstream`: an OpenAI-compatible server that breaks as the model name says."""

import asyncio
from argparse import ArgumentParser

from django.core.management.base import CommandError

from providers.management.base import GatewayCommand
from proxysite.conformance.timings import PROFILES
from proxysite.conformance.upstream import FaultyUpstream
from proxysite.server.host_names import bracket_ipv6


class Command(GatewayCommand):
    help = (
        "Serve an upstream that fails in sixteen ways: the model's name chooses the fault "
        "(docs/conformance.md)."
    )
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)"
        )
        parser.add_argument(
            "--port", type=int, default=8401, help="port to listen on (default 8401)"
        )
        parser.add_argument(
            "--profile", choices=sorted(PROFILES), default="full", help="how long the faults last"
        )

    def handle(self, *args: object, host: str, port: int, profile: str, **options: object) -> None:
        try:
            asyncio.run(self.serve_upstream(FaultyUpstream(host, port, profile), host))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CommandError(
                f"Cannot listen on {host}:{port}: {reason}. Choose another with --port."
            ) from None
        except KeyboardInterrupt:
            return

    async def serve_upstream(self, upstream: FaultyUpstream, host: str) -> None:
        """Serve until Ctrl+C."""
        port = await upstream.start()
        url = f"http://{bracket_ipv6(host)}:{port}/v1"
        self.stdout.write(f"The faulty upstream serves {url} (Ctrl+C ends it)")
        self.stdout.flush()
        try:
            await asyncio.Event().wait()
        finally:
            await upstream.stop()

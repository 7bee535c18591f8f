"""`run_batches`: answer the lines of waiting batches; the worker starts it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from api.batches.batch_runner import runs_beside_callers
from api.batches.worker_process import WORKER_OPTION
from providers.management.base import GatewayCommand
from proxysite.worker.batch_process import run_batch_process


class Command(GatewayCommand):
    help = (
        "Answer the lines of batches until none waits. A worker starts it by itself; on SQLite the "
        "gateway answers them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(WORKER_OPTION, action="store_true", help="end when standard input does")

    def handle(self, *args: Any, with_worker: bool, **options: Any) -> None:
        if runs_beside_callers():
            raise CommandError("On SQLite the gateway itself runs batches; start `serve`.")
        if not run_batch_process(ends_with_stdin=with_worker):
            self.stdout.write("Another process runs the batches of this home.")

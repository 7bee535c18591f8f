"""The garbage collector of a process with a gateway."""

import gc


def freeze_garbage_collector() -> None:
    """Make full garbage collections rare: over all of Django's objects they stall every stream.

    Changes the collector of this process. A full collection takes milliseconds with 1,000 streams.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)

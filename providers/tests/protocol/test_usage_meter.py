import gc

from providers.protocol import usage_meter
from providers.protocol.usage_meter import UsageMeter, sum_usage


def test_a_finished_request_leaves_nothing_to_the_garbage_collector():
    """Other threads, such as those of a pool of connections, may leave something meanwhile."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        meter = UsageMeter()
        meter.begin_call({"messages": []}).record_chunks([{"choices": [{"text": "x"}]}])
        del meter
        gc.collect()
        left = [one for one in gc.garbage if type(one).__module__ == usage_meter.__name__]
        assert left == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_usage_is_added_up_at_any_depth():
    first = {
        "prompt_tokens": 3,
        "details": {"cached": 1},
        "cost": 0.5,
        "tier": "a",
        "estimated": True,
    }
    second = {
        "prompt_tokens": 4,
        "details": {"cached": 2, "audio": None},
        "cost": 0.25,
        "tier": "b",
    }
    assert sum_usage(first, second) == {
        "prompt_tokens": 7,
        "details": {"cached": 3, "audio": None},
        "cost": 0.75,
        "tier": "b",
        "estimated": True,
    }
    assert sum_usage({}, second) == second
    assert sum_usage({"details": None}, {"details": {"cached": 2}}) == {"details": {"cached": 2}}


def test_a_flag_is_no_count_and_other_values_are_not_lost():
    first = {"prompt_tokens": 3, "estimated": True, "tier": "flex"}
    second = {"prompt_tokens": 4, "estimated": True}
    assert sum_usage(first, second) == {"prompt_tokens": 7, "estimated": True, "tier": "flex"}
    assert sum_usage(second, first)["estimated"] is True

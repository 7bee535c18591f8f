from tokens.outcomes.breaker import CAUSE_LIMITED, LONGEST_PAUSE_SECONDS, Breaker, FailedCall

ALICE, BOB, CAROL, DAVE = 1, 2, 3, 4


def breaker(limit: int = 3, pause_seconds: float = 10.0) -> Breaker:
    return Breaker(limit, pause_seconds)


def fail(
    found: Breaker,
    at: float,
    caller: int = ALICE,
    token: object = None,
    *,
    only_token: bool = False,
    model: str = "",
) -> None:
    """A request of `caller` fails with one token."""
    found.record_failure(at, None, FailedCall(caller, token or object(), model))
    if found.should_open(at, only_token=only_token):
        found.open_circuit(at, "made up")


def opened(at: float = 100.0) -> Breaker:
    """A breaker that requests of three callers have opened."""
    found = breaker()
    for caller in (ALICE, BOB, CAROL):
        fail(found, at, caller)
    return found


def fail_probe(found: Breaker, at: float) -> None:
    found.begin_probe("probe", at)
    found.record_failure(at, None, FailedCall(ALICE, "t"))
    assert found.end_probe("probe")
    found.open_circuit(at, "made up")


# --- when it opens --------------------------------------------------------------------------------
def test_it_stays_closed_until_enough_requests_have_failed() -> None:
    found = breaker()
    for caller in (ALICE, BOB):
        fail(found, 100.0, caller)
        assert found.find_blocked_seconds(100.0) is None
    fail(found, 100.0, CAROL)
    assert found.find_blocked_seconds(100.0) == 10.0


def test_one_request_counts_once_however_many_calls_it_made() -> None:
    found, request = breaker(), None
    for token in range(20):
        request = found.record_failure(100.0, request, FailedCall(ALICE, token))
        assert not found.should_open(100.0, only_token=False)


def test_failures_of_one_token_alone_do_not_open_it() -> None:
    found = breaker()
    for _ in range(20):
        fail(found, 100.0, token="one")
    assert found.find_blocked_seconds(100.0) is None
    fail(found, 100.0, token="another")
    assert found.find_blocked_seconds(100.0) is not None


def test_failures_of_the_only_token_open_it() -> None:
    found = breaker()
    for _ in range(3):
        fail(found, 100.0, token="one", only_token=True)
    assert found.find_blocked_seconds(100.0) is not None


def test_a_request_that_was_answered_in_the_end_is_no_failure() -> None:
    found = breaker()
    for _ in range(20):
        request = found.record_failure(100.0, None, FailedCall(ALICE, object()))
        found.record_answer(100.0, request)
        assert not found.should_open(100.0, only_token=False)


def test_it_stays_closed_while_more_requests_are_answered_than_fail() -> None:
    found = breaker()
    for _ in range(40):
        found.record_answer(100.0)
        found.record_answer(100.0)
        fail(found, 100.0)
    assert found.find_blocked_seconds(100.0) is None


def test_an_outage_after_much_success_opens_it_within_the_window() -> None:
    found = breaker()
    for _ in range(1_000):
        found.record_answer(100.0)
    needed = 0
    while found.find_blocked_seconds(101.0) is None:
        needed += 1
        fail(found, 101.0)
    assert needed == 10  # half of the twenty requests that are looked at


def test_failures_of_long_ago_count_no_more() -> None:
    found = breaker()
    fail(found, 100.0)
    fail(found, 100.0)
    fail(found, 200.0)
    assert found.find_blocked_seconds(200.0) is None


# --- for whom -------------------------------------------------------------------------------------
def test_what_one_caller_sends_shuts_it_for_that_caller_only() -> None:
    found = breaker()
    for _ in range(5):
        fail(found, 100.0, ALICE)
    assert found.find_blocked_seconds(101.0, ALICE) == 9.0
    assert found.find_blocked_seconds(101.0, BOB) is None


def test_when_three_callers_fail_it_is_shut_for_all() -> None:
    found = breaker()
    for _ in range(5):
        fail(found, 100.0, ALICE)
    for caller in (BOB, CAROL):
        assert found.find_blocked_seconds(101.0, caller) is None
        fail(found, 101.0, caller)
    assert found.find_blocked_seconds(101.0, DAVE) == 9.0


def test_a_model_that_fails_shuts_it_for_that_model_only() -> None:
    found = breaker()
    for caller in (ALICE, BOB, CAROL):
        fail(found, 100.0, caller, model="broken")
    assert found.find_blocked_seconds(101.0, DAVE, "broken") == 9.0
    assert found.find_blocked_seconds(101.0, DAVE, "fine") is None
    fail(found, 101.0, DAVE, model="fine")
    assert found.find_blocked_seconds(101.0, DAVE, "another") == 9.0


def test_a_request_whose_caller_is_not_known_waits() -> None:
    assert opened().find_blocked_seconds(101.0, None) == 9.0


# --- half-open ------------------------------------------------------------------------------------
def test_an_open_breaker_tells_how_long_it_stays_so() -> None:
    assert opened(100.0).find_blocked_seconds(103.0) == 7.0


def test_after_the_pause_one_probe_goes_through_and_no_second() -> None:
    found = opened(100.0)
    assert found.find_blocked_seconds(110.0) is None
    found.begin_probe("probe", 110.0)
    assert found.find_blocked_seconds(110.0) is not None
    assert found.find_blocked_seconds(110.0, DAVE) is not None


def test_an_answer_closes_it() -> None:
    found = opened(100.0)
    found.begin_probe("probe", 110.0)
    found.record_answer(110.0)
    assert found.find_blocked_seconds(110.0) is None
    fail(found, 110.0)
    fail(found, 110.0)
    assert found.find_blocked_seconds(110.0) is None  # it counts from nothing again


def test_a_refusal_closes_it_too_for_a_provider_that_refuses_does_not_fail() -> None:
    found = opened(100.0)
    found.record_refusal(101.0)
    assert not found.is_open


def test_a_probe_that_fails_opens_it_again_for_twice_the_pause_up_to_a_minute() -> None:
    found, now, pauses = opened(100.0), 100.0, []
    for _ in range(6):
        now += found.find_blocked_seconds(now) or 0
        assert found.find_blocked_seconds(now) is None
        fail_probe(found, now)
        pauses.append(found.find_blocked_seconds(now))
    assert pauses == [20.0, 40.0, 60.0, 60.0, 60.0, 60.0]
    assert LONGEST_PAUSE_SECONDS == 60.0


def test_after_it_was_closed_the_pause_is_the_first_again() -> None:
    found = opened(100.0)
    fail_probe(found, 110.0)
    found.record_answer(130.0)
    for _ in range(3):
        fail(found, 200.0)
    assert found.find_blocked_seconds(200.0, ALICE) == 10.0


def test_failures_of_calls_that_began_before_it_opened_do_not_prolong_it() -> None:
    found = opened(100.0)
    for _ in range(10):
        fail(found, 101.0)
    assert found.find_blocked_seconds(101.0) == 9.0


def test_a_probe_whose_caller_left_lets_the_next_one_through() -> None:
    found = opened(100.0)
    found.begin_probe("probe", 110.0)
    assert found.end_probe("probe")
    assert found.find_blocked_seconds(110.0) is None
    found.begin_probe("another", 110.0)
    assert not found.end_probe("probe")
    assert found.find_blocked_seconds(110.0) is not None


def test_calls_of_a_closed_breaker_are_no_probes() -> None:
    found = breaker()
    for number in range(5):
        found.begin_probe(number, 100.0)
        assert found.find_blocked_seconds(100.0) is None
        assert not found.end_probe(number)


def test_a_provider_that_fails_for_days_is_probed_every_minute_and_found_when_it_is_back() -> None:
    found, now = opened(100.0), 100.0
    for _ in range(3_000):
        wait = found.find_blocked_seconds(now) or 0
        assert 0 < wait <= 60.0
        now += wait
        fail_probe(found, now)
    now += found.find_blocked_seconds(now) or 0
    found.begin_probe("probe", now)
    found.record_answer(now)
    assert found.find_blocked_seconds(now) is None


# --- limits of the whole provider -----------------------------------------------------------------
def test_a_limit_of_the_provider_shuts_it_for_all_until_an_answer() -> None:
    found = breaker()
    found.open_circuit(100.0, "limited", cause=CAUSE_LIMITED, seconds=30.0)
    assert found.find_blocked_seconds(100.0, BOB) == 30.0
    found.record_refusal(101.0)
    assert found.find_blocked_seconds(101.0, BOB) == 29.0
    found.record_answer(131.0)
    assert not found.is_open


# --- health ---------------------------------------------------------------------------------------
def test_a_provider_is_healthy_while_it_answers_most_requests_and_has_lately() -> None:
    found = breaker(limit=100)
    assert not found.is_healthy(100.0)
    found.record_answer(100.0)
    assert found.is_healthy(101.0)
    assert not found.is_healthy(110.0)
    found.record_answer(110.0)
    for _ in range(3):
        fail(found, 110.0)
    assert not found.is_healthy(110.0)

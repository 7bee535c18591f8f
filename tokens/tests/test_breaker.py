from tokens.breaker import LONGEST_PAUSE_SECONDS, Breaker


def breaker(limit: int = 3, pause_seconds: float = 10.0) -> Breaker:
    return Breaker(limit, pause_seconds)


def opened(at: float = 100.0) -> Breaker:
    found = breaker()
    for _ in range(3):
        found.failed(at)
    return found


def test_a_closed_breaker_lets_calls_through_until_the_limit_of_consecutive_failures() -> None:
    found = breaker()
    for _ in range(2):
        found.failed(100.0)
        assert found.blocked_for(100.0) is None
    found.failed(100.0)
    assert found.blocked_for(100.0) == 10.0


def test_an_answer_in_between_starts_the_count_anew() -> None:
    found = breaker()
    for _ in range(20):
        found.failed(100.0)
        found.failed(100.0)
        found.answered()
    assert found.blocked_for(100.0) is None


def test_an_open_breaker_tells_how_long_it_stays_so() -> None:
    assert opened(100.0).blocked_for(103.0) == 7.0


def test_after_the_pause_one_probe_goes_through_and_no_second() -> None:
    found = opened(100.0)
    assert found.blocked_for(110.0) is None
    found.begin()
    assert found.blocked_for(110.0) is not None


def test_a_probe_that_is_answered_closes_it() -> None:
    found = opened(100.0)
    found.begin()
    found.answered()
    assert found.blocked_for(110.0) is None
    found.failed(110.0)
    found.failed(110.0)
    assert found.blocked_for(110.0) is None  # it counts from nothing again


def test_a_probe_that_fails_opens_it_again_for_twice_the_pause_up_to_a_minute() -> None:
    found, now, pauses = opened(100.0), 100.0, []
    for _ in range(6):
        now += found.blocked_for(now) or 0
        assert found.blocked_for(now) is None
        found.begin()
        found.failed(now)
        pauses.append(found.blocked_for(now))
    assert pauses == [20.0, 40.0, 60.0, 60.0, 60.0, 60.0]
    assert LONGEST_PAUSE_SECONDS == 60.0


def test_after_it_was_closed_the_pause_is_the_first_again() -> None:
    found = opened(100.0)
    found.begin()
    found.failed(111.0)
    found.begin()
    found.answered()
    for _ in range(3):
        found.failed(200.0)
    assert found.blocked_for(200.0) == 10.0


def test_failures_of_calls_that_began_before_it_opened_do_not_prolong_it() -> None:
    found = opened(100.0)
    for _ in range(10):
        found.failed(101.0)
    assert found.blocked_for(101.0) == 9.0


def test_a_probe_whose_caller_left_lets_the_next_one_through() -> None:
    found = opened(100.0)
    found.begin()
    found.undecided()
    assert found.blocked_for(110.0) is None
    found.begin()
    assert found.blocked_for(110.0) is not None


def test_calls_of_a_closed_breaker_are_no_probes() -> None:
    found = breaker()
    for _ in range(5):
        found.begin()
        assert found.blocked_for(100.0) is None
    found.failed(100.0)
    assert found.blocked_for(100.0) is None


def test_a_provider_that_fails_for_days_is_probed_every_minute_and_found_when_it_is_back() -> None:
    found, now = opened(100.0), 100.0
    for _ in range(3_000):
        wait = found.blocked_for(now) or 0
        assert 0 < wait <= 60.0
        now += wait
        found.begin()
        found.failed(now)
    now += found.blocked_for(now) or 0
    found.begin()
    found.answered()
    assert found.blocked_for(now) is None

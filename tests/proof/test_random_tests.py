"""What a random test is judged by."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=1)
@given(st.just(0.3))
def test_random_test_may_take_as_long_as_the_machine_needs(seconds: float) -> None:
    time.sleep(seconds)  # more than Hypothesis grants an example by itself

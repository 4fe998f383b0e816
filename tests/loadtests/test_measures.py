"""What the load tests judge with: it must be able to find fault."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest

from trade_gateway.policy.limits import PolicyError, parse_policy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "loadtests"))

from measures.halt_flips import late_orders
from measures.table import Measure
from rig.bench_policy import ORDERS_PER_S, bench_policy
from rig.signed_orders import Key, Ladder, write_orders

from trade_gateway.policy.bounds import counts_at

LADDER = Ladder(
    symbol="BTCUSDT",
    price=Decimal("60000.0"),
    price_step=Decimal("0.1"),
    quantity=Decimal("0.000400"),
    quantity_step=Decimal("0.000001"),
)


def test_order_after_an_acknowledgement_that_does_not_name_it_is_late() -> None:
    arrivals = [(9, "before"), (10, "at once"), (11, "named"), (11, "late")]
    assert late_orders(arrivals, acknowledged_ns=10, named={"named"}) == ["late"]


@pytest.mark.parametrize(("value", "holds"), [(0.9, True), (1.0, True), (1.1, False)])
def test_measure_beyond_its_highest_falls_short(value: float, holds: bool) -> None:
    measure = Measure(name="halt", value=value, highest=1.0)
    assert measure.holds is holds
    assert ("FALLS SHORT" in measure.line()) is not holds


@pytest.mark.parametrize(("value", "holds"), [(1.1, True), (1.0, True), (0.9, False)])
def test_measure_below_its_lowest_falls_short(value: float, holds: bool) -> None:
    assert Measure(name="orders", value=value, lowest=1.0).holds is holds


def test_bench_policy_is_one_at_the_bounds_of_a_load_test_and_no_other() -> None:
    policy = parse_policy(bench_policy().encode(), counts=counts_at(ORDERS_PER_S))
    assert (policy.max_open_orders, policy.messages_per_s_terminate) == (500, 50_000)
    with pytest.raises(PolicyError):
        parse_policy(bench_policy().encode())


def test_signed_orders_are_all_different_and_of_one_length(tmp_path: Path) -> None:
    key = Key(key="virtual", secret="secret")
    orders = write_orders(tmp_path / "orders", count=3_000, key=key, ladders=[LADDER], host="127.0.0.1:1")
    raw = orders.path.read_bytes()
    requests = [raw[start : start + orders.length] for start in range(0, len(raw), orders.length)]
    bodies = {request.partition(b"\r\n\r\n")[2] for request in requests}
    signatures = {request.partition(b"X-BAPI-SIGN: ")[2][:64] for request in requests}
    assert len(requests) == len(bodies) == len(signatures) == 3_000

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text, sign
from trade_core.trust.lease import (
    CEILINGS,
    MAX_CHECKPOINT_CHARACTERS,
    MAX_LEASE_BYTES,
    MAX_LIFETIME_S,
    OLD_PURPOSES,
    PURPOSE,
    SEND_EVERY_S,
    Lease,
    Peak,
    SecondPrice,
    open_lease,
    sign_lease,
)

KEY = load_private_key(base64.b64encode(bytes(range(32))).decode())
PUBLIC = public_text(KEY)
LEASE = Lease(
    deployment="d1",
    environment="simulated",
    account="1002",
    boot_nonce="n1",
    generation=7,
    ceiling="ACTIVE",
    scale="1",
    second_venue="okx",
    second_prices=(
        SecondPrice(coin="BTC", price="64000.5", seen_at_ms=1_700_000_008_000),
        SecondPrice(coin="1INCH", price="0.000000000001", seen_at_ms=1_700_000_010_000),
    ),
    checkpoint="origin\n3\nroot\n\n\u2014 name signature\n",
    policy_hash="a" * 64,
    ring_hash="b" * 64,
    signed_at_ms=1_700_000_010_000,
    expires_at_ms=1_700_000_030_000,
    memory_rows=41,
    memory_checkpoint="origin\n40\nroot\n\n\u2014 name signature\n",
    peaks=(Peak(rung="daily", price="1.000000000001"), Peak(rung="high_water", price="2")),
    holder="0123456789abcdef",
)
SIGNED = sign_lease(LEASE, KEY)


def signed_content(content: object, *, purpose: str = PURPOSE) -> bytes:
    """Sign whatever content with the right key: only the parser stands between it and belief."""
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    signature = sign(KEY, purpose=purpose, payload=payload)
    return json.dumps({"payload": base64.b64encode(payload).decode(), "signature": signature}).encode()


def test_lease_opens_as_it_was_signed() -> None:
    assert open_lease(SIGNED, lease_key=PUBLIC) == LEASE


def test_lease_with_any_byte_changed_is_not_trusted() -> None:
    for index in range(len(SIGNED)):
        for flip in (0x01, 0x20, 0x80):
            tampered = bytearray(SIGNED)
            tampered[index] ^= flip
            with pytest.raises(NotTrusted):
                open_lease(bytes(tampered), lease_key=PUBLIC)


def test_lease_cut_anywhere_is_not_trusted() -> None:
    for length in range(len(SIGNED)):
        with pytest.raises(NotTrusted):
            open_lease(SIGNED[:length], lease_key=PUBLIC)


@pytest.mark.parametrize("name", LEASE.content())
def test_lease_with_a_field_changed_under_the_old_signature_is_not_trusted(name: str) -> None:
    outer = json.loads(SIGNED)
    content = LEASE.content()
    content[name] = content[name] + 1 if isinstance(content[name], int) else "X"
    outer["payload"] = base64.b64encode(canonical_json(content)).decode()
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(json.dumps(outer).encode(), lease_key=PUBLIC)


def test_lease_by_another_key_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(sign_lease(LEASE, load_private_key(new_private_key())), lease_key=PUBLIC)


@pytest.mark.parametrize("purpose", ["lease/v7", "warrant/v1", "lease"])
def test_lease_signed_for_another_purpose_is_not_trusted(purpose: str) -> None:
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(signed_content(LEASE.content(), purpose=purpose), lease_key=PUBLIC)


@pytest.mark.parametrize("name", LEASE.content())
def test_signed_lease_without_a_field_is_not_trusted(name: str) -> None:
    content = LEASE.content()
    del content[name]
    with pytest.raises(NotTrusted, match="not those of a lease"):
        open_lease(signed_content(content), lease_key=PUBLIC)


def test_signed_lease_with_a_further_field_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="not those of a lease"):
        open_lease(signed_content({**LEASE.content(), "more": 1}), lease_key=PUBLIC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in LEASE.content()
        for value in (None, True, 1.0, [], {})
        if not (name in {"second_prices", "peaks"} and value == [])
    ],
)
def test_signed_lease_with_a_field_of_another_type_is_not_trusted(name: str, value: object) -> None:
    with pytest.raises(NotTrusted, match=f"{name} must be"):
        open_lease(signed_content({**LEASE.content(), name: value}), lease_key=PUBLIC)


@pytest.mark.parametrize("name", ["generation", "signed_at_ms", "expires_at_ms", "memory_rows"])
@pytest.mark.parametrize(("value", "is_trusted"), [(2**52, True), (2**53 - 1, True), (-1, False), (2**53, False)])
def test_signed_lease_integers_have_bounds(name: str, value: int, is_trusted: bool) -> None:
    raw = signed_content({**LEASE.content(), name: value})
    if is_trusted:
        assert getattr(open_lease(raw, lease_key=PUBLIC), name) == value
    else:
        with pytest.raises(NotTrusted, match="out of range"):
            open_lease(raw, lease_key=PUBLIC)


@pytest.mark.parametrize("ceiling", CEILINGS)
def test_signed_lease_of_every_ceiling_opens(ceiling: str) -> None:
    lease = replace(LEASE, ceiling=ceiling)
    assert open_lease(sign_lease(lease, KEY), lease_key=PUBLIC) == lease


@pytest.mark.parametrize("ceiling", ["KILLED", "active", "", "FREE"])
def test_signed_lease_of_another_ceiling_is_not_trusted(ceiling: str) -> None:
    with pytest.raises(NotTrusted, match="not a trading state"):
        open_lease(sign_lease(replace(LEASE, ceiling=ceiling), KEY), lease_key=PUBLIC)


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"null", b"\xff", b"[" * 10_000])
def test_signed_payload_that_is_no_object_is_not_trusted(payload: bytes) -> None:
    with pytest.raises(NotTrusted, match="lease: "):
        open_lease(signed_content(payload), lease_key=PUBLIC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"payload":"","signature":"","x":""}',
        b'{"payload":1,"signature":""}',
        b'{"payload":"","signature":1}',
        b"[" * 10_000,
        b"\xff",
    ],
)
def test_lease_of_another_form_is_not_trusted(raw: bytes) -> None:
    with pytest.raises(NotTrusted):
        open_lease(raw, lease_key=PUBLIC)


@pytest.mark.parametrize(("excess", "is_trusted"), [(0, True), (1, False)])
def test_lease_length_has_a_bound(excess: int, is_trusted: bool) -> None:
    raw = SIGNED + b" " * (MAX_LEASE_BYTES - len(SIGNED) + excess)
    if is_trusted:
        assert open_lease(raw, lease_key=PUBLIC) == LEASE
    else:
        with pytest.raises(NotTrusted, match="at most"):
            open_lease(raw, lease_key=PUBLIC)


def test_lease_lives_for_thirty_seconds_at_most_and_is_renewed_every_five() -> None:
    assert (MAX_LIFETIME_S, SEND_EVERY_S, MAX_LEASE_BYTES) == (30, 5, 16_384)


@pytest.mark.parametrize(("generation", "is_trusted"), [(0, True), (2**53 - 1, True), (2**53, False), (-1, False)])
def test_lease_has_whole_numbers_that_every_reader_of_json_keeps(generation: int, *, is_trusted: bool) -> None:
    raw = signed_content({**LEASE.content(), "generation": generation})
    if is_trusted:
        assert open_lease(raw, lease_key=PUBLIC).generation == generation
    else:
        with pytest.raises(NotTrusted):
            open_lease(raw, lease_key=PUBLIC)


def test_lease_that_is_a_list_of_the_right_words_is_not_trusted() -> None:
    with pytest.raises(NotTrusted, match="exactly payload and signature"):
        open_lease(b'["payload", "signature"]', lease_key=PUBLIC)


@pytest.mark.parametrize(("length", "sentence"), [(16_384, ""), (16_385, "at most 16384")])
def test_lease_of_more_than_its_bytes_is_not_read(length: int, sentence: str) -> None:
    raw = SIGNED + b" " * (length - len(SIGNED))
    if not sentence:
        assert open_lease(raw, lease_key=PUBLIC) == LEASE
    else:
        with pytest.raises(NotTrusted, match=sentence):
            open_lease(raw, lease_key=PUBLIC)


@pytest.mark.parametrize("purpose", OLD_PURPOSES)
def test_lease_of_an_older_version_is_refused_with_the_reason(purpose: str) -> None:
    old = {
        name: value
        for name, value in LEASE.content().items()
        if name
        not in {
            "second_venue",
            "second_prices",
            "checkpoint",
            "signed_at_ms",
            "memory_rows",
            "memory_checkpoint",
            "peaks",
        }
    }
    with pytest.raises(NotTrusted, match=f"it is a {purpose}, only lease/v6 counts; run the watchdog of the gateway's"):
        open_lease(signed_content(old, purpose=purpose), lease_key=PUBLIC)


def test_lease_of_an_older_version_by_a_stranger_is_refused_as_a_stranger_s() -> None:
    forged = sign(load_private_key(new_private_key()), purpose=OLD_PURPOSES[0], payload=b"{}")
    raw = json.dumps({"payload": base64.b64encode(b"{}").decode(), "signature": forged}).encode()
    with pytest.raises(NotTrusted, match="not by key"):
        open_lease(raw, lease_key=PUBLIC)


def prices(count: int) -> tuple[SecondPrice, ...]:
    """Make the longest that a lease may hold."""
    return tuple(
        SecondPrice(coin=f"{'X' * 17}{index:03}", price="9" * 12 + "." + "9" * 12, seen_at_ms=LEASE.signed_at_ms)
        for index in range(count)
    )


@pytest.mark.parametrize(
    ("name", "most", "characters"),
    [
        (name, most, characters)
        for name, most in (("checkpoint", 1024), ("memory_checkpoint", 512))
        for characters in (0, most, most + 1)
    ],
)
def test_lease_bounds_the_length_of_its_checkpoints(name: str, most: int, characters: int) -> None:
    lease = replace(LEASE, **{name: "c" * characters})  # type: ignore[arg-type]
    if characters <= most:
        assert open_lease(sign_lease(lease, KEY), lease_key=PUBLIC) == lease
    else:
        with pytest.raises(NotTrusted, match=f"a checkpoint of {characters} characters, at most {most}"):
            open_lease(sign_lease(lease, KEY), lease_key=PUBLIC)


@pytest.mark.parametrize("count", [0, 1, 50, 51, 500])
def test_lease_bounds_the_number_of_second_prices(count: int) -> None:
    lease = replace(LEASE, second_prices=prices(count), checkpoint="c" * MAX_CHECKPOINT_CHARACTERS)
    if count <= 50:
        signed = sign_lease(lease, KEY)
        assert open_lease(signed, lease_key=PUBLIC) == lease
        assert len(signed) < MAX_LEASE_BYTES
    else:
        with pytest.raises(NotTrusted, match="at most"):
            open_lease(sign_lease(lease, KEY), lease_key=PUBLIC)


def opened_with(**changed: object) -> Lease:
    """Open a lease whose only second price is changed."""
    price = {"coin": "BTC", "price": "1", "seen_at_ms": 1, **changed}
    return open_lease(signed_content({**LEASE.content(), "second_prices": [price]}), lease_key=PUBLIC)


@pytest.mark.parametrize("text", ["1", "0.5", "64000.123456789012", "1" * 12])
def test_second_price_is_a_plain_decimal_text(text: str) -> None:
    assert opened_with(price=text).second_prices[0].price == text


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0.0",
        "-1",
        "+1",
        "NaN",
        "Infinity",
        "1e3",
        "",
        " 1",
        "1 ",
        "01",
        "1.",
        "1" * 13,
        "\N{ARABIC-INDIC DIGIT ONE}",
        "0x1",
        "1,0",
    ],
)
def test_second_price_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(NotTrusted, match="not a plain decimal number above 0"):
        opened_with(price=text)


@pytest.mark.parametrize("value", [1, 1.5, None, True, [], {}])
def test_second_price_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(NotTrusted, match="price must be str"):
        opened_with(price=value)


@pytest.mark.parametrize("coin", ["", "btc", "B-T", "BTC\n", "X" * 21, "ÄTH", "BTC/USDT"])
def test_second_price_of_a_coin_without_a_name_is_refused(coin: str) -> None:
    with pytest.raises(NotTrusted, match="coin is not the name of one"):
        opened_with(coin=coin)


@pytest.mark.parametrize("value", [-1, 2**53, "1", 1.0, True, None])
def test_second_price_without_a_time_is_refused(value: object) -> None:
    with pytest.raises(NotTrusted, match="seen_at_ms"):
        opened_with(seen_at_ms=value)


@pytest.mark.parametrize(("late_ms", "is_trusted"), [(0, True), (1, False), (3_600_000, False)])
def test_second_price_seen_after_the_signature_is_refused(late_ms: int, *, is_trusted: bool) -> None:
    if is_trusted:
        assert opened_with(seen_at_ms=LEASE.signed_at_ms + late_ms).second_prices
    else:
        with pytest.raises(NotTrusted, match="seen after the lease was signed"):
            opened_with(seen_at_ms=LEASE.signed_at_ms + late_ms)


@pytest.mark.parametrize("item", [None, 1, "BTC", [], ["BTC", "1", 1]])
def test_second_price_that_is_no_object_is_refused(item: object) -> None:
    with pytest.raises(NotTrusted, match="must be an object"):
        open_lease(signed_content({**LEASE.content(), "second_prices": [item]}), lease_key=PUBLIC)


@pytest.mark.parametrize(
    "item", [{}, {"coin": "BTC", "price": "1"}, {"coin": "B", "price": "1", "seen_at_ms": 1, "x": 1}]
)
def test_second_price_with_other_fields_is_refused(item: object) -> None:
    with pytest.raises(NotTrusted, match="not those of a second price"):
        open_lease(signed_content({**LEASE.content(), "second_prices": [item]}), lease_key=PUBLIC)


def test_coin_with_two_second_prices_is_refused() -> None:
    twice = (LEASE.second_prices[0], replace(LEASE.second_prices[0], price="1"))
    with pytest.raises(NotTrusted, match="two second prices"):
        open_lease(sign_lease(replace(LEASE, second_prices=twice), KEY), lease_key=PUBLIC)


@pytest.mark.parametrize("venue", ["", "OKX", "o k", "okx\n", "x" * 21])
def test_second_venue_without_a_name_is_refused(venue: str) -> None:
    with pytest.raises(NotTrusted, match="second_venue is not the name of one"):
        open_lease(sign_lease(replace(LEASE, second_venue=venue), KEY), lease_key=PUBLIC)


@pytest.mark.parametrize(
    ("value", "is_trusted"),
    [("", True), ("0.1502", True), ("~" * 64, True), ("~" * 65, False), ("5\n", False), ("\x7f", False), ("é", False)],
)
def test_trigger_value_is_short_and_printable(value: str, *, is_trusted: bool) -> None:
    signed = sign_lease(replace(LEASE, trigger_value=value), KEY)
    if is_trusted:
        assert open_lease(signed, lease_key=PUBLIC).trigger_value == value
    else:
        with pytest.raises(NotTrusted, match="trigger_value is not at most 64 printable characters"):
            open_lease(signed, lease_key=PUBLIC)


@pytest.mark.parametrize("holder", ["", "0" * 15, "0" * 17, "A" * 16, "g" * 16, "0" * 16 + "\n"])
def test_holder_without_a_name_is_refused(holder: str) -> None:
    with pytest.raises(NotTrusted, match="holder is not the name of one"):
        open_lease(sign_lease(replace(LEASE, holder=holder), KEY), lease_key=PUBLIC)


def test_second_prices_of_no_venue_are_refused() -> None:
    with pytest.raises(NotTrusted, match="of no venue"):
        open_lease(sign_lease(replace(LEASE, second_venue="none"), KEY), lease_key=PUBLIC)
    none = replace(LEASE, second_venue="none", second_prices=())
    assert open_lease(sign_lease(none, KEY), lease_key=PUBLIC) == none


PEAK = {"rung": "daily", "price": "1.5"}


def test_lease_tells_nothing_of_the_memory_unless_told_so() -> None:
    of_memory = {"memory_rows", "memory_checkpoint", "peaks", "holder", "trigger_value"}
    made = Lease(**{name: getattr(LEASE, name) for name in LEASE.content() if name not in of_memory})
    assert (made.memory_rows, made.memory_checkpoint, made.peaks, made.holder) == (0, "", (), "0" * 16)
    assert made.trigger_value == ""


def test_lease_may_tell_no_peaks_and_eight_at_most() -> None:
    assert open_lease(sign_lease(replace(LEASE, peaks=()), KEY), lease_key=PUBLIC).peaks == ()
    eight = [{**PEAK, "rung": "a" * length} for length in range(1, 9)]
    assert len(open_lease(signed_content({**LEASE.content(), "peaks": eight}), lease_key=PUBLIC).peaks) == 8
    with pytest.raises(NotTrusted, match="9 peaks, at most 8"):
        open_lease(signed_content({**LEASE.content(), "peaks": [*eight, PEAK]}), lease_key=PUBLIC)


@pytest.mark.parametrize(
    ("peaks", "words"),
    [
        ([PEAK, {**PEAK, "price": "2"}], "a rung has two peaks"),
        (["daily"], "must be an object"),
        ([{"rung": "daily"}], "fields are not those of a peak"),
        ([{**PEAK, "more": "1"}], "fields are not those of a peak"),
        ([{**PEAK, "price": 1.5}], "price must be str"),
        ([{**PEAK, "rung": "Daily"}], "not the name of one"),
        ([{**PEAK, "rung": ""}], "not the name of one"),
        ([{**PEAK, "rung": "a" * 21}], "not the name of one"),
        ([{**PEAK, "price": "0"}], "above 0"),
        ([{**PEAK, "price": "-1"}], "above 0"),
        ([{**PEAK, "price": "NaN"}], "above 0"),
    ],
)
def test_lease_with_peaks_that_are_none_is_not_trusted(peaks: object, words: str) -> None:
    with pytest.raises(NotTrusted, match=words):
        open_lease(signed_content({**LEASE.content(), "peaks": peaks}), lease_key=PUBLIC)


def test_peak_may_be_as_small_as_its_grammar_and_its_name_as_long() -> None:
    peaks = [{"rung": "a" * 20, "price": "0.000000000001"}]
    assert open_lease(signed_content({**LEASE.content(), "peaks": peaks}), lease_key=PUBLIC).peaks == (
        Peak(rung="a" * 20, price="0.000000000001"),
    )

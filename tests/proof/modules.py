"""The pure core: the modules whose every branch must be run and whose every mutant must be judged.

Each module stands with the tests that must prove it without help: its mirrored file, or, for a module of shared parts
that has none, the files of the modules that are built on it. `make coverage` and `make mutate` read this list.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

_POLICY, _WIRE, _ACCOUNT = "gateway/trade_gateway/policy", "gateway/trade_gateway/wire", "gateway/trade_gateway/account"
_GATEWAY, _CORE, _WATCHDOG = "gateway/trade_gateway", "core/trade_core", "watchdog/trade_watchdog"
_AUDIT = "watchdog/trade_watchdog/audit"
_KILLSWITCH = "killswitch/trade_killswitch"
_BODIES = tuple(f"tests/gateway/wire/test_{name}.py" for name in ("order_bodies", "pin_bodies", "stop_bodies"))

WHOLE_FOLDERS = (_POLICY, _WIRE, f"{_CORE}/trust", _AUDIT)
"""Every module of these folders belongs to the list; a new one without an entry fails a test."""


def _tests(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py" for name in names)


PURE_CORE: Mapping[str, tuple[str, ...]] = {
    f"{_POLICY}/decision.py": _tests("gateway/policy", "decision"),
    f"{_POLICY}/stops.py": _tests("gateway/policy", "stops"),
    f"{_POLICY}/disaster.py": _tests("gateway/policy", "disaster"),
    f"{_POLICY}/collar.py": _tests("gateway/policy", "collar"),
    f"{_POLICY}/exposure.py": _tests("gateway/policy", "exposure"),
    f"{_POLICY}/turnover.py": _tests("gateway/policy", "turnover"),
    f"{_POLICY}/throttles.py": _tests("gateway/policy", "throttles"),
    f"{_POLICY}/hostile_loss.py": _tests("gateway/policy", "hostile_loss"),
    f"{_POLICY}/references.py": _tests("gateway/policy", "references"),
    f"{_POLICY}/limits.py": _tests("gateway/policy", "limits"),
    f"{_POLICY}/bounds.py": _tests("gateway/policy", "limits"),
    f"{_POLICY}/comparison.py": _tests("gateway/policy", "comparison"),
    f"{_POLICY}/content.py": _tests("gateway/policy", "content"),
    f"{_POLICY}/field_changes.py": _tests("gateway/policy", "field_changes"),
    f"{_POLICY}/instruments.py": _tests("gateway/policy", "instruments"),
    f"{_POLICY}/pins.py": _tests("gateway/policy", "pins"),
    f"{_POLICY}/deny_codes.py": _tests("gateway/policy", "deny_codes"),
    f"{_POLICY}/explain.py": _tests("gateway/policy", "explain"),
    f"{_POLICY}/model.py": _tests("gateway/policy", "decision", "limits", "hostile_loss"),
    f"{_POLICY}/facts.py": _tests("gateway/policy", "decision", "exposure"),
    f"{_POLICY}/verdicts.py": _tests("gateway/policy", "decision", "collar"),
    f"{_POLICY}/exact.py": _tests("gateway/policy", "exposure", "collar", "decision"),
    f"{_POLICY}/trading_state.py": _tests("gateway/policy", "trading_state"),
    f"{_GATEWAY}/policy_history.py": _tests("gateway", "policy_history"),
    f"{_GATEWAY}/witnessed_log.py": _tests("gateway", "witnessed_log"),
    f"{_GATEWAY}/watchdog_log.py": _tests("gateway", "watchdog_log"),
    f"{_GATEWAY}/states.py": _tests("gateway", "states"),
    f"{_GATEWAY}/latch_warrants.py": _tests("gateway", "latch_warrants"),
    f"{_GATEWAY}/order_flow.py": _tests("gateway", "order_flow"),
    f"{_WIRE}/authentication.py": _tests("gateway/wire", "authentication"),
    f"{_WIRE}/request.py": _tests("gateway/wire", "request"),
    f"{_WIRE}/routes.py": _tests("gateway/wire", "routes"),
    f"{_WIRE}/triggers.py": _tests("gateway/wire", "routes"),
    f"{_WIRE}/flat_json.py": _tests("gateway/wire", "flat_json"),
    f"{_WIRE}/fields.py": _BODIES,
    f"{_WIRE}/intents.py": _BODIES,
    f"{_WIRE}/parse.py": _BODIES,
    f"{_WIRE}/order_bodies.py": _tests("gateway/wire", "order_bodies"),
    f"{_WIRE}/stop_bodies.py": _tests("gateway/wire", "stop_bodies"),
    f"{_WIRE}/pin_bodies.py": _tests("gateway/wire", "pin_bodies"),
    f"{_WIRE}/queries.py": _tests("gateway/wire", "queries"),
    f"{_WIRE}/render.py": _tests("gateway/wire", "render", "order_bodies", "stop_bodies"),
    f"{_WIRE}/refusal.py": _tests("gateway/wire", "refusal"),
    f"{_GATEWAY}/ledger.py": (*_tests("gateway", "ledger"), *_tests("gateway/account", "tally")),
    f"{_GATEWAY}/lease_keeper.py": _tests("gateway", "lease_keeper"),
    f"{_GATEWAY}/second_prices.py": _tests("gateway", "lease_keeper"),
    f"{_ACCOUNT}/view.py": _tests("gateway/account", "view", "view_model"),
    f"{_ACCOUNT}/messages.py": _tests("gateway/account", "messages"),
    f"{_ACCOUNT}/trust.py": _tests("gateway/account", "trust"),
    f"{_ACCOUNT}/activity.py": _tests("gateway/account", "activity"),
    f"{_ACCOUNT}/tally.py": _tests("gateway/account", "tally"),
    f"{_WATCHDOG}/equity.py": _tests("watchdog", "equity"),
    f"{_WATCHDOG}/ladder.py": _tests("watchdog", "ladder"),
    f"{_WATCHDOG}/coin_prices.py": _tests("watchdog", "coin_prices"),
    f"{_WATCHDOG}/stream_estimate.py": _tests("watchdog", "stream_estimate"),
    f"{_WATCHDOG}/movements.py": _tests("watchdog", "movements"),
    f"{_WATCHDOG}/peaks.py": _tests("watchdog", "peaks"),
    f"{_WATCHDOG}/ceiling.py": _tests("watchdog", "ceiling"),
    f"{_CORE}/trust/keys.py": _tests("core/trust", "keys"),
    f"{_CORE}/trust/kill_notice.py": _tests("core/trust", "kill_notice"),
    f"{_CORE}/trust/lease.py": _tests("core/trust", "lease"),
    f"{_CORE}/trust/baseline.py": _tests("core/trust", "baseline"),
    f"{_CORE}/trust/release_subject.py": _tests("core/trust", "release_subject"),
    f"{_CORE}/trust/release_terms.py": _tests("core/trust", "release_terms"),
    f"{_CORE}/trust/ring.py": _tests("core/trust", "ring"),
    f"{_CORE}/trust/succession.py": _tests("core/trust", "succession"),
    f"{_CORE}/trust/log_warrant.py": _tests("core/trust", "log_warrant"),
    f"{_CORE}/trust/policy_warrant.py": _tests("core/trust", "policy_warrant"),
    f"{_CORE}/trust/statement.py": _tests("core/trust", "lease", "ring", "warrant"),
    f"{_CORE}/trust/tag.py": _tests("core/trust", "tag"),
    f"{_CORE}/trust/assertion.py": _tests("core/trust", "assertion"),
    f"{_CORE}/trust/attestation.py": _tests("core/trust", "attestation"),
    f"{_CORE}/trust/certificate.py": _tests("core/trust", "certificate"),
    f"{_CORE}/trust/credential.py": _tests("core/trust", "credential"),
    f"{_CORE}/trust/one_form.py": _tests("core/trust", "one_form"),
    f"{_CORE}/trust/printed_key.py": _tests("core/trust", "printed_key"),
    f"{_CORE}/trust/ring_book.py": _tests("core/trust", "ring_book"),
    f"{_CORE}/trust/sign_counters.py": _tests("core/trust", "sign_counters"),
    f"{_CORE}/trust/signed_warrant.py": _tests("core/trust", "signed_warrant"),
    f"{_CORE}/trust/warrant.py": _tests("core/trust", "warrant"),
    f"{_KILLSWITCH}/command/draft.py": _tests("killswitch/command", "draft"),
    f"{_KILLSWITCH}/drill_schedule.py": _tests("killswitch", "drill_schedule"),
    f"{_KILLSWITCH}/working_orders.py": _tests("killswitch", "working_orders"),
    f"{_KILLSWITCH}/sweep_plan.py": _tests("killswitch", "sweep_plan"),
    f"{_KILLSWITCH}/sweep_flow.py": _tests("killswitch", "sweep_flow"),
    f"{_KILLSWITCH}/key_check.py": _tests("killswitch", "key_check"),
    f"{_KILLSWITCH}/account_keys.py": _tests("killswitch", "account_keys"),
    f"{_KILLSWITCH}/flatten_flow.py": _tests("killswitch", "flatten_flow"),
    f"{_KILLSWITCH}/flatten_plan.py": _tests("killswitch", "flatten_plan"),
    f"{_KILLSWITCH}/kill_order.py": _tests("killswitch", "kill_order"),
    f"{_KILLSWITCH}/kill_report.py": _tests("killswitch", "kill_report"),
    f"{_KILLSWITCH}/kill_words.py": _tests("killswitch", "kill_words"),
    f"{_KILLSWITCH}/open_book.py": _tests("killswitch", "open_book"),
    f"{_KILLSWITCH}/own_book.py": _tests("killswitch", "own_book"),
    f"{_KILLSWITCH}/standing.py": _tests("killswitch", "standing"),
    f"{_KILLSWITCH}/procedure.py": _tests("killswitch", "procedure"),
    f"{_CORE}/money.py": _tests("core", "money"),
    f"{_CORE}/alerts/book.py": _tests("core/alerts", "book"),
    f"{_WATCHDOG}/actions/silence.py": _tests("watchdog/actions", "silence"),
    f"{_CORE}/canonical.py": _tests("core", "canonical"),
    f"{_AUDIT}/collar_audit.py": _tests("watchdog/audit", "collar_audit"),
    f"{_AUDIT}/journaled.py": _tests("watchdog/audit", "journaled"),
    f"{_AUDIT}/key_inventory.py": _tests("watchdog/audit", "key_inventory"),
    f"{_AUDIT}/limit_audit.py": _tests("watchdog/audit", "limit_audit"),
    f"{_AUDIT}/listing.py": _tests("watchdog/audit", "listing"),
    f"{_AUDIT}/order_audit.py": _tests("watchdog/audit", "order_audit"),
    f"{_AUDIT}/posture.py": _tests("watchdog/audit", "posture"),
    f"{_AUDIT}/provenance.py": _tests("watchdog/audit", "provenance"),
    f"{_AUDIT}/reconciliation.py": _tests("watchdog/audit", "reconciliation"),
    f"{_AUDIT}/turnover_audit.py": _tests("watchdog/audit", "turnover_audit"),
    f"{_AUDIT}/sightings.py": _tests("watchdog/audit", "provenance", "listing"),
}


def all_tests() -> list[str]:
    """Return every test file of the list once."""
    return sorted({test for tests in PURE_CORE.values() for test in tests})


def main() -> None:
    """Print the list for the Makefile."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("modules", "tests"))
    print(",".join(PURE_CORE) if parser.parse_args().what == "modules" else " ".join(all_tests()))


if __name__ == "__main__":
    main()

"""The console in a real browser on a whole site: each view's main job, STALE when frames stop, and going on after."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from playwright.sync_api import Page, Route, expect
from typer.testing import CliRunner

from control.cli import app
from control.client import Client
from ledger.bundle import verify_bundle
from tests.plant import chromium
from tests.plant.site import Site, until

pytestmark = chromium.NEEDED


def test_the_plant_is_shown_with_every_point_live_and_its_age(page: Page) -> None:
    expect(page.get_by_test_id("live-count")).to_have_attribute("data-live", "145", timeout=15_000)
    page.get_by_test_id("twin-tank_1").locator("rect").first.click()
    value = page.get_by_test_id("point-value-tank_1.level")
    expect(value).to_have_attribute("data-look", "good")
    expect(value).to_contain_text(re.compile(r"\d+\.\d+"))
    for device in ("scada", "plc", "pressures"):
        expect(page.get_by_test_id(f"link-{device}")).to_have_attribute("data-state", "online")
    page.wait_for_timeout(2_000)
    chromium.picture(page, "plant")


def test_a_trend_draws_history_and_goes_on(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#/trends?points=tank_1.level,pump_335.flow&range=300")
    expect(page.get_by_test_id("trend-chart-tank_1.level").locator("canvas")).to_be_visible()


def ask(page: Page, point: str, value: str, reason: str) -> None:
    """Fills the form in and asks what the command would meet."""
    page.get_by_test_id("command-point").select_option(point)
    field = page.get_by_test_id("command-value")
    if field.evaluate("e => e.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)
    page.get_by_test_id("command-reason").fill(reason)
    page.get_by_test_id("command-review").click()
    # A prediction may be part of the review.
    expect(page.get_by_test_id("command-summary")).to_contain_text(point, timeout=30_000)


def test_an_interlock_that_refuses_shows_what_it_saw_before_and_after(page: Page) -> None:
    page.keyboard.press("Escape")
    page.get_by_test_id("tab-commands").click()
    ask(page, "station.bypass", "1", "against the interlock")
    expect(page.get_by_test_id("command-against")).to_contain_text("pump_335.running")
    page.get_by_test_id("command-send").click()
    expect(page.get_by_test_id("error")).to_contain_text("turn its own water round")
    expect(page.get_by_test_id("seen")).to_contain_text("pump_335.running")
    expect(page.get_by_test_id("command-row").first).to_have_attribute("data-status", "REFUSED")


def test_a_command_is_reviewed_sent_and_shown_done_only_when_confirmed(page: Page, plant: tuple[Site, Client]) -> None:
    ask(page, "pump_335.status", "0", "browser test")
    page.get_by_test_id("command-send").click()
    row = page.get_by_test_id("command-row").first
    expect(row).to_have_attribute("data-status", "CONFIRMED", timeout=15_000)
    assert plant[1].get("/commands", limit=1)["commands"][0]["reason"] == "browser test"


def test_a_selected_command_goes_on_when_operated_and_approved_by_another_person(
    page: Page, plant: tuple[Site, Client]
) -> None:
    site, client = plant
    words = ["account", "add", "sue", "--role", "supervisor", "--data", str(site.data)]
    assert CliRunner().invoke(app, words, input="eleven pumps\n").exit_code == 0
    browser = page.context.browser
    assert browser is not None
    sue = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    sue.goto(client.url + client.post("/login-link", {"account": "sue"})["path"])
    expect(sue.get_by_test_id("who")).to_contain_text("sue, supervisor")

    ask(page, "pump_10.speed", "90", "quieter at night")
    expect(page.get_by_test_id("command-summary")).to_contain_text("approval by 1 of role supervisor")
    page.get_by_test_id("command-send").click()
    waiting = page.get_by_test_id("waiting-item")
    expect(waiting.get_by_test_id("waiting-left")).to_contain_text("reserved for")
    waiting.get_by_test_id("operate").click()
    expect(waiting).to_have_attribute("data-status", "AWAITING_APPROVAL")
    expect(waiting.get_by_test_id("approve")).to_be_disabled()
    expect(waiting.get_by_test_id("hindrance")).to_contain_text("you are operator")

    expect(sue.get_by_test_id("to-approve")).to_contain_text("1 to approve")
    sue.get_by_test_id("tab-commands").click()
    chromium.picture(sue, "approve")
    sue.get_by_test_id("approval-reason").fill("fine by me")
    sue.get_by_test_id("approve").click()
    row = page.get_by_test_id("command-row").filter(has_text="quieter at night")
    expect(row).to_have_attribute("data-status", "CONFIRMED", timeout=15_000)
    row.get_by_test_id("command-record").click()
    approved = page.get_by_test_id("step").filter(has_text="fine by me")
    expect(approved).to_contain_text("sue")
    chromium.picture(page, "commands")
    row.get_by_test_id("command-record").click()
    sue.context.close()


def test_a_predicted_command_has_its_risk_in_words_and_as_a_fan(page: Page) -> None:
    ask(page, "pump_10.status", "1", "fill the tanks")
    expect(page.get_by_test_id("command-predicted")).to_contain_text("tank_1.level<1 within 2 h")
    page.get_by_test_id("command-send").click()
    row = page.get_by_test_id("command-row").filter(has_text="fill the tanks")
    expect(row).to_have_attribute("data-status", "CONFIRMED", timeout=40_000)
    row.get_by_test_id("command-record").click()
    expect(page.get_by_test_id("risk").first).to_contain_text("tank_1.level<1 within 2 h")
    expect(page.get_by_test_id("prediction").locator("canvas")).to_be_visible()
    expect(page.get_by_test_id("score")).to_contain_text("Not compared yet")
    page.get_by_test_id("prediction").scroll_into_view_if_needed()
    chromium.picture(page, "record")
    row.get_by_test_id("command-record").click()


def test_the_emergency_stop_says_what_it_sets_and_sets_it_once_confirmed_by_keyboard(page: Page) -> None:
    page.get_by_test_id("stop").focus()
    page.keyboard.press("Enter")
    panel = page.get_by_test_id("stop-panel")
    expect(panel).to_contain_text("pump_335.status = off")
    chromium.picture(page, "stop")
    expect(page.get_by_test_id("stop-confirm")).to_be_enabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for point in ("pump_335.status", "pump_10.status"):
        expect(page.get_by_test_id(f"stop-point-{point}")).to_contain_text("CONFIRMED", timeout=15_000)
    page.get_by_test_id("stop-close").click()
    expect(panel).to_be_hidden()


def test_a_whatif_draws_a_fan_and_its_difference(page: Page) -> None:
    page.get_by_test_id("tab-whatif").click()
    page.get_by_test_id("whatif-scenario").fill("pump_335.status=on for 4h\nless: pump_335.status=on for 2h")
    page.get_by_test_id("whatif-limits").fill("tank_1.level<3")
    page.get_by_test_id("whatif-more").click()
    page.get_by_test_id("whatif-sense").select_option("max")
    page.get_by_test_id("whatif-figure").fill("tank_1.level.final")
    page.get_by_test_id("whatif-run").click()
    expect(page.get_by_test_id("whatif-chart").locator("canvas")).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("whatif-result")).to_contain_text("tank_1.level")
    expect(page.get_by_test_id("whatif-chart")).to_contain_text(re.compile("baseline.*less.*on for 4h"))
    page.get_by_test_id("whatif-overlay").uncheck()
    expect(page.get_by_test_id("whatif-chart")).not_to_contain_text("less")
    page.get_by_test_id("whatif-overlay").check()
    expect(page.get_by_test_id("whatif-risk-chart").locator("canvas")).to_be_visible()
    page.wait_for_timeout(500)
    chromium.picture(page, "whatif")


def test_the_best_of_a_whatif_is_prepared_as_a_command_and_sent_only_after_review(page: Page) -> None:
    plan = page.get_by_test_id("whatif-plan")
    expect(plan).to_contain_text("pump_335.status=on for 4h is better by")
    expect(plan.get_by_test_id("plan-prepare")).to_have_count(2)  # on now, and as before after 4 h
    plan.get_by_test_id("plan-prepare").first.click()
    expect(page.get_by_test_id("command-from")).to_contain_text("step 1 of 2 of what-if")
    expect(page.get_by_test_id("command-key")).to_contain_text(re.compile("whatif-.+-1"))
    expect(page.get_by_test_id("command-reason")).to_have_value(re.compile("what-if .+: max tank_1.level.final"))
    page.get_by_test_id("command-review").click()
    expect(page.get_by_test_id("command-summary")).to_contain_text("pump_335.status = on", timeout=30_000)
    page.get_by_test_id("tab-whatif").click()


def test_the_look_ahead_shows_what_is_coming_since_the_pumps_stopped_and_can_be_shelved(page: Page) -> None:
    expect(page.get_by_test_id("predicted-count")).to_contain_text("predicted", timeout=60_000)
    page.get_by_test_id("tab-ahead").click()
    expect(page.get_by_test_id("ahead-state")).to_have_attribute("data-state", "current")
    expect(page.get_by_test_id("ahead-chart").locator("canvas")).to_be_visible()
    alarm = page.get_by_test_id("predicted-alarm").filter(has_text="tank_1.level<1")
    expect(alarm.get_by_test_id("countdown")).to_contain_text(re.compile(r"in .+ ± .+"))
    alarm.locator("button").first.click()
    expect(page.get_by_test_id("ahead-record")).to_contain_text("forecast")
    page.wait_for_timeout(500)
    chromium.picture(page, "ahead")
    alarm.get_by_test_id("shelve").click()
    expect(page.get_by_test_id("shelf")).to_contain_text("tank_1.level<1 by operator until")
    expect(alarm).to_have_count(0)
    page.get_by_test_id("shelf").get_by_role("button").click()
    expect(page.get_by_test_id("shelf")).to_have_count(0)
    expect(alarm).to_have_count(1)
    page.get_by_test_id("tab-whatif").click()


def test_a_whatif_that_cannot_be_read_says_where_and_how(page: Page) -> None:
    page.get_by_test_id("whatif-scenario").fill("pump_335.status=sideways")
    page.get_by_test_id("whatif-run").click()
    expect(page.get_by_test_id("error").first).to_contain_text("sideways")


def test_the_audit_lists_entries_and_how_far_the_evidence_reaches(page: Page) -> None:
    page.get_by_test_id("tab-audit").click()
    expect(page.get_by_test_id("audit-row").first).to_be_visible()
    expect(page.get_by_test_id("audit-anchored")).to_contain_text(re.compile(r"[1-9]"), timeout=30_000)
    expect(page.get_by_test_id("audit-witnessed")).to_contain_text("–")  # none is configured, and none is claimed
    expect(page.locator('[data-testid="audit-row"][data-levels~="witnessed"]')).to_have_count(0)


def test_the_audit_shows_what_was_chosen_and_says_so_in_the_address(page: Page) -> None:
    page.get_by_test_id("tab-audit").click()
    page.get_by_test_id("audit-kind").select_option("command")
    page.get_by_test_id("audit-point").fill("pump_335.*")
    page.get_by_test_id("audit-point").press("Enter")
    expect(page).to_have_url(re.compile(r"#/audit\?.*point=pump_335"))
    rows = page.get_by_test_id("audit-row")
    expect(rows.first).to_contain_text("pump_335.status")
    expect(page.locator('[data-testid="audit-row"]:not([data-kind="command"])')).to_have_count(0)
    with page.expect_download() as told:
        page.get_by_test_id("audit-csv").click()
    lines = Path(told.value.path()).read_text().splitlines()
    assert lines[0] == "entry,time,kind,levels,body" and len(lines) == rows.count() + 1
    page.get_by_test_id("audit-point").fill("nothing.such")
    page.get_by_test_id("audit-point").press("Enter")
    expect(page.get_by_text("No entries fit")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(rows.first).to_be_visible()
    page.get_by_test_id("audit-anchor").click()
    expect(page.get_by_test_id("audit-said")).to_contain_text("Anchored: ")


def test_a_proof_is_recomputed_in_the_browser_and_says_what_only_others_can(page: Page) -> None:
    page.get_by_test_id("audit-kind").select_option("command")
    row = page.locator('[data-testid="audit-row"][data-kind="command"][data-levels~="anchored"]').first
    row.get_by_test_id("audit-check").click()
    proof = page.get_by_test_id("proof")
    expect(proof).to_have_attribute("data-verdict", "verified", timeout=15_000)
    for step in ("Signature", "Inclusion", "As shown", "Whole"):
        expect(proof.locator(f'[data-step="{step}"]')).to_have_attribute("data-state", "ok")
    for step in ("Witness", "Anchor"):
        expect(proof.locator(f'[data-step="{step}"]')).to_have_attribute("data-state", "unchecked")
    chromium.picture(page, "audit")
    with page.expect_download() as download:
        proof.get_by_test_id("audit-proof").click()
    bundle = json.loads(download.value.path().read_text())
    assert verify_bundle(bundle).problems == ()


def test_a_proof_that_was_changed_on_its_way_is_red_and_names_the_step(page: Page) -> None:
    def forge(route: Route) -> None:
        body = route.fetch().json()
        body["entries"][0]["inclusion_proof"].reverse()
        route.fulfill(json=body)

    page.route("**/audit/proof*", forge)
    proof = page.get_by_test_id("proof")
    proof.get_by_test_id("proof-again").click()
    expect(proof).to_have_attribute("data-verdict", "failed", timeout=15_000)
    expect(proof.locator('[data-step="Inclusion"]')).to_contain_text("does not lead to the signed root")
    page.unroute("**/audit/proof*")
    proof.get_by_test_id("proof-again").click()
    expect(proof).to_have_attribute("data-verdict", "verified", timeout=15_000)


def test_a_log_key_that_is_another_than_the_browser_knows_is_refused_until_somebody_takes_it(page: Page) -> None:
    page.evaluate("localStorage.setItem('twinloop.log-key', 'twinloop.local/net3+00000000+AQ==')")
    proof = page.get_by_test_id("proof")
    proof.get_by_test_id("proof-again").click()
    expect(proof).to_have_attribute("data-verdict", "failed", timeout=15_000)
    expect(proof.locator('[data-step="Key"]')).to_contain_text("find out who replaced it")
    proof.get_by_test_id("take-key").click()
    expect(proof).to_have_attribute("data-verdict", "verified", timeout=15_000)
    page.get_by_test_id("audit-check").first.click()
    page.get_by_test_id("audit-kind").select_option("")


def test_the_record_of_a_command_is_proved_where_it_is_shown(page: Page) -> None:
    page.get_by_test_id("tab-commands").click()
    row = page.get_by_test_id("command-row").filter(has_text="browser test").first
    row.get_by_test_id("command-record").click()
    page.get_by_test_id("command-proof").click()
    proof = page.get_by_test_id("proof")
    expect(proof).to_have_attribute("data-verdict", "verified", timeout=15_000)
    expect(proof.locator('[data-step="As shown"]')).to_contain_text("every step")
    proof.scroll_into_view_if_needed()
    chromium.picture(page, "proof")
    row.get_by_test_id("command-record").click()


def test_a_paused_server_is_stale_within_three_seconds_and_commands_are_locked(
    page: Page, plant: tuple[Site, Client]
) -> None:
    page.get_by_test_id("tab-commands").click()
    page.get_by_test_id("command-point").select_option("pump_10.status")
    page.get_by_test_id("command-value").select_option("1")
    expect(page.get_by_test_id("command-review")).to_be_enabled()
    server = plant[0].server
    assert server is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        expect(page.get_by_test_id("stale-bar")).to_be_visible(timeout=3_000)
        expect(page.get_by_test_id("stale-bar")).to_contain_text("STALE")
        expect(page.get_by_test_id("command-review")).to_be_disabled()
        chromium.picture(page, "stale")
        page.get_by_test_id("stop").click()
        expect(page.get_by_test_id("stop-blind")).to_contain_text("sent blind")
        expect(page.get_by_test_id("stop-confirm")).to_be_enabled()
        page.keyboard.press("Escape")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    expect(page.get_by_test_id("stale-bar")).to_be_hidden(timeout=10_000)
    expect(page.get_by_test_id("command-review")).to_be_enabled()


def test_a_command_sent_elsewhere_while_away_is_there_after_the_reconnect(
    page: Page, plant: tuple[Site, Client]
) -> None:
    page.context.set_offline(True)
    expect(page.get_by_test_id("stale-bar")).to_be_visible(timeout=15_000)
    record = plant[1].post(
        "/commands", {"key": "away", "point": "pump_335.status", "value": 1.0, "reason": "while away"}
    )
    until(lambda: plant[1].get(f"/commands/{record['id']}"), lambda c: c["status"] == "CONFIRMED")
    page.context.set_offline(False)
    row = page.get_by_test_id("command-row").filter(has_text="while away")
    expect(row).to_have_attribute("data-status", "CONFIRMED", timeout=20_000)


def test_a_login_link_works_once_and_without_one_nothing_is_shown(page: Page, plant: tuple[Site, Client]) -> None:
    browser = page.context.browser
    assert browser is not None
    stranger = browser.new_context().new_page()
    answer = stranger.goto(plant[0].login)
    assert answer is not None
    assert answer.status == 401
    stranger.goto(plant[1].url)
    expect(stranger.get_by_test_id("signed-out")).to_be_visible()
    stranger.context.close()


def test_signing_out_shows_nothing_of_the_plant_any_more(page: Page) -> None:
    page.get_by_test_id("sign-out").click()
    expect(page.get_by_test_id("signed-out")).to_be_visible()


def test_the_browser_never_complained(signed_in: tuple[Page, list[str]]) -> None:
    harmless = re.compile(r"ERR_INTERNET_DISCONNECTED|WebSocket connection to|status of (40[01]|422)")
    assert [c for c in signed_in[1] if not harmless.search(c)] == []

"""Signing in by a provider of identities that is a real HTTP server: who it vouches for is in, and no forgery is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgpack
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from control.api.wire import SUBPROTOCOL
from control.client import Client
from control.oidc import FLOW_S, FLOWS_EACH_MAX, Flows
from control.oidc_logout import AGE_S, Logout, Used
from control.sessions import Origin
from control.settings import read_settings
from tests.peers.oidc_provider import CLIENT, SECRET, Provider, provider
from tests.plant.site import Site, site, until
from twin.errors import BadRequest, Denied, LimitExceeded
from twin.role import Role

SETTINGS = """
[oidc]
name = "Works ID"
issuer = "{issuer}"
client_id = "{client}"
client_secret_file = "oidc-secret"
redirect = "http://127.0.0.1:1/login/oidc/done"

[oidc.roles]
"plant-shift-leads" = "supervisor"
"plant-operators" = "operator"
"""


class Browser:
    """One browser: it follows the server to the provider and back."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False)

    def begin(self) -> str:
        """Where the provider sends it back to, as path and query."""
        answer = self.http.get("/login/oidc")
        assert answer.status_code == 303, answer.text
        to = httpx.get(answer.headers["location"], trust_env=False).headers["location"]
        parts = urlsplit(to)
        return f"{parts.path}?{parts.query}"

    def end(self, back: str) -> str:
        """ "" when it is signed in, else the problem that the page is told."""
        answer = self.http.get(back, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
        assert answer.status_code == 303, answer.text
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        return query.get("problem", [""])[0]

    def sign_in(self) -> str:
        return self.end(self.begin())

    def who(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/api/v1/session").json()
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client, Provider]]:
    with provider() as works_id, site(tmp_path_factory.mktemp("oidc")) as made:
        made.data.mkdir()
        (made.data / "server.toml").write_text(SETTINGS.format(issuer=works_id.url, client=CLIENT))
        (made.data / "oidc-secret").write_text(f"{SECRET}\n")
        dead = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
        with made.start_server(**dead) as client:
            yield made, client, works_id


@pytest.fixture
def works_id(running: tuple[Site, Client, Provider]) -> Iterator[Provider]:
    """As it is when it behaves."""
    found = running[2]
    yield found
    usual = Provider(keys=found.keys)
    for name in ("user", "groups", "claims", "away", "iss", "listed"):
        setattr(found, name, getattr(usual, name))
    found.algorithm = "ES256" if "crv" in found.keys[0].as_dict() else "RS256"


@pytest.fixture
def browser(running: tuple[Site, Client, Provider]) -> Iterator[Browser]:
    made = Browser(running[1].url)
    yield made
    made.http.close()


def test_the_page_where_one_signs_in_knows_the_provider(browser: Browser) -> None:
    assert browser.http.get("/api/v1/sign-in").json() == {
        "password": True,
        "provider": "Works ID",
        "path": "/login/oidc",
        "signed_in": False,
    }


def test_whom_the_provider_vouches_for_is_signed_in_with_the_role_of_a_group(
    running: tuple[Site, Client, Provider], works_id: Provider, browser: Browser
) -> None:
    assert browser.sign_in() == ""
    who = browser.who()
    assert (who["name"], who["role"], who["account"]) == ("oidc:anna", "operator", False)
    (own,) = browser.http.get("/api/v1/sessions").json()
    assert own["by"] == "Works ID" and own["ends"] - own["since"] == pytest.approx(8 * 3600e3)
    entry = {"user": "oidc:anna", "role": "operator", "by": f"oidc {works_id.url}", "peer": "127.0.0.1"}
    entries = until(
        lambda: [e["body"] for e in running[1].get("/audit", kind="login", last=50)["entries"]], lambda e: entry in e
    )
    assert SECRET not in str(entries)
    works_id.groups = ["everybody", "plant-operators", "plant-shift-leads"]
    other = Browser(running[1].url)
    assert other.sign_in() == "" and other.who()["role"] == "supervisor", "the first row that fits counts"
    out = browser.http.delete("/api/v1/session").json()
    asked = parse_qs(urlsplit(out["next"]).query)
    assert out["next"].startswith(f"{works_id.url}/end?") and asked["post_logout_redirect_uri"] == [
        "http://127.0.0.1:1/"
    ]
    assert browser.http.get("/api/v1/session").status_code == 401
    assert other.http.delete("/api/v1/session").status_code == 200


FORGED: list[tuple[str, dict[str, Any]]] = [
    ("RS256", {"nonce": "another"}), ("RS256", {"nonce": None}), ("RS256", {"aud": "another-client"}),
    ("RS256", {"aud": [CLIENT, "another"]}), ("RS256", {"aud": None}), ("RS256", {"azp": "another-client"}),
    ("RS256", {"iss": "http://127.0.0.1:9"}), ("RS256", {"exp": int(time.time()) - 3600}), ("RS256", {"exp": None}),
    ("RS256", {"exp": "never"}), ("RS256", {"iat": int(time.time()) + 86_400}), ("RS256", {"sub": ""}),
    ("RS256", {"nbf": int(time.time()) + 86_400}), ("none", {}), ("HS256", {}),
    ("RS256", {"groups": ["strangers"]}), ("RS256", {"groups": None}), ("RS256", {"preferred_username": "an na"}),
    ("RS256", {"preferred_username": None}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("algorithm", "claims"), FORGED, ids=[f"{n}-{a}-{'-'.join(c)}" for n, (a, c) in enumerate(FORGED)]
)
def test_an_id_token_that_does_not_hold_signs_nobody_in(
    works_id: Provider, browser: Browser, algorithm: str, claims: dict[str, Any]
) -> None:
    works_id.claims = claims
    works_id.algorithm = works_id.algorithm if algorithm == "RS256" else algorithm
    assert browser.sign_in() == "denied"
    assert "twinloop_session" not in browser.http.cookies
    assert browser.http.get("/api/v1/session").status_code == 401


def test_a_code_is_good_once_and_in_the_browser_that_asked_for_it_only(
    running: tuple[Site, Client, Provider], works_id: Provider, browser: Browser
) -> None:
    back = browser.begin()
    thief = Browser(running[1].url)
    assert thief.end(back) == "denied", "another browser has not begun it"
    thief.begin()
    assert thief.end(back) == "denied", "nor one that has begun another"
    assert browser.end(back) == "", "the right one still may"
    assert browser.end(back) == "denied", "once"
    forged = browser.begin().replace("state=", "state=x")
    assert browser.end(forged) == "denied"
    replayed = browser.begin()
    code = parse_qs(urlsplit(replayed).query)["code"][0]
    works_id.codes.pop(code)
    assert browser.end(replayed) == "denied" and works_id.refused[-1] == "invalid_grant"


def test_what_the_provider_refuses_signs_nobody_in(browser: Browser) -> None:
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    assert browser.end(f"/login/oidc/done?error=access_denied&state={state}") == "denied"


def test_an_answer_that_names_another_issuer_is_refused(works_id: Provider, browser: Browser) -> None:
    works_id.iss = "http://127.0.0.1:9"
    assert browser.sign_in() == "denied"
    works_id.iss = works_id.url
    assert browser.sign_in() == ""


def test_a_provider_that_is_away_is_said_and_the_next_attempt_works(works_id: Provider, browser: Browser) -> None:
    back = browser.begin()
    works_id.away = True
    assert browser.end(back) == "unavailable"
    works_id.away = False
    assert browser.sign_in() == ""


def test_a_provider_may_change_its_keys_and_cannot_be_made_to_be_asked_for_them_again_and_again(
    works_id: Provider, browser: Browser
) -> None:
    assert browser.sign_in() == ""
    works_id.rotate("second", "EC")
    before = works_id.asked.count("/jwks")
    outcomes = [browser.sign_in() for _ in range(5)]
    asked = works_id.asked.count("/jwks") - before
    assert asked <= 1 and set(outcomes) <= {"", "denied"}
    if asked:
        assert outcomes == [""] * 5
    else:
        assert until(browser.sign_in, lambda said: said == "") == ""


def log_out(browser: Browser, token: str) -> httpx.Response:
    """As the provider's server does."""
    url = f"{browser.http.base_url}/api/v1/oidc/logout"
    return httpx.post(url, data={"logout_token": token}, trust_env=False)


def test_who_signs_out_at_the_provider_is_out_here_sockets_too(
    running: tuple[Site, Client, Provider], works_id: Provider, browser: Browser
) -> None:
    works_id.claims = {"sid": "one"}
    assert browser.sign_in() == ""
    works_id.claims = {"sid": "two"}
    other, stranger = Browser(running[1].url), Browser(running[1].url)
    assert other.sign_in() == ""
    works_id.claims, works_id.user = {"sub": "another"}, "otto"
    assert stranger.sign_in() == ""
    ticket = browser.http.post("/api/v1/ticket").json()["ticket"]
    with connect(f"{running[1].url.replace('http', 'ws', 1)}/ws", subprotocols=[Subprotocol(SUBPROTOCOL)]) as socket:
        socket.recv(10)
        for said in ({"t": "auth", "ticket": ticket}, {"t": "sub", "from": None}):
            socket.send(msgpack.packb(said))
            socket.recv(10)
        assert log_out(stranger, works_id.logout_token(sub=None, sid="one")).status_code == 200
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
    assert browser.http.get("/api/v1/session").status_code == 401
    assert other.who()["name"] == "oidc:anna", "only the session that was named"
    assert log_out(stranger, works_id.logout_token()).status_code == 200
    assert other.http.get("/api/v1/session").status_code == 401
    assert stranger.who()["name"] == "oidc:otto", "only the person who was named"
    entries = running[1].get("/audit", kind="access", last=50)["entries"]
    told = [e["body"]["user"] for e in entries if e["body"]["what"] == "signed out by the provider"]
    assert set(told) == {"oidc:anna"} and len(told) >= 2


NO_LOGOUT: list[tuple[str, dict[str, Any]]] = [
    ("RS256", {"iss": "http://127.0.0.1:9"}), ("RS256", {"aud": "another-client"}), ("RS256", {"aud": None}),
    ("RS256", {"iat": int(time.time()) - 3600}), ("RS256", {"iat": int(time.time()) + 3600}), ("RS256", {"iat": None}),
    ("RS256", {"exp": int(time.time()) - 3600}), ("RS256", {"events": None}), ("RS256", {"events": {"x": {}}}),
    ("RS256", {"events": {"http://schemas.openid.net/event/backchannel-logout": True}}), ("RS256", {"nonce": "n"}),
    ("RS256", {"jti": None}), ("RS256", {"sub": None}), ("RS256", {"sub": 7}), ("RS256", {"sid": ["one"]}),
    ("none", {}), ("HS256", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("algorithm", "claims"), NO_LOGOUT, ids=[f"{n}-{a}-{'-'.join(c)}" for n, (a, c) in enumerate(NO_LOGOUT)]
)
def test_a_logout_token_that_does_not_hold_signs_nobody_out(
    works_id: Provider, browser: Browser, algorithm: str, claims: dict[str, Any]
) -> None:
    if algorithm == "RS256":
        algorithm = works_id.algorithm
    assert browser.sign_in() == ""
    works_id.algorithm = algorithm
    answer = log_out(browser, works_id.logout_token(**claims))
    assert (answer.status_code, answer.json()["message"]) == (400, "the logout token does not hold")
    assert browser.who()["name"] == "oidc:anna"


def test_a_logout_token_is_good_once_and_an_id_token_is_none(works_id: Provider, browser: Browser) -> None:
    token = works_id.logout_token(sid="nobodys")
    assert [log_out(browser, token).status_code for _ in range(2)] == [200, 400]
    assert log_out(browser, works_id._id_token("n")).status_code == 400


def test_what_is_no_form_with_one_logout_token_is_refused(works_id: Provider, browser: Browser) -> None:
    token = works_id.logout_token()
    path = "/api/v1/oidc/logout"
    assert browser.http.post(path).status_code == 400
    assert browser.http.post(path, json={"logout_token": token}).status_code == 400
    assert browser.http.post(path, data={"logout_token": [token, token]}).status_code == 400
    assert browser.http.post(path, data={"logout_token": "x" * 30_000}).status_code == 413


@pytest.mark.parametrize(
    ("subject", "sid", "own", "ends"),
    [
        ("anna", "", "", True), ("anna", "", "s1", True), ("anna", "s1", "s1", True), ("anna", "s2", "s1", False),
        ("anna", "s1", "", True), ("", "s1", "s1", True), ("", "s1", "", False), ("otto", "s1", "s1", False),
    ],
)  # fmt: skip
def test_a_session_ends_when_it_may_be_the_one_that_is_meant(subject: str, sid: str, own: str, ends: bool) -> None:
    assert Logout(subject, sid).ends(Origin("Works ID", subject="anna", sid=own)) is ends
    assert not Logout(subject, sid).ends(Origin("password")), "sessions of accounts are none of the provider's"


def test_used_tokens_are_forgotten_once_they_are_too_old() -> None:
    used = Used()
    assert [used.use("a", 0), used.use("a", AGE_S), used.use("a", 10 * AGE_S)] == [True, False, True]


def test_flows_are_few_and_do_not_last() -> None:
    numbers = iter(range(10**6))
    flows = Flows(lambda: f"s{next(numbers)}")
    first = flows.begin("10.0.0.1", 0)
    for _ in range(FLOWS_EACH_MAX - 1):
        flows.begin("10.0.0.1", 0)
    with pytest.raises(LimitExceeded):
        flows.begin("10.0.0.1", 0)
    flows.begin("10.0.0.2", 0)
    late = int(FLOW_S * 1e9) + 1
    with pytest.raises(Denied, match="did not work"):
        flows.end(first.state, first.browser, late)
    flows.begin("10.0.0.1", late)


BAD_SETTINGS = [
    ("[oidcc]", "there is no table [oidcc]"),
    ("[session]\nhours = -1", "[session] hours = -1"),
    ("[session]\nlife = 1", "[session] has no 'life'"),
    ("[metrics]\nopen_to = 'all'", "[metrics] open_to = 'all'"),
    ("[limits]\npeer_burst = true", "[limits] peer_burst = True"),
    ("[oidc]\nissuer = 'http://works.local'", "[oidc] issuer = 'http://works.local'; give an https address"),
    ("[oidc]\n[oidc.roles]\nx = 'king'", "[oidc.roles]"),
    ("[oidc]\nclient_secret_file = 'gone'", "client_secret_file: No such file"),
    ("[oidc", "server.toml"),
]


@pytest.mark.parametrize(("text", "said"), BAD_SETTINGS)
def test_mistakes_in_the_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "server.toml").write_text(text)
    with pytest.raises(BadRequest) as told:
        read_settings(tmp_path)
    assert said in str(told.value)


def test_settings_are_read_as_they_stand(tmp_path: Path) -> None:
    assert read_settings(tmp_path).oidc is None
    (tmp_path / "oidc-secret").write_text("s\n")
    (tmp_path / "server.toml").write_text(
        "[session]\nhours = 4\n[limits]\ncaller_calls_per_s = 50\n"
        + SETTINGS.format(issuer="https://id.works.local/", client="c")
    )
    found = read_settings(tmp_path)
    assert found.oidc is not None and (found.life_s, found.caller.per_s) == (14_400, 50)
    assert (found.oidc.issuer, found.oidc.client_secret) == ("https://id.works.local", "s")
    assert list(found.oidc.roles.values()) == [Role.SUPERVISOR, Role.OPERATOR]

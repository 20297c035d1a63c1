"""Who may what: every operation of the list, and every socket, asked by those who may and those who may not."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.auth.security import passwd

from chi_edge_lab.server.failures import Missing
from chi_edge_lab.server.operations import Operation
from tests.server.asking import OPERATIONS, SOCKETS, UUID, Raw, filled

NOWHERE = "nowhere"  # a site that is not: what may be asked ends in 404, and nothing is sent to any cloud
# what the authorizer is asked for at a socket's door
SOCKET_ACTIONS = {"/events": "read", "/terminals/{id}/socket": "execute"}
VERBS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


class Recorder(Authorizer):  # type: ignore[misc]
    """Allows what `allowed` says and keeps what it was asked."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - made anew for each test
    allowed = True

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        if resource == "chi-edge-lab":
            self.asked.append((action, resource))
            return self.allowed
        return True


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {
        "ServerApp": {"jpserver_extensions": {"chi_edge_lab": True}, "authorizer_class": Recorder},
    }


@pytest.fixture(autouse=True)
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr(Recorder, "asked", [])
    monkeypatch.setattr(Recorder, "allowed", True)
    return Recorder


@pytest.fixture
def raw(jp_serverapp: Any, http_server_client: Any, jp_base_url: str) -> Raw:
    return Raw(http_server_client, jp_base_url)


@pytest.fixture
def done(jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was carried out: each operation's function, and each call that went to a thread."""
    happened: list[str] = []

    def spy(one: Operation) -> Any:
        async def function(call: Any, **_: Any) -> None:
            happened.append(f"{one.method} {one.path}")
            raise Missing("This is a test.")

        return function

    for one in OPERATIONS:
        if one.function is not None:
            monkeypatch.setitem(vars(one), "function", spy(one))
    services = jp_serverapp.web_app.settings["chi_edge_lab_services"]
    for name in ("calls", "polls"):
        workers = getattr(services, name)

        async def run(function: Any, *args: Any, _before: Any = workers.run, **kwargs: Any) -> Any:
            happened.append(repr(function))
            return await _before(function, *args, **kwargs)

        monkeypatch.setattr(workers, "run", run)
    return happened


def path_of(one: Operation) -> str:
    return filled(one.path, site=NOWHERE)


async def test_each_operation_asks_for_its_action_and_is_carried_out(
    raw: Raw, jp_auth_header: dict[str, str], recorder: type[Recorder], done: list[str]
) -> None:
    wrong = {}
    for one in OPERATIONS:
        recorder.asked.clear()
        reply = await raw.ask(one.method, path_of(one), jp_auth_header)
        if recorder.asked != [(one.action, "chi-edge-lab")] or reply.code not in {400, 404}:
            wrong[one.method, one.path] = (reply.code, recorder.asked[:], reply.body[:200])
    assert not wrong
    assert done


async def test_what_is_denied_is_refused_and_not_done(
    raw: Raw, jp_auth_header: dict[str, str], recorder: type[Recorder], done: list[str]
) -> None:
    recorder.allowed = False
    wrong = {}
    for one in OPERATIONS:
        recorder.asked.clear()
        reply = await raw.ask(
            one.method, path_of(one), jp_auth_header, b"x" * 100_000 if _has_body(one) else None
        )
        problem = json.loads(reply.body)
        if (
            reply.code != 403
            or recorder.asked != [(one.action, "chi-edge-lab")]
            or problem["code"] != "refused"
        ):
            wrong[one.method, one.path] = (reply.code, recorder.asked[:], problem)
    assert not wrong
    assert done == []


def _has_body(one: Operation) -> bool:
    return one.method in {"POST", "PUT", "PATCH"}


# a program can always give itself a pair of XSRF tokens that fit; that is no login
FORGED = {"Cookie": "_xsrf=2|12345678|0123456789abcdef0123456789abcdef|1700000000"}
FORGED |= {"X-XSRFToken": FORGED["Cookie"].partition("=")[2]}


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "token wrong"}, {"Cookie": "username-x=2|1:0|"}, FORGED]
)
async def test_who_is_not_logged_in_gets_nothing(
    header: dict[str, str], raw: Raw, recorder: type[Recorder], done: list[str]
) -> None:
    wrong = {}
    for one in OPERATIONS:
        reply = await raw.ask(one.method, path_of(one), header)
        if reply.code != 403:
            wrong[one.method, one.path] = reply.code
    for path in {one.path for one in OPERATIONS}:
        for verb in VERBS:
            code = (await raw.ask(verb, filled(path, site=NOWHERE), header)).code
            if code not in {403, 405}:
                wrong[verb, path] = code
    for path in SOCKETS:
        code = await raw.upgrade(filled(path), header)
        if code != 403:
            wrong["socket", path] = code
    assert not wrong
    assert recorder.asked == []
    assert done == []


# -- sockets -----------------------------------------------------------------------------------------


def test_the_table_of_sockets_is_whole() -> None:
    assert set(SOCKETS) <= set(SOCKET_ACTIONS), "say which action the new socket asks for"


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_is_refused_before_anything_is_looked_up(
    path: str, raw: Raw, jp_auth_header: dict[str, str], recorder: type[Recorder], done: list[str]
) -> None:
    recorder.allowed = False
    assert await raw.upgrade(filled(path), jp_auth_header) == 403
    assert recorder.asked == [(SOCKET_ACTIONS[path], "chi-edge-lab")]
    assert done == []


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_of_nothing_is_not_upgraded(
    path: str, raw: Raw, jp_auth_header: dict[str, str], recorder: type[Recorder]
) -> None:
    code = await raw.upgrade(filled(path), jp_auth_header)
    assert code == (404 if "{" in path else 101)
    assert recorder.asked == [(SOCKET_ACTIONS[path], "chi-edge-lab")]


# -- the list is the whole ---------------------------------------------------------------------------


async def test_other_verbs_are_not_allowed(raw: Raw, jp_auth_header: dict[str, str], done: list[str]) -> None:
    answered: dict[str, set[str]] = {}
    for one in OPERATIONS:
        answered.setdefault(one.path, set()).add(one.method)
    wrong = {}
    for path, verbs in answered.items():
        for verb in VERBS - verbs:
            code = (await raw.ask(verb, filled(path, site=NOWHERE), jp_auth_header)).code
            if code != 405:
                wrong[verb, path] = code
    assert not wrong
    assert done == []


@pytest.mark.parametrize(
    "path",
    [
        "", "/v1/containers", "/sites/local/nothing", "/sites//containers", "/sites/a/b/containers",
        "/sites/local/containers/not-a-uuid", f"/sites/local/containers/{UUID}/nothing",
        f"/sites/local/containers/{UUID}/../{UUID}", f"/sites/local/containers/{UUID}%2f..%2f", "/../api/status",
        "/%2e%2e/status", "/status%00", f"/sites/{'x' * 256}/containers", f"/sites/local/containers/{UUID}%0a",
    ],
)  # fmt: skip
async def test_what_is_not_in_the_list_is_not_there(
    path: str, raw: Raw, jp_auth_header: dict[str, str], done: list[str]
) -> None:
    assert (await raw.ask("GET", path, jp_auth_header)).code == 404
    assert done == []


# -- a browser: password, cookies, XSRF --------------------------------------------------------------


class TestBrowser:
    """Logged in with a password: the cookie alone carries nothing that changes things."""

    @pytest.fixture
    def jp_server_config(self) -> dict[str, Any]:
        return {
            "ServerApp": {"jpserver_extensions": {"chi_edge_lab": True}},
            "IdentityProvider": {"token": ""},
            "PasswordIdentityProvider": {"hashed_password": passwd("open sesame", "sha1")},
        }

    @pytest.fixture
    def jp_auth_header(self) -> dict[str, str]:
        return {}

    async def cookies(self, client: Any, base: str) -> dict[str, str]:
        jar: SimpleCookie = SimpleCookie()

        def keep(reply: Any) -> None:
            for line in reply.headers.get_list("Set-Cookie"):
                jar.load(line)

        def sent() -> str:
            return "; ".join(f"{name}={one.value}" for name, one in jar.items())

        keep(await client.fetch(f"{base}login"))
        form = urlencode({"password": "open sesame", "_xsrf": jar["_xsrf"].value})
        reply = await client.fetch(
            f"{base}login", method="POST", body=form, headers={"Cookie": sent()}, follow_redirects=False,
            raise_error=False,
        )  # fmt: skip
        assert reply.code == 302, reply.body
        keep(reply)
        return {"Cookie": sent(), "X-XSRFToken": jar["_xsrf"].value}

    async def test_a_change_needs_the_xsrf_token(
        self, raw: Raw, http_server_client: Any, jp_base_url: str, done: list[str]
    ) -> None:
        logged_in = await self.cookies(http_server_client, jp_base_url)
        token = {"X-XSRFToken": logged_in.pop("X-XSRFToken")}
        wrong: dict[Any, Any] = {}
        changes = [one for one in OPERATIONS if one.method != "GET"]
        for one in changes:
            for headers in ({}, {"X-XSRFToken": "2|wrong"}):
                reply = await raw.ask(one.method, path_of(one), {**logged_in, **headers})
                if reply.code != 403 or json.loads(reply.body)["code"] != "refused":
                    wrong[one.method, one.path] = (reply.code, reply.body[:200])
        assert not wrong
        assert done == []
        for one in changes:
            reply = await raw.ask(one.method, path_of(one), {**logged_in, **token})
            if reply.code not in {400, 404}:
                wrong[one.method, one.path] = (reply.code, reply.body[:200])
        assert not wrong

    async def test_the_cookie_is_enough_to_read(
        self, raw: Raw, http_server_client: Any, jp_base_url: str
    ) -> None:
        logged_in = await self.cookies(http_server_client, jp_base_url)
        assert (await raw.ask("GET", "/status", {"Cookie": logged_in["Cookie"]})).code == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
    async def test_another_page_opens_and_reads_nothing_with_it(
        self, origin: str, raw: Raw, http_server_client: Any, jp_base_url: str, done: list[str]
    ) -> None:
        headers = await self.cookies(http_server_client, jp_base_url)
        headers["Origin"] = origin
        for one in OPERATIONS:
            reply = await raw.ask(one.method, path_of(one), headers)
            assert reply.code in {403, 404}, one
            assert "Access-Control-Allow-Origin" not in reply.headers
        for path in SOCKETS:
            assert await raw.upgrade(filled(path), headers) == (404 if "{" in path else 403)
        assert done == []

    async def test_ones_own_page_opens_the_event_socket(
        self, raw: Raw, http_server_client: Any, jp_base_url: str
    ) -> None:
        headers = {"Cookie": (await self.cookies(http_server_client, jp_base_url))["Cookie"]}
        assert await raw.upgrade("/events", {**headers, "Origin": http_server_client.get_url("")}) == 101
        assert await raw.upgrade("/events", headers) == 101  # a program sends none

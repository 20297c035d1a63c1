"""What a site, its gateway and the network do to us, over a real HTTP server: each ends in one sentence."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from chi_edge_lab import errors
from chi_edge_lab.zun import Client, create_request
from chi_edge_lab.zun.rest import Service
from tests.faultysite import FaultySite, Handler, Reply

CONTAINERS = ("GET", "/v1/containers")
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(502, HTML, {"Content-Type": "text/html"}), errors.ServerError, "gateway answered 502"),
        (Reply(503, b""), errors.ServerError, "503 Service Unavailable and gave no reason"),
        (Reply(504, HTML, {"Content-Type": "text/html"}), errors.ServerError, "504 Gateway Timeout"),
        (Reply(200, HTML, {"Content-Type": "text/html"}), errors.ServerError, "an HTML page instead"),
        (Reply(200, b'{"containers": [{"uuid": "a'), errors.ServerError, "cut-off or foreign document"),
        (Reply(200, b""), errors.ServerError, "with nothing instead"),
        (Reply(200, []), errors.ServerError, "foreign document"),
        (Reply(200, b"[" * 100_000), errors.ServerError, "cut-off"),
        (Reply(400, {"errors": []}), errors.BadRequest, "400 Bad Request and gave no reason"),
        (Reply(400, {"errors": ["x"]}), errors.BadRequest, "gave no reason"),
        (Reply(400, ["errors"]), errors.BadRequest, "gave no reason"),
        (Reply(406, {"errors": [{"title": ""}]}), errors.BadRequest, "406 Not Acceptable"),
        (Reply(403, {"errors": [{"title": "Quota exceeded: containers"}]}), errors.OverQuota, "Quota"),
        (Reply(403, {"errors": [{"title": "Policy doesn't allow quota:get"}]}), errors.Forbidden, "Policy"),
        (Reply(404, {"errors": [{"title": "X could not be found."}]}), errors.NotFound, "not be found"),
        (Reply(409, {"errors": [{"title": "Two of the same name."}]}), errors.Conflict, "same"),
        (Reply(413, b""), errors.OverQuota, "413"),
        (Reply(418, b"{}"), errors.BadRequest, "418"),
        (Reply(500, {"errors": [{"title": "Internal Server Error", "detail": "Error Correlation id is: "
                                 "01234567-aaaa"}]}), errors.ServerError, "correlation id 01234567-aaaa"),
        (Reply(500, b"\xff\xfe", {"Content-Type": "text/x"}), errors.ServerError, "500 Internal Server"),
        (Reply(300, b"{}"), errors.ServerError, "300"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_one_sentence(
    faulty: FaultySite, client: Client, reply: Reply, kind: type[errors.SiteError], words: str
) -> None:
    faulty.say(*CONTAINERS, reply)
    with pytest.raises(kind) as caught:
        client.list_containers()
    assert type(caught.value) is kind
    assert caught.value.message.startswith("Could not list the containers: ")
    assert words in caught.value.message
    assert caught.value.http_status == reply.status
    assert len(caught.value.message) < 700
    assert "<" not in caught.value.message


def test_the_request_id_is_the_headers(faulty: FaultySite, client: Client) -> None:
    body = {"errors": [{"request_id": "", "title": "no", "code": "container.x"}]}
    faulty.say(*CONTAINERS, Reply(400, body, {"X-Openstack-Request-Id": "req-0123-abcd"}))
    with pytest.raises(errors.BadRequest, match=r"\(request req-0123-abcd\)"):
        client.list_containers()


def test_a_request_id_that_is_none_is_not_shown(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(400, {}, {"X-Openstack-Request-Id": "<script>alert(1)</script>"}))
    with pytest.raises(errors.BadRequest) as caught:
        client.list_containers()
    assert caught.value.request_id is None


def test_a_servers_traceback_is_cut_off(faulty: FaultySite, client: Client) -> None:
    text = 'Timeout on executing command.\nTraceback (most recent call last):\n  File "/opt/zun/x.py", line 1'
    faulty.say("POST", "/v1/containers/c1", Reply(200, {}))
    faulty.say("POST", "/v1/containers/c1/execute", Reply(409, {"errors": [{"code": "c", "title": text}]}))
    with pytest.raises(errors.ExecTimeout, match="goes on in the container"):
        client.execute("c1", "sleep 9")
    faulty.say("POST", "/v1/containers/c1/start", Reply(409, {"errors": [{"code": "c", "title": text}]}))
    with pytest.raises(errors.Conflict) as caught:
        client.start("c1")
    assert "Traceback" not in str(caught.value)
    assert "/opt" not in str(caught.value)


def test_a_wrong_state_is_told_apart_from_other_conflicts(faulty: FaultySite, client: Client) -> None:
    title = "Cannot stop container c1 in Stopped state"
    faulty.say("POST", "/v1/containers/c1/stop", Reply(409, {"errors": [{"title": title}]}))
    with pytest.raises(errors.InvalidState, match="in Stopped state"):
        client.stop("c1")


def test_secrets_in_an_error_are_hidden(faulty: FaultySite, client: Client) -> None:
    title = (
        "bad token gAAAAABmZmZmZmZmZmZmZmZmZmZm, password=hunter2, X-Auth-Token: abcdef, "
        "see ws://proxy:6784/?token=11111111-2222&uuid=c1 and https://me:pw12345@host/"
    )
    faulty.say(*CONTAINERS, Reply(400, {"errors": [{"title": title}]}))
    with pytest.raises(errors.BadRequest) as caught:
        client.list_containers()
    for secret in ("gAAAA", "hunter2", "abcdef", "11111111", "pw12345"):
        assert secret not in str(caught.value)


def test_too_many_requests_says_when_to_come_back(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(429, b"", {"Retry-After": "7"}))
    with pytest.raises(errors.TooManyRequests) as caught:
        client.list_containers()
    assert caught.value.retry_after == 7.0
    faulty.say(*CONTAINERS, Reply(429, b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    with pytest.raises(errors.TooManyRequests) as caught:
        client.list_containers()
    assert caught.value.retry_after is None


def test_a_silent_site_is_unreachable_after_the_time_limit(
    faulty: FaultySite, client_of: Callable[..., Client]
) -> None:
    client = client_of(faulty, 0.3)
    faulty.say(*CONTAINERS, Reply(200, {"containers": []}, delay=2.0))
    began = time.monotonic()
    with pytest.raises(errors.Unreachable, match="did not answer in time"):
        client.list_containers()
    assert time.monotonic() - began < 1.5
    assert len(faulty.asked(*CONTAINERS)) == 1  # patience is not multiplied by retries


def test_a_broken_connection_is_tried_again_for_reading_only(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(hang_up=True), Reply(200, {"containers": []}))
    assert client.list_containers() == []
    faulty.say("POST", "/v1/containers/c1/start", Reply(hang_up=True), Reply(202, b"null"))
    with pytest.raises(errors.Unreachable, match="hung up without an answer"):
        client.start("c1")
    assert len(faulty.asked("POST", "/v1/containers/c1/start")) == 1


def test_a_body_that_breaks_off_is_tried_again_and_then_told(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(200, b'{"containers": [', cut=50))
    with pytest.raises(errors.Unreachable, match="broke off in the middle"):
        client.list_containers()
    assert len(faulty.asked(*CONTAINERS)) == 3


def test_a_site_that_went_away_is_unreachable(client_of: Callable[..., Client]) -> None:
    site = FaultySite()
    client = client_of(site)
    client.login.endpoint()
    site.close()
    with pytest.raises(errors.Unreachable, match=r"no connection to http://127\.0\.0\.1"):
        client.start("c1")


def test_an_expired_token_is_renewed_once(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(401, b""), Reply(200, {"containers": []}))
    assert client.list_containers() == []
    assert len(faulty.logins) == 2
    assert faulty.requests[-1].headers["x-auth-token"].endswith("2")


def test_a_token_refused_twice_is_unauthorized(faulty: FaultySite, client: Client) -> None:
    faulty.say(
        *CONTAINERS, Reply(401, {"error": {"code": 401, "title": "Unauthorized", "message": "go away"}})
    )
    with pytest.raises(errors.Unauthorized, match="go away"):
        client.list_containers()
    assert len(faulty.asked(*CONTAINERS)) == 2


def test_a_login_that_was_revoked_is_unauthorized(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(401, b""))
    faulty.refuse_logins = True
    with pytest.raises(errors.Unauthorized, match="no longer good"):
        client.list_containers()
    assert len(faulty.asked(*CONTAINERS)) == 1


def test_many_threads_with_one_expired_token_log_in_once(faulty: FaultySite, client: Client) -> None:
    gate = threading.Barrier(8)
    old = client.login.session.get_token()

    def answer(handler: Handler) -> None:
        refused = handler.headers["X-Auth-Token"] == old
        if refused:
            gate.wait(5)
        handler.answer(Reply(401) if refused else Reply(200, {"containers": []}))

    faulty.say(*CONTAINERS, answer)
    threads = [threading.Thread(target=client.list_containers) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(faulty.logins) == 2
    assert len(faulty.asked(*CONTAINERS)) == 16


def test_a_token_is_not_carried_to_another_address(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(302, b"", {"Location": "http://127.0.0.1:9/steal"}))
    with pytest.raises(errors.ServerError, match="sends us to another address"):
        client.list_containers()


def test_a_redirect_on_the_same_site_is_followed(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, Reply(301, b"", {"Location": "/v1/containers/"}))
    faulty.say("GET", "/v1/containers/", {"containers": []})
    assert client.list_containers() == []
    faulty.say("GET", "/v1/containers/", Reply(301, b"", {"Location": "/v1/containers"}))
    with pytest.raises(errors.ServerError, match="301"):
        client.list_containers()


@pytest.mark.parametrize("status", [302, 307])
def test_neither_password_nor_token_follows_a_redirect_to_another_host(
    client: Client, faulty: FaultySite, status: int
) -> None:
    other = FaultySite()
    faulty.say("POST", "/v3/auth/tokens", Reply(status, b"", {"Location": f"{other.url}/v3/auth/tokens"}))
    with pytest.raises(errors.ServerError, match="sends us to another address"):
        client.login.relogin()
    del faulty.script["POST", "/v3/auth/tokens"]
    faulty.say("GET", "/v1/floatingips", Reply(status, b"", {"Location": f"{other.url}/steal"}))
    with pytest.raises(errors.ServerError, match="sends us to another address"):
        Service(client.login, "container", "").call("GET", "/floatingips", "list them")
    assert other.requests == []
    other.close()


def test_a_redirect_of_keystone_on_the_same_host_is_followed(client: Client, faulty: FaultySite) -> None:
    faulty.say("POST", "/v3/auth/tokens", Reply(307, b"", {"Location": "/elsewhere"}))
    document = faulty.token_document()
    faulty.say("POST", "/elsewhere", Reply(201, document, {"X-Subject-Token": "gAAAAtoken" + "x" * 20}))
    client.login.relogin()


# -- versions and dialects -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maximum", "spoken"), [("1.41", "1.41"), ("1.40", "1.40"), ("1.77", "1.41"), ("1.25", "1.25")]
)
def test_the_version_is_the_newest_both_know(
    client_of: Callable[..., Client], maximum: str, spoken: str
) -> None:
    site = FaultySite(maximum=maximum)
    site.say(*CONTAINERS, {"containers": []})
    client = client_of(site)
    client.list_containers()
    client_of(site).list_containers()
    assert client.version == spoken
    assert site.requests[-1].headers["openstack-api-version"] == f"container {spoken}"
    assert len(site.asked("GET", "/")) == 1
    assert "x-auth-token" not in site.asked("GET", "/")[0].headers
    site.close()


@pytest.mark.parametrize(
    "document", [HTML, b"", {"versions": []}, {"versions": "x"}, {"versions": [{"id": "v9"}]}]
)
def test_without_a_version_document_the_headers_tell(
    faulty: FaultySite, client_of: Callable[..., Client], document: object
) -> None:
    faulty.say("GET", "/", document)
    faulty.say("GET", "/v1/", Reply(200, {}, {"OpenStack-API-Maximum-Version": "container 1.33"}))
    assert client_of(faulty).version == "1.33"


def test_a_site_without_any_version_is_a_sentence(
    faulty: FaultySite, client_of: Callable[..., Client]
) -> None:
    faulty.say("GET", "/", Reply(200, HTML, {"Content-Type": "text/html"}))
    with pytest.raises(errors.ServerError, match="API version: the site answered 200 with an HTML page"):
        client_of(faulty)


def test_the_dialect_is_asked_once_and_can_be_told(
    client_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = FaultySite(k8s=True, maximum="1.41")
    path = "/v1/drivers/k8s/device_profiles"
    client = client_of(site)
    assert client.dialect.name == "k8s"
    assert client_of(site).dialect.name == "k8s"
    assert len(site.asked("GET", path)) == 1
    assert client.device_profiles() is None  # a null body
    monkeypatch.setenv("CHI_EDGE_LAB_DIALECT", "docker")
    assert client_of(site).dialect.name == "docker"
    monkeypatch.setenv("CHI_EDGE_LAB_DIALECT", "podman")
    with pytest.raises(errors.BadInput, match="no dialect 'podman'"):
        _ = client_of(site).dialect
    site.close()


def test_a_site_too_ill_for_the_probe_is_asked_again(
    faulty: FaultySite, client_of: Callable[..., Client]
) -> None:
    faulty.say("GET", "/v1/drivers/k8s/device_profiles", Reply(503), Reply(404, {"errors": []}))
    client = client_of(faulty)
    with pytest.raises(errors.ServerError, match="find out what drives"):
        _ = client.dialect
    assert client.dialect.name == "docker"


def test_what_the_dialect_lacks_is_refused_before_anything_is_sent(client_of: Callable[..., Client]) -> None:
    site = FaultySite(k8s=True, maximum="1.41")
    client = client_of(site)
    assert client.dialect.name == "k8s"
    before = len(site.requests)
    for call in (
        lambda: client.pause("c1"),
        lambda: client.unpause("c1"),
        lambda: client.kill("c1"),
        lambda: client.commit("c1", "r"),
        lambda: client.top("c1"),
        lambda: client.update("c1", cpu=1),
        lambda: client.open_exec("c1", "sh"),
        lambda: client.logs("c1", since=1),
    ):
        with pytest.raises(errors.NotSupported, match="CHI@Edge"):
            call()
    assert len(site.requests) == before
    site.close()


# -- lists, paths and parameters --------------------------------------------------------------------


def _page(numbers: range, *, more: bool) -> dict[str, object]:
    return {"containers": [{"uuid": f"u{n}"} for n in numbers], "next": "http://x/?marker" if more else None}


def test_pages_are_joined_by_marker(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, _page(range(3), more=True), _page(range(3, 5), more=False))
    assert [one.uuid for one in client.list_containers(status="Running")] == ["u0", "u1", "u2", "u3", "u4"]
    first, second = faulty.asked(*CONTAINERS)
    assert parse_qs(first.query) == {"status": ["Running"], "limit": ["1000"]}
    assert parse_qs(second.query)["marker"] == ["u2"]


def test_a_marker_that_was_deleted_between_two_pages(faulty: FaultySite, client: Client) -> None:
    gone = Reply(404, {"errors": [{"title": "Container u2 could not be found."}]})
    faulty.say(*CONTAINERS, _page(range(3), more=True), gone, _page(range(2, 5), more=False))
    assert [one.uuid for one in client.list_containers()] == ["u0", "u1", "u2", "u3", "u4"]
    assert parse_qs(faulty.asked(*CONTAINERS)[2].query)["marker"] == ["u1"]


def test_a_site_that_says_next_for_ever(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, _page(range(3), more=True))
    assert len(client.list_containers()) == 3


def test_none_is_never_sent_as_a_word(faulty: FaultySite, client: Client) -> None:
    for action in ("kill", "rebuild", "execute"):
        faulty.say("POST", f"/v1/containers/c1/{action}", {"output": "", "exit_code": 0})
    for action in ("logs", "top"):
        faulty.say("GET", f"/v1/containers/c1/{action}", {})
    faulty.say("DELETE", "/v1/containers/c1", Reply(204))
    client.kill("c1")
    client.rebuild("c1")
    client.execute("c1", "ls")
    client.logs("c1")
    client.top("c1")
    client.delete_container("c1")
    client.list_containers  # noqa: B018
    assert not any("None" in request.query or b"null" in request.body for request in faulty.requests[3:])


@pytest.mark.parametrize("ref", ["", "..", ".", "a/b", "a?stop=True", "%2e%2e", "a b", "é", "-x", "x" * 300])
def test_what_cannot_be_a_container_is_not_asked_for(faulty: FaultySite, client: Client, ref: str) -> None:
    before = len(faulty.requests)
    with pytest.raises(errors.BadInput):
        client.get_container(ref)
    with pytest.raises(errors.BadInput):
        client.delete_container(ref)
    assert len(faulty.requests) == before


def test_a_long_command_travels_in_the_body(faulty: FaultySite, client: Client) -> None:
    faulty.say("POST", "/v1/containers/c1/execute", {"output": None, "exit_code": None})
    reply = client.execute("c1", "echo " + "é" * 5000)
    assert (reply.output, reply.exit_code) == ("", None)
    request = faulty.requests[-1]
    assert request.query == ""
    assert json.loads(request.body)["run"] is True


def test_device_profiles_get_through(client_of: Callable[..., Client]) -> None:
    site = FaultySite(k8s=True, maximum="1.41")
    site.say("POST", "/v1/containers", Reply(202, {"uuid": "u", "name": "n", "status": "Creating"}))
    request = create_request(name="n", image="i", device_profiles=["pi_gpio"], command=["a", "b"])
    assert client_of(site).create_container(request).uuid == "u"
    body = json.loads(site.requests[-1].body)
    assert body == {"name": "n", "image": "i", "device_profiles": ["pi_gpio"], "command": ["a", "b"]}
    site.close()


def test_archives(faulty: FaultySite, client: Client) -> None:
    path = "/v1/containers/c1/get_archive"
    faulty.say("GET", path, {"data": "aGVsbG8=\n", "stat": {"name": "x"}})
    archive = client.get_archive("c1", "/a b")
    assert (archive.data, archive.stat) == (b"hello", {"name": "x"})
    assert faulty.requests[-1].query == "path=%2Fa+b"
    faulty.say("GET", path, {"data": "abc", "stat": None})
    with pytest.raises(errors.ServerError, match="archive is damaged"):
        client.get_archive("c1", "/x")
    faulty.say("GET", path, {"data": None})
    assert client.get_archive("c1", "/x").data == b""


def test_a_log_that_is_null_is_empty(faulty: FaultySite, client: Client) -> None:
    faulty.say("GET", "/v1/containers/c1/logs", b"null")
    assert client.logs("c1", stdout=False, stderr=False, tail=3) == ""
    assert parse_qs(faulty.requests[-1].query) == {
        "stdout": ["True"], "stderr": ["True"], "timestamps": ["False"], "tail": ["3"]
    }  # fmt: skip


def test_nothing_secret_is_logged(
    faulty: FaultySite, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faulty.say("GET", "/v1/containers/c1/attach", b'"ws://127.0.0.1:1/?token=tell-nobody"')
    faulty.say("POST", "/v1/containers/c1/execute", {"proxy_url": "ws://127.0.0.1:1/?token=tell-nobody"})
    faulty.say("POST", "/v1/containers", Reply(202, {"uuid": "u", "environment": {"K": "tell-nobody"}}))
    faulty.say(*CONTAINERS, Reply(401, b""), Reply(200, {"containers": []}))
    for dial in (lambda: client.open_attach("c1"), lambda: client.open_exec("c1", "sh")):
        with pytest.raises(errors.Unreachable) as caught:
            dial()
        assert "tell-nobody" not in repr(caught.value)
        assert "ws://127.0.0.1:1)" in str(caught.value)
    made = client.create_container(create_request(image="i", environment={"K": "tell-nobody"}))
    client.list_containers()
    shown = caplog.text + repr(made) + str(made) + repr(client) + repr(client.login)
    for secret in ("tell-nobody", "hunter2secret", "gAAAAtoken"):
        assert secret not in shown


def test_zunclients_own_managers_work_over_our_connection(faulty: FaultySite, client: Client) -> None:
    faulty.say(*CONTAINERS, {"containers": [{"uuid": "u1", "name": "n"}]})
    assert client.zun.containers.list()[0].uuid == "u1"
    faulty.say(*CONTAINERS, Reply(502, HTML, {"Content-Type": "text/html"}))
    with pytest.raises(errors.ServerError, match="502"):
        client.zun.containers.list()

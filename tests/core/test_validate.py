"""Bad input, before any request."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chi_edge_lab.core import names, validate
from chi_edge_lab.errors import BadInput
from chi_edge_lab.zun.dialect import DOCKER, K8S


@pytest.mark.parametrize(
    ("given_ports", "expected"),
    [
        (None, {}),
        ([], {}),
        ([22], {"22/tcp": {}}),
        ([80, "53/udp", "443"], {"80/tcp": {}, "53/udp": {}, "443/tcp": {}}),
        ({"80/tcp": {}}, {"80/tcp": {}}),
        ({"80": {}, 22: {}}, {"80/tcp": {}, "22/tcp": {}}),
        ((80, 80), {"80/tcp": {}}),
        (8080, {"8080/tcp": {}}),
        ("80/TCP", {"80/tcp": {}}),
        (["1", "65535/udp"], {"1/tcp": {}, "65535/udp": {}}),
    ],
)
def test_ports_in_any_spelling_become_zuns(given_ports: object, expected: object) -> None:
    assert validate.exposed_ports(given_ports) == expected


@pytest.mark.parametrize(
    "ports",
    [["99999/tcp"], ["80/icmp"], [0], ["65536"], [-1], ["http"], ["80/"], ["80/tcp/udp"], [True], [None], [80.5],
     ["8 0"], ["٨٠"], object(), b"80", [{}], ["80-90"]],
)  # fmt: skip
def test_what_is_no_port_is_refused_with_the_rule(ports: object) -> None:
    with pytest.raises(BadInput, match=r"65535|exposed_ports"):
        validate.exposed_ports(ports)


def test_command_is_split_as_zun_does() -> None:
    assert validate.argv("sh -c 'echo \"a b\"'") == ["sh", "-c", 'echo "a b"']
    assert validate.argv(["a b", ""]) == ["a b", ""]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_command_made_with_shlex_join_comes_apart_as_it_was(words: list[str]) -> None:
    if not words[0]:
        words[0] = "x"
    assert validate.argv(shlex.join(words)) == words


@pytest.mark.parametrize(
    "command", ["echo 'x", 'echo "x', "x\\", "", "  ", [], [""], None, 5, b"ls", ["a", 1], "a\0b"]
)
def test_what_is_no_command_is_refused(command: object) -> None:
    with pytest.raises(BadInput):
        validate.argv(command)


def test_environment_values_become_text() -> None:
    assert validate.environment({"A": 1, "B": "x", "C": True}) == {"A": "1", "B": "x", "C": "True"}
    assert validate.environment(None) == {}


@pytest.mark.parametrize(
    "values", [{"": "x"}, {"A=B": "x"}, {1: "x"}, {"A": None}, {"A": ["s"]}, {"A": "a\0"}, "A=1"]
)
def test_bad_environment_is_refused(values: object) -> None:
    with pytest.raises(BadInput):
        validate.environment(values)


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    with pytest.raises(BadInput) as caught:
        validate.environment({"TOKEN": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("image", ["", "  ", None, 5, "a b", "x\n", "x" * 256, "a"])
def test_what_is_no_image_is_refused(image: object) -> None:
    if image == "x\n":
        assert validate.image("busybox\n") == "busybox"
        return
    with pytest.raises(BadInput):
        validate.image(image)


@pytest.mark.parametrize("value", [-1, float("nan"), "5", True, object()])
def test_bad_time_limits_are_refused(value: object) -> None:
    with pytest.raises(BadInput):
        validate.seconds(value, "timeout")


def test_none_and_zero_mean_the_default() -> None:
    assert validate.seconds(None, "timeout") is None
    assert validate.seconds(0, "timeout") is None
    assert validate.seconds(1.5, "timeout") == 1.5


@pytest.mark.parametrize("name", ["a-b", "x1", "0a", "a" * 63])
def test_names_every_site_takes(name: str) -> None:
    assert names.check_name(K8S, name) == names.check_name(DOCKER, name) == name


@given(st.text())
def test_suggested_name_is_one_that_every_site_takes(name: str) -> None:
    suggestion = names.suggest_name(name)
    assert not suggestion or (K8S.name_rule.accepts(suggestion) and DOCKER.name_rule.accepts(suggestion))


def test_refusal_of_a_name_says_the_rule_and_what_would_do() -> None:
    with pytest.raises(BadInput, match=r"hyphens.*'my-container' would do"):
        names.check_name(K8S, "My_Container")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("echo a b | wc -w", "|"),
        ("echo a > /tmp/f", ">"),
        ("ls 2>/dev/null", "2>/dev/null"),
        ("make 2>&1", "2>&1"),
        ("cd x && y", "&&"),
        ("cd x; y", "x;"),
        ("a ; b", ";"),
        ("sleep 9 &", "&"),
        ("echo $HOME", "$HOME"),
        ('echo "$HOME/x"', '"$HOME/x"'),
        ("echo ${A}", "${A}"),
        ("grep 'a|b' f", None),
        ("expr 1 '|' 2", None),
        ("sh -c 'a | b && c > d; echo $HOME'", None),
        ('sh -c "a | b; c"', None),
        ("find . -exec ls {} \\;", None),
        ("echo '$HOME' a|b x=$y 5$", None),
        ("echo 'a b;'", None),
        ("echo 'unbalanced", None),
        (["echo", "a", "|", "$HOME"], None),
    ],
)
def test_shell_syntax(command: object, word: str | None) -> None:
    assert validate.shell_syntax(command) == word

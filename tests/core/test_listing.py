"""The parsers of listings: any names, cut anywhere, and nothing but whole listings."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chi_edge_lab.core import listing, paths
from chi_edge_lab.core.shell import encode_argument

names = st.binary(min_size=1, max_size=30).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0"))
modes = st.sampled_from(
    [stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o600, stat.S_IFSOCK | 0o777]
)
entries = st.lists(st.tuples(modes, st.integers(0, 2**62), st.integers(-(2**40), 2**40), names), max_size=20)


def lines(found: list[tuple[int, int, int, bytes]]) -> bytes:
    return b"".join(
        b"%x %d %d 0 1000 1 ./%s\n" % (mode, size, time, name) for mode, size, time, name in found
    )


@given(entries, st.integers(1, 50))
def test_directory_of_any_names_comes_out_as_it_is_wherever_it_is_cut(
    found: list[tuple[int, int, int, bytes]], cut: int
) -> None:
    text = lines(found)
    parser = listing.DirectoryParser()
    parsed = []
    for start in range(0, len(text), cut):
        parsed += parser.feed(text[start : start + cut])
    parsed += parser.end()
    assert [(paths.to_bytes(one.name), one.size, one.mtime) for one in parsed] == [
        (name, size, time) for _, size, time, name in found
    ]


@given(entries.filter(bool), st.data())
def test_listing_that_is_cut_off_is_an_error_or_a_beginning(
    found: list[tuple[int, int, int, bytes]], data: st.DataObject
) -> None:
    text = lines(found)
    end = data.draw(st.integers(1, len(text) - 1))
    try:
        parsed = listing.parse_directory(b"\0" + text[:end])
    except ValueError:
        return
    whole = listing.parse_directory(b"\0" + text)
    # a name that ends with newlines may be cut short of them; everything before it is as it was
    assert parsed[:-1] == whole[: len(parsed) - 1]


@given(st.binary(max_size=200))
def test_noise_is_an_error_or_entries_but_never_something_else(noise: bytes) -> None:
    for parse in (listing.parse_directory, listing.parse_tree, listing.parse_plain):
        try:
            parse(noise)
        except ValueError:
            continue


@given(st.lists(st.tuples(names, st.sampled_from([b"d", b"f", b"o", b"-"]), names), max_size=5))
def test_links_come_with_what_they_lead_to(found: list[tuple[bytes, bytes, bytes]]) -> None:
    text = b"".join(b"./%s\0%s\0%s\0" % one for one in found)
    links, rest = listing.parse_links(text + b"\0rest")
    assert rest == b"rest"
    assert {name: target for name, (_, target) in links.items()} == {
        name: target for name, _, target in found
    }


def test_link_entry_says_where_it_leads() -> None:
    text = b"./l\0d\0../x\0\0" + b"a1ff 4 0 0 0 1 ./l\n"
    (entry,) = listing.parse_directory(text)
    assert (entry.kind, entry.target, entry.target_kind, entry.is_directory) == (
        "link",
        "../x",
        "directory",
        True,
    )


@given(st.binary(max_size=100))
def test_encoded_argument_is_printable_and_holds_the_bytes(raw: bytes) -> None:
    encoded = encode_argument(raw)
    assert encoded.isascii()
    assert encoded.isprintable()
    decoded = bytearray()
    position = 0
    while position < len(encoded):
        if encoded[position] == "\\":
            decoded.append(int(encoded[position + 2 : position + 5], 8))
            position += 5
        else:
            decoded.append(ord(encoded[position]))
            position += 1
    assert bytes(decoded) == raw


@given(st.binary(max_size=60))
def test_path_goes_to_text_and_back(raw: bytes) -> None:
    assert paths.to_bytes(paths.to_text(raw)) == raw


@pytest.mark.parametrize(
    ("path", "checked"),
    [
        ("/a/", b"/a"),
        ("a", b"./a"),
        ("./a", b"./a"),
        ("-x", b"./-x"),
        ("/", b"/"),
        ("//", b"/"),
        ("a//b", b"./a//b"),
    ],
)
def test_checked_paths_are_never_options(path: str, checked: bytes) -> None:
    assert paths.checked(path) == checked


@given(st.text(min_size=1, max_size=300))
def test_shown_path_is_printable_and_short(path: str) -> None:
    assert len(paths.shown(path)) <= 170
    assert paths.shown(path).isprintable()

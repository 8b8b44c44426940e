"""Who the client is, behind proxies of which some are trusted."""

import time
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.utils.client_address import client_from_forwarded, is_trusted, limit_bucket

PROXIES: tuple[IPv4Network | IPv6Network, ...] = (
    ip_network("10.0.0.0/8"),
    ip_network("fd00::/8"),
    ip_network("fe80::/10"),
    ip_network("192.168.7.1/32"),
)
any_character = st.one_of(st.characters(), st.characters(categories=["Cs"]))  # lone surrogates included
quick = settings(deadline=None, max_examples=150)

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
proxies = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="fd00::/8")).map(str)
strangers = addresses.filter(lambda address: not is_trusted(address, PROXIES))


def normalised(address: str) -> str:
    """As the code under test says it shows addresses."""
    parsed = ip_address(address)
    return str((parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None) or parsed)


@quick
@given(strangers, st.lists(proxies, min_size=1, max_size=4), st.text(any_character, max_size=40))
def test_the_client_is_found_behind_any_chain_of_proxies(client: str, chain: list[str], claimed: str) -> None:
    """Whatever a client claims stands further left than what the proxies add."""
    *behind, peer = chain
    header = ", ".join([claimed, client, *behind])
    assert client_from_forwarded(peer, header, PROXIES) == normalised(client)


@quick
@given(strangers, st.text(any_character, max_size=40))
def test_a_stranger_is_not_believed(peer: str, claimed: str) -> None:
    assert client_from_forwarded(peer, claimed, PROXIES) == normalised(peer)


@quick
@given(st.text(any_character, max_size=40), st.text(any_character, max_size=80))
def test_any_strings_have_an_answer(peer: str, header: str) -> None:
    assert isinstance(client_from_forwarded(peer, header, PROXIES), str)
    assert isinstance(client_from_forwarded("10.0.0.1", header, PROXIES), str)
    assert isinstance(limit_bucket(peer), str)
    assert isinstance(is_trusted(peer, PROXIES), bool)


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.2.2.2,192.168.7.1", "203.0.113.9"),
        ("10.0.0.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.0.0.1", "203.0.113.9, unknown, 10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "203.0.113.9, , 10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "203.0.113.9, garbage", "10.0.0.1"),
        ("10.0.0.1", "\t203.0.113.9 ", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("10.0.0.1", "[2001:db8::9]", "2001:db8::9"),
        ("10.0.0.1", "2001:0DB8:0:0::9", "2001:db8::9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, ::ffff:10.2.2.2", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("fd00::1", "203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "2001:db8::9%anything", "2001:db8::9"),
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("::ffff:203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("", "198.51.100.1", ""),
        ("testclient", "198.51.100.1", "testclient"),
        ("\ud800", "198.51.100.1", "\ud800"),
    ],
)
def test_clients(peer: str, header: str | None, client: str) -> None:
    assert client_from_forwarded(peer, header, PROXIES) == client


@pytest.mark.parametrize(
    "entry",
    [
        "203.0.113.9:",
        "203.0.113.9:x",
        "203.0.113.9:\u0661",
        "203.0.113.9 x",
        "203.0.113.009",
        "203.0.113",
        "[2001:db8::9",
        "[2001:db8::9]x",
        "[2001:db8::9]4711",
        "[2001:db8::9]:",
        "2001:db8::9]",
        "[]",
        ":",
        "::1::",
        "unknown",
        "\ud800",
        "_hidden",
        '"203.0.113.9"',
        "\xa0203.0.113.9",
        "\u0661.1.1.1",
        "1" * 71,
        "2001:db8::9%" + "x" * 70,
    ],
)
def test_what_is_no_address_is_not_believed(entry: str) -> None:
    assert client_from_forwarded("10.0.0.1", entry, PROXIES) == "10.0.0.1"


def test_nobody_is_trusted_unless_named() -> None:
    assert client_from_forwarded("10.0.0.1", "203.0.113.9", ()) == "10.0.0.1"
    assert not is_trusted("10.0.0.1", ())


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("fd12::1", True),
        ("fe80::1%eth0", True),
        ("192.168.7.1", True),
        ("192.168.7.2", False),
        ("11.0.0.1", False),
        ("2001:db8::1", False),
        ("", False),
        ("testclient", False),
        ("10.0.0.1" * 100_000, False),
    ],
)
def test_who_is_trusted(peer: str, trusted: bool) -> None:
    assert is_trusted(peer, PROXIES) is trusted


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("testclient", "testclient"),
        ("x" * 100, "x" * 100),
    ],
)
def test_buckets(address: str, bucket: str) -> None:
    assert limit_bucket(address) == bucket


@quick
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_a_subscriber_has_one_bucket(one: int, other: int, subscriber: int) -> None:
    addresses = [str(IPv6Address(subscriber << 64 | host)) for host in (one, other)]
    assert limit_bucket(addresses[0]) == limit_bucket(addresses[1])
    neighbour = str(IPv6Address((subscriber ^ 1) << 64 | one))
    assert limit_bucket(neighbour) != limit_bucket(addresses[0])


@pytest.mark.parametrize(
    "entry",
    ["10.1.1.1,", ",", "[", ":", " ", "10.1.1.1:1,"],
    ids=["proxies", "commas", "brackets", "colons", "blanks", "ports"],
)
def test_a_hostile_header_takes_linear_time(entry: str) -> None:
    start = time.perf_counter()
    header = entry * (100_000 // len(entry)) + "10.2.2.2"
    assert client_from_forwarded("10.0.0.1", header, PROXIES)
    assert time.perf_counter() - start < 2, "seconds; quadratic time would be minutes"

"""The address of the client: behind proxies, of which the trusted are believed, and as the bucket of a rate limit."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

_LONGEST: Final = 70
"""Characters of the longest address with brackets, scope id and port; nothing longer is looked at, or remembered."""

_REMEMBERED: Final = 4096
"""Addresses that are parsed once."""

_SUBSCRIBER_PREFIX: Final = 64
"""Bits: the least that a subscriber gets (RFC 6177, RFC 7934 §6.1), who can then use any of 2**64 addresses."""


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks. What is no IP address is in none."""
    address = _address(peer)
    return address is not None and _is_in(address, trusted)


def client_from_forwarded(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The client's address: the rightmost of ``X-Forwarded-For`` that is not a trusted proxy's, if the peer's is;
    else the peer's.

    Each proxy appends the address it was called from, so what stands further left is only what a stranger says. An
    entry that is no address ends the walk, and the last good one counts. Several header lines come joined by ``, ``.
    The result has no port, brackets or scope id, and an IPv4-mapped IPv6 address is IPv4; a peer that is no IP
    address (a Unix socket) stays as it is.
    """
    address = _address(peer)
    if address is None:
        return peer
    if forwarded_for is not None and _is_in(address, trusted):
        for entry in reversed(forwarded_for.split(",")):
            claimed = _address(entry.strip(" \t"))
            if claimed is None:
                break
            address = claimed
            if not _is_in(address, trusted):
                break
    return str(address)


def limit_bucket(address: str) -> str:
    """Who shares a rate limit: an IPv4 address alone, an IPv6 address with its /64; anything else stays as it is."""
    return _bucket(address) if len(address) <= _LONGEST else address


@lru_cache(_REMEMBERED)
def _bucket(text: str) -> str:
    address = _parse(text)
    if address is None:
        return text
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _SUBSCRIBER_PREFIX), strict=False))


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> Address | None:
    return _parse(text) if len(text) <= _LONGEST else None


@lru_cache(_REMEMBERED)
def _parse(text: str) -> Address | None:
    host = _without_port(text)
    if host is None:
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    # By number: an address with a scope id is never equal to, nor in a network of, the one without.
    return address.ipv4_mapped or IPv6Address(int(address))


def _without_port(text: str) -> str | None:
    """The host of ``host``, ``host:port``, ``[host]`` or ``[host]:port``; a bare IPv6 address has no port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            return None
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
        rest = colon + port
    else:
        return text
    if not rest:
        return host
    port = rest.removeprefix(":")
    return host if port != rest and port.isascii() and port.isdigit() else None

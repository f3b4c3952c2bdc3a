"""Base URLs that peers name, and whether to believe them: a token goes only where it was meant to go.

A member says under which address it can be reached, and is sent a token there. So the address must be the caller's own:
the one that it connects from, or a name that resolves to that. Standard library only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

RESOLVE_SECONDS = 3.0
_MAX_LENGTH = 300
_PORTS = {"http": 80, "https": 443}

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(ValueError):
    """It is no base URL, or not the caller's; says what was got and wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port: what a token is for. Hosts in small letters, addresses in their shortest form."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Return the origin of any URL.

        Raises:
            AddressError: It has none that could be told for sure.
        """
        parts = _split(url)
        host = parts.hostname or ""
        address = _ip(host)
        return cls(scheme=parts.scheme, host=str(address) if address else host, port=parts.port or _PORTS[parts.scheme])


def base_url_origin(url: str) -> Origin:
    """Return the origin of a base URL, which has neither path nor query.

    Raises:
        AddressError: It is none.
    """
    parts = _split(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in url or "#" in url:
        raise AddressError(f"got {url[:_MAX_LENGTH]!r}, wanted scheme, host and port alone")
    return Origin.of(url)


async def own_address(url: str, caller: str | None) -> str:
    """Return the base URL of a caller whose connection comes from the address `caller`, as it is to be called.

    It names that very address: a name may resolve to another one by the time of the call.

    Raises:
        AddressError: It is somebody else's, or nobody's.
    """
    origin = base_url_origin(url)
    comes_from = _ip(caller or "")
    if comes_from is None:
        raise AddressError("the caller's own address is not known")
    named = _ip(origin.host)
    addresses = {named} if named is not None else await _resolved(origin.host)
    if _is_special(comes_from) or any(map(_is_special, addresses)):
        raise AddressError(f"got {url[:_MAX_LENGTH]!r}, wanted an address that others can reach, not a link-local one")
    if comes_from not in addresses:
        raise AddressError(
            f"got {url[:_MAX_LENGTH]!r} from a caller at {comes_from}, wanted its own address, or a name for it; "
            "where the network translates addresses between pods, turn that off for the job's pods"
        )
    host = f"[{comes_from}]" if comes_from.version == 6 else str(comes_from)
    return f"{origin.scheme}://{host}:{origin.port}"


async def _resolved(host: str) -> set[IpAddress]:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise AddressError(f"the name {host[:_MAX_LENGTH]!r} does not resolve: {type(error).__name__}") from None
    return {address for info in found if (address := _ip(str(info[4][0]))) is not None}


def _split(url: str) -> SplitResult:
    """Split it; raise AddressError for what different readers would read differently, too."""
    shown = url[:_MAX_LENGTH]
    if len(url) > _MAX_LENGTH * 4 or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise AddressError(f"got {shown!r}, wanted a plain URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressError(f"got {shown!r}, wanted a URL with a host and a port") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise AddressError(f"got {shown!r}, wanted http or https, a host and a port")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise AddressError("a URL with a user or a password is not called")
    if "%" in parts.netloc:
        raise AddressError(f"got {shown!r}, wanted a host without a zone or escapes")
    return parts


def _ip(text: str) -> IpAddress | None:
    """Return an address, an IPv4 one that is written as IPv6 as itself."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_special(address: IpAddress) -> bool:
    """Link-local addresses hold the clouds' metadata services; the others are nobody's."""
    return address.is_link_local or address.is_multicast or address.is_unspecified

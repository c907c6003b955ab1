"""Which addresses may be a worker's. What a worker announces is hostile input: our calls carry credentials to it.

Pure: a name is judged by what it says, and by whoever looks it up with each address that it stands for.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
"""1 to 65535."""
HOST_AND_PORT = re.compile(rf"(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:]+\]):{PORT}")
"""An address without a scheme, such as login1:6379."""
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Where clouds tell a machine's secrets, as far as that is no link-local address anyway (169.254.169.254)."""
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""IPv6 addresses whose last 32 bits are the IPv4 address that is reached."""
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def url_problem(url: str) -> str:
    """Why a text is not the address of a server over HTTP, or nothing if it is one. Quotes nothing of it."""
    if "@" in url:
        return "it holds an @: a user name and a password do not belong into an address, and are not shown"
    if any(character.isspace() or unicodedata.category(character) == "Cc" for character in url):
        return "it holds white space or a control character"
    if not url.isascii():
        return "it holds a character that is no ASCII; a name is written in its ASCII form (xn--...)"
    if "?" in url or "#" in url or "\\" in url:
        return "it holds a ?, a # or a backslash: it is the beginning of what is asked, not all of it"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "its host or its port is none"
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if set(host or "") & set("%;,'\"<>|^`"):
        return "its host holds a character that no name has"
    if not host or port == 0:
        return "it has no host" if not host else "its port is 0"
    if url.count("[") > (1 if ":" in host else 0):
        return "it holds '[' outside of an IPv6 address"
    if literal(host) is None and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return "its host is a number, and no IP address in its usual form"
    return ""


def worker_url_problem(url: str, *, networks: Sequence[str], is_this_host: bool) -> str:
    """Why a worker must not be asked at an address, as far as its text tells; nothing if it may be.

    Args:
        url: as it was announced.
        networks: where workers are, as CIDR; empty: anywhere but at special addresses.
        is_this_host: the worker runs on this machine, so that loopback is its address.
    """
    if problem := url_problem(url):
        return problem
    host = urlsplit(url).hostname or ""
    address = _LOOPBACK if _is_localhost(host) else literal(host)
    return "" if address is None else address_problem(address, networks=networks, is_this_host=is_this_host)


def address_problem(address: IPAddress, *, networks: Sequence[str], is_this_host: bool) -> str:
    """Why no worker is to be asked at an IP address, or nothing if one may be there.

    Args:
        address: one that a worker announced, or that its name stands for.
        networks: as above. Loopback is allowed where a network lies within it, never by a wider one.
        is_this_host: as above.
    """
    meant = _meant(address)
    if meant.is_link_local or meant in _METADATA:
        return f"{address} is a link-local or metadata address, where no worker is"
    given = [ipaddress.ip_network(network) for network in networks]
    if meant.is_loopback:
        if is_this_host or any(network.is_loopback and meant in network for network in given):
            return ""
        return f"{address} is loopback, and the worker is not known to be on this machine"
    if meant.is_multicast or meant.is_unspecified or meant.is_reserved or meant in ipaddress.ip_network("0.0.0.0/8"):
        return f"{address} is no address of one machine"
    if given and not any(meant in network for network in given):
        return f"{address} is outside of the master's worker_networks ({', '.join(map(str, networks))})"
    return ""


def names_this_machine(host: str, machine: str) -> bool:
    """Whether a name is the one that a machine has for itself, as which it often stands for loopback."""
    return _is_localhost(host) or host.rstrip(".").lower() == machine.rstrip(".").lower()


def is_within(host: str, networks: Sequence[str]) -> bool:
    """Whether a host lies in one of the networks; of a name, whether there are any, for whoever looks it up."""
    address = literal(host)
    if address is None:
        return bool(networks)
    return any(_meant(address) in ipaddress.ip_network(network) for network in networks)


def check_network(text: str) -> str:
    """Return a network in its usual form.

    Raises:
        ValueError: it is none; the message says what would be.
    """
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise ValueError(f"{text[:60]!a} is no network such as 10.1.0.0/16, 192.0.2.7 or fd12::/48: {error}") from error


def literal(host: str) -> IPAddress | None:
    """The IP address that a host is, or None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _meant(address: IPAddress) -> IPAddress:
    """The address that is reached: some of IPv6 only wrap one of IPv4."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address

"""Which addresses may be a worker's: a table of what was announced, and why it is refused."""

from ipaddress import ip_address

import pytest

from ebbflow.core.addresses import (
    address_problem,
    check_network,
    is_within,
    names_this_machine,
    url_problem,
    worker_url_problem,
)


@pytest.mark.parametrize(
    "url", ["http://h", "https://h:1/", "HTTP://H/x", "http://[::1]:7801", "http://10.0.0.7:7801", "http://n7.h2o"]
)
def test_addresses_that_can_be_used(url: str) -> None:
    assert url_problem(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "/x",
        "//h",
        "ftp://h",
        "http:h",
        "http://",
        "http://:80",
        "http:///x",
        "http://h:port",
        "http://h:70000",
        "http://a b",
        "http://h/\x00",
        "http://h/\u2028",
        "http://h/\x7f",
        "http://[::1",
        "http://h/[1]",
        "http://[h]",
        "http://[::1]/[x",
        "file:///etc/passwd",
        "http://u:p@h",
        "http://h/x?y=1",
        "http://h:8500/v1/agent/leave#",
        "http://h\\x",
        "http://127\u30020\u30020\u30021",
        "http://localhost\u3002",
        "http://h%41",
        "http://a;b",
        "http://h:0",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://10.0.0.07",
        "http://h.7.",
    ],
)
def test_addresses_that_cannot_be_used(url: str) -> None:
    assert url_problem(url) != ""


SPECIAL = [
    ("http://169.254.169.254", "link-local or metadata"),
    ("http://169.254.0.7:7801", "link-local or metadata"),
    ("http://[fe80::1]:7801", "link-local or metadata"),
    ("http://[fd00:ec2::254]", "link-local or metadata"),
    ("http://100.100.100.200", "link-local or metadata"),
    ("http://168.63.129.16", "link-local or metadata"),
    ("http://[::ffff:169.254.169.254]", "link-local or metadata"),
    ("http://[64:ff9b::a9fe:a9fe]", "link-local or metadata"),
    ("http://[2002:a9fe:a9fe::1]", "link-local or metadata"),
    ("http://0.0.0.0:7801", "no address of one machine"),
    ("http://0.1.2.3:7801", "no address of one machine"),
    ("http://[::]:7801", "no address of one machine"),
    ("http://224.0.0.1", "no address of one machine"),
    ("http://[ff02::1]", "no address of one machine"),
    ("http://255.255.255.255", "no address of one machine"),
]
LOOPBACK = [
    "http://127.0.0.1:1",
    "http://127.9.9.9",
    "http://[::1]:1",
    "http://localhost:1",
    "http://[::ffff:127.0.0.1]",
]


@pytest.mark.parametrize(("url", "why"), SPECIAL)
def test_no_worker_is_at_a_special_address_whatever_the_networks(url: str, why: str) -> None:
    for networks in ((), ("0.0.0.0/0", "::/0"), ("169.254.0.0/16",)):
        for is_this_host in (False, True):
            assert why in worker_url_problem(url, networks=networks, is_this_host=is_this_host)


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_is_this_machines_own_or_must_be_named_by_a_network_within_it(url: str) -> None:
    assert worker_url_problem(url, networks=(), is_this_host=True) == ""
    assert worker_url_problem(url, networks=("10.0.0.0/8",), is_this_host=True) == ""
    assert worker_url_problem(url, networks=("127.0.0.0/8", "::1/128"), is_this_host=False) == ""
    for networks in ((), ("0.0.0.0/0", "::/0"), ("10.0.0.0/8",)):
        assert "is loopback" in worker_url_problem(url, networks=networks, is_this_host=False)


def test_networks_admit_what_is_within_them_alone() -> None:
    networks = ("10.1.0.0/16", "fd12::/48")
    for url in ("http://10.1.2.3:7801", "http://[fd12::7]:7801", "http://[::ffff:10.1.2.3]", "http://named.example"):
        assert worker_url_problem(url, networks=networks, is_this_host=False) == ""
    said = worker_url_problem("http://10.2.0.1:7801", networks=networks, is_this_host=False)
    assert said == "10.2.0.1 is outside of the master's worker_networks (10.1.0.0/16, fd12::/48)"
    assert address_problem(ip_address("10.2.0.1"), networks=(), is_this_host=False) == ""


def test_only_who_is_within_a_network_may_refuse_us_at_first() -> None:
    assert is_within("10.1.2.3", ("10.1.0.0/16",))
    assert not is_within("10.2.2.3", ("10.1.0.0/16",))
    assert is_within("named.example", ("10.1.0.0/16",)), "whoever looks it up goes nowhere else"
    assert not is_within("named.example", ())


def test_a_machine_may_be_called_by_its_own_name() -> None:
    for name in ("box7", "BOX7.", "localhost", "a.localhost."):
        assert names_this_machine(name, "box7")
    for name in ("box77", "box7.evil.example", "localhost.evil.example"):
        assert not names_this_machine(name, "box7")


@pytest.mark.parametrize("text", ["10.1.0.0/99", "10.1.2.3/16", "gpu-net", ""])
def test_what_is_no_network_is_named_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no network such as 10\.1\.0\.0/16"):
        check_network(text)


def test_a_network_is_kept_in_its_usual_form() -> None:
    assert [check_network(text) for text in (" 10.1.0.0/255.255.0.0", "192.0.2.7")] == ["10.1.0.0/16", "192.0.2.7/32"]

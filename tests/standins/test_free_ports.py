"""Free ports: below those of connections, with neighbours that are free too."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from ebbflow.standins import process


@pytest.fixture
def ten_ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[range]:
    """All that there are in a test, the sixth of them taken."""
    first = process.free_port(neighbours=9)
    monkeypatch.setattr(process, "PORTS", range(first, first + 10))
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", first + 5))
        yield range(first, first + 10)


def test_a_free_port_is_none_that_systems_connect_from_or_that_a_ray_head_sets_aside() -> None:
    assert 19_999 < process.free_port() < 30_000


def test_a_port_that_is_taken_is_not_given(ten_ports: range) -> None:
    assert {process.free_port() for _ in range(200)} <= {*ten_ports} - {ten_ports[5]}


def test_its_neighbours_are_free_too(ten_ports: range) -> None:
    last = len(ten_ports)
    fit = {ten_ports[place] for place in range(last) if not place <= 5 <= place + 4}
    assert {process.free_port(neighbours=4) for _ in range(100)} <= fit | {ten_ports[place] for place in (6, 7, 8, 9)}


def test_a_machine_without_a_free_port_is_told_of(ten_ports: range) -> None:
    with ExitStack() as others:
        for port in ten_ports:
            if port != ten_ports[5]:
                others.enter_context(closing(socket.socket())).bind(("127.0.0.1", port))
        with pytest.raises(OSError, match=f"no loopback port from {ten_ports[0]} to"):
            process.free_port()

"""Ports of this machine that servers of a person's own can have."""

import random
import socket
from contextlib import ExitStack, closing, suppress

PORTS = range(15_000, 32_000)
"""Below what Linux (from 32,768 on) and macOS (from 49,152 on) give to connections."""


def free_port(*, neighbours: int = 0) -> int:
    """A loopback port that nobody listens on now, nor on the next ones after it.

    It lies below those from which a system takes the near end of a connection: between this answer and whoever listens
    there, a connection of somebody else would take it, and whoever asks a port again and again would reach itself.

    Raises:
        OSError: all are taken.
    """
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with ExitStack() as probes, suppress(OSError):
            for place in range(neighbours + 1):
                probes.enter_context(closing(socket.socket())).bind(("127.0.0.1", port + place))
            return port
    raise OSError(f"no loopback port from {PORTS.start} to {PORTS.stop} is free")

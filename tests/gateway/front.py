"""A front that hands each new connection to the next of several addresses that listens, as a balancer of TCP does."""

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

PIECE = 65_536


class _Front:
    def __init__(self, ports: Sequence[int]) -> None:
        self._ports, self._turn = ports, itertools.cycle(range(len(ports)))
        self.listening = socket.create_server(("127.0.0.1", 0))

    def go_on(self) -> None:
        while True:
            try:
                came, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(came,), daemon=True).start()

    def _pass_on(self, came: socket.socket) -> None:
        with closing(came):
            first = next(self._turn)
            for offset in range(len(self._ports)):
                with suppress(OSError):
                    port = self._ports[(first + offset) % len(self._ports)]
                    with closing(socket.create_connection(("127.0.0.1", port), timeout=2)) as there:
                        there.settimeout(None)
                        back = threading.Thread(target=_copied, args=(there, came), daemon=True)
                        back.start()
                        _copied(came, there)
                        back.join()
                        return


def _copied(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def front_of(ports: Sequence[int]) -> Iterator[int]:
    """The port of a front of these, until the block ends."""
    front = _Front(ports)
    with closing(front.listening):
        threading.Thread(target=front.go_on, daemon=True).start()
        yield int(front.listening.getsockname()[1])

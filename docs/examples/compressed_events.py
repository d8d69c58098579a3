"""JSON events over zstd+tcp: all of them arrive, and far fewer bytes go over the line than were sent."""

import json
import socket
import threading
from random import Random

from nnqpy import Pull, Push


class Line:
    """A line between two ports, which counts what goes over it."""

    def __init__(self, far: str) -> None:
        self.carried = 0
        self._far = far.rpartition(":")[2]
        self._near = socket.create_server(("127.0.0.1", 0))
        self.url = f"zstd+tcp://127.0.0.1:{self._near.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._near, self._near.accept()[0] as near, socket.create_connection(("127.0.0.1", self._far)) as far:
            back = threading.Thread(target=self._carry, args=(far, near))
            back.start()
            self._carry(near, far)
            back.join()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        while some := source.recv(65536):
            self.carried += len(some)
            sink.sendall(some)
        sink.shutdown(socket.SHUT_WR)

    def wait(self) -> None:
        """Wait until one end has left."""
        self._thread.join()


chance = Random(1)
events = [
    json.dumps(
        {
            "id": number,
            "type": chance.choice(["order.created", "order.paid", "order.shipped"]),
            "user": {"id": chance.randrange(10**6), "country": chance.choice(["AT", "DE", "FR", "IT"]), "new": False},
            "total": {"amount": chance.randrange(100, 10**5) / 100, "currency": "EUR", "tax_included": True},
            "tags": chance.sample(["gift", "express", "abroad", "invoice"], 2),
        }
    ).encode()
    for number in range(20_000)
]

with Pull() as pull:
    line = Line(pull.bind("zstd+tcp://127.0.0.1:0").url)
    with Push(connect=line.url) as push:
        sender = threading.Thread(target=push.send_many, args=(events,))
        sender.start()
        arrived = [pull.recv(timeout=30) for _ in events]
        sender.join()
    line.wait()

print(f"{len(arrived)} events arrived, whole and in order: {arrived == events}")
print("on the line, framing included, less than half of what was sent:", line.carried < sum(map(len, events)) / 2)

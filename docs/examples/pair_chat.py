"""Two programs that talk to each other, and to nobody else."""

import threading

from nnqpy import Pair, Reason
from nnqpy.events import PeerRefused

URL = "ipc://@nnqpy-example-pair"


def alice() -> None:
    with Pair(connect=URL) as chat:
        chat.send(b"hello, this is Alice")
        print("Bob says:", chat.recv(timeout=30).decode())


with Pair(bind=URL) as chat:
    thread = threading.Thread(target=alice)
    thread.start()
    print("Alice says:", chat.recv(timeout=30).decode())

    # The line is taken: a third one is refused and may try again later.
    events = chat.events()
    with Pair(connect=URL):
        refusal = events.recv(timeout=30)
        assert isinstance(refusal, PeerRefused)
        assert refusal.reason is Reason.LIMIT_PIPES
        print("Carol is refused:", refusal.reason)

    chat.send(b"goodbye, Alice")
    thread.join()

"""A request may arrive twice. Who must not do it twice keeps what was answered, by a name that the asker gives."""

import threading
import uuid

from nnqpy import Closed, Rep, Req


class Account:
    """Pays in once for each name, however often it is asked to."""

    def __init__(self) -> None:
        self.balance = 0
        self.done: dict[bytes, bytes] = {}

    def handle(self, request: bytes) -> bytes:
        name, _, amount = request.partition(b" ")
        if name not in self.done:
            self.balance += int(amount)
            self.done[name] = b"the balance is %d" % self.balance
        return self.done[name]


def serve(rep: Rep, account: Account) -> None:
    try:
        account.handle(rep.recv())  # it is done; but this answer never gets to the asker
        while True:
            rep.send(account.handle(rep.recv()))
    except Closed:
        return


account = Account()
with Rep() as rep, Req(connect=rep.bind("tcp://127.0.0.1:0").url) as req:
    server = threading.Thread(target=serve, args=(rep, account))
    server.start()

    name = uuid.uuid4().hex.encode()
    print(req.request(name + b" 100", timeout=0.2, retries=100).decode())
    print("asked once more:", req.resent >= 1)

    rep.close()
    server.join()

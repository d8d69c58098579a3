"""A service that works on four requests at a time, and clients that share one socket."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from nnqpy import Rep, Req

at_once = threading.Barrier(4)


def handler(request: bytes) -> bytes:
    at_once.wait(timeout=30)  # four requests are in hand, or nobody gets any further
    number = int(request)
    if number == 13:
        raise ValueError("an unlucky number")
    return b"%d" % number**2


def on_error(request: bytes, error: Exception) -> bytes:
    return b"no answer to %s: %s" % (request, str(error).encode())


with Rep() as rep, Req() as req, ThreadPoolExecutor() as pool, ThreadPoolExecutor(12) as clients:
    req.connect(rep.bind("tcp://127.0.0.1:0").url)
    serving = pool.submit(rep.serve, handler, concurrency=4, on_error=on_error)

    requests = [b"%d" % number for number in range(2, 14)]
    for reply in clients.map(partial(req.request, timeout=30), requests):
        print(reply.decode())

    rep.close()  # ends serve()
    serving.result()

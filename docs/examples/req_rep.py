"""One program asks, another one answers."""

import threading

from nnqpy import Rep, Req


def answer_two(rep: Rep) -> None:
    for _ in range(2):
        question = rep.recv(timeout=30)
        rep.send(question.upper())


with Rep() as rep, Req() as req:
    req.connect(rep.bind("tcp://127.0.0.1:0").url)
    server = threading.Thread(target=answer_two, args=(rep,))
    server.start()

    req.send(b"first")
    print(req.recv(timeout=30).decode())

    # The same in one call, which any number of threads may make at the same time.
    print(req.request(b"second", timeout=30).decode())
    server.join()

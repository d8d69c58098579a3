"""A worker dies with a request in hand: the request goes to another one, and its reply still comes."""

import multiprocessing
import os

from nnqpy import Rep, Req


def worker(url: str, dies: bool) -> None:
    """Answer one request, or die before that."""
    with Rep(connect=url) as rep:
        number = int(rep.recv(timeout=30))
        if dies:
            os._exit(1)
        rep.send(b"%d" % number**2)


def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    with Req() as req:
        url = req.bind("tcp://127.0.0.1:0").url

        first = spawn.Process(target=worker, args=(url, True))
        first.start()
        req.send(b"12")
        first.join()
        print(f"the first worker has ended with exit code {first.exitcode}")

        second = spawn.Process(target=worker, args=(url, False))
        second.start()
        print(f"the reply is {req.recv(timeout=30).decode()}, the request was sent {1 + req.resent} times")
        second.join()


if __name__ == "__main__":
    main()

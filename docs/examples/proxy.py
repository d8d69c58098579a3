"""Clients know one address, workers know another one, and a device in between knows both."""

import threading
from collections import Counter

from nnqpy import Device, Message, RawRep, RawReq, Rep, Req

WORKERS = 3
seen: Counter[str] = Counter()


def tap(side: str, message: Message) -> None:
    """See each message that came in, before it goes on."""
    seen[side] += 1


def work(rep: Rep) -> None:
    rep.serve(lambda request: request[::-1])


with RawRep() as front, RawReq() as back:
    clients_url = front.bind("tcp://127.0.0.1:0").url
    workers_url = back.bind("tcp://127.0.0.1:0").url
    workers = [Rep(connect=workers_url) for _ in range(WORKERS)]
    threads = [threading.Thread(target=work, args=(rep,)) for rep in workers]
    for thread in threads:
        thread.start()
    back.wait_for_peers(WORKERS, timeout=30)

    with Device(front, back, tap=tap) as device, Req(connect=clients_url) as req:
        contexts = [req.context() for _ in range(30)]
        for number, context in enumerate(contexts):
            context.send(b"%02d" % number)
        replies = [context.recv(timeout=30).decode() for context in contexts]
    # Leaving it has stopped the device; the sockets are still open.

    print(" ".join(replies[:12]), "...")
    stats = device.stats()
    print(f"{stats.to_back} requests, {stats.to_front} replies, {stats.dropped} dropped")
    print(f"the tap has seen {seen['front']} and {seen['back']}")
    print("every worker had some:", all(peer.sent for peer in back.peers))

for rep, thread in zip(workers, threads, strict=True):
    rep.close()
    thread.join()

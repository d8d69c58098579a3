"""What a page does, in Python: news by a Sub and answers by a Req, over WebSocket, from two sockets on one port."""

import threading
from typing import cast

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from nnqpy import Pub, Rep


def answer(question: bytes) -> bytes:
    return b"you asked: " + question


def page(pub: Pub, news: str, answers: str) -> None:
    # A page dials, and offers the SP name of who listens.
    with connect(news, subprotocols=[Subprotocol("pub.sp.nanomsg.org")]) as ws:
        pub.wait_for_peers(1, timeout=30)
        pub.send(b"weather.rain")
        print("news:", cast("bytes", ws.recv(timeout=30)).decode())

    with connect(answers, subprotocols=[Subprotocol("rep.sp.nanomsg.org")]) as ws:
        request = b"\x80\x00\x00\x01"  # a number of its own choice; the top bit says that it is the last of the header
        ws.send(request + b"the time?")
        reply = cast("bytes", ws.recv(timeout=30))
        print("reply:", reply[4:].decode(), "- to the request:", reply[:4] == request)


with Pub() as pub, Rep() as rep:
    news = pub.bind("ws://127.0.0.1:0/news").url
    answers = rep.bind(news.replace("/news", "/answers")).url
    server = threading.Thread(target=rep.serve, args=(answer,))
    server.start()
    page(pub, news, answers)
    rep.close()
    server.join()

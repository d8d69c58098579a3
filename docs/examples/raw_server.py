"""A server of raw sockets answers when it likes: later, in another order, several times, or to nobody any more."""

import threading

from nnqpy import Message, PeerGone, RawRep, RawRespondent, Req, Surveyor

gone = threading.Event()

# Three requests are in hand at the same time, and answered in the reverse order.
with RawRep(strict=True, on_peer_closed=lambda peer: gone.set()) as server, Req() as req:
    url = server.bind("tcp://127.0.0.1:0").url
    req.connect(url)
    contexts = [req.context() for _ in range(3)]
    requests: list[Message] = []
    for number, context in enumerate(contexts):
        context.send(b"request %d" % number)
        requests.append(server.recv(timeout=30))
    for place, request in enumerate(reversed(requests)):
        server.send(request.reply(b"%s was answered as number %d" % (request.body, place)))
    for context in contexts:
        print(context.recv(timeout=30).decode())

    # Who has asked is gone: a strict socket says so.
    with Req(connect=url) as other:
        other.send(b"never mind")
        request = server.recv(timeout=30)
    gone.wait(timeout=30)
    try:
        server.send(request.reply(b"too late"))
    except PeerGone as error:
        print(type(error).__name__)

# One survey, several answers of the same respondent.
with RawRespondent() as respondent, Surveyor() as surveyor:
    surveyor.connect(respondent.bind("tcp://127.0.0.1:0").url, wait=True, timeout=30)
    survey = surveyor.survey(b"count to three", deadline=30)
    request = respondent.recv(timeout=30)
    for word in (b"one", b"two", b"three"):
        respondent.send(request.reply(word))
        print(next(survey).decode())

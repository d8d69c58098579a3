"""One question to all who are there: as many answers as come until the deadline."""

import threading
from functools import partial

from nnqpy import Respondent, Surveyor


def answer(name: bytes, question: bytes) -> bytes | None:
    if question == b"who is there?":
        return name
    return None  # no answer is an answer too


with Surveyor() as surveyor:
    url = surveyor.bind("tcp://127.0.0.1:0").url
    respondents = [Respondent(connect=url) for _ in range(3)]
    threads = [
        threading.Thread(target=respondent.serve, args=(partial(answer, name),))
        for respondent, name in zip(respondents, (b"Ann", b"Bob", b"Eve"), strict=True)
    ]
    for thread in threads:
        thread.start()
    surveyor.wait_for_peers(3, timeout=30)

    # It is known how many there are: leave when all have answered.
    there: list[str] = []
    with surveyor.survey(b"who is there?", deadline=30) as survey:
        for reply in survey:
            there.append(reply.decode())
            if len(there) == len(surveyor.peers):
                break
    print(sorted(there))

    # Nobody wants to answer this one: it ends at its deadline.
    print(list(surveyor.survey(b"who is late?", deadline=0.2)))

    for respondent, thread in zip(respondents, threads, strict=True):
        respondent.close()
        thread.join()

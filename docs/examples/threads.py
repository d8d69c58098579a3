"""One socket, many threads: four send through one Push, three receive from one Pull. No lock of yours is needed."""

from concurrent.futures import ThreadPoolExecutor

from nnqpy import Closed, Pull, Push

EACH = 5000


def produce(socket: Push, name: int) -> None:
    for number in range(EACH):
        socket.send(b"%d:%d" % (name, number))


def consume(socket: Pull) -> list[bytes]:
    taken: list[bytes] = []
    try:
        while True:
            taken += socket.recv_many()
    except Closed:  # another thread closed the socket: every blocked call ends this way
        return taken


with Pull() as pull, Push(connect=pull.bind("tcp://127.0.0.1:0").url) as push, ThreadPoolExecutor() as pool:
    consumers = [pool.submit(consume, pull) for _ in range(3)]
    for producer in [pool.submit(produce, push, name) for name in range(4)]:
        producer.result()

    push.close()  # sends what is queued
    events = pull.events()
    while pull.peers:  # until the Pull has read to the end of that connection
        events.recv(timeout=30)
    pull.close()

    taken = [message for consumer in consumers for message in consumer.result()]
    print(f"{len(taken)} messages, {len(set(taken))} different ones")

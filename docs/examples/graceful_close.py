"""What `close` does with messages that are still queued: it sends them for a while, and tells what became of them."""

from nnqpy import Closed, Pull, Push

URL = "ipc://@nnqpy-example-close"

# A worker is there: close() goes on until the last message is handed over.
with Pull(bind=URL) as pull:
    push = Push(connect=URL)
    push.send_many(b"job %d" % number for number in range(500))
    report = push.close(linger=30)
    print(f"with a worker: {report.abandoned} abandoned")
    print(f"the worker takes {sum(1 for _ in range(500) if pull.recv(timeout=30))}")

# Nobody is there: after the linger time the queue is given up, and the report says how much that was.
push = Push(connect=URL)
push.send_many(b"job %d" % number for number in range(500))
report = push.close(linger=0.2)
print(f"without one: {report.flushed} flushed, {report.abandoned} abandoned")

# Closed is closed: calls say so, and a second close() gives the same report again.
try:
    push.send(b"too late")
except Closed as error:
    print("send:", type(error).__name__)
print("the same report:", push.close() == report)

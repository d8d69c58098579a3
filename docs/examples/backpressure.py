"""A sender that is faster than its receiver: it is made to wait, and can ask why."""

from nnqpy import Pull, Push, TimedOut, WouldBlock

push = Push(send_hwm=10)

# Nobody is there: ten messages wait, the eleventh does not fit.
for number in range(10):
    push.send(b"%d" % number)
try:
    push.send_nowait(b"one too many")
except WouldBlock as error:
    print("would block:", error.reason)
print("queued:", push.stats().queued)

# A peer that reads nothing takes what the kernel's buffers hold; then the queue fills, and send() waits.
with Pull(bind="ipc://@nnqpy-example-backpressure", recv_hwm=1) as pull:
    push.connect("ipc://@nnqpy-example-backpressure", wait=True, timeout=30)
    try:
        while True:
            push.send(bytes(100_000), timeout=0.1)
    except TimedOut as error:
        print("timed out:", error.reason)
    stats = push.stats()
    print("every message is accounted for:", stats.accepted == stats.delivered + stats.queued)

    # The receiver takes some: there is room again.
    for _ in range(20):
        pull.recv(timeout=30)
    push.send(b"room again", timeout=30)
    print("sent")
push.close(linger=0)

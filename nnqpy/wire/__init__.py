"""wire/: bytes <-> messages. Pure: no sockets, no loop, no clock; it knows nothing of who gets a message."""

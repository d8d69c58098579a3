"""What the sockets of one pattern have beyond all sockets, less the waiting: options, checks, small calls."""

"""How a thread waits for messages: the blocking face's classes."""

"""The peers' drivers: each runs the real thing in a process of its own."""

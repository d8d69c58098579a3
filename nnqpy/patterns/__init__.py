"""The Scalability Protocols: each is a number, its mixins, and its own rule."""

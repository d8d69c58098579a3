"""The library's tests: the tree mirrors nnqpy/."""

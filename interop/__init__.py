"""nnqpy against the peers it must get on with: nng by way of pynng and nngcat, nanomsg by way of nanocat."""

/* The frames of SP over a byte stream: what may be believed of a header. See stream.py, the reference.

   Nothing of Python is in here, so that a fuzzer drives it alone. What is compared are always sizes that are known to be
   there: no sum of two numbers of which one came from a peer, so none that could wrap. */

#ifndef NNQPY_FRAMES_H
#define NNQPY_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define NNQ_LENGTH_MAX ((UINT64_C(1) << 60) - 1) /* nng refuses the top 4 bits as well (tcp.c) */
#define NNQ_UNTYPED (-1)

enum nnq_verdict {
    NNQ_WHOLE,   /* the frame is here */
    NNQ_PART,    /* its header is here and good; of its body some is missing */
    NNQ_BEGUN,   /* of its header some is missing, and what is here is good */
    NNQ_REFUSED, /* it cannot be accepted */
};

/* Bytes in front of each body; `kind` is the type byte, or NNQ_UNTYPED. */
static inline size_t nnq_header_size(int kind) { return kind == NNQ_UNTYPED ? 8 : 9; }

static inline uint64_t nnq_load(const uint8_t *at) {
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) number = number << 8 | at[i];
    return number;
}

static inline void nnq_store(uint8_t *at, uint64_t number) {
    for (int i = 7; i >= 0; i--, number >>= 8) at[i] = (uint8_t)number;
}

/* Look at the frame that begins at `start`, which is at most `size`. A body may have `roof` bytes.
   `length` is set if the header is here, also if it is refused for its length. */
static inline enum nnq_verdict nnq_look(const uint8_t *data, size_t size, size_t start, int kind, uint64_t roof,
                                        uint64_t *length) {
    size_t left = size - start, header = nnq_header_size(kind);
    if (left && kind != NNQ_UNTYPED && data[start] != (uint8_t)kind) return NNQ_REFUSED;
    if (left < header) return NNQ_BEGUN;
    *length = nnq_load(data + start + header - 8);
    if (*length > NNQ_LENGTH_MAX || *length > roof) return NNQ_REFUSED;
    return *length <= left - header ? NNQ_WHOLE : NNQ_PART;
}

/* Write a header; returns where the body goes. */
static inline uint8_t *nnq_put_header(uint8_t *at, int kind, uint64_t length) {
    if (kind != NNQ_UNTYPED) *at++ = (uint8_t)kind;
    nnq_store(at, length);
    return at + 8;
}

#endif

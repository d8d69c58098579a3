/* A fuzzer of the compiled half: libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer around the interpreter, with
   the module's source in here, so that it is what they see. .ci/fuzz builds and runs it.

   The first bytes of an input choose what is called and with which numbers, the rest is what came from the network. What
   comes back is compared with the plainest way to find the same, which is in this file and shares nothing with the module. */

/* So small that an input of 1 KiB reaches them. */
#define BODY_READ 64
#define CRUMB 16
#define LOAD 256
#define AHEAD 9
#include "../../nnqpy/wire/_accel.c"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Anything that does not hold ends the run, and libFuzzer keeps the input. */
#define MUST(holds)                                                                        \
    do {                                                                                   \
        if (!(holds)) {                                                                    \
            fprintf(stderr, "%s:%d: this does not hold: %s\n", __FILE__, __LINE__, #holds); \
            if (PyErr_Occurred()) PyErr_Print();                                           \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

static PyObject *accel;

/* --- the input ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *at;
    size_t left;
} Input;

static unsigned byte(Input *input) {
    if (!input->left) return 0;
    input->left--;
    return *input->at++;
}

static uint64_t number(Input *input) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | byte(input);
    return value;
}

static PyObject *taken(Input *input, size_t size) {
    if (size > input->left) size = input->left;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)input->at, (Py_ssize_t)size);
    MUST(bytes != NULL);
    input->at += size;
    input->left -= size;
    return bytes;
}

/* All that is left, cut into pieces; the length of each stands in front of it. */
static PyObject *pieces(Input *input, size_t most) {
    PyObject *list = PyList_New(0);
    MUST(list != NULL);
    while (input->left && most--) {
        PyObject *piece = taken(input, byte(input));
        MUST(!PyList_Append(list, piece));
        Py_DECREF(piece);
    }
    return list;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

/* A result or an error, never both and never none. */
static PyObject *call(PyObject *one, const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyObject *tuple = Py_VaBuildValue(format, arguments);
    va_end(arguments);
    PyObject *method = PyObject_GetAttrString(one, name);
    MUST(tuple != NULL && method != NULL);
    PyObject *result = PyObject_CallObject(method, tuple);
    MUST((result == NULL) == (PyErr_Occurred() != NULL));
    Py_DECREF(method);
    Py_DECREF(tuple);
    return result;
}

/* The arguments of the error that is set, which is of this class; it is cleared. */
static PyObject *words_of(PyObject *class) {
    PyObject *type, *error, *trace;
    MUST(PyErr_ExceptionMatches(class));
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    PyObject *words = PyObject_GetAttrString(error, "args");
    MUST(words != NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return words;
}

/* A codec that refuses with a LookupError of the three things it tells; `kind` is as in _frames.h. */
static PyObject *codec_of(int kind) {
    char prefix = (char)kind;
    PyObject *codec = call(accel, "StreamCodec", "(y#O)", &prefix, (Py_ssize_t)(kind < 0 ? 0 : 1), PyExc_LookupError);
    MUST(codec != NULL);
    return codec;
}

static int kind_of(unsigned choice) { return choice % 3 == 0 ? -1 : choice % 3 == 1 ? 1 : (int)choice; }

/* --- split and peek: any bytes ------------------------------------------------------------------------------------ */

/* What a header says, a byte at a time: W)hole, P)art, B)egun or R)efused. */
static char plain_look(const uint8_t *data, size_t size, size_t start, int kind, uint64_t most, uint64_t *length) {
    size_t typed = kind < 0 ? 0 : 1;
    if (typed && start < size && data[start] != kind) return 'R';
    if (size - start < typed + 8) return 'B';
    *length = 0;
    for (size_t i = start + typed; i < start + typed + 8; i++) *length = *length * 256 + data[i];
    if (*length >> 60 || *length > most) return 'R';
    return *length > size - start - typed - 8 ? 'P' : 'W';
}

/* An error of `split` or `peek` shows the header that they stumbled over. */
static void must_refuse(const uint8_t *data, size_t size, size_t start, int kind, PyObject *most) {
    size_t shown = size - start < (kind < 0 ? 8 : 9) ? size - start : kind < 0 ? 8 : 9;
    PyObject *found = words_of(PyExc_LookupError);
    PyObject *said = kind < 0 ? Py_BuildValue("(y#OO)", data + start, (Py_ssize_t)shown, most, Py_None)
                              : Py_BuildValue("(y#Oi)", data + start, (Py_ssize_t)shown, most, kind);
    MUST(said != NULL && PyObject_RichCompareBool(found, said, Py_EQ) == 1);
    Py_DECREF(found);
    Py_DECREF(said);
}

static void look_at_bytes(Input *input) {
    int kind = kind_of(byte(input)), any = byte(input) % 2;
    size_t start = byte(input);
    Py_ssize_t limit = (Py_ssize_t)byte(input) - 1;
    int64_t max_size = (int64_t)number(input) >> byte(input) % 64;
    PyObject *codec = codec_of(kind), *data = taken(input, input->left), *out = PyList_New(0);
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data);
    size_t size = (size_t)PyBytes_GET_SIZE(data);
    if (any) max_size = -1;
    if (limit > 200) limit = PY_SSIZE_T_MAX;
    PyObject *most = PyLong_FromLongLong(max_size);
    MUST(out != NULL && most != NULL);

    PyObject *place = call(codec, "split", "(OnOnO)", data, (Py_ssize_t)start, out, limit, most);
    PyObject *length = NULL;
    if (start > size) {
        MUST(place == NULL && !PyList_GET_SIZE(out));
        Py_DECREF(words_of(PyExc_ValueError));
    } else {
        uint64_t roof = max_size < 0 ? UINT64_MAX : (uint64_t)max_size, found = 0;
        size_t at = start;
        Py_ssize_t number = 0;
        char verdict = 'B';
        while (number < limit && (verdict = plain_look(bytes, size, at, kind, roof, &found)) == 'W') {
            MUST(number < PyList_GET_SIZE(out));
            PyObject *body = PyList_GET_ITEM(out, number++);
            at += kind < 0 ? 8 : 9;
            MUST((uint64_t)PyBytes_GET_SIZE(body) == found && !memcmp(PyBytes_AS_STRING(body), bytes + at, found));
            at += found;
        }
        MUST(number == PyList_GET_SIZE(out));
        if (number < limit && verdict == 'R')
            must_refuse(bytes, size, at, kind, most);
        else
            MUST(place != NULL && PyLong_AsSize_t(place) == at);

        verdict = plain_look(bytes, size, start, kind, roof, &found);
        length = call(codec, "peek", "(OnO)", data, (Py_ssize_t)start, most);
        if (verdict == 'R')
            must_refuse(bytes, size, start, kind, most);
        else if (verdict == 'B')
            MUST(length == Py_None);
        else
            MUST(length != NULL && PyLong_AsUnsignedLongLong(length) == found);
    }
    Py_XDECREF(length);
    Py_XDECREF(place);
    Py_DECREF(most);
    Py_DECREF(out);
    Py_DECREF(data);
    Py_DECREF(codec);
}

/* --- join, gather, written: any bodies ---------------------------------------------------------------------------- */

static PyObject *plain_join(PyObject *bodies, int kind) {
    PyObject *parts = PyList_New(0), *none = PyBytes_FromString(""), *joined = NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(bodies); i++) {
        PyObject *body = PyList_GET_ITEM(bodies, i);
        char header[9] = {(char)kind};
        for (int j = 0; j < 8; j++) header[j + 1] = (char)((uint64_t)PyBytes_GET_SIZE(body) >> (56 - 8 * j));
        PyObject *one = PyBytes_FromStringAndSize(header + (kind < 0), 9 - (kind < 0));
        MUST(!PyList_Append(parts, one) && !PyList_Append(parts, body));
        Py_DECREF(one);
    }
    joined = PyObject_CallMethod(none, "join", "O", parts);
    MUST(joined != NULL);
    Py_DECREF(none);
    Py_DECREF(parts);
    return joined;
}

static void frame_bodies(Input *input) {
    int kind = kind_of(byte(input)), as_tuple = byte(input) % 2;
    size_t cut = byte(input) << 8 | byte(input), total = 0, rest, whole = 0;
    PyObject *bodies = pieces(input, 300), *codec = codec_of(kind), *out = PyList_New(0), *none = PyBytes_FromString("");
    PyObject *given = as_tuple ? PyList_AsTuple(bodies) : Py_NewRef(bodies);
    Py_ssize_t bodies_number = PyList_GET_SIZE(bodies);

    PyObject *joined = call(codec, "join", "(O)", given), *wanted_bytes = plain_join(bodies, kind);
    MUST(joined != NULL && PyObject_RichCompareBool(joined, wanted_bytes, Py_EQ) == 1);
    PyObject *gathered = call(codec, "gather", "(O)", given);
    MUST(gathered != NULL && PyList_GET_SIZE(gathered) == 2 * bodies_number);
    PyObject *together = call(none, "join", "(O)", gathered);
    MUST(together != NULL && PyObject_RichCompareBool(together, joined, Py_EQ) == 1);

    for (Py_ssize_t i = 0; i < bodies_number; i++) total += (size_t)PyBytes_GET_SIZE(PyList_GET_ITEM(bodies, i));
    PyObject *counted = call(accel, "total_size", "(O)", given);
    MUST(counted != NULL && PyLong_AsSize_t(counted) == total);

    /* As much as has come so far, and the rest. */
    size_t size = (size_t)PyBytes_GET_SIZE(joined), gone = cut % (size + 2);
    PyObject *begun = PyBytes_FromStringAndSize(PyBytes_AS_STRING(joined), (Py_ssize_t)(gone < size ? gone : size));
    PyObject *first = call(codec, "split", "(OnOnn)", begun, (Py_ssize_t)0, out, bodies_number, (Py_ssize_t)-1);
    MUST(first != NULL);
    PyObject *last = call(codec, "split", "(OOOnn)", joined, first, out, bodies_number, (Py_ssize_t)-1);
    MUST(last != NULL && PyLong_AsSize_t(last) == size && PyObject_RichCompareBool(out, bodies, Py_EQ) == 1);

    PyObject *reached = call(codec, "written", "(On)", given, (Py_ssize_t)gone);
    if (gone > size) {
        MUST(reached == NULL);
        Py_DECREF(words_of(PyExc_ValueError));
    } else {
        for (rest = gone; whole < (size_t)bodies_number; whole++) {
            size_t frame = (kind < 0 ? 8 : 9) + (size_t)PyBytes_GET_SIZE(PyList_GET_ITEM(bodies, (Py_ssize_t)whole));
            if (frame > rest) break;
            rest -= frame;
        }
        PyObject *said = Py_BuildValue("(nn)", (Py_ssize_t)whole, (Py_ssize_t)rest);
        MUST(reached != NULL && PyObject_RichCompareBool(reached, said, Py_EQ) == 1);
        Py_DECREF(said);
    }
    PyObject *all[] = {bodies, codec, out,   none, given, joined, wanted_bytes, gathered, together, counted,
                       begun,  first, last, reached};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) Py_XDECREF(all[i]);
}

static void make_header(Input *input) {
    int kind = kind_of(byte(input));
    uint64_t length = number(input);
    PyObject *codec = codec_of(kind), *header = call(codec, "header", "(K)", (unsigned long long)length);
    MUST(header != NULL && PyBytes_GET_SIZE(header) == (kind < 0 ? 8 : 9));
    uint64_t read = 0;
    char verdict = plain_look((uint8_t *)PyBytes_AS_STRING(header), (size_t)PyBytes_GET_SIZE(header), 0, kind,
                              UINT64_MAX, &read);
    MUST(read == length && (verdict == 'R') == (length >> 60 != 0));
    Py_DECREF(header);
    Py_DECREF(codec);
}

/* --- Prefixes ----------------------------------------------------------------------------------------------------- */

static int starts(PyObject *body, PyObject *prefix) {
    return PyBytes_GET_SIZE(prefix) <= PyBytes_GET_SIZE(body) &&
           !memcmp(PyBytes_AS_STRING(body), PyBytes_AS_STRING(prefix), (size_t)PyBytes_GET_SIZE(prefix));
}

static void match_prefixes(Input *input) {
    size_t most = byte(input);
    int in_disorder = byte(input) % 8 == 0;
    PyObject *prefixes = pieces(input, most), *bodies = pieces(input, 300);
    if (!in_disorder) { /* what Prefixes are: in order, and none covers another */
        PyObject *deciding = PyList_New(0);
        MUST(deciding != NULL && !PyList_Sort(prefixes));
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(prefixes); i++) {
            PyObject *one = PyList_GET_ITEM(prefixes, i);
            Py_ssize_t last = PyList_GET_SIZE(deciding) - 1;
            if (last < 0 || !starts(one, PyList_GET_ITEM(deciding, last))) MUST(!PyList_Append(deciding, one));
        }
        Py_SETREF(prefixes, deciding);
    }
    PyObject *self = call(accel, "Prefixes", "(O)", prefixes);
    MUST(self != NULL);
    PyObject *found = call(self, "select", "(O)", bodies);
    MUST(found != NULL);
    if (!in_disorder) {
        Py_ssize_t place = 0;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(bodies); i++) {
            PyObject *body = PyList_GET_ITEM(bodies, i);
            int fits = 0;
            for (Py_ssize_t j = 0; j < PyList_GET_SIZE(prefixes); j++)
                fits |= starts(body, PyList_GET_ITEM(prefixes, j));
            if (fits) MUST(place < PyList_GET_SIZE(found) && PyList_GET_ITEM(found, place++) == body);
        }
        MUST(place == PyList_GET_SIZE(found));
    }
    Py_DECREF(found);
    Py_DECREF(self);
    Py_DECREF(bodies);
    Py_DECREF(prefixes);
}

/* --- any call with anything --------------------------------------------------------------------------------------- */

/* What never changes is made once, what does for each input. */
static const char odd_things[] =
    "from collections import deque\n"
    "from time import monotonic\n"
    "class Bytes(bytes): pass\n"
    "class List(list): pass\n"
    "class Number(int): pass\n"
    "class Index:\n"
    "    def __index__(self): return 1\n"
    "ever = (None, 0, 1, 3, -1, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64, -1 << 70, 1 << 200, True, 1.5, float('nan'), '', 'a',\n"
    "    b'', b'a', b'\\1' + bytes(8), bytes(8), bytes(30), b'\\xff' * 9, b'\\0' * 7 + b'\\2ab\\0', memoryview(b'ab'), (),\n"
    "    (b'x', b''), (b'x', None), ValueError, ValueError(), len, monotonic, object, range(3), Bytes(b'sub'), Number(2), Index())\n"
    "def things():\n"
    "    return (*ever, bytearray(9), [], [b''], [b'a', b'bc'], [b'a', 'b'], [1], [[]], [b'a'] * 40, {}, {b'a'}, List([b'sub']),\n"
    "        deque(), deque([b'a', b'b']), iter([b'a']))\n";

static const char *const odd_calls[] = {
    "header",     "join",     "gather",   "written",     "split",    "peek",  "header_size", "select", "move",
    "total_size", "__next__", "__call__", "StreamCodec", "Prefixes", "Taker", "Pulse",       "Quick",  "__get__",
};

static PyObject *things_maker(void) {
    static PyObject *maker;
    if (maker == NULL) {
        PyObject *names = PyDict_New();
        MUST(names != NULL && !PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()));
        MUST(PyRun_String(odd_things, Py_file_input, names, names) != NULL);
        maker = PyDict_GetItemString(names, "things");
    }
    return maker;
}

/* Whoever calls gets a result or an error, and nobody a crash; what is made can be called in turn. */
static void call_oddly(Input *input) {
    PyObject *made = PyList_New(0), *things = PyObject_CallNoArgs(things_maker());
    MUST(things != NULL);
    MUST(made != NULL && !PyList_Append(made, accel));
    PyObject *codec = codec_of(kind_of(byte(input)));
    MUST(!PyList_Append(made, codec));
    Py_DECREF(codec);
    for (int calls = 0; input->left && calls < 20; calls++) {
        PyObject *one = PyList_GET_ITEM(made, (Py_ssize_t)byte(input) % PyList_GET_SIZE(made));
        const char *name = odd_calls[byte(input) % (sizeof odd_calls / sizeof *odd_calls)];
        PyObject *arguments = PyTuple_New(byte(input) % 7);
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arguments); i++) {
            unsigned choice = byte(input);
            PyObject *thing = choice < 200 ? PyTuple_GET_ITEM(things, (Py_ssize_t)choice % PyTuple_GET_SIZE(things))
                                           : PyList_GET_ITEM(made, (Py_ssize_t)choice % PyList_GET_SIZE(made));
            PyTuple_SET_ITEM(arguments, i, Py_NewRef(thing));
        }
        PyObject *method = PyObject_GetAttrString(one, name);
        PyObject *result = method == NULL ? NULL : PyObject_CallObject(method, arguments);
        MUST((result == NULL) == (PyErr_Occurred() != NULL));
        MUST(result != NULL || !PyErr_ExceptionMatches(PyExc_SystemError));
        PyErr_Clear();
        if (result != NULL) MUST(!PyList_Append(made, result));
        Py_XDECREF(result);
        Py_XDECREF(method);
        Py_DECREF(arguments);
    }
    Py_DECREF(made);
    Py_DECREF(things);
}

/* --- haul: frames of one length, cut anywhere ---------------------------------------------------------------------- */

#define FRAME_MOST 1600
#define STREAM_MOST (16 * 1024)

/* A connection: what was and will be sent on it, and where haul has put what it took. A body that was on its way before is
   at the beginning, with its header, as if both had been sent and taken. */
typedef struct {
    int near, far;
    PyObject *header, *chunks, *whole, *arrived;
    uint64_t length;
    Py_ssize_t given; /* pieces that were in `chunks` */
    size_t size, sent, taken;
    uint8_t next, bytes[STREAM_MOST];
} Line;

/* Two kinds of descriptors and the one that is always at its end; for all inputs, so they are left empty. */
static int socket_ends[2], pipe_ends[2], end_of_all;

static void open_descriptors(void) {
    if (end_of_all) return;
    MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, socket_ends) && !pipe(pipe_ends));
    for (int i = 0; i < 2; i++)
        MUST(!fcntl(socket_ends[i], F_SETFL, O_NONBLOCK) && !fcntl(pipe_ends[i], F_SETFL, O_NONBLOCK));
    MUST((end_of_all = open("/dev/null", O_RDONLY)) > 0);
}

static size_t left_in(int fd) {
    int left = 0;
    MUST(!ioctl(fd, FIONREAD, &left));
    return (size_t)left;
}

static void put(Line *line, const void *data, uint64_t size) {
    if (size > STREAM_MOST - line->size) size = STREAM_MOST - line->size;
    memcpy(line->bytes + line->size, data, (size_t)size);
    line->size += (size_t)size;
}

static void put_header(Line *line) {
    put(line, PyBytes_AS_STRING(line->header), (uint64_t)PyBytes_GET_SIZE(line->header));
}

/* Bytes of which none is like those around it. */
static void put_any(Line *line, uint64_t size) {
    while (size-- && line->size < STREAM_MOST) line->bytes[line->size++] = line->next++;
}

static void must_hold(PyObject *one, const uint8_t *data, size_t size) {
    MUST(PyBytes_CheckExact(one) && (size_t)PyBytes_GET_SIZE(one) == size && !memcmp(PyBytes_AS_STRING(one), data, size));
}

/* What was taken is in the lists, all of it, once and in order; `ended`: behind it the end of the connection was met. */
static void must_be_in_place(Line *line, int ended) {
    size_t at = 0, header_size = (size_t)PyBytes_GET_SIZE(line->header), left;
    for (Py_ssize_t bodies = 0;; bodies++) {
        left = line->taken - at;
        if (left < header_size || memcmp(line->bytes + at, PyBytes_AS_STRING(line->header), header_size)) {
            MUST(bodies == PyList_GET_SIZE(line->whole) && !PyList_GET_SIZE(line->chunks));
            MUST(PyList_GET_SIZE(line->arrived) == (left || ended));
            if (left || ended) must_hold(PyList_GET_ITEM(line->arrived, 0), line->bytes + at, left);
            return;
        }
        at += header_size;
        left -= header_size;
        if (left < line->length) {
            MUST(bodies == PyList_GET_SIZE(line->whole));
            break;
        }
        MUST(bodies < PyList_GET_SIZE(line->whole));
        must_hold(PyList_GET_ITEM(line->whole, bodies), line->bytes + at, (size_t)line->length);
        at += (size_t)line->length;
    }
    Py_ssize_t number = PyList_GET_SIZE(line->chunks);
    MUST(number && number <= line->given + 1 + 2 * (Py_ssize_t)(left / CRUMB)); /* no list of single bytes */
    for (Py_ssize_t i = 0; i < number; i++) {
        PyObject *piece = PyList_GET_ITEM(line->chunks, i);
        size_t size = (size_t)PyBytes_GET_SIZE(piece);
        MUST(size <= line->taken - at);
        must_hold(piece, line->bytes + at, size);
        at += size;
    }
    MUST(at == line->taken && PyList_GET_SIZE(line->arrived) == ended);
    if (ended) must_hold(PyList_GET_ITEM(line->arrived, 0), line->bytes, 0);
}

static PyObject *haul_from(Line *line, int fd, Py_ssize_t most) {
    return call(accel, "haul", "(OiOOOOn)", Py_None, fd, line->header, line->chunks, line->whole, line->arrived, most);
}

static void send_some(Line *line, size_t size) {
    if (size > line->size - line->sent) size = line->size - line->sent;
    ssize_t gone = size ? write(line->far, line->bytes + line->sent, size) : 0;
    if (gone > 0) line->sent += (size_t)gone; /* what finds no room is sent later */
}

/* Call once; whether there may be more. */
static int take_some(Line *line, Py_ssize_t most) {
    size_t before = line->taken, here = left_in(line->near);
    int over = PyList_GET_SIZE(line->arrived) != 0;
    Py_ssize_t bodies = PyList_GET_SIZE(line->whole);
    PyObject *done = haul_from(line, line->near, most);
    size_t left = left_in(line->near), added;
    line->taken = line->sent - left;
    must_be_in_place(line, 0);
    if (done == NULL) {
        Py_DECREF(words_of(PyExc_BlockingIOError));
        MUST(!here && !over);
        return 0;
    }
    MUST(done == Py_None);
    Py_DECREF(done);
    added = (size_t)(PyList_GET_SIZE(line->whole) - bodies);
    MUST(added <= (size_t)most && (added < 2 || added * line->length <= LOAD));
    if (over) {
        MUST(line->taken == before);
        return 0;
    }
    MUST(line->taken > before);
    over = PyList_GET_SIZE(line->arrived) != 0;
    MUST(!left || over || added || line->length > BODY_READ); /* what it may take it takes at once */
    return !over;
}

/* The end of the connection, or an error of it. */
static void end_line(Line *line, int broken) {
    PyObject *done = haul_from(line, broken ? pipe_ends[1] : end_of_all, 1);
    if (broken) {
        MUST(done == NULL);
        Py_DECREF(words_of(PyExc_OSError));
    } else {
        MUST(done == Py_None);
        Py_DECREF(done);
        must_be_in_place(line, 1);
        MUST((done = haul_from(line, line->near, 1)) == Py_None); /* it stays told */
        Py_DECREF(done);
    }
    must_be_in_place(line, !broken);
}

/* One thing in the place of another: a result or an error. The descriptor stays, or it would read from anywhere. */
static void haul_oddly(Line *line, Input *input) {
    PyObject *things = PyObject_CallNoArgs(things_maker());
    MUST(things != NULL);
    PyObject *most = PyLong_FromLongLong((int64_t)number(input));
    unsigned place = byte(input) % 5, choice = byte(input);
    PyObject *odd[] = {line->header, line->chunks, line->whole, line->arrived, most};
    if (place < 4 || choice % 2) odd[place] = PyTuple_GET_ITEM(things, (Py_ssize_t)choice % PyTuple_GET_SIZE(things));
    PyObject *done = call(accel, "haul", "(OiOOOOO)", Py_None, line->near, odd[0], odd[1], odd[2], odd[3], odd[4]);
    MUST(done != NULL || !PyErr_ExceptionMatches(PyExc_SystemError));
    PyErr_Clear();
    Py_XDECREF(done);
    Py_DECREF(most);
    Py_DECREF(things);
}

static void haul_frames(Input *input) {
    static Line line;
    int kind = kind_of(byte(input)), by_socket = byte(input) % 2, more = 1;
    unsigned size = byte(input), last = byte(input) % 4, begun = byte(input) % 8;
    Input odd = {input->at, input->left < 10 ? input->left : 10};
    uint64_t have = 0;
    char header[9] = {(char)kind};
    if (last == 2) {
        input->at += odd.left;
        input->left -= odd.left;
    }
    open_descriptors();
    line.near = by_socket ? socket_ends[0] : pipe_ends[0];
    line.far = by_socket ? socket_ends[1] : pipe_ends[1];
    line.length = size < 200 ? 1 + size % 80 : size < 240 ? (size - 199) * 40 : 1 + number(input) % NNQ_LENGTH_MAX;
    line.given = 0;
    line.size = line.next = 0;
    for (int i = 0; i < 8; i++) header[i + 1] = (char)(line.length >> (56 - 8 * i));
    line.header = PyBytes_FromStringAndSize(header + (kind < 0), 9 - (kind < 0));
    line.chunks = PyList_New(0);
    line.whole = PyList_New(0);
    line.arrived = PyList_New(0);
    MUST(line.header != NULL && line.chunks != NULL && line.whole != NULL && line.arrived != NULL);

    /* The body that is on its way: not yet whole, or there is too much of it. */
    if (begun < 5 && begun) put_header(&line);
    for (; line.given < (begun < 5 ? begun : 0); line.given++) {
        size_t part = byte(input) % 24, start = line.size;
        if (have + part == line.length) part++;
        have += part;
        put_any(&line, part);
        PyObject *piece = PyBytes_FromStringAndSize((char *)line.bytes + start, (Py_ssize_t)part);
        MUST(piece != NULL && !PyList_Append(line.chunks, piece));
        Py_DECREF(piece);
    }
    line.sent = line.taken = line.size;
    if (have > line.length) {
        put_any(&line, 1);
        send_some(&line, 1);
        MUST(haul_from(&line, line.near, 1) == NULL && left_in(line.near) == 1);
        Py_DECREF(words_of(PyExc_ValueError));
        MUST(PyList_GET_SIZE(line.chunks) == line.given && !PyList_GET_SIZE(line.whole) && !PyList_GET_SIZE(line.arrived));
        more = 0;
    }

    /* Frames and others are put together; now and then a part of them is sent, and some of that taken. */
    while (more && input->left) {
        unsigned what = byte(input);
        if (what % 4 < 2) put_header(&line);
        if (what % 4 == 0) put_any(&line, line.length < FRAME_MOST ? line.length : FRAME_MOST);
        if (what % 4 == 2) put_any(&line, byte(input));
        if (what % 4 == 3) {
            PyObject *raw = taken(input, byte(input) % 16);
            put(&line, PyBytes_AS_STRING(raw), (uint64_t)PyBytes_GET_SIZE(raw));
            Py_DECREF(raw);
        }
        if (what / 4 % 2) {
            unsigned part = byte(input), most = byte(input);
            send_some(&line, part < 250 ? part : STREAM_MOST);
            for (unsigned calls = what / 8 % 4 + 1; calls-- && take_some(&line, most < 250 ? 1 + most % 12 : PY_SSIZE_T_MAX);) {}
            more = !PyList_GET_SIZE(line.arrived);
        }
    }
    while (more && (line.sent < line.size || left_in(line.near))) {
        send_some(&line, STREAM_MOST);
        more = take_some(&line, PY_SSIZE_T_MAX);
    }
    if (PyList_GET_SIZE(line.arrived))
        take_some(&line, 1); /* nothing: first it has to be taken out */
    else if (more && last < 2)
        end_line(&line, last == 1);
    else if (more && last == 2) {
        put_header(&line);
        send_some(&line, STREAM_MOST);
        haul_oddly(&line, &odd);
    }

    while (read(line.near, line.bytes, STREAM_MOST) > 0) {}
    MUST(!left_in(line.near));
    Py_DECREF(line.header);
    Py_DECREF(line.chunks);
    Py_DECREF(line.whole);
    Py_DECREF(line.arrived);
}

/* ------------------------------------------------------------------------------------------------------------------ */

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.allocator = PYMEM_ALLOCATOR_MALLOC; /* each object by itself, so that what lies beside it is not ours */
    MUST(!PyStatus_Exception(Py_PreInitialize(&before)));
    MUST(!PyImport_AppendInittab("_accel", PyInit__accel));
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 0;
    config.site_import = 0;
    MUST(!PyStatus_Exception(PyConfig_SetBytesString(&config, &config.program_name, NNQPY_PYTHON)));
    MUST(!PyStatus_Exception(Py_InitializeFromConfig(&config)));
    PyConfig_Clear(&config);
    accel = PyImport_ImportModule("_accel");
    MUST(accel != NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const what[])(Input *) = {look_at_bytes, frame_bodies, match_prefixes,
                                            make_header,   call_oddly,   haul_frames};
    Input input = {data, size};
    if (size) what[byte(&input) % (sizeof what / sizeof *what)](&input);
    MUST(!PyErr_Occurred());
    return 0;
}

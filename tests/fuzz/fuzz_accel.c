/* A fuzzer of the compiled half: libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer around the interpreter, with
   the module's source in here, so that it is what they see. .ci/fuzz builds and runs it.

   The first bytes of an input choose what is called and with which numbers, the rest is what came from the network. What
   comes back is compared with the plainest way to find the same, which is in this file and shares nothing with the module. */

#include "../../nnqpy/wire/_accel.c"

#include <stdio.h>
#include <stdlib.h>

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
    static void (*const what[])(Input *) = {look_at_bytes, frame_bodies, match_prefixes, make_header, call_oddly};
    Input input = {data, size};
    if (size) what[byte(&input) % (sizeof what / sizeof *what)](&input);
    MUST(!PyErr_Occurred());
    return 0;
}

/* The compiled half of nnqpy: what every message passes, a second time, in C. Built as nnqpy._accel.

   Everything here has a twin in Python that is the reference, has the same name and passes the same tests: `StreamCodec`
   (stream.py), `Prefixes` (routing/topics.py), `total_size`, `move` and `Taker` (accel.py), `Quick` (the method that it
   is put before, as `send`), with `Look` and `Gate` for what it reads and `Step` for what it gives where that is awaited;
   which of them runs is said in accel.py.
   `Ticker` and `Pulse` have none: what they do needs a thread that runs while another holds the interpreter lock.

   Bytes from the network are looked at in _frames.h alone. No function here runs code of Python between the first and the
   last thing it changes, so a signal finds it done or not begun (the law of routing/core.py); the exception is memory that
   runs out. Nothing is kept between calls but in objects that never change (a `Step` does, but is for one task, as a coroutine
   is), so there is nothing to lock but the lists that are passed in, which a build without the interpreter lock has to hold
   still. Such an object needs no tp_clear, as a tuple needs none: what it refers to was there before it, so each cycle passes
   something else, which has one. With one it could be met half gone: what is in the same garbage may still call it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "_frames.h"

#if defined(__unix__) || defined(__APPLE__)
#define NNQ_THREADS 1
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#endif

#ifdef Py_BEGIN_CRITICAL_SECTION
#define HOLD(list) Py_BEGIN_CRITICAL_SECTION(list)
#define LET_GO() Py_END_CRITICAL_SECTION()
#else
#define HOLD(list) {
#define LET_GO() }
#endif

typedef struct {
    PyTypeObject *gate, *look, *pulse, *step, *taker;
    PyTypeObject *deque;
    PyObject *append, *popleft;             /* of it */
    PyCFunction pop;                        /* what is behind `popleft`; NULL: it is not what it was */
    PyObject *press, *broken_off, *timeout; /* names */
} State;

static State *state_of(PyObject *module) { return (State *)PyModule_GetState(module); }

static int no_keywords(PyTypeObject *type, PyObject *kwargs) {
    if (kwargs == NULL || !PyDict_GET_SIZE(kwargs)) return 1;
    PyErr_Format(PyExc_TypeError, "%.200s takes no keyword arguments", type->tp_name);
    return 0;
}

/* --- lists of bytes ----------------------------------------------------------------------------------------------- */

static int is_list(PyObject *one) {
    if (PyList_Check(one)) return 1;
    PyErr_Format(PyExc_TypeError, "wanted a list, found a %.200s", Py_TYPE(one)->tp_name);
    return 0;
}

/* Bodies are read out of lists and tuples where they are. */
static int are_bodies(PyObject *bodies) {
    if (PyList_Check(bodies) || PyTuple_Check(bodies)) return 1;
    PyErr_Format(PyExc_TypeError, "bodies are in a list or a tuple, not in a %.200s", Py_TYPE(bodies)->tp_name);
    return 0;
}

#define NUMBER(bodies) PySequence_Fast_GET_SIZE(bodies)
#define BODY(bodies, i) PySequence_Fast_GET_ITEM(bodies, i)

/* The sum of the lengths, or -1 with an error. They are held. */
static Py_ssize_t sum_of(PyObject *bodies) {
    Py_ssize_t total = 0, number = NUMBER(bodies);
    for (Py_ssize_t i = 0; i < number; i++) {
        PyObject *body = BODY(bodies, i);
        if (!PyBytes_Check(body)) {
            PyErr_Format(PyExc_TypeError, "a body is bytes, not %.200s", Py_TYPE(body)->tp_name);
            return -1;
        }
        if (PyBytes_GET_SIZE(body) > PY_SSIZE_T_MAX - total) {
            PyErr_SetString(PyExc_OverflowError, "the bodies have more bytes than a size can say");
            return -1;
        }
        total += PyBytes_GET_SIZE(body);
    }
    return total;
}

PyDoc_STRVAR(total_size_doc, "total_size(bodies, /)\n--\n\nReturn the bytes of all bodies.");

static PyObject *total_size(PyObject *module, PyObject *bodies) {
    Py_ssize_t sum;
    if (!are_bodies(bodies)) return NULL;
    HOLD(bodies);
    sum = sum_of(bodies);
    LET_GO();
    return sum < 0 ? NULL : PyLong_FromSsize_t(sum);
}

PyDoc_STRVAR(move_doc, "move(queue, bodies, number, /)\n--\n\n"
                       "Move at most `number` items from the left end of a deque to the end of a list.");

static PyObject *move(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3 || !is_list(args[1])) {
        if (nargs != 3) PyErr_SetString(PyExc_TypeError, "move takes a deque, a list and a number");
        return NULL;
    }
    PyObject *queue = args[0], *popleft = state_of(module)->popleft;
    Py_ssize_t number = PyLong_AsSsize_t(args[2]), there;
    if (number == -1 && PyErr_Occurred()) return NULL;
    if ((there = PyObject_Size(queue)) < 0) return NULL;
    for (number = number < there ? number : there; number > 0; number--) {
        PyObject *one = PyObject_Vectorcall(popleft, &queue, 1, NULL);
        if (one == NULL) return NULL;
        int failed = PyList_Append(args[1], one);
        Py_DECREF(one);
        if (failed) return NULL;
    }
    Py_RETURN_NONE;
}

/* --- Taker -------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *queue, *popleft;
    PyCFunction pop; /* what a call of `popleft` would end in; NULL: it is to be called */
} Taker;

static PyObject *taker_next(Taker *self) {
    return self->pop != NULL ? self->pop(self->queue, NULL) : PyObject_Vectorcall(self->popleft, &self->queue, 1, NULL);
}

static PyObject *taker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *queue;
    State *state = PyType_GetModuleState(type);
    if (state == NULL || !no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O:Taker", &queue)) return NULL;
    Taker *self = (Taker *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->queue = Py_NewRef(queue);
    self->popleft = Py_NewRef(state->popleft);
    self->pop = PyObject_TypeCheck(queue, state->deque) ? state->pop : NULL;
    return (PyObject *)self;
}

static int taker_traverse(Taker *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->queue);
    Py_VISIT(self->popleft);
    return 0;
}

static void taker_dealloc(Taker *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->queue);
    Py_CLEAR(self->popleft);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(taker_doc, "Taker(queue, /)\n--\n\n"
                        "An iterator that takes from the left end of a deque; IndexError, as often as it is empty.\n\n"
                        "So does the operator ~, in fewer steps of the interpreter; behind neither does a signal handler run.");

static PyType_Slot taker_slots[] = {
    {Py_tp_doc, (void *)taker_doc},
    {Py_tp_new, taker_new},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, taker_next},
    {Py_nb_invert, taker_next},
    {Py_tp_traverse, taker_traverse},
    {Py_tp_dealloc, taker_dealloc},
    {0, NULL},
};

static PyType_Spec taker_spec = {
    .name = "nnqpy._accel.Taker",
    .basicsize = sizeof(Taker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = taker_slots,
};

/* --- Look, Gate and Quick: the way of a message into a queue ------------------------------------------------------- */

/* The base of a socket's core: what every sender compares. */
typedef struct {
    PyObject_HEAD
    Py_ssize_t look;
} Look;

static PyObject *look_get(Look *self, void *closure) { return PyLong_FromSsize_t(self->look); }

static int look_set(Look *self, PyObject *value, void *closure) {
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "look cannot be deleted");
        return -1;
    }
    Py_ssize_t look = PyNumber_AsSsize_t(value, NULL); /* what is beyond a size is the largest one */
    if (look == -1 && PyErr_Occurred()) return -1;
    self->look = look;
    return 0;
}

static PyGetSetDef look_values[] = {
    {"look", (getter)look_get, (setter)look_set,
     "A sender whose message makes the outbox longer than this looks what is to be done; -1: closed."},
    {NULL},
};

static void plain_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot look_slots[] = {
    {Py_tp_doc, "What a core has in C."},
    {Py_tp_getset, look_values},
    {Py_tp_dealloc, plain_dealloc},
    {0, NULL},
};

static PyType_Spec look_spec = {
    .name = "nnqpy._accel.Look",
    .basicsize = sizeof(Look),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = look_slots,
};

/* The base of a socket: where its messages go, and come from. */
typedef struct {
    PyObject_HEAD
    PyObject *queue; /* a deque; NULL: nothing goes this way */
    Look *core;
    Py_ssize_t small;
    PyObject *take; /* a taker; NULL: nothing comes this way */
} Gate;

static int gate_traverse(Gate *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->queue);
    Py_VISIT(self->core);
    Py_VISIT(self->take);
    return 0;
}

static int gate_clear(Gate *self) {
    Py_CLEAR(self->queue);
    Py_CLEAR(self->core);
    Py_CLEAR(self->take);
    return 0;
}

static void gate_dealloc(Gate *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    gate_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(open_doc, "_open_gate(queue, core, small, /)\n--\n\n"
                       "Let bodies of at most `small` bytes into a queue, as long as that is within the core's `look`.");

static PyObject *gate_open(Gate *self, PyTypeObject *defining, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *names) {
    State *state = PyType_GetModuleState(defining);
    if (state == NULL) return NULL;
    if (nargs != 3 || names != NULL || state->look == NULL || !PyObject_TypeCheck(args[1], state->look)) {
        PyErr_SetString(PyExc_TypeError, "_open_gate takes a deque, a core and a number");
        return NULL;
    }
    Py_ssize_t small = PyNumber_AsSsize_t(args[2], NULL);
    if (small == -1 && PyErr_Occurred()) return NULL;
    self->small = small;
    Py_XSETREF(self->core, (Look *)Py_NewRef(args[1]));
    Py_XSETREF(self->queue, Py_NewRef(args[0])); /* last: who finds a queue finds the others */
    Py_RETURN_NONE;
}

static PyMethodDef gate_methods[] = {
    {"_open_gate", (PyCFunction)(void (*)(void))gate_open, METH_METHOD | METH_FASTCALL | METH_KEYWORDS, open_doc},
    {NULL},
};

/* A member is found at once by every version of the interpreter; attributes of a class with a base in C are not from 3.13 on. */
static PyMemberDef gate_members[] = {
    {"_take", T_OBJECT_EX, offsetof(Gate, take), 0, "An iterator that takes messages that were received."},
    {NULL},
};

static PyType_Slot gate_slots[] = {
    {Py_tp_doc, "What a socket has in C."},
    {Py_tp_traverse, gate_traverse},
    {Py_tp_clear, gate_clear},
    {Py_tp_dealloc, gate_dealloc},
    {Py_tp_methods, gate_methods},
    {Py_tp_members, gate_members},
    {0, NULL},
};

static PyType_Spec gate_spec = {
    .name = "nnqpy._accel.Gate",
    .basicsize = sizeof(Gate),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = gate_slots,
};

/* A method that puts a body into the queue where that is all there is to do, and leaves everything else to the one in
   Python that it stands for. Of a coroutine function, it gives what does so when it is awaited, or takes a message. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *method, *dict, *module;
    State *state; /* of the module */
} Quick;

/* What takes a socket's messages, or NULL. */
static Taker *taker_of(State *state, Gate *gate) {
    return gate->take != NULL && Py_IS_TYPE(gate->take, state->taker) ? (Taker *)gate->take : NULL;
}

/* The socket to whose queue a call's one body may go, or NULL. */
static Gate *gate_for(State *state, PyObject *const *args, size_t nargsf) {
    if (state->gate == NULL || PyVectorcall_NARGS(nargsf) != 2 || !PyBytes_CheckExact(args[1]) ||
        !PyObject_TypeCheck(args[0], state->gate))
        return NULL;
    Gate *gate = (Gate *)args[0];
    return gate->queue != NULL && PyBytes_GET_SIZE(args[1]) <= gate->small ? gate : NULL;
}

/* Whether no argument is given by name but perhaps `timeout`, which is then told; NULL: it is not given. */
static int plain(State *state, PyObject *const *values, PyObject *names, PyObject **timeout) {
    Py_ssize_t keywords = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    *timeout = keywords ? values[0] : NULL;
    return !keywords || (keywords == 1 && PyTuple_GET_ITEM(names, 0) == state->timeout);
}

/* 1: the body is in the queue, and there is nothing else to be done. 0: it is in there, and something is. -1: an error. */
static int queue_up(State *state, Gate *gate, PyObject *body) {
    PyObject *queue = Py_NewRef(gate->queue), *pair[] = {queue, body};
    PyObject *done = PyObject_Vectorcall(state->append, pair, 2, NULL);
    Py_ssize_t there = done == NULL ? -1 : PyObject_Size(queue);
    Py_XDECREF(done);
    Py_DECREF(queue);
    if (there < 0) return -1;
    return gate->core != NULL && there <= gate->core->look;
}

/* After an error that is perhaps a signal handler's, and came before anybody has promised to write a message. */
static void broken_off(State *state, PyObject *socket) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *told = PyObject_CallMethodOneArg(socket, state->broken_off, value);
    if (told == NULL) PyErr_Clear(); /* a second one: the first goes on */
    Py_XDECREF(told);
    PyErr_Restore(type, value, trace);
}

/* The message is in the queue, and longer than `look` that is now. */
static PyObject *press(State *state, PyObject *socket, PyObject *body, PyObject *timeout) {
    PyObject *args[] = {socket, body, timeout};
    PyObject *done = PyObject_VectorcallMethod(state->press, args, 3, NULL);
    if (done == NULL) broken_off(state, socket);
    return done;
}

static PyObject *quick_call(Quick *self, PyObject *const *args, size_t nargsf, PyObject *names) {
    State *state = self->state;
    PyObject *timeout;
    Gate *gate = gate_for(state, args, nargsf);
    if (gate == NULL || !plain(state, args + 2, names, &timeout)) return PyObject_Vectorcall(self->method, args, nargsf, names);
    int done = queue_up(state, gate, args[1]);
    if (done < 0) return NULL;
    if (done) Py_RETURN_NONE;
    return press(state, args[0], args[1], timeout == NULL ? Py_None : timeout);
}

static PyObject *send_soon(Quick *, PyObject *const *, size_t, PyObject *);
static PyObject *take_soon(Quick *, PyObject *const *, size_t, PyObject *);

static PyObject *quick_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *method, *module = PyType_GetModule(type);
    const char *way = "";
    if (module == NULL || !no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O|s:Quick", &method, &way)) return NULL;
    vectorcallfunc call = (vectorcallfunc)quick_call;
    if (!strcmp(way, "send"))
        call = (vectorcallfunc)send_soon;
    else if (!strcmp(way, "recv"))
        call = (vectorcallfunc)take_soon;
    else if (*way)
        return PyErr_Format(PyExc_ValueError, "a coroutine function is to \"send\" or to \"recv\", not to %R",
                            PyTuple_GET_ITEM(args, 1));
    Quick *self = (Quick *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = call;
    self->method = Py_NewRef(method);
    self->module = Py_NewRef(module);
    self->state = state_of(module);
    return (PyObject *)self;
}

static PyObject *quick_of(PyObject *self, PyObject *socket, PyObject *type) {
    return socket == NULL ? Py_NewRef(self) : PyMethod_New(self, socket);
}

static int quick_traverse(Quick *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->method);
    Py_VISIT(self->dict);
    Py_VISIT(self->module);
    return 0;
}

/* Only what can be changed: see at the top. */
static int quick_clear(Quick *self) {
    Py_CLEAR(self->dict);
    return 0;
}

static void quick_dealloc(Quick *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    quick_clear(self);
    Py_CLEAR(self->method);
    Py_CLEAR(self->module);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef quick_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Quick, call), READONLY},
    {"__dictoffset__", T_PYSSIZET, offsetof(Quick, dict), READONLY},
    {NULL},
};

static PyGetSetDef quick_values[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict},
    {NULL},
};

static PyType_Slot quick_slots[] = {
    {Py_tp_doc, "Quick(method, way=\"\", /)\n--\n\n"
                "The quick way of a `send` whose body goes into a queue, and nothing more.\n\n"
                "Args:\n"
                "    method: what does everything else.\n"
                "    way: \"send\" or \"recv\" for a coroutine function, which is quick as it is awaited."},
    {Py_tp_new, quick_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, quick_of},
    {Py_tp_traverse, quick_traverse},
    {Py_tp_clear, quick_clear},
    {Py_tp_dealloc, quick_dealloc},
    {Py_tp_members, quick_members},
    {Py_tp_getset, quick_values},
    {0, NULL},
};

static PyType_Spec quick_spec = {
    .name = "nnqpy._accel.Quick",
    .basicsize = sizeof(Quick),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = quick_slots,
};

/* --- Step: a coroutine that has nothing to wait for ---------------------------------------------------------------- */

/* What a quick coroutine function gives. Awaited, it queues its body or takes a message, and where that is all, it is over
   before anybody could wait; else it goes on as a coroutine of Python, as it does for whoever asks more of it than to be
   awaited. Between the message in its hands and those of the coroutine that awaits it there is no place for a signal handler,
   as there would be behind a call. */
typedef struct {
    PyObject_HEAD
    Quick *quick;
    Gate *gate;
    PyObject *body;    /* NULL: it is to take one */
    PyObject *timeout; /* NULL: none was said */
    PyObject *rest;    /* the coroutine that goes on */
    enum { NEW, HANDED_ON, OVER } state;
} Step;

/* Whether to make one: else the coroutine is to tell where it was made (`sys.set_coroutine_origin_tracking_depth`). */
static int steps(State *state) {
    return state->step != NULL && !PyThreadState_Get()->coroutine_origin_tracking_depth;
}

static PyObject *new_step(Quick *quick, Gate *gate, PyObject *body, PyObject *timeout) {
    PyTypeObject *type = quick->state->step;
    Step *self = PyObject_GC_New(Step, type);
    if (self == NULL) return NULL;
    self->quick = (Quick *)Py_NewRef((PyObject *)quick);
    self->gate = (Gate *)Py_NewRef((PyObject *)gate);
    self->body = Py_XNewRef(body);
    self->timeout = Py_XNewRef(timeout);
    self->rest = NULL;
    self->state = NEW;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *send_soon(Quick *quick, PyObject *const *args, size_t nargsf, PyObject *names) {
    PyObject *timeout;
    Gate *gate = gate_for(quick->state, args, nargsf);
    if (gate == NULL || !plain(quick->state, args + 2, names, &timeout) || !steps(quick->state))
        return PyObject_Vectorcall(quick->method, args, nargsf, names);
    return new_step(quick, gate, args[1], timeout);
}

static PyObject *take_soon(Quick *quick, PyObject *const *args, size_t nargsf, PyObject *names) {
    State *state = quick->state;
    PyObject *timeout;
    if (PyVectorcall_NARGS(nargsf) == 1 && plain(state, args + 1, names, &timeout) && state->gate != NULL && steps(state) &&
        PyObject_TypeCheck(args[0], state->gate)) {
        Gate *gate = (Gate *)args[0];
        Taker *take = taker_of(state, gate);
        Py_ssize_t there = take == NULL ? 0 : PyObject_Size(take->queue);
        if (there < 0) return NULL;
        if (there) return new_step(quick, gate, NULL, timeout);
    }
    return PyObject_Vectorcall(quick->method, args, nargsf, names);
}

/* The coroutine of Python that does all of it. */
static PyObject *in_python(Step *self) {
    PyObject *args[3], *names = NULL;
    Py_ssize_t number = 0;
    args[number++] = (PyObject *)self->gate;
    if (self->body != NULL) args[number++] = self->body;
    args[number] = self->timeout;
    if (self->timeout != NULL && (names = PyTuple_Pack(1, self->quick->state->timeout)) == NULL) return NULL;
    PyObject *whole = PyObject_Vectorcall(self->quick->method, args, number, names);
    Py_XDECREF(names);
    return whole;
}

/* Its state before; who finds it new has it. */
static int claim(Step *self) {
    int before;
    HOLD(self);
    before = self->state;
    if (before == NEW) self->state = OVER;
    LET_GO();
    return before;
}

/* Let a coroutine go on, or nothing after an error; whether there is one. */
static int hand_on(Step *self, PyObject *rest) {
    if (rest == NULL) return 0;
    self->rest = rest;
    self->state = HANDED_ON;
    return 1;
}

/* Once it is claimed: 1: it is over, and has a result. 0: `rest` goes on. -1: an error. */
static int begin_step(Step *self, PyObject **result) {
    State *state = self->quick->state;
    if (self->body != NULL && self->gate->queue != NULL) {
        int done = queue_up(state, self->gate, self->body);
        if (done) {
            *result = done < 0 ? NULL : Py_NewRef(Py_None);
            return done;
        }
        PyObject *args[] = {(PyObject *)self->gate, self->body, self->timeout == NULL ? Py_None : self->timeout};
        return hand_on(self, PyObject_VectorcallMethod(state->press, args, 3, NULL)) ? 0 : -1;
    }
    Taker *take = self->body == NULL ? (Taker *)Py_XNewRef((PyObject *)taker_of(state, self->gate)) : NULL;
    if (take != NULL) {
        *result = taker_next(take);
        Py_DECREF(take);
        if (*result != NULL) return 1;
        if (!PyErr_ExceptionMatches(PyExc_IndexError)) return -1;
        PyErr_Clear(); /* somebody else has taken it meanwhile */
    }
    return hand_on(self, in_python(self)) ? 0 : -1;
}

static PyObject *reused(void) {
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return NULL;
}

static PySendResult step_send(Step *self, PyObject *value, PyObject **result) {
    *result = NULL;
    if (self->state == NEW && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
    }
    switch (claim(self)) {
    case NEW: {
        int over = begin_step(self, result);
        if (over) return over > 0 ? PYGEN_RETURN : PYGEN_ERROR;
    } /* fall through */
    case HANDED_ON: {
        PySendResult how = PyIter_Send(self->rest, value, result);
        if (how == PYGEN_ERROR && self->body != NULL) broken_off(self->quick->state, (PyObject *)self->gate);
        return how;
    }
    default:
        reused();
        return PYGEN_ERROR;
    }
}

/* As a call of `send` gives it: what is returned at the end comes in an error. It is its value and no argument as well, which
   saves half of the time: from 3.12 on every `await` comes this way. */
static PyObject *step_say(PySendResult how, PyObject *result) {
    if (how != PYGEN_RETURN) return result;
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *none = PyTuple_New(0), *error = none == NULL ? NULL : type->tp_new(type, none, NULL);
    Py_XDECREF(none);
    if (error == NULL) {
        Py_DECREF(result);
        return NULL;
    }
    Py_XSETREF(((PyStopIterationObject *)error)->value, result);
    PyErr_Restore(Py_NewRef(PyExc_StopIteration), error, NULL);
    return NULL;
}

static PyObject *step_next(Step *self) {
    PyObject *result;
    PySendResult how = step_send(self, Py_None, &result);
    if (how == PYGEN_RETURN && result == Py_None) {
        Py_DECREF(result);
        return NULL; /* which says as much */
    }
    return step_say(how, result);
}

static PyObject *step_send_method(Step *self, PyObject *value) {
    PyObject *result;
    PySendResult how = step_send(self, value, &result);
    return step_say(how, result);
}

/* The coroutine of Python that stands for it from now on; NULL without an error: it is over. */
static PyObject *step_rest(Step *self) {
    switch (claim(self)) {
    case NEW:
        return hand_on(self, in_python(self)) ? self->rest : NULL;
    case HANDED_ON:
        return self->rest;
    default:
        return NULL;
    }
}

static PyObject *step_throw(Step *self, PyObject *args) {
    PyObject *rest = step_rest(self);
    if (rest == NULL) return PyErr_Occurred() ? NULL : reused();
    PyObject *throw = PyObject_GetAttrString(rest, "throw");
    PyObject *result = throw == NULL ? NULL : PyObject_Call(throw, args, NULL);
    Py_XDECREF(throw);
    if (result == NULL && self->body != NULL) broken_off(self->quick->state, (PyObject *)self->gate);
    return result;
}

static PyObject *step_close(Step *self, PyObject *unused) {
    if (claim(self) == HANDED_ON) return PyObject_CallMethod(self->rest, "close", NULL);
    Py_RETURN_NONE;
}

/* One that waits already is for one to await, as a coroutine of Python is. */
static PyObject *step_await(Step *self) {
    if (self->state == HANDED_ON) {
        PyObject *awaited = PyObject_GetAttrString(self->rest, "cr_await");
        if (awaited == NULL) return NULL;
        Py_DECREF(awaited);
        if (awaited != Py_None) {
            PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
            return NULL;
        }
    }
    return Py_NewRef(self);
}

/* Nobody has awaited it: the coroutine that it stands for says so as it goes. */
static void step_finalize(Step *self) {
    if (self->state != NEW) return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *whole = claim(self) == NEW ? in_python(self) : NULL;
    if (PyErr_Occurred()) PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(whole);
    PyErr_Restore(type, value, trace);
}

static int step_traverse(Step *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->quick);
    Py_VISIT(self->gate);
    Py_VISIT(self->body);
    Py_VISIT(self->timeout);
    Py_VISIT(self->rest);
    return 0;
}

/* Only what can be changed: see at the top. */
static int step_clear(Step *self) {
    self->state = OVER;
    Py_CLEAR(self->rest);
    return 0;
}

static void step_dealloc(Step *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->state == NEW && PyObject_CallFinalizerFromDealloc((PyObject *)self)) return;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->rest);
    Py_DECREF(self->quick);
    Py_DECREF(self->gate);
    Py_XDECREF(self->body);
    Py_XDECREF(self->timeout);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *step_named(Step *self, void *name) { return PyObject_GetAttrString(self->quick->method, name); }

/* What a debugger wants to know of a coroutine; of one that was over in C there is nothing to see. */
static PyObject *step_seen(Step *self, const char *name, PyObject *over) {
    PyObject *rest = step_rest(self);
    if (rest != NULL) return PyObject_GetAttrString(rest, name);
    return PyErr_Occurred() ? NULL : Py_NewRef(over);
}

static PyObject *step_shown(Step *self, void *name) { return step_seen(self, name, Py_None); }

static PyObject *step_is(Step *self, void *name) { return step_seen(self, name, Py_False); }

#if PY_VERSION_HEX >= 0x030F0000 /* what inspect.getcoroutinestate asks for; before 3.15 it asks for the others */
static PyObject *step_state(Step *self, void *name) {
    PyObject *closed = PyUnicode_FromString("CORO_CLOSED");
    PyObject *state = closed == NULL ? NULL : step_seen(self, name, closed);
    Py_XDECREF(closed);
    return state;
}
#endif

static PyGetSetDef step_values[] = {
    {"__name__", (getter)step_named, NULL, NULL, "__name__"},
    {"__qualname__", (getter)step_named, NULL, NULL, "__qualname__"},
    {"cr_await", (getter)step_shown, NULL, NULL, "cr_await"},
    {"cr_code", (getter)step_shown, NULL, NULL, "cr_code"},
    {"cr_frame", (getter)step_shown, NULL, NULL, "cr_frame"},
    {"cr_origin", (getter)step_shown, NULL, NULL, "cr_origin"},
    {"cr_running", (getter)step_is, NULL, NULL, "cr_running"},
#if PY_VERSION_HEX >= 0x030F0000
    {"cr_state", (getter)step_state, NULL, NULL, "cr_state"},
#endif
    {"cr_suspended", (getter)step_is, NULL, NULL, "cr_suspended"},
    {NULL},
};

static PyMethodDef step_methods[] = {
    {"send", (PyCFunction)step_send_method, METH_O, "send(value, /)\n--\n\nAs of a coroutine."},
    {"throw", (PyCFunction)step_throw, METH_VARARGS, "throw(error, /)\n--\n\nAs of a coroutine."},
    {"close", (PyCFunction)step_close, METH_NOARGS, "close()\n--\n\nAs of a coroutine."},
    {NULL},
};

static PyType_Slot step_slots[] = {
    {Py_tp_doc, "The coroutine of a quick coroutine function."},
    {Py_am_await, step_await},
    {Py_am_send, step_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, step_next},
    {Py_tp_finalize, step_finalize},
    {Py_tp_traverse, step_traverse},
    {Py_tp_clear, step_clear},
    {Py_tp_dealloc, step_dealloc},
    {Py_tp_getset, step_values},
    {Py_tp_methods, step_methods},
    {0, NULL},
};

static PyType_Spec step_spec = {
    .name = "nnqpy._accel.Step",
    .basicsize = sizeof(Step),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = step_slots,
};

/* --- StreamCodec -------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int kind; /* the type byte, or NNQ_UNTYPED */
    Py_ssize_t header_size;
    PyObject *refusal; /* what makes the error for a header: see stream.py */
} Codec;

static PyObject *codec_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *prefix, *refusal;
    if (!no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "SO:StreamCodec", &prefix, &refusal)) return NULL;
    if (PyBytes_GET_SIZE(prefix) > 1)
        return PyErr_Format(PyExc_ValueError, "a frame's prefix is one byte or none, not %R", prefix);
    Codec *self = (Codec *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->kind = PyBytes_GET_SIZE(prefix) ? (uint8_t)PyBytes_AS_STRING(prefix)[0] : NNQ_UNTYPED;
    self->header_size = (Py_ssize_t)nnq_header_size(self->kind);
    self->refusal = Py_NewRef(refusal);
    return (PyObject *)self;
}

static int codec_traverse(Codec *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->refusal);
    return 0;
}

static void codec_dealloc(Codec *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->refusal);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *codec_get_header_size(Codec *self, void *closure) { return PyLong_FromSsize_t(self->header_size); }

PyDoc_STRVAR(header_doc, "header(length, /)\n--\n\nThe bytes that go in front of a body of `length` bytes.");

static PyObject *codec_header(Codec *self, PyObject *number) {
    uint8_t bytes[9];
    unsigned long long length = PyLong_AsUnsignedLongLong(number);
    if (length == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    nnq_put_header(bytes, self->kind, length);
    return PyBytes_FromStringAndSize((const char *)bytes, self->header_size);
}

/* The bytes of the frames of all bodies, or -1 with an error. They are held. */
static Py_ssize_t framed(Codec *self, PyObject *bodies) {
    Py_ssize_t number = NUMBER(bodies), size = sum_of(bodies);
    if (size < 0) return -1;
    if (number > (PY_SSIZE_T_MAX - size) / self->header_size) {
        PyErr_SetString(PyExc_OverflowError, "the frames have more bytes than a size can say");
        return -1;
    }
    return size + number * self->header_size;
}

PyDoc_STRVAR(join_doc, "join(bodies, /)\n--\n\nAll frames in one buffer, in order; empty for no bodies.");

static PyObject *codec_join(Codec *self, PyObject *bodies) {
    PyObject *joined = NULL;
    if (!are_bodies(bodies)) return NULL;
    HOLD(bodies);
    Py_ssize_t size = framed(self, bodies);
    if (size >= 0) joined = PyBytes_FromStringAndSize(NULL, size);
    if (joined != NULL) {
        uint8_t *at = (uint8_t *)PyBytes_AS_STRING(joined);
        Py_ssize_t number = NUMBER(bodies);
        for (Py_ssize_t i = 0; i < number; i++) {
            PyObject *body = BODY(bodies, i);
            size_t length = (size_t)PyBytes_GET_SIZE(body);
            at = nnq_put_header(at, self->kind, length);
            memcpy(at, PyBytes_AS_STRING(body), length);
            at += length;
        }
    }
    LET_GO();
    return joined;
}

PyDoc_STRVAR(gather_doc, "gather(bodies, /)\n--\n\n"
                         "Header, body, header, body ...: the frames for `sendmsg`, without copying a body.");

static PyObject *codec_gather(Codec *self, PyObject *bodies) {
    PyObject *parts = NULL;
    if (!are_bodies(bodies)) return NULL;
    HOLD(bodies);
    Py_ssize_t number = NUMBER(bodies);
    /* First: a new list has garbage collected, up to Python 3.11, and so may run code of Python that changes the bodies. */
    parts = PyList_New(2 * number);
    if (parts != NULL && NUMBER(bodies) != number) {
        PyErr_SetString(PyExc_RuntimeError, "the list of bodies changed its length while it was looked at");
        Py_CLEAR(parts);
    }
    if (parts != NULL && framed(self, bodies) < 0) Py_CLEAR(parts);
    for (Py_ssize_t i = 0; parts != NULL && i < number; i++) {
        PyObject *body = BODY(bodies, i);
        uint8_t bytes[9];
        nnq_put_header(bytes, self->kind, (uint64_t)PyBytes_GET_SIZE(body));
        PyObject *header = PyBytes_FromStringAndSize((const char *)bytes, self->header_size);
        if (header == NULL) {
            Py_CLEAR(parts);
        } else {
            PyList_SET_ITEM(parts, 2 * i, header);
            PyList_SET_ITEM(parts, 2 * i + 1, Py_NewRef(body));
        }
    }
    LET_GO();
    return parts;
}

PyDoc_STRVAR(written_doc, "written(bodies, sent, /)\n--\n\nHow far `sent` bytes of the frames of `bodies` reach.");

static PyObject *codec_written(Codec *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2 || !are_bodies(args[0])) {
        if (nargs != 2) PyErr_SetString(PyExc_TypeError, "written takes a list and a number");
        return NULL;
    }
    PyObject *bodies = args[0];
    int beyond;
    long long sent = PyLong_AsLongLongAndOverflow(args[1], &beyond);
    if (sent == -1 && !beyond && PyErr_Occurred()) return NULL;
    Py_ssize_t size, whole = 0, rest = 0;
    HOLD(bodies);
    size = framed(self, bodies);
    if (size >= 0 && !beyond && sent >= 0 && sent <= size) {
        Py_ssize_t number = NUMBER(bodies);
        for (rest = (Py_ssize_t)sent; whole < number; whole++) {
            Py_ssize_t frame = self->header_size + PyBytes_GET_SIZE(BODY(bodies, whole));
            if (rest < frame) break;
            rest -= frame;
        }
    }
    LET_GO();
    if (size < 0) return NULL;
    if (beyond || sent < 0 || sent > size)
        return PyErr_Format(PyExc_ValueError, "%S bytes cannot have gone: the frames have %zd", args[1], size);
    return Py_BuildValue("nn", whole, rest);
}

/* The bytes and the place that `split` and `peek` have in common, and the largest body; 0 with an error. */
static int looked_at(PyObject *data, PyObject *start, PyObject *max_size, Py_ssize_t *place, uint64_t *roof) {
    if (!PyBytes_Check(data)) {
        PyErr_Format(PyExc_TypeError, "what came off a stream is bytes, not %.200s", Py_TYPE(data)->tp_name);
        return 0;
    }
    *place = PyLong_AsSsize_t(start);
    if (*place == -1 && PyErr_Occurred()) return 0;
    if (*place < 0 || *place > PyBytes_GET_SIZE(data)) {
        PyErr_Format(PyExc_ValueError, "no frame begins at %zd of %zd bytes", *place, PyBytes_GET_SIZE(data));
        return 0;
    }
    int beyond;
    long long most = PyLong_AsLongLongAndOverflow(max_size, &beyond);
    if (most == -1 && !beyond && PyErr_Occurred()) return 0;
    *roof = beyond || most < 0 ? NNQ_LENGTH_MAX : (uint64_t)most;
    return 1;
}

/* Raise what says why a header cannot be accepted. */
static void refuse(Codec *self, PyObject *data, Py_ssize_t start, PyObject *max_size) {
    Py_ssize_t end = PyBytes_GET_SIZE(data);
    if (end - start > self->header_size) end = start + self->header_size;
    PyObject *header = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, end - start);
    if (header == NULL) return;
    PyObject *kind = self->kind == NNQ_UNTYPED ? Py_NewRef(Py_None) : PyLong_FromLong(self->kind);
    if (kind == NULL) {
        Py_DECREF(header);
        return;
    }
    PyObject *args[] = {header, max_size, kind};
    PyObject *error = PyObject_Vectorcall(self->refusal, args, 3, NULL);
    Py_DECREF(header);
    Py_DECREF(kind);
    if (error == NULL) return;
    if (PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else
        PyErr_Format(PyExc_TypeError, "a refusal is an exception, not %R", error);
    Py_DECREF(error);
}

PyDoc_STRVAR(split_doc, "split(data, start, out, limit, max_size, /)\n--\n\n"
                        "Append every whole body of `data[start:]` to `out`, at most `limit`; where the next frame begins.");

static PyObject *codec_split(Codec *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 5) return PyErr_Format(PyExc_TypeError, "split takes 5 arguments, not %zd", nargs);
    PyObject *data = args[0], *out = args[2], *max_size = args[4];
    Py_ssize_t place, limit = PyLong_AsSsize_t(args[3]);
    uint64_t roof, length = 0;
    if ((limit == -1 && PyErr_Occurred()) || !is_list(out) || !looked_at(data, args[1], max_size, &place, &roof))
        return NULL;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data);
    size_t size = (size_t)PyBytes_GET_SIZE(data);
    for (; limit > 0; limit--) {
        enum nnq_verdict verdict = nnq_look(bytes, size, (size_t)place, self->kind, roof, &length);
        if (verdict == NNQ_REFUSED) {
            refuse(self, data, place, max_size);
            return NULL;
        }
        if (verdict != NNQ_WHOLE) break;
        place += self->header_size;
        PyObject *body = PyBytes_FromStringAndSize((const char *)bytes + place, (Py_ssize_t)length);
        if (body == NULL) return NULL;
        int failed = PyList_Append(out, body);
        Py_DECREF(body);
        if (failed) return NULL;
        place += (Py_ssize_t)length;
    }
    return PyLong_FromSsize_t(place);
}

PyDoc_STRVAR(peek_doc, "peek(data, start, max_size, /)\n--\n\n"
                       "Length of the body whose frame begins at `start`; None while its header is not complete.");

static PyObject *codec_peek(Codec *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3) return PyErr_Format(PyExc_TypeError, "peek takes 3 arguments, not %zd", nargs);
    Py_ssize_t place;
    uint64_t roof, length = 0;
    if (!looked_at(args[0], args[1], args[2], &place, &roof)) return NULL;
    switch (nnq_look((const uint8_t *)PyBytes_AS_STRING(args[0]), (size_t)PyBytes_GET_SIZE(args[0]), (size_t)place,
                     self->kind, roof, &length)) {
    case NNQ_REFUSED:
        refuse(self, args[0], place, args[2]);
        return NULL;
    case NNQ_BEGUN:
        Py_RETURN_NONE;
    default:
        return PyLong_FromUnsignedLongLong(length);
    }
}

static PyMethodDef codec_methods[] = {
    {"header", (PyCFunction)codec_header, METH_O, header_doc},
    {"join", (PyCFunction)codec_join, METH_O, join_doc},
    {"gather", (PyCFunction)codec_gather, METH_O, gather_doc},
    {"written", (PyCFunction)(void (*)(void))codec_written, METH_FASTCALL, written_doc},
    {"split", (PyCFunction)(void (*)(void))codec_split, METH_FASTCALL, split_doc},
    {"peek", (PyCFunction)(void (*)(void))codec_peek, METH_FASTCALL, peek_doc},
    {NULL},
};

static PyGetSetDef codec_values[] = {
    {"header_size", (getter)codec_get_header_size, NULL, "Bytes in front of each body."},
    {NULL},
};

PyDoc_STRVAR(codec_doc, "StreamCodec(prefix, refusal, /)\n--\n\n"
                        "Frames of a u64 length and a body, each behind an optional type byte.");

static PyType_Slot codec_slots[] = {
    {Py_tp_doc, (void *)codec_doc},
    {Py_tp_new, codec_new},
    {Py_tp_traverse, codec_traverse},
    {Py_tp_dealloc, codec_dealloc},
    {Py_tp_methods, codec_methods},
    {Py_tp_getset, codec_values},
    {0, NULL},
};

static PyType_Spec codec_spec = {
    .name = "nnqpy._accel.StreamCodec",
    .basicsize = sizeof(Codec),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = codec_slots,
};

#ifdef NNQ_THREADS

/* --- haul: large bodies --------------------------------------------------------------------------------------------- */

/* As in large.py. One call of the system reads the rest of a body, and behind it headers and bodies of the same length,
   each to where it stays: a `bytes` of its own. What a header says is not believed but compared with the one that is
   expected, so no number that a peer has sent is used for anything. */
#ifndef LOAD /* the fuzzer has smaller ones */
#define BODY_READ (1024 * 1024)
#define CRUMB (16 * 1024)
#define LOAD (256 * 1024)
#define AHEAD 9
#endif

typedef struct {
    PyObject *chunks, *whole, *arrived;
    Py_ssize_t length, header_size;
    const char *header;
    struct slot {
        char header[16];
        PyObject *body;
    } slots[AHEAD];
    PyObject *first; /* the rest of the body that is on its way, behind room for what is here of it, if that is worth it */
    Py_ssize_t have, front, asked; /* bytes that are here of it, that room is left for, and that may come now */
    int number; /* of slots */
} Haul;

/* The bytes in a list of `bytes`, or -1 with an error. */
static Py_ssize_t weight(PyObject *pieces) {
    Py_ssize_t sum;
    HOLD(pieces);
    sum = sum_of(pieces);
    LET_GO();
    return sum;
}

/* A list's last item if it is a small piece, else NULL; a new reference. */
static PyObject *last_crumb(PyObject *chunks) {
    PyObject *last = NULL;
    HOLD(chunks);
    Py_ssize_t number = PyList_GET_SIZE(chunks);
    if (number) last = PyList_GET_ITEM(chunks, number - 1);
    if (last != NULL && PyBytes_CheckExact(last) && PyBytes_GET_SIZE(last) < CRUMB)
        Py_INCREF(last);
    else
        last = NULL;
    LET_GO();
    return last;
}

/* Append what has come of a body; takes the reference. */
static int keep_piece(PyObject *chunks, PyObject *piece) {
    if (piece == NULL) return -1;
    PyObject *last = PyBytes_GET_SIZE(piece) < CRUMB ? last_crumb(chunks) : NULL;
    int failed;
    if (last == NULL) {
        failed = PyList_Append(chunks, piece);
        Py_DECREF(piece);
    } else {
        PyBytes_ConcatAndDel(&last, piece);
        failed = last == NULL || PyList_SetItem(chunks, PyList_GET_SIZE(chunks) - 1, last);
    }
    return failed ? -1 : 0;
}

static int empty_list(PyObject *list) { return PyList_SetSlice(list, 0, PyList_GET_SIZE(list), NULL); }

/* Make room for what may come, and say to the system where; returns how many places that are, 0 with an error. */
static int make_room(Haul *haul, struct iovec *places, Py_ssize_t number) {
    int n = 0;
    Py_ssize_t load = 0;
    haul->have = weight(haul->chunks);
    if (haul->have < 0) return 0;
    if (haul->have >= haul->length) { /* who reads with us has a whole one in `whole` */
        PyErr_SetString(PyExc_ValueError, "there is nothing missing of the body that is on its way");
        return 0;
    }
    if (PyList_GET_SIZE(haul->chunks)) {
        Py_ssize_t want = haul->length - haul->have, most = haul->have > BODY_READ ? haul->have : BODY_READ;
        int ends = want <= most;
        haul->asked = ends ? want : most;
        /* A body beyond a load comes in many pieces: each would be copied out from behind the room. */
        haul->front = ends && haul->length <= LOAD ? haul->have : 0;
        haul->first = PyBytes_FromStringAndSize(NULL, haul->front + haul->asked);
        if (haul->first == NULL) return 0;
        places[n++] = (struct iovec){PyBytes_AS_STRING(haul->first) + haul->front, (size_t)haul->asked};
        if (!ends) return n;
        load = haul->length;
        number--;
    }
    while (haul->number < AHEAD) {
        struct slot *slot = &haul->slots[haul->number++];
        places[n++] = (struct iovec){slot->header, (size_t)haul->header_size};
        /* One body at least, and of them only as much as their bound allows; the header behind the last one comes with it. */
        if (number-- <= 0 || (load && haul->length > LOAD - load) || haul->length > BODY_READ) break;
        load += haul->length;
        slot->body = PyBytes_FromStringAndSize(NULL, haul->length);
        if (slot->body == NULL) return 0;
        places[n++] = (struct iovec){PyBytes_AS_STRING(slot->body), (size_t)haul->length};
    }
    return n;
}

/* What has come from slot `at` on, as one. */
static PyObject *rest_from(Haul *haul, int at, Py_ssize_t got) {
    PyObject *rest = PyBytes_FromStringAndSize(NULL, got);
    if (rest == NULL) return NULL;
    for (char *to = PyBytes_AS_STRING(rest); got > 0; at++) {
        Py_ssize_t part = got < haul->header_size ? got : haul->header_size;
        memcpy(to, haul->slots[at].header, (size_t)part);
        to += part;
        got -= part;
        part = got < haul->length ? got : haul->length;
        if (!part) continue;
        memcpy(to, PyBytes_AS_STRING(haul->slots[at].body), (size_t)part);
        to += part;
        got -= part;
    }
    return rest;
}

/* The body that is on its way, of which `got` bytes more have come; nonzero with an error. */
static int take_first(Haul *haul, Py_ssize_t got) {
    if (haul->have + got < haul->length) {
        if (haul->front)
            return keep_piece(haul->chunks, PyBytes_FromStringAndSize(PyBytes_AS_STRING(haul->first) + haul->front, got));
        if (_PyBytes_Resize(&haul->first, got)) return -1;
        PyObject *piece = haul->first;
        haul->first = NULL;
        return keep_piece(haul->chunks, piece);
    }
    int whole = haul->front == haul->have;
    PyObject *body = whole ? Py_NewRef(haul->first) : PyBytes_FromStringAndSize(NULL, haul->length);
    if (body == NULL) return -1;
    char *to = PyBytes_AS_STRING(body);
    if (!whole) memcpy(to + haul->have, PyBytes_AS_STRING(haul->first), (size_t)got);
    Py_ssize_t here;
    /* Weighed and copied in one go: where there is no interpreter lock a piece that came in between would have no room. */
    HOLD(haul->chunks);
    here = sum_of(haul->chunks);
    for (Py_ssize_t i = 0; here == haul->have && i < PyList_GET_SIZE(haul->chunks); i++) {
        PyObject *piece = PyList_GET_ITEM(haul->chunks, i);
        memcpy(to, PyBytes_AS_STRING(piece), (size_t)PyBytes_GET_SIZE(piece));
        to += PyBytes_GET_SIZE(piece);
    }
    LET_GO();
    if (here != haul->have) {
        if (here >= 0) PyErr_SetString(PyExc_RuntimeError, "the pieces of a body changed while it was read");
        Py_DECREF(body);
        return -1;
    }
    int failed = PyList_Append(haul->whole, body);
    Py_DECREF(body);
    return failed || empty_list(haul->chunks) ? -1 : 0;
}

/* Put `got` bytes where they belong; nonzero with an error. */
static int sort_out(Haul *haul, Py_ssize_t got) {
    if (haul->first != NULL) {
        Py_ssize_t part = got < haul->asked ? got : haul->asked;
        if (take_first(haul, part)) return -1;
        got -= part;
    }
    for (int i = 0; got > 0; i++) {
        struct slot *slot = &haul->slots[i];
        if (got < haul->header_size || memcmp(slot->header, haul->header, (size_t)haul->header_size)) {
            PyObject *rest = rest_from(haul, i, got);
            return rest == NULL ? -1 : PyList_SetItem(haul->arrived, 0, rest);
        }
        got -= haul->header_size;
        if (got >= haul->length && slot->body != NULL) {
            if (PyList_Append(haul->whole, slot->body)) return -1;
            got -= haul->length;
            continue;
        }
        PyObject *piece = slot->body;
        slot->body = NULL;
        if (piece == NULL || !got) {
            Py_XDECREF(piece);
            piece = PyBytes_FromStringAndSize(NULL, 0);
        } else if (_PyBytes_Resize(&piece, got)) {
            return -1;
        }
        return keep_piece(haul->chunks, piece) || empty_list(haul->arrived) ? -1 : 0;
    }
    return empty_list(haul->arrived);
}

PyDoc_STRVAR(haul_doc, "haul(recv, fd, header, chunks, whole, arrived, number, /)\n--\n\n"
                       "Read large frames that all have the same header, until there is no more for now, or a load.");

static PyObject *haul(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Haul haul = {0};
    struct iovec places[2 * AHEAD + 1];
    if (nargs != 7) return PyErr_Format(PyExc_TypeError, "haul takes 7 arguments, not %zd", nargs);
    long fd = PyLong_AsLong(args[1]);
    if (fd == -1 && PyErr_Occurred()) return NULL;
    if (fd < 0 || fd > INT_MAX) return PyErr_Format(PyExc_ValueError, "%R is no descriptor", args[1]);
    if (!PyBytes_Check(args[2]) || PyBytes_GET_SIZE(args[2]) < 8 || PyBytes_GET_SIZE(args[2]) > 9)
        return PyErr_Format(PyExc_ValueError, "a header is 8 or 9 bytes, not %R", args[2]);
    if (!is_list(args[3]) || !is_list(args[4]) || !is_list(args[5])) return NULL;
    Py_ssize_t number = PyLong_AsSsize_t(args[6]);
    if (number == -1 && PyErr_Occurred()) return NULL;
    if (number < 1) return PyErr_Format(PyExc_ValueError, "at least one body is read, not %zd", number);
    haul.header = PyBytes_AS_STRING(args[2]);
    haul.header_size = PyBytes_GET_SIZE(args[2]);
    uint64_t length = nnq_load((const uint8_t *)haul.header + haul.header_size - 8);
    if (!length || length > NNQ_LENGTH_MAX || length > PY_SSIZE_T_MAX)
        return PyErr_Format(PyExc_ValueError, "no large frame has the header %R", args[2]);
    haul.length = (Py_ssize_t)length;
    haul.chunks = args[3];
    haul.whole = args[4];
    haul.arrived = args[5];
    if (PyList_GET_SIZE(haul.arrived)) Py_RETURN_NONE;

    PyObject *done = NULL, *end = PyBytes_FromStringAndSize(NULL, 0);
    int n = end == NULL ? 0 : make_room(&haul, places, number), failed;
    ssize_t got = -1;
    if (!n) goto out;
    /* First, as if the connection had ended: what follows may run out of memory, and whoever has lost a byte must not go on. */
    if (PyList_Append(haul.arrived, end)) goto out;
    Py_BEGIN_ALLOW_THREADS
    do got = readv((int)fd, places, n);
    while (got < 0 && errno == EINTR);
    failed = errno;
    Py_END_ALLOW_THREADS
    if (got < 0) {
        if (!empty_list(haul.arrived)) {
            errno = failed;
            PyErr_SetFromErrno(PyExc_OSError);
        }
    } else if (!got || !sort_out(&haul, got)) {
        done = Py_NewRef(Py_None);
    }
out:
    Py_XDECREF(end);
    Py_XDECREF(haul.first);
    for (int i = 0; i < haul.number; i++) Py_XDECREF(haul.slots[i].body);
    return done;
}

#endif

/* --- Prefixes ----------------------------------------------------------------------------------------------------- */

/* Prefixes of which none covers another, in their order. As many first bytes as the shortest has lead, by a table of
   hashes, to those that begin like a body: one of them, mostly, or a stretch that is searched by halves. Bodies come from
   peers, but only prefixes are in the table, so nobody can make its chains longer. */
typedef struct {
    PyObject_HEAD
    PyObject *all; /* a tuple of bytes */
    size_t head;   /* length of the shortest */
    size_t mask;
    struct stretch {
        Py_ssize_t first, number; /* number 0: a free place */
    } *table;
} Prefixes;

static size_t hash_of(const uint8_t *bytes, size_t size) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash ^ hash >> 32);
}

static const uint8_t *bytes_of(PyObject *one) { return (const uint8_t *)PyBytes_AS_STRING(one); }

/* The place in the table of those that begin with these bytes, or the free one where they would be. */
static struct stretch *stretch_of(Prefixes *self, const uint8_t *head) {
    size_t place = hash_of(head, self->head);
    for (;; place++) {
        struct stretch *found = self->table + (place & self->mask);
        if (!found->number || !memcmp(bytes_of(PyTuple_GET_ITEM(self->all, found->first)), head, self->head))
            return found;
    }
}

static PyObject *prefixes_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *given;
    size_t places = 4;
    if (!no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O:Prefixes", &given)) return NULL;
    PyObject *all = PySequence_Tuple(given); /* first: it may run code of Python, which finds whatever there is */
    if (all == NULL) return NULL;
    Prefixes *self = (Prefixes *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(all);
        return NULL;
    }
    self->all = all;
    Py_ssize_t number = PyTuple_GET_SIZE(all);
    for (Py_ssize_t i = 0; i < number; i++) {
        PyObject *one = PyTuple_GET_ITEM(all, i);
        if (!PyBytes_Check(one)) {
            PyErr_Format(PyExc_TypeError, "a prefix is bytes, not %.200s", Py_TYPE(one)->tp_name);
            goto failed;
        }
        size_t length = (size_t)PyBytes_GET_SIZE(one);
        if (!i || length < self->head) self->head = length;
    }
    while (places / 2 < (size_t)number) places *= 2;
    self->mask = places - 1;
    self->table = PyMem_Calloc(places, sizeof *self->table);
    if (self->table == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t i = 0; i < number; i++) {
        struct stretch *found = stretch_of(self, bytes_of(PyTuple_GET_ITEM(all, i)));
        if (!found->number) found->first = i;
        found->number++;
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static int prefixes_traverse(Prefixes *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->all);
    return 0;
}

static void prefixes_dealloc(Prefixes *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->all);
    PyMem_Free(self->table);
    type->tp_free(self);
    Py_DECREF(type);
}

static int begins_with(const uint8_t *body, size_t size, PyObject *prefix) {
    size_t length = (size_t)PyBytes_GET_SIZE(prefix);
    return length <= size && !memcmp(body, bytes_of(prefix), length);
}

static int wanted(Prefixes *self, const uint8_t *body, size_t size) {
    if (size < self->head) return 0;
    struct stretch *found = stretch_of(self, body);
    Py_ssize_t low = found->first, high = found->first + found->number;
    /* Of those that begin alike, the one that may fit stands right before the body in their order. */
    while (high - low > 1) {
        Py_ssize_t middle = low + (high - low) / 2;
        PyObject *one = PyTuple_GET_ITEM(self->all, middle);
        size_t length = (size_t)PyBytes_GET_SIZE(one);
        int order = memcmp(bytes_of(one), body, length < size ? length : size);
        if (order < 0 || (!order && length <= size))
            low = middle;
        else
            high = middle;
    }
    return high > low && begins_with(body, size, PyTuple_GET_ITEM(self->all, low));
}

PyDoc_STRVAR(select_doc, "select(bodies, /)\n--\n\nReturn those that begin with one of the prefixes, in their order.");

static PyObject *prefixes_select(Prefixes *self, PyObject *bodies) {
    if (!are_bodies(bodies)) return NULL;
    PyObject *out = PyList_New(0);
    if (out == NULL) return NULL;
    HOLD(bodies);
    for (Py_ssize_t i = 0; out != NULL && i < NUMBER(bodies); i++) {
        PyObject *body = BODY(bodies, i);
        if (!PyBytes_Check(body)) {
            PyErr_Format(PyExc_TypeError, "a body is bytes, not %.200s", Py_TYPE(body)->tp_name);
            Py_CLEAR(out);
        } else if (wanted(self, bytes_of(body), (size_t)PyBytes_GET_SIZE(body)) && PyList_Append(out, body)) {
            Py_CLEAR(out);
        }
    }
    LET_GO();
    return out;
}

static PyMethodDef prefixes_methods[] = {
    {"select", (PyCFunction)prefixes_select, METH_O, select_doc},
    {NULL},
};

PyDoc_STRVAR(prefixes_doc, "Prefixes(deciding, /)\n--\n\nPrefixes, in their order, of which none covers another.");

static PyType_Slot prefixes_slots[] = {
    {Py_tp_doc, (void *)prefixes_doc},
    {Py_tp_new, prefixes_new},
    {Py_tp_traverse, prefixes_traverse},
    {Py_tp_dealloc, prefixes_dealloc},
    {Py_tp_methods, prefixes_methods},
    {0, NULL},
};

static PyType_Spec prefixes_spec = {
    .name = "nnqpy._accel.Prefixes",
    .basicsize = sizeof(Prefixes),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = prefixes_slots,
};

#ifdef NNQ_THREADS

/* --- Pulse and Ticker --------------------------------------------------------------------------------------------- */

#define GRACE 20000LL /* nanoseconds that the main thread has for what is its own, until the descriptor tells of it */
#define LONG_WRITE 2000000LL /* nanoseconds that a write may take without being taken for the end of all writing */
#define SLACK 1000UL /* nanoseconds that the system may be late to wake us by; 50,000 by default would be much of a period */

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

PyDoc_STRVAR(wake_promptly_doc, "wake_promptly()\n--\n\n"
                                "Have the calling thread woken in time, also where it waits for the interpreter lock.");

static PyObject *wake_promptly(PyObject *module, PyObject *unused) {
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, SLACK);
#endif
    Py_RETURN_NONE;
}

/* What a socket's writer does at each write, for somebody who may look without the interpreter lock. */
typedef struct Pulse {
    PyObject_HEAD
    PyObject *clock;
    atomic_llong beat; /* when it was looked at last, nanoseconds */
    atomic_bool watched; /* whoever makes it true has the rest, under its ticker's lock: */
    long long since;
    int main; /* watched by the main thread */
    struct Pulse *next;
    PyObject *owner; /* while it is watched; the ticker's thread leaves it alone */
} Pulse;

static PyObject *pulse_call(Pulse *self, PyObject *args, PyObject *kwargs) {
    atomic_store_explicit(&self->beat, now(), memory_order_relaxed);
    return PyObject_CallNoArgs(self->clock);
}

PyDoc_STRVAR(hold_doc, "hold()\n--\n\nBegin to write: until the next look at the clock, or for 2 ms, no period is missed.");

static PyObject *pulse_hold(Pulse *self, PyObject *unused) {
    atomic_store_explicit(&self->beat, now() + LONG_WRITE, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyMethodDef pulse_methods[] = {
    {"hold", (PyCFunction)pulse_hold, METH_NOARGS, hold_doc},
    {NULL},
};

static PyObject *pulse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *clock;
    if (!no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "O:Pulse", &clock)) return NULL;
    Pulse *self = (Pulse *)type->tp_alloc(type, 0);
    if (self != NULL) self->clock = Py_NewRef(clock);
    return (PyObject *)self;
}

static int pulse_traverse(Pulse *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->clock);
    Py_VISIT(self->owner);
    return 0;
}

static void pulse_dealloc(Pulse *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->clock);
    Py_CLEAR(self->owner);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(pulse_doc, "Pulse(clock, /)\n--\n\n"
                        "A clock that notes that it was looked at: once a write is done, by who has done it.");

static PyType_Slot pulse_slots[] = {
    {Py_tp_doc, (void *)pulse_doc},
    {Py_tp_new, pulse_new},
    {Py_tp_methods, pulse_methods},
    {Py_tp_call, pulse_call},
    {Py_tp_traverse, pulse_traverse},
    {Py_tp_dealloc, pulse_dealloc},
    {0, NULL},
};

static PyType_Spec pulse_spec = {
    .name = "nnqpy._accel.Pulse",
    .basicsize = sizeof(Pulse),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = pulse_slots,
};

/* A thread that never takes the interpreter lock. It looks at the pulses that were given to it until one has not beaten
   for a whole period. While everything flows nobody is disturbed.

   What the main thread has left is seen to in that very thread: the interpreter is asked to call `here` between two of its
   instructions, which costs a program that computes neither a wait for the interpreter lock nor a change of threads. What
   nobody has fetched a moment later, because the main thread waits for something itself, a descriptor tells of, and at once
   of what other threads have left.

   The lock is held for a few stores, by this thread or by one of Python; nothing is allocated by Python, and no reference
   given back, with it held. */
typedef struct Ticker Ticker;

/* What the interpreter is asked to do. It may come to it when the ticker has gone: then it finds ABANDONED, and frees this. */
enum { IDLE, ASKED, ABANDONED };
typedef struct {
    atomic_int state;
    Ticker *ticker;
} Errand;

struct Ticker {
    PyObject_HEAD
    pthread_mutex_t lock;
    pthread_cond_t roused;
    pthread_t thread;
    pid_t process; /* 0: the thread does not run */
    int fd;
    int stopping;
    long long period; /* nanoseconds */
    Pulse *armed, *fired;
    size_t number; /* of those that have fired */
    long long due; /* when the descriptor tells of them; 0: it has, or there are none */
    PyObject *here; /* called in the main thread; NULL: nothing is */
    unsigned long main; /* that thread */
    Errand *errand;
    PyInterpreterState *interpreter;
};

/* The thread runs, and is this process's. After a fork it is not, and nobody may touch what it may have locked.
   Asked and acted on with the ticker held: where there is no interpreter lock somebody else may be ending it. */
static int runs(Ticker *self) { return self->process && self->process == getpid(); }

static void ring(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

#ifndef Py_GIL_DISABLED /* where there is no interpreter lock nobody waits for it */
#define NNQ_HERE 1

/* Up to 3.12 a call that another thread adds is not made before something else makes the interpreter look up from its
   instructions: what it looks at is set for the main thread's calls only by the main thread (ceval.c, COMPUTE_EVAL_BREAKER).
   So we set it, which at the wrong moment costs it a look for nothing. It has no public name, so its place may be another one
   than in the headers that we were built with: it is not touched before a call that the main thread adds was seen to set it. */
#if PY_VERSION_HEX < 0x030D0000 && __has_include(<internal/pycore_interp.h>)
#define Py_BUILD_CORE 1
#undef _PyGC_FINALIZED /* the public header's macro; the other one makes it a function */
#include <internal/pycore_interp.h>
#undef Py_BUILD_CORE
#define BREAKER(interpreter) (&(interpreter)->ceval.eval_breaker)

static atomic_int breaker_found; /* whether it is where the headers say */

static int no_call(void *arg) { return 0; }

/* In the main thread. */
static void find_breaker(PyInterpreterState *interpreter) {
    if (breaker_found || _Py_atomic_load_relaxed(BREAKER(interpreter)) != 0) return;
    if (!Py_AddPendingCall(no_call, NULL)) breaker_found = _Py_atomic_load_relaxed(BREAKER(interpreter)) == 1;
}

static void set_breaker(PyInterpreterState *interpreter) {
    if (breaker_found) _Py_atomic_store_relaxed(BREAKER(interpreter), 1);
}
#else
static void find_breaker(PyInterpreterState *interpreter) {}
static void set_breaker(PyInterpreterState *interpreter) {}
#endif

/* In the main thread, between two instructions of whatever it does. */
static int run_errand(void *arg) {
    Errand *errand = arg;
    if (atomic_exchange(&errand->state, IDLE) == ABANDONED) {
        PyMem_RawFree(errand);
        return 0;
    }
    Ticker *self = errand->ticker; /* who would have gone had abandoned it before it let the interpreter lock go */
    if (!runs(self)) return 0;
    find_breaker(self->interpreter);
    Py_INCREF(self);
    PyObject *here = Py_NewRef(self->here), *done = PyObject_CallNoArgs(here);
    int failed = 0;
    if (done == NULL) {
        if (runs(self)) ring(self->fd); /* what is left is for who reads the descriptor */
        /* A signal handler has raised, and that is for whoever it came upon. That there is no room for one call more is not. */
        if (PyErr_ExceptionMatches(PyExc_RecursionError) || PyErr_ExceptionMatches(PyExc_MemoryError))
            PyErr_Clear();
        else
            failed = -1;
    }
    Py_XDECREF(done);
    Py_DECREF(here);
    Py_DECREF(self);
    return failed;
}

#if PY_VERSION_HEX < 0x030C0000
/* Up to 3.11 Py_AddPendingCall looks at the thread that has the interpreter lock, which may end at that moment. */
PyAPI_FUNC(int) _PyEval_AddPendingCall(PyInterpreterState *, int (*)(void *), void *);
#define ADD_CALL(interpreter, errand) _PyEval_AddPendingCall(interpreter, run_errand, errand)
#else
#define ADD_CALL(interpreter, errand) Py_AddPendingCall(run_errand, errand)
#endif

/* Ask the interpreter; 0 if it cannot be asked. */
static int send_errand(Ticker *self) {
    Errand *errand = self->errand;
    int before = IDLE;
    if (!atomic_compare_exchange_strong(&errand->state, &before, ASKED)) return before == ASKED;
    if (!ADD_CALL(self->interpreter, errand)) {
        set_breaker(self->interpreter);
        return 1;
    }
    before = ASKED;
    if (!atomic_compare_exchange_strong(&errand->state, &before, IDLE)) PyMem_RawFree(errand); /* it was abandoned to us */
    return 0;
}
#endif

/* Sort out who has missed a period, and where that is to be told; returns the nanoseconds until somebody else can have. */
static long long look_at_all(Ticker *self, int *here, int *elsewhere) {
    long long rest = self->period, today = now();
    *here = *elsewhere = 0;
    for (Pulse **link = &self->armed; *link != NULL;) {
        Pulse *one = *link;
        long long beat = atomic_load_explicit(&one->beat, memory_order_relaxed);
        long long left = (beat > one->since ? beat : one->since) + self->period - today;
        if (left > 0) {
            if (left < rest) rest = left;
            link = &one->next;
            continue;
        }
        *link = one->next;
        one->next = self->fired;
        self->fired = one;
        self->number++;
        *(one->main ? here : elsewhere) = 1;
    }
    if (*here && !self->due) self->due = today + GRACE;
    if (self->due && self->due <= today) *elsewhere = 1;
    if (*elsewhere) self->due = 0;
    if (self->due && self->due - today < rest) rest = self->due - today;
    return rest;
}

static void *tick(void *arg) {
    Ticker *self = arg;
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, SLACK);
#endif
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        if (self->armed == NULL && !self->due) {
            pthread_cond_wait(&self->roused, &self->lock);
            continue;
        }
        int here, elsewhere;
        struct timespec rest = {.tv_nsec = (long)look_at_all(self, &here, &elsewhere)};
        pthread_mutex_unlock(&self->lock);
#ifdef NNQ_HERE
        if (here && !send_errand(self)) elsewhere = 1;
#endif
        if (elsewhere) ring(self->fd);
        nanosleep(&rest, NULL); /* who is watched from now on has a period anyway */
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static PyObject *ticker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    int fd;
    double period;
    PyObject *here = NULL;
    unsigned long main = 0;
    if (!no_keywords(type, kwargs) || !PyArg_ParseTuple(args, "id|Ok:Ticker", &fd, &period, &here, &main)) return NULL;
    if (!(period > 0 && period < 1))
        return PyErr_Format(PyExc_ValueError, "a period is between 0 and 1 s, not %R", PyTuple_GET_ITEM(args, 1));
    Ticker *self = (Ticker *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->fd = fd;
    self->period = (long long)(period * 1e9);
#ifdef NNQ_HERE
    self->interpreter = PyInterpreterState_Get();
    if (here != NULL && here != Py_None && self->interpreter == PyInterpreterState_Main()) { /* only that one has a main thread to ask */
        self->errand = PyMem_RawCalloc(1, sizeof *self->errand);
        if (self->errand == NULL) {
            Py_DECREF(self);
            return PyErr_NoMemory();
        }
        self->errand->ticker = self;
        self->here = Py_NewRef(here);
        self->main = main;
        if (PyThread_get_thread_ident() == main) find_breaker(self->interpreter); /* else at the first call */
    }
#endif
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->roused, NULL);
    /* Signals are for the threads that wait in system calls on somebody's behalf. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&self->thread, NULL, tick, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        errno = failed;
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    self->process = getpid();
    return (PyObject *)self;
}

static void end(Ticker *self) {
    /* First, while the interpreter lock is ours: from now on nobody asked comes to us. */
    Errand *errand = self->errand;
    if (errand != NULL && atomic_exchange(&errand->state, ABANDONED) != IDLE) errand = NULL; /* who was asked frees it */
    if (!runs(self)) {
        self->errand = NULL;
        PyMem_RawFree(errand);
        return;
    }
    self->process = 0;
    pthread_mutex_lock(&self->lock);
    self->stopping = 1;
    pthread_cond_signal(&self->roused);
    pthread_mutex_unlock(&self->lock);
    Py_BEGIN_ALLOW_THREADS
    pthread_join(self->thread, NULL);
    Py_END_ALLOW_THREADS
    Pulse *chains[] = {self->armed, self->fired};
    self->armed = self->fired = NULL;
    self->number = 0;
    self->errand = NULL;
    PyMem_RawFree(errand);
    Py_CLEAR(self->here);
    for (int i = 0; i < 2; i++)
        for (Pulse *one = chains[i], *next; one != NULL; one = next) {
            next = one->next;
            one->next = NULL;
            Py_CLEAR(one->owner);
            atomic_store(&one->watched, 0);
            Py_DECREF(one);
        }
}

PyDoc_STRVAR(stop_doc, "stop()\n--\n\nEnd the thread, and wait for it; it forgets what it watches.");

static PyObject *ticker_stop(Ticker *self, PyObject *unused) {
    HOLD(self);
    end(self);
    LET_GO();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(watch_doc, "watch(pulse, owner, /)\n--\n\n"
                        "Watch a pulse until it has not beaten for a period, from now on; then whose it is is to be told.");

static PyObject *ticker_watch(Ticker *self, PyTypeObject *defining, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *names) {
    State *state = PyType_GetModuleState(defining);
    if (state == NULL) return NULL;
    PyTypeObject *type = state->pulse;
    if (nargs != 2 || names != NULL || !Py_IS_TYPE(args[0], type)) {
        PyErr_SetString(PyExc_TypeError, "watch takes a Pulse and whose it is");
        return NULL;
    }
    Pulse *one = (Pulse *)args[0];
    HOLD(self);
    if (runs(self) && !atomic_exchange(&one->watched, 1)) {
        Py_INCREF(one);
        one->owner = Py_NewRef(args[1]);
        pthread_mutex_lock(&self->lock);
        one->since = now();
        one->main = self->here != NULL && PyThread_get_thread_ident() == self->main;
        one->next = self->armed;
        if (self->armed == NULL) pthread_cond_signal(&self->roused);
        self->armed = one;
        pthread_mutex_unlock(&self->lock);
    }
    LET_GO();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(missed_doc, "missed(out, /)\n--\n\n"
                         "Append to a list whose pulses have missed a period; they are not watched any more.");

static PyObject *ticker_missed(Ticker *self, PyObject *out) {
    size_t number = 0;
    struct late {
        Pulse *pulse;
        PyObject *owner;
    } *found = NULL;
    int here, failed = 0;
    if (!is_list(out)) return NULL;
    HOLD(self);
    here = runs(self);
    if (here) {
        pthread_mutex_lock(&self->lock);
        number = self->number;
        found = PyMem_RawMalloc((number + 1) * sizeof *found);
        if (found != NULL) {
            for (size_t i = 0; i < number; i++) {
                Pulse *one = self->fired;
                found[i] = (struct late){one, one->owner};
                self->fired = one->next;
                one->next = NULL;
                one->owner = NULL;
                atomic_store(&one->watched, 0);
            }
            self->number = 0;
            self->due = 0;
        }
        pthread_mutex_unlock(&self->lock);
    }
    LET_GO();
    if (!here) Py_RETURN_NONE;
    if (found == NULL) return PyErr_NoMemory();
    for (size_t i = 0; i < number; i++) {
        failed |= PyList_Append(out, found[i].owner);
        Py_DECREF(found[i].owner);
        Py_DECREF(found[i].pulse);
    }
    PyMem_RawFree(found);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *ticker_watching(Ticker *self, void *closure) {
    int watching = 0;
    HOLD(self);
    if (runs(self)) {
        pthread_mutex_lock(&self->lock);
        watching = self->armed != NULL || self->fired != NULL;
        pthread_mutex_unlock(&self->lock);
    }
    LET_GO();
    return PyBool_FromLong(watching);
}

static PyGetSetDef ticker_values[] = {
    {"watching", (getter)ticker_watching, NULL, "Whether there is a pulse to watch, or one that has missed a period."},
    {NULL},
};

static int ticker_traverse(Ticker *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->here);
    return 0;
}

static void ticker_dealloc(Ticker *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    int ours = runs(self);
    end(self);
    if (ours) {
        pthread_cond_destroy(&self->roused);
        pthread_mutex_destroy(&self->lock);
    }
    Py_CLEAR(self->here);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef ticker_methods[] = {
    {"watch", (PyCFunction)(void (*)(void))ticker_watch, METH_METHOD | METH_FASTCALL | METH_KEYWORDS, watch_doc},
    {"missed", (PyCFunction)ticker_missed, METH_O, missed_doc},
    {"stop", (PyCFunction)ticker_stop, METH_NOARGS, stop_doc},
    {NULL},
};

PyDoc_STRVAR(ticker_doc, "Ticker(fd, period, here=None, main=0, /)\n--\n\n"
                         "A thread that watches pulses, without the interpreter lock.\n\n"
                         "Args:\n"
                         "    fd: an eventfd that gets a 1 when some have missed a period.\n"
                         "    period: seconds, less than 1.\n"
                         "    here: called without arguments in the main thread, wherever that is, when some have that it watches;\n"
                         "        what it has not fetched a moment later, `fd` tells of. Not called where there is no\n"
                         "        interpreter lock, nor in a subinterpreter.\n"
                         "    main: the main thread's number (`threading.get_ident`).");

static PyType_Slot ticker_slots[] = {
    {Py_tp_doc, (void *)ticker_doc},
    {Py_tp_new, ticker_new},
    {Py_tp_traverse, ticker_traverse},
    {Py_tp_dealloc, ticker_dealloc},
    {Py_tp_methods, ticker_methods},
    {Py_tp_getset, ticker_values},
    {0, NULL},
};

static PyType_Spec ticker_spec = {
    .name = "nnqpy._accel.Ticker",
    .basicsize = sizeof(Ticker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ticker_slots,
};

#endif

/* --- the module --------------------------------------------------------------------------------------------------- */

static PyTypeObject *add(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, type)) Py_CLEAR(type);
    return type;
}

static int begin(PyObject *module) {
    State *state = state_of(module);
    state->timeout = PyUnicode_InternFromString("timeout");
    state->press = PyUnicode_InternFromString("_press");
    state->broken_off = PyUnicode_InternFromString("_broken_off");
    if (state->timeout == NULL || state->press == NULL || state->broken_off == NULL) return -1;
    state->look = add(module, &look_spec);
    if (state->look == NULL) return -1;
    state->gate = add(module, &gate_spec);
    if (state->gate == NULL) return -1;
    state->step = add(module, &step_spec);
    if (state->step == NULL) return -1;
    state->taker = add(module, &taker_spec);
    if (state->taker == NULL) return -1;
    PyType_Spec *plain[] = {&quick_spec, &codec_spec, &prefixes_spec};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        PyTypeObject *type = add(module, plain[i]);
        if (type == NULL) return -1;
        Py_DECREF(type);
    }
#ifdef NNQ_THREADS
    state->pulse = add(module, &pulse_spec);
    if (state->pulse == NULL) return -1;
    PyTypeObject *type = add(module, &ticker_spec);
    if (type == NULL) return -1;
    Py_DECREF(type);
#endif
    PyObject *collections = PyImport_ImportModule("collections");
    if (collections == NULL) return -1;
    PyObject *deque = PyObject_GetAttrString(collections, "deque");
    Py_DECREF(collections);
    if (deque == NULL) return -1;
    state->append = PyObject_GetAttrString(deque, "append");
    state->popleft = PyObject_GetAttrString(deque, "popleft");
    state->deque = (PyTypeObject *)deque;
    if (state->popleft != NULL && Py_IS_TYPE(state->popleft, &PyMethodDescr_Type)) {
        PyMethodDef *pop = ((PyMethodDescrObject *)state->popleft)->d_method;
        if (pop->ml_flags == METH_NOARGS) state->pop = pop->ml_meth;
    }
    return state->append == NULL || state->popleft == NULL ? -1 : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = state_of(module);
    PyObject *all[] = {(PyObject *)state->gate, (PyObject *)state->look, (PyObject *)state->pulse,
                       (PyObject *)state->step, (PyObject *)state->taker, (PyObject *)state->deque, state->append, state->popleft};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) Py_VISIT(all[i]);
    return 0;
}

/* A cycle can only pass the types. What functions and objects need is there as long as the module. */
static int module_clear(PyObject *module) {
    State *state = state_of(module);
    Py_CLEAR(state->gate);
    Py_CLEAR(state->look);
    Py_CLEAR(state->pulse);
    Py_CLEAR(state->step);
    Py_CLEAR(state->taker);
    return 0;
}

static void module_free(void *module) {
    State *state = state_of(module);
    module_clear(module);
    Py_CLEAR(state->append);
    Py_CLEAR(state->popleft);
    Py_CLEAR(state->deque);
    Py_CLEAR(state->press);
    Py_CLEAR(state->broken_off);
    Py_CLEAR(state->timeout);
}

static PyMethodDef functions[] = {
    {"total_size", total_size, METH_O, total_size_doc},
#ifdef NNQ_THREADS
    {"haul", (PyCFunction)(void (*)(void))haul, METH_FASTCALL, haul_doc},
    {"wake_promptly", wake_promptly, METH_NOARGS, wake_promptly_doc},
#endif
    {"move", (PyCFunction)(void (*)(void))move, METH_FASTCALL, move_doc},
    {NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, begin},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "nnqpy._accel",
    .m_doc = "The compiled half of nnqpy.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__accel(void) { return PyModuleDef_Init(&definition); }

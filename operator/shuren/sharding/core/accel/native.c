/* The accelerator of shuren.sharding: key -> slot -> member without leaving C. Optional: ../algorithms hold the same in Python.
 *
 * One type, Lookup, made once from an algorithm's tables and never changed, so that it may be read from any thread. Everything it is given is
 * checked when it is made; looking up cannot go out of bounds whatever the key. Written against the limited API (abi3) of CPython 3.11.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>

#include "xxh64.h"

#define INTERFACE 2 /* raised with each change of what Python passes in; ../backend.py takes no other */
#define NOBODY 0xFFFF
#define BLOCK 64
#define LARGEST (1 << 24) /* entries of one table; Envoy allows rings of 8 M points */

enum kind { SLOTS, REDIS, MODULO, RING, JUMP, RENDEZVOUS, KINDS };

typedef struct {
    PyObject_HEAD
    int kind;
    int shift;           /* SLOTS: 63 - log2(size), RING: 63 - log2(buckets); one more bit is shifted apart so that 64 is never asked for */
    uint32_t size;       /* entries of `table` */
    uint32_t count;      /* entries of `members` */
    PyObject **members;  /* owned; NULL where a number is not in use */
    PyObject *nobody;    /* called with the slot when nobody is there; has to raise */
    uint16_t *table;     /* SLOTS, REDIS, MODULO: member by slot; RING: member by point */
    uint64_t *points;    /* RING: ascending */
    uint32_t *starts;    /* RING: index of the first point at or behind the bucket's beginning, so that a search takes O(1) steps */
    uint64_t *seeds;     /* RENDEZVOUS: hash of each member's id */
    double *weights;     /* RENDEZVOUS: NULL when all are equal */
} Lookup;

static uint16_t crc16_table[256];

/* CRC-16/XMODEM (polynomial 0x1021, start 0), as the Redis cluster specification uses it. */
static void crc16_init(void) {
    for (unsigned i = 0; i < 256; i++) {
        uint16_t crc = (uint16_t)(i << 8);
        for (int bit = 0; bit < 8; bit++) crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
        crc16_table[i] = crc;
    }
}

static inline uint16_t crc16(const unsigned char *p, size_t length) {
    uint16_t crc = 0;
    for (size_t i = 0; i < length; i++) crc = (uint16_t)((crc << 8) ^ crc16_table[(crc >> 8) ^ p[i]]);
    return crc;
}

/* The part between the first '{' and the next '}' when it is not empty, else everything (Redis cluster specification, "hash tags"). */
static inline void narrow_to_tag(const unsigned char **p, size_t *length) {
    const unsigned char *open = memchr(*p, '{', *length);
    if (open == NULL) return;
    const unsigned char *inner = open + 1;
    const unsigned char *close = memchr(inner, '}', *length - (size_t)(inner - *p));
    if (close == NULL || close == inner) return;
    *p = inner;
    *length = (size_t)(close - inner);
}

static inline int key_bytes(PyObject *key, const unsigned char **p, size_t *length) {
    Py_ssize_t size;
    if (PyUnicode_Check(key)) {
        const char *text = PyUnicode_AsUTF8AndSize(key, &size);
        if (text == NULL) return -1;
        *p = (const unsigned char *)text;
    } else if (PyBytes_Check(key)) {
        char *data;
        if (PyBytes_AsStringAndSize(key, &data, &size) < 0) return -1;
        *p = (const unsigned char *)data;
    } else {
        PyErr_Format(PyExc_TypeError, "a key is str or bytes, not %R", (PyObject *)Py_TYPE(key));
        return -1;
    }
    *length = (size_t)size;
    return 0;
}

/* Finalizer of splitmix64: every bit of the sum of key and member matters. */
static inline uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static inline uint64_t hash_of(const Lookup *self, const unsigned char *p, size_t length) {
    if (self->kind == SLOTS) {
        narrow_to_tag(&p, &length);
        return xxh64(p, length, 0);
    }
    if (self->kind == REDIS) {
        narrow_to_tag(&p, &length);
        return crc16(p, length);
    }
    return xxh64(p, length, 0);
}

/* Jump consistent hash (Lamping, Veach: arXiv 1406.2294). */
static inline uint32_t jump(uint64_t h, uint32_t buckets) {
    int64_t b = -1, j = 0;
    while (j < (int64_t)buckets) {
        b = j;
        h = h * UINT64_C(2862933555777941757) + 1;
        j = (int64_t)((double)(b + 1) * ((double)(INT64_C(1) << 31) / (double)((h >> 33) + 1)));
    }
    return (uint32_t)b;
}

static inline uint32_t rendezvous(const Lookup *self, uint64_t h) {
    uint32_t best = 0;
    if (self->weights == NULL) {
        uint64_t most = 0;
        for (uint32_t i = 0; i < self->count; i++) {
            uint64_t score = mix64(h ^ self->seeds[i]) >> 12;
            if (i == 0 || score > most) {
                most = score;
                best = i;
            }
        }
        return best;
    }
    double least = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        double u = ((double)(mix64(h ^ self->seeds[i]) >> 12) + 0.5) * 0x1p-52;
        double cost = -log(u) / self->weights[i];
        if (i == 0 || cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

static inline uint64_t slot_of(const Lookup *self, uint64_t h) {
    switch (self->kind) {
    case SLOTS: return (h >> 1) >> self->shift;
    case REDIS: return h & (self->size - 1);
    case MODULO: return h % self->size;
    case JUMP: return jump(h, self->count);
    default: return h;
    }
}

static inline uint32_t member_at(const Lookup *self, uint64_t slot) {
    switch (self->kind) {
    case RING: {
        uint32_t i = self->starts[(slot >> 1) >> self->shift];
        while (i < self->size && self->points[i] < slot) i++;
        return self->table[i == self->size ? 0 : i];
    }
    case JUMP: return (uint32_t)slot;
    case RENDEZVOUS: return rendezvous(self, slot);
    default: return self->table[slot];
    }
}

/* A new reference to the member at a slot; NULL with an error set when nobody is there. */
static PyObject *missing(const Lookup *self, uint64_t slot) {
    PyObject *number = PyLong_FromUnsignedLongLong(slot);
    if (number == NULL) return NULL;
    PyObject *result = PyObject_CallFunctionObjArgs(self->nobody, number, NULL);
    Py_DECREF(number);
    return result;
}

static inline PyObject *found(const Lookup *self, uint64_t slot) {
    uint32_t index = member_at(self, slot);
    PyObject *member = index < self->count ? self->members[index] : NULL;
    if (member == NULL) return missing(self, slot);
    Py_INCREF(member);
    return member;
}

static PyObject *Lookup_route(PyObject *object, PyObject *key) {
    const Lookup *self = (Lookup *)object;
    const unsigned char *p;
    size_t length;
    if (key_bytes(key, &p, &length) < 0) return NULL;
    return found(self, slot_of(self, hash_of(self, p, length)));
}

static PyObject *Lookup_slot(PyObject *object, PyObject *key) {
    const Lookup *self = (Lookup *)object;
    const unsigned char *p;
    size_t length;
    if (key_bytes(key, &p, &length) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(slot_of(self, hash_of(self, p, length)));
}

/* Keys are taken in blocks: fetch the objects, then hash, then look up, so that the memory reads of a block overlap. */
static PyObject *Lookup_route_many(PyObject *object, PyObject *keys) {
    const Lookup *self = (Lookup *)object;
    PyObject *source, *items[BLOCK];
    uint64_t slots[BLOCK];
    int is_list = 0;
    if (PyUnicode_Check(keys) || PyBytes_Check(keys)) {
        PyErr_SetString(PyExc_TypeError, "route_many takes a list of keys, not one key");
        return NULL;
    }
#ifndef Py_GIL_DISABLED
    is_list = PyList_CheckExact(keys); /* nothing else runs while the loop holds the interpreter lock, so the list stays as it is */
#endif
    if (is_list || PyTuple_CheckExact(keys)) {
        Py_INCREF(keys);
        source = keys;
    } else if ((source = PySequence_Tuple(keys)) == NULL) {
        return NULL;
    }
    Py_ssize_t size = is_list ? PyList_Size(source) : PyTuple_Size(source);
    PyObject *result = PyList_New(size);
    if (result == NULL) goto fail;
    for (Py_ssize_t begin = 0; begin < size; begin += BLOCK) {
        Py_ssize_t n = size - begin < BLOCK ? size - begin : BLOCK;
        for (Py_ssize_t i = 0; i < n; i++) {
            items[i] = is_list ? PyList_GetItem(source, begin + i) : PyTuple_GetItem(source, begin + i);
            if (items[i] == NULL) goto fail;
            __builtin_prefetch(items[i]);
        }
        for (Py_ssize_t i = 0; i < n; i++) {
            const unsigned char *p;
            size_t length;
            if (key_bytes(items[i], &p, &length) < 0) goto fail;
            slots[i] = slot_of(self, hash_of(self, p, length));
        }
        for (Py_ssize_t i = 0; i < n; i++) {
            PyObject *member = found(self, slots[i]);
            if (member == NULL || PyList_SetItem(result, begin + i, member) < 0) goto fail;
        }
    }
    Py_DECREF(source);
    return result;
fail:
    Py_DECREF(source);
    Py_XDECREF(result);
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------------------------- making one */

static void *copied(const Py_buffer *buffer, size_t item, size_t entries, const char *name) {
    if (buffer->buf == NULL || (size_t)buffer->len != item * entries) {
        PyErr_Format(PyExc_ValueError, "%s holds %zd bytes, not %zu entries of %zu", name, buffer->buf == NULL ? (Py_ssize_t)0 : buffer->len, entries, item);
        return NULL;
    }
    void *copy = PyMem_Malloc(item * entries);
    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(copy, buffer->buf, item * entries);
    return copy;
}

static int log2_of(uint64_t power) {
    int bits = 0;
    while (power > 1) {
        power >>= 1;
        bits++;
    }
    return bits;
}

static int fill_table(Lookup *self, const Py_buffer *table) {
    self->table = copied(table, sizeof(uint16_t), self->size, "table");
    if (self->table == NULL) return -1;
    int bad = 0; /* looked for without a way out, which the compiler can do for many entries at once */
    for (uint32_t i = 0; i < self->size; i++) bad |= self->table[i] >= self->count && self->table[i] != NOBODY;
    for (uint32_t i = 0; bad && i < self->size; i++) {
        if (self->table[i] >= self->count && self->table[i] != NOBODY) {
            PyErr_Format(PyExc_ValueError, "table[%u] is %u, but there are %u members", i, (unsigned)self->table[i], self->count);
            return -1;
        }
    }
    return 0;
}

static int fill_ring(Lookup *self, const Py_buffer *points) {
    self->points = copied(points, sizeof(uint64_t), self->size, "points");
    if (self->points == NULL) return -1;
    for (uint32_t i = 1; i < self->size; i++) {
        if (self->points[i - 1] > self->points[i]) {
            PyErr_SetString(PyExc_ValueError, "points are not in ascending order");
            return -1;
        }
    }
    uint32_t buckets = 2;
    while (buckets < self->size) buckets *= 2;
    self->shift = 63 - log2_of(buckets);
    self->starts = PyMem_Malloc(buckets * sizeof(uint32_t));
    if (self->starts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    uint32_t i = 0;
    for (uint32_t bucket = 0; bucket < buckets; bucket++) {
        while (i < self->size && ((self->points[i] >> 1) >> self->shift) < bucket) i++;
        self->starts[bucket] = i;
    }
    return 0;
}

static int fill_rendezvous(Lookup *self, const Py_buffer *seeds, const Py_buffer *weights) {
    self->seeds = copied(seeds, sizeof(uint64_t), self->count, "seeds");
    if (self->seeds == NULL) return -1;
    if (weights->buf == NULL) return 0;
    self->weights = copied(weights, sizeof(double), self->count, "weights");
    if (self->weights == NULL) return -1;
    for (uint32_t i = 0; i < self->count; i++) {
        if (!(self->weights[i] > 0)) {
            PyErr_Format(PyExc_ValueError, "weights[%u] is not above 0", i);
            return -1;
        }
    }
    return 0;
}

static int fill(Lookup *self, const Py_buffer *table, const Py_buffer *points, const Py_buffer *seeds, const Py_buffer *weights) {
    if (self->kind < 0 || self->kind >= KINDS || self->size > LARGEST) {
        PyErr_SetString(PyExc_ValueError, "unknown kind, or a table that is too large");
        return -1;
    }
    if (self->kind == JUMP || self->kind == RENDEZVOUS) {
        if (self->count == 0) {
            PyErr_SetString(PyExc_ValueError, "there is no member");
            return -1;
        }
        return self->kind == JUMP ? 0 : fill_rendezvous(self, seeds, weights);
    }
    int power = self->size != 0 && (self->size & (self->size - 1)) == 0;
    if (self->size == 0 || (self->kind == SLOTS && !power) || (self->kind == REDIS && self->size != 16384)) {
        PyErr_Format(PyExc_ValueError, "a table of %u entries does not fit the kind", self->size);
        return -1;
    }
    self->shift = 63 - log2_of(self->size);
    if (fill_table(self, table) < 0) return -1;
    return self->kind == RING ? fill_ring(self, points) : 0;
}

static PyObject *Lookup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kind", "members", "nobody", "size", "table", "points", "seeds", "weights", NULL};
    int kind;
    unsigned int size = 0;
    PyObject *members, *nobody;
    Py_buffer table = {0}, points = {0}, seeds = {0}, weights = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO!O|Iz*z*z*z*", names, &kind, &PyTuple_Type, &members, &nobody, &size, &table, &points,
                                     &seeds, &weights))
        return NULL;
    Lookup *self = (Lookup *)PyType_GenericAlloc(type, 0);
    int failed = self == NULL;
    if (!failed) {
        self->kind = kind;
        self->size = size;
        Py_INCREF(nobody);
        self->nobody = nobody;
        Py_ssize_t count = PyTuple_Size(members);
        if (count > NOBODY) {
            PyErr_Format(PyExc_ValueError, "%zd members; at most %d", count, NOBODY);
            failed = 1;
        } else if ((self->members = PyMem_Calloc(count ? (size_t)count : 1, sizeof(PyObject *))) == NULL) {
            PyErr_NoMemory();
            failed = 1;
        } else {
            self->count = (uint32_t)count;
            for (Py_ssize_t i = 0; i < count; i++) {
                PyObject *member = PyTuple_GetItem(members, i);
                if (member == Py_None) continue;
                Py_INCREF(member);
                self->members[i] = member;
            }
            failed = fill(self, &table, &points, &seeds, &weights) < 0;
        }
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&points);
    PyBuffer_Release(&seeds);
    PyBuffer_Release(&weights);
    if (failed) {
        Py_XDECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

static int Lookup_traverse(PyObject *object, visitproc visit, void *arg) {
    Lookup *self = (Lookup *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->nobody);
    for (uint32_t i = 0; i < self->count; i++) Py_VISIT(self->members[i]);
    return 0;
}

static int Lookup_clear(PyObject *object) {
    Lookup *self = (Lookup *)object;
    Py_CLEAR(self->nobody);
    for (uint32_t i = 0; i < self->count; i++) Py_CLEAR(self->members[i]);
    return 0;
}

static void Lookup_dealloc(PyObject *object) {
    Lookup *self = (Lookup *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Lookup_clear(object);
    PyMem_Free(self->members);
    PyMem_Free(self->table);
    PyMem_Free(self->points);
    PyMem_Free(self->starts);
    PyMem_Free(self->seeds);
    PyMem_Free(self->weights);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyMethodDef lookup_methods[] = {
    {"route", Lookup_route, METH_O, "route(key, /): the member of a key."},
    {"route_many", Lookup_route_many, METH_O, "route_many(keys, /): the members of keys, in their order."},
    {"slot", Lookup_slot, METH_O, "slot(key, /): what the key is reduced to."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lookup_slots[] = {
    {Py_tp_new, Lookup_new},
    {Py_tp_dealloc, Lookup_dealloc},
    {Py_tp_traverse, Lookup_traverse},
    {Py_tp_clear, Lookup_clear},
    {Py_tp_methods, lookup_methods},
    {0, NULL},
};

static PyType_Spec lookup_spec = {
    .name = "shuren.sharding.core.accel._native.Lookup",
    .basicsize = sizeof(Lookup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = lookup_slots,
};

/* --------------------------------------------------------------------------------------------------------------------------- module */

static PyObject *native_xxh64(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer data;
    PyObject *seed = NULL;
    if (!PyArg_ParseTuple(args, "y*|O!", &data, &PyLong_Type, &seed)) return NULL;
    uint64_t start = seed == NULL ? 0 : PyLong_AsUnsignedLongLong(seed);
    if (PyErr_Occurred()) {
        PyBuffer_Release(&data);
        return NULL;
    }
    uint64_t h = data.len == 0 ? xxh64((const unsigned char *)"", 0, start) : xxh64(data.buf, (size_t)data.len, start);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(h);
}

/* Whether a 16-bit number stands anywhere in a buffer of them. */
static PyObject *native_holds16(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer data;
    int number;
    if (!PyArg_ParseTuple(args, "y*i", &data, &number)) return NULL;
    const unsigned char *at = data.buf;
    Py_ssize_t left = data.len / 2;
    int there = 0;
    while (left > 0 && !there) {
        Py_ssize_t n = left < 4096 ? left : 4096;
        for (Py_ssize_t i = 0; i < n; i++) {
            uint16_t one;
            memcpy(&one, at + 2 * i, sizeof one);
            there |= one == number;
        }
        at += 2 * n;
        left -= n;
    }
    PyBuffer_Release(&data);
    return PyBool_FromLong(there);
}

static int native_exec(PyObject *module) {
    crc16_init();
    PyObject *type = PyType_FromModuleAndSpec(module, &lookup_spec, NULL);
    if (type == NULL) return -1;
    if (PyModule_AddObjectRef(module, "Lookup", type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    Py_DECREF(type);
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyMethodDef native_methods[] = {
    {"xxh64", native_xxh64, METH_VARARGS, "xxh64(data, seed=0, /): XXH64 of bytes as an int."},
    {"holds16", native_holds16, METH_VARARGS, "holds16(data, number, /): whether a 16-bit number stands in a buffer of them."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, native_exec},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "Accelerator of shuren.sharding; see native.c.",
    .m_methods = native_methods,
    .m_slots = native_slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&native_module); }

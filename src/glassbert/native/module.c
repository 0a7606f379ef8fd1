/* The kernels as a Python module: addresses and sizes in, the number of threads that took part out. `__init__.py`
   beside it checks what it passes. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <string.h>
#include <sys/mman.h>
#ifdef TILES
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

/* The entry of the OpenMP runtime that torch has loaded, so that both use the same threads. It is weak: where there is
   none, it is null, and the module refuses to be imported. */
extern void GOMP_parallel(void (*member)(void *), void *data, unsigned threads, unsigned flags) __attribute__((weak));
/* How many threads there are in such a call: fewer than were asked for, where it stands in another one. */
extern int omp_get_num_threads(void) __attribute__((weak));

/* Levels of processors: x86-64's names v3 (AVX2) and v4 (AVX-512), and v4 with tiles (AMX). */
typedef struct {
    const char *name;
    const Kernels *kernels;
    const Encoder *encoder, *rounding;   /* in float32; in bfloat16, where that is faster */
} Level;

/* The best is last. */
static const Level levels[] = {
    {"plain", &kernels_plain, &encoder_plain, NULL},
#ifdef X86_LEVELS
    {"v3", &kernels_v3, &encoder_v3, NULL},
    {"v4", &kernels_v4, &encoder_v4, NULL},
#endif
#ifdef TILES
    {"amx", &kernels_v4, &encoder_amx, &encoder_amx_rounding},
#endif
};
enum { LEVELS = sizeof levels / sizeof *levels };

static const Kernels *kernels = &kernels_plain;
static const Level *current = levels;

static void use(int level)
{
    current = levels + level;
    kernels = current->kernels;
}

#ifdef TILES
/* Whether there are tiles of bfloat16, vectors are rounded to it, and the system lets this process have tiles: they are
   large, so it wants to be asked. */
static int has_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & AMX_BF16 && d & AMX_TILE &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & AVX512_BF16 &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif

static int has(int level)
{
#ifdef X86_LEVELS
    __builtin_cpu_init();
    if (level == 1) return __builtin_cpu_supports("x86-64-v3");
    if (level == 2) return __builtin_cpu_supports("x86-64-v4");
#endif
#ifdef TILES
    if (level == 3) return __builtin_cpu_supports("x86-64-v4") && has_tiles();
#endif
    return level == 0;
}

Room room(long longest, long size)
{
    /* Whole vectors of any level, and so many queries that a tile of their scores stays in the nearest cache where
       sequences are short; where they are long, it stays in the next one. */
    long most = (longest + 15) / 16 * 16, queries = 8192 / longest / 32 * 32;
    queries = queries < 32 ? 32 : queries;
    queries = queries < most ? queries : most;
    return (Room){queries, queries * (size + 3 * longest)};
}

/* What the threads of a call share; each takes the next items until there are none. */
typedef struct {
    Work *work;
    const void *job;
    float *scratch;
    long room, items, step;
    long next, members;
} Team;

static void member(void *data)
{
    Team *team = data;
    float *scratch = team->scratch + team->room * __atomic_fetch_add(&team->members, 1, __ATOMIC_RELAXED);
    for (;;) {
        long first = __atomic_fetch_add(&team->next, team->step, __ATOMIC_RELAXED), last = first + team->step;
        if (first >= team->items) return;
        team->work(team->job, scratch, first, last < team->items ? last : team->items);
    }
}

static PyObject *share(Team team, long threads)
{
    long most = (team.items + team.step - 1) / team.step;
    threads = threads < most ? threads : most;
    Py_BEGIN_ALLOW_THREADS
    if (threads > 1) GOMP_parallel(member, &team, (unsigned)threads, 0);
    else member(&team);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(team.members);
}

static PyObject *share_elements(Work *work, const Elements *job, long threads)
{
    /* Pieces of 8,192 numbers are worth waking a thread for. */
    const long blocks = (job->count + BLOCK - 1) / BLOCK;
    return share((Team){.work = work, .job = job, .items = blocks, .step = 8192 / BLOCK}, threads);
}

static void *address(unsigned long long number) { return (void *)(uintptr_t)number; }

static PyObject *gelu(PyObject *self, PyObject *arguments)
{
    unsigned long long values, result;
    long count, threads;
    if (!PyArg_ParseTuple(arguments, "KKll", &values, &result, &count, &threads)) return NULL;
    Elements job = {.values = address(values), .result = address(result), .count = count};
    return share_elements(kernels->gelu, &job, threads);
}

static PyObject *gelu_backward(PyObject *self, PyObject *arguments)
{
    unsigned long long values, gradient, result;
    long count, threads;
    if (!PyArg_ParseTuple(arguments, "KKKll", &values, &gradient, &result, &count, &threads)) return NULL;
    Elements job = {
        .values = address(values), .gradient = address(gradient), .result = address(result), .count = count};
    return share_elements(kernels->gelu_backward, &job, threads);
}

static PyObject *dropout(PyObject *self, PyObject *arguments)
{
    unsigned long long values, result, seed;
    unsigned dropped;
    float scale;
    long count, threads;
    if (!PyArg_ParseTuple(arguments, "KKlKIfl", &values, &result, &count, &seed, &dropped, &scale, &threads))
        return NULL;
    Elements job = {
        .values = address(values),
        .result = address(result),
        .count = count,
        .dropping = {seed, dropped, scale},
    };
    return share_elements(kernels->dropout, &job, threads);
}

/* Of attention, forward or backward: addresses in the order of the struct, then sizes. */
static PyObject *attention(PyObject *arguments, int backward)
{
    unsigned long long query, key, value, context, tops, shares, gradient;
    unsigned long long by_query, by_key, by_value, starts, scratch, seed;
    unsigned dropped;
    float scale;
    long sequences, heads, size, longest, threads;
    int first_only;
    if (!PyArg_ParseTuple(arguments, "(KKKKKKKKKK)K(llll)pKIfKl", &query, &key, &value, &context, &tops, &shares,
                          &gradient, &by_query, &by_key, &by_value, &starts, &sequences, &heads, &size, &longest,
                          &first_only, &seed, &dropped, &scale, &scratch, &threads))
        return NULL;
    Attention job = {
        .query = address(query),
        .key = address(key),
        .value = address(value),
        .context = address(context),
        .tops = address(tops),
        .shares = address(shares),
        .gradient = address(gradient),
        .by_query = address(by_query),
        .by_key = address(by_key),
        .by_value = address(by_value),
        .starts = address(starts),
        .sequences = sequences,
        .heads = heads,
        .size = size,
        .longest = longest,
        .first_only = first_only,
        .dropping = {seed, dropped, scale},
    };
    Team team = {
        .work = backward ? kernels->attend_backward : kernels->attend,
        .job = &job,
        .scratch = address(scratch),
        .room = room(longest, size).total,
        .items = sequences * heads,
        .step = 1,
    };
    return share(team, threads);
}

static PyObject *attend(PyObject *self, PyObject *arguments) { return attention(arguments, 0); }

static PyObject *attend_backward(PyObject *self, PyObject *arguments) { return attention(arguments, 1); }

/* Of tokens, so many at once that waking a thread for them is worth it. */
static PyObject *share_tokens(Work *work, const void *job, long tokens, long size, long threads)
{
    const long step = size < 8192 ? 8192 / size : 1;
    return share((Team){.work = work, .job = job, .items = tokens, .step = step}, threads);
}

static PyObject *quantize(PyObject *self, PyObject *arguments)
{
    unsigned long long values, rounded, least, steps;
    long tokens, size, threads;
    int levels;
    if (!PyArg_ParseTuple(arguments, "KKKKllil", &values, &rounded, &least, &steps, &tokens, &size, &levels, &threads))
        return NULL;
    Rounding job = {
        .values = address(values),
        .rounded = address(rounded),
        .least = address(least),
        .steps = address(steps),
        .tokens = tokens,
        .size = size,
        .levels = (float)levels,
    };
    return share_tokens(kernels->quantize, &job, tokens, size, threads);
}

static PyObject *rescale(PyObject *self, PyObject *arguments)
{
    unsigned long long products, least, steps, sums, bias;
    long tokens, size, threads;
    if (!PyArg_ParseTuple(arguments, "KKKKKlll", &products, &least, &steps, &sums, &bias, &tokens, &size, &threads))
        return NULL;
    Scaling job = {
        .products = address(products),
        .least = address(least),
        .steps = address(steps),
        .sums = address(sums),
        .bias = address(bias),
        .tokens = tokens,
        .size = size,
    };
    return share_tokens(kernels->rescale, &job, tokens, size, threads);
}

/* The encoder in float32 or, where `rounding`, in bfloat16; NULL and an exception where there is none. */
static const Encoder *encoder_of(int rounding)
{
    const Encoder *found = rounding ? current->rounding : current->encoder;
    if (found == NULL) PyErr_Format(PyExc_ValueError, "level %s multiplies no bfloat16", current->name);
    return found;
}

static PyObject *rounds(PyObject *self, PyObject *none) { return PyBool_FromLong(current->rounding != NULL); }

static PyObject *pack(PyObject *self, PyObject *arguments)
{
    unsigned long long weight, packed;
    long columns, depth, threads;
    int rounding;
    if (!PyArg_ParseTuple(arguments, "KKllpl", &weight, &packed, &columns, &depth, &rounding, &threads)) return NULL;
    const Encoder *encoder = encoder_of(rounding);
    if (encoder == NULL) return NULL;
    if (packed == 0) return PyLong_FromLong(encoder->packed_size(columns, depth));
    Packing job = {.weight = address(weight), .packed = address(packed), .columns = columns, .depth = depth};
    const long panels = (columns + PANEL - 1) / PANEL;
    return share((Team){.work = encoder->pack, .job = &job, .items = panels, .step = 1}, threads);
}

/* Memory that is not written yet, and will be read from end to end: with large pages there are fewer addresses to look up.
   Where the system has none, nothing is lost. */
static PyObject *enlarge_pages(PyObject *self, PyObject *arguments)
{
    unsigned long long memory;
    long bytes;
    if (!PyArg_ParseTuple(arguments, "Kl", &memory, &bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    enum { LARGE = 2 << 20 };
    const uintptr_t first = (memory + LARGE - 1) / LARGE * LARGE, last = (memory + bytes) / LARGE * LARGE;
    if (last > first) madvise((void *)first, last - first, MADV_HUGEPAGE);
#endif
    Py_RETURN_NONE;
}

/* Threads that share all bundles. */
typedef struct {
    Together *work;
    const Encoding *job;
    float *memory;
    long members;
    Meeting meeting;
} Group;

static void member_of_group(void *data)
{
    Group *group = data;
    const long member = __atomic_fetch_add(&group->members, 1, __ATOMIC_RELAXED);
    group->work(group->job, group->memory, member, omp_get_num_threads(), &group->meeting);
}

static PyObject *encode(PyObject *self, PyObject *arguments)
{
    unsigned long long model, ids, kinds, positions, embeds, seen, starts, bundles, picked, picked_starts, result, states;
    unsigned long long memory;
    long sequences, bundle_count, most_tokens, longest, threads;
    int together, rounding;
    if (!PyArg_ParseTuple(arguments, "K(KKKKKKKKKKK)(llllp)Kpl", &model, &ids, &kinds, &positions, &embeds, &seen,
                          &starts, &bundles, &picked, &picked_starts, &result, &states, &sequences, &bundle_count,
                          &most_tokens, &longest, &together, &memory, &rounding, &threads))
        return NULL;
    const Encoder *encoder = encoder_of(rounding);
    if (encoder == NULL) return NULL;
    Encoding job = {
        .model = address(model),
        .ids = address(ids),
        .kinds = address(kinds),
        .positions = address(positions),
        .embeds = address(embeds),
        .seen = address(seen),
        .starts = address(starts),
        .bundles = address(bundles),
        .picked = address(picked),
        .picked_starts = address(picked_starts),
        .result = address(result),
        .states = address(states),
        .sequences = sequences,
        .bundle_count = bundle_count,
        .most_tokens = most_tokens,
        .longest = longest,
        .together = together,
        .threads = threads,
    };
    if (memory == 0) return PyLong_FromLong(encoder->memory(&job));
    if (!together) {
        const long room = encoder->memory(&job) / threads;
        return share((Team){encoder->encode, &job, address(memory), room, bundle_count, 1, 0, 0}, threads);
    }
    Group group = {.work = encoder->encode_together, .job = &job, .memory = address(memory)};
    Py_BEGIN_ALLOW_THREADS
    GOMP_parallel(member_of_group, &group, (unsigned)threads, 0);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(group.members);
}

static PyObject *look(PyObject *self, PyObject *arguments)
{
    unsigned long long arrays, finite;
    long count, threads, items = 0;
    if (!PyArg_ParseTuple(arguments, "KKll", &arrays, &finite, &count, &threads)) return NULL;
    Array *each = address(arrays);
    for (long i = 0; i < count; i++) {
        each[i].first = items;
        items += (each[i].bytes + PIECE - 1) / PIECE;
    }
    Arrays job = {.arrays = each, .count = count, .finite = address(finite)};
    return share((Team){.work = look_for_finite, .job = &job, .items = items, .step = 1}, threads);
}

static PyObject *scratch(PyObject *self, PyObject *arguments)
{
    long longest, size;
    if (!PyArg_ParseTuple(arguments, "ll", &longest, &size)) return NULL;
    return PyLong_FromLong(room(longest, size).total);
}

static PyObject *names_of_levels(PyObject *self, PyObject *none)
{
    PyObject *names = PyList_New(0);
    for (int i = 0; names != NULL && i < LEVELS; i++) {
        if (!has(i)) continue;
        PyObject *name = PyUnicode_FromString(levels[i].name);
        if (name == NULL || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *use_level(PyObject *self, PyObject *arguments)
{
    const char *name;
    if (!PyArg_ParseTuple(arguments, "s", &name)) return NULL;
    for (int i = 0; i < LEVELS; i++)
        if (has(i) && strcmp(levels[i].name, name) == 0) {
            use(i);
            Py_RETURN_NONE;
        }
    return PyErr_Format(PyExc_ValueError, "this processor has no level %s", name);
}

static PyMethodDef functions[] = {
    {"gelu", gelu, METH_VARARGS, NULL},
    {"gelu_backward", gelu_backward, METH_VARARGS, NULL},
    {"dropout", dropout, METH_VARARGS, NULL},
    {"attend", attend, METH_VARARGS, NULL},
    {"attend_backward", attend_backward, METH_VARARGS, NULL},
    {"quantize", quantize, METH_VARARGS, NULL},
    {"rescale", rescale, METH_VARARGS, NULL},
    {"rounds", rounds, METH_NOARGS, NULL},
    {"pack", pack, METH_VARARGS, NULL},
    {"enlarge_pages", enlarge_pages, METH_VARARGS, NULL},
    {"encode", encode, METH_VARARGS, NULL},


    {"finite", look, METH_VARARGS, NULL},
    {"scratch", scratch, METH_VARARGS, NULL},
    {"levels", names_of_levels, METH_NOARGS, NULL},
    {"use_level", use_level, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_size = -1, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    if (GOMP_parallel == NULL || omp_get_num_threads == NULL) {
        PyErr_SetString(PyExc_ImportError, "no OpenMP runtime is loaded");
        return NULL;
    }
    for (int i = 0; i < LEVELS; i++)
        if (has(i)) use(i);
    return PyModule_Create(&definition);
}

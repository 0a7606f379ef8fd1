/* Whether all numbers of arrays are finite, for floats of any width. Plain code keeps up with the memory, so this is not
   compiled again for wider vectors. */

#include "kernels.h"

#include <string.h>

/* In memory a vector may stand anywhere. */
typedef uint64_t Words __attribute__((vector_size(16)));
typedef uint64_t Loose __attribute__((vector_size(16), aligned(1), may_alias));

/* Bytes of a line of the cache, vectors in it, and how many bytes ahead lines are asked for, without which a
   mapped file is read slower. */
enum { LINE = 64, VECTORS = LINE / sizeof(Words), AHEAD = 2048 };

/* An exponent whose bits are all ones stands for NaN or infinity. Adding its lowest bit carries into the place of the
   sign then, and only then; the carry goes no further, whatever number stands beside it in the word. */
static int all_finite(const char *bytes, long count, uint64_t exponents)
{
    const uint64_t lowest = exponents & ~(exponents << 1), signs = exponents + lowest;
    const Words wanted = {exponents, exponents}, carry = {lowest, lowest};
    const long whole = count / LINE * LINE;
    Words last[VECTORS] = {0}, found[VECTORS] = {0}, any = {0};
    for (long at = 0; at < whole; at += LINE) {
        __builtin_prefetch(bytes + at + AHEAD);
        for (int i = 0; i < VECTORS; i++)
            found[i] |= (*(const Loose *)(bytes + at + i * (long)sizeof(Words)) & wanted) + carry;
    }
    memcpy(last, bytes + whole, (size_t)(count - whole));
    for (int i = 0; i < VECTORS; i++) any |= found[i] | ((last[i] & wanted) + carry);
    return ((any[0] | any[1]) & signs) == 0;
}

void look_for_finite(const void *given, float *scratch, long first, long last)
{
    const Arrays *job = given;
    long array = 0;
    (void)scratch;
    for (long item = first; item < last; item++) {
        while (array + 1 < job->count && job->arrays[array + 1].first <= item) array++;
        const Array *one = job->arrays + array;
        const long begin = (item - one->first) * PIECE, left = one->bytes - begin;
        const char *bytes = (const char *)(uintptr_t)one->address + begin;
        if (!all_finite(bytes, left < PIECE ? left : PIECE, (uint64_t)one->exponents))
            __atomic_store_n(job->finite + array, 0, __ATOMIC_RELAXED);
    }
}

/* What the kernels are made of: vectors of any width, the functions that BERT needs of them, and products of matrices.

   A compiler's own vectors are used in place of the instructions of one processor, so all of it stands here once for all
   levels; the compiler's macros say how wide the vectors are. */

#ifndef GLASSBERT_VECTORS_H
#define GLASSBERT_VECTORS_H

#include "kernels.h"

#include <math.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* Rows and vectors of a product that stand in registers at once. 12 sums hide the time that an addition takes; where
   there are registers for 24, each number that is loaded takes part in twice as many of them. */
#if defined(__AVX512F__)
#define LANES 16
#define ROWS 14
#elif defined(__AVX__)
#define LANES 8
#define ROWS 6
#else
#define LANES 4
#define ROWS 6
#endif
#define WIDTH 2

#define INLINE static inline __attribute__((always_inline))
#define JOIN(one, other) one##other
#define NAMED(one, other) JOIN(one, other)

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Signs __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
/* In memory a vector may stand anywhere. */
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE Vector load(const float *from) { return *(const Loose *)from; }

INLINE void store(float *to, Vector values) { *(Loose *)to = values; }

/* The first `count` lanes; the others are zero. */
INLINE Vector load_some(const float *from, long count)
{
    Vector values = {0};
    memcpy(&values, from, (size_t)count * sizeof(float));
    return values;
}

INLINE void store_some(float *to, Vector values, long count) { memcpy(to, &values, (size_t)count * sizeof(float)); }

INLINE Vector all(float value) { return value - (Vector){0}; }

INLINE Vector choose(Signs which, Vector yes, Vector no)
{
    return (Vector)((which & (Signs)yes) | (~which & (Signs)no));
}

INLINE Vector keep(Signs which, Vector values) { return (Vector)(which & (Signs)values); }

/* 1 / x of a finite number from 1 on, within 2 units of the last place. */
INLINE Vector reciprocal(Vector x)
{
#if defined(__AVX512F__)
    /* A guess of 14 bits and one step of Newton's, which take less time than a division. */
    Vector guess = (Vector)_mm512_rcp14_ps((__m512)x);
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

/* e^x for x <= 0, within 2 units of the last place; 0 below the smallest normal number. */
INLINE Vector exponential(Vector x)
{
    /* x = n ln 2 + r. Adding 1.5 * 2^23 rounds to a whole n, which then stands in the lowest bits. */
    const float shift = 12582912.0f;
    Vector shifted = x * 1.44269504f + shift;
    Vector n = shifted - shift;
    Vector r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts: n times the first is exact */
    /* e^r for |r| <= ln 2 / 2 by a polynomial, fitted to the least largest error (2e-9). */
    Vector power = all(1.38368079e-3f);
    power = power * r + 8.37484591e-3f;
    power = power * r + 4.16682278e-2f;
    power = power * r + 1.66664198e-1f;
    power = power * r + 4.99999921e-1f;
    power = power * r + 1.00000004f;
    power = power * r + 1.0f;
    Vector two_to_n = (Vector)(((Signs)shifted + 127) << 23);
    return choose(x < -87.0f, all(0.0f), power * two_to_n);
}

/* The share of a normal distribution below x, and e^(-x²/2), which its derivative is made of. */
INLINE Vector normal(Vector x, Vector *density)
{
    Vector square = x * x, distance = (Vector)((Signs)x & 0x7fffffff);
    *density = exponential(square * -0.5f);
    /* erfc(z) = e^(-z²) t P(t) with t = 1 / (1 + 0.4 z) and z = |x| / √2: the form of Abramowitz and Stegun 7.1.26 with
       a polynomial fitted for this t. Half of it is in the numbers here; error 1.4e-8. */
    Vector t = reciprocal(1.0f + 0.28284271f * choose(distance < 100.0f, distance, all(100.0f)));
    Vector tail = all(-0.100129891f);
    tail = tail * t + 0.354574762f;
    tail = tail * t - 0.185455751f;
    tail = tail * t + 0.23413852f;
    tail = tail * t + 0.0809112071f;
    tail = tail * t + 0.115961138f;
    tail = tail * t * *density;
    /* Near 0 rounding t would cost more than that. There erf is odd: x times a polynomial of x², error 7e-9. */
    Vector middle = all(9.2468381e-5f);
    middle = middle * square - 0.00116535076f;
    middle = middle * square + 0.00996416682f;
    middle = middle * square - 0.06648873f;
    middle = middle * square + 0.398942199f;
    Vector far = choose(x < 0.0f, tail, 1.0f - tail);
    return choose(distance < 1.0f, 0.5f + x * middle, far);
}

INLINE Vector gelu_of(Vector x)
{
    Vector density;
    return x * normal(x, &density);
}

/* 1 / (1 + e^-x), within 4 units of the last place. */
INLINE Vector logistic(Vector x)
{
    Vector distance = (Vector)((Signs)x & 0x7fffffff), small = exponential(-distance);
    return choose(x < 0.0f, small, all(1.0f)) * reciprocal(1.0f + small);
}

INLINE Vector first_lanes(Vector values, long count)
{
    Vector found = {0};
    memcpy(&found, &values, (size_t)count * sizeof(float));
    return found;
}

INLINE float total(Vector values)
{
    float sum = 0.0f;
    for (int lane = 0; lane < LANES; lane++) sum += values[lane];
    return sum;
}

INLINE long round_up(long count) { return (count + LANES - 1) / LANES * LANES; }

/* A matrix whose number (i, j) stands at `at[i * row + j * column]`. */
typedef struct {
    const float *at;
    long row, column;
} Matrix;

/* What will be read next: a product calls it into the cache, some at each step of its depth. */
typedef struct {
    const char *at;
    long pace;   /* bytes a step; a tile goes on where the one before ended */
} Ahead;

#define NOTHING ((Ahead){NULL, 0})

/* Write, or add, `rows` x (`width` vectors, or `some` numbers) of a product, and a row of `bias` where there is one; all
   but the places are constants. The loops over rows and vectors are written out, so that the sums stand in registers.
   What was there is added last: small products would lose digits, one after the other, in a sum with a large number. */
INLINE void product_tile(float *out, long out_row, Matrix one, const float *other, long other_row, long depth, int add,
                         const float *bias, Ahead ahead, const int rows, const int width, const long some)
{
    Vector sums[ROWS][WIDTH];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < width; j++) sums[i][j] = bias ? load(bias + j * LANES) : all(0.0f);
    for (long k = 0; k < depth; k++) {
        Vector line[WIDTH];
        if (ahead.at) __builtin_prefetch(ahead.at + k * ahead.pace, 0, 2);
#pragma GCC unroll 2
        for (int j = 0; j < width; j++) {
            const float *place = other + k * other_row + j * LANES;
            line[j] = some ? load_some(place, some) : load(place);
        }
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            float factor = one.at[i * one.row + k * one.column];
#pragma GCC unroll 2
            for (int j = 0; j < width; j++) sums[i][j] += factor * line[j];
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < width; j++) {
            float *place = out + i * out_row + j * LANES;
            if (add) sums[i][j] += some ? load_some(place, some) : load(place);
            if (some) store_some(place, sums[i][j], some);
            else store(place, sums[i][j]);
        }
}

INLINE long tiles_of(long rows) { return (rows + ROWS - 1) / ROWS; }

/* Some columns of a product, all rows, in tiles that are as equal as can be: a tile of one row takes nearly as long as
   one of several. */
INLINE void product_strip(float *out, long out_row, Matrix one, const float *other, long other_row, long rows,
                          long depth, int add, const float *bias, Ahead ahead, const int width, const long some)
{
    for (long tiles = tiles_of(rows); tiles > 0; tiles--) {
        const long taken = (rows + tiles - 1) / tiles;
#define TAKE(count) product_tile(out, out_row, one, other, other_row, depth, add, bias, ahead, count, width, some)
        switch (taken) {
        case 1: TAKE(1); break;
        case 2: TAKE(2); break;
        case 3: TAKE(3); break;
        case 4: TAKE(4); break;
        case 5: TAKE(5); break;
#if ROWS > 6
        case 6: TAKE(6); break;
        case 7: TAKE(7); break;
        case 8: TAKE(8); break;
        case 9: TAKE(9); break;
        case 10: TAKE(10); break;
        case 11: TAKE(11); break;
        case 12: TAKE(12); break;
        case 13: TAKE(13); break;
#endif
        default: TAKE(ROWS);
        }
#undef TAKE
        rows -= taken;
        out += taken * out_row;
        one.at += taken * one.row;
        if (ahead.at) ahead.at += depth * ahead.pace;
    }
}

/* out (rows, columns) = one (rows, depth) · other (depth, columns), or out += that. Each number is summed up in the
   order of depth, so that it does not depend on where a tile begins. */
static void product(float *out, long out_row, Matrix one, const float *other, long other_row, long rows, long columns,
                    long depth, int add)
{
    long left = columns;
    for (; left >= WIDTH * LANES; left -= WIDTH * LANES, out += WIDTH * LANES, other += WIDTH * LANES)
        product_strip(out, out_row, one, other, other_row, rows, depth, add, NULL, NOTHING, WIDTH, 0);
    for (; left >= LANES; left -= LANES, out += LANES, other += LANES)
        product_strip(out, out_row, one, other, other_row, rows, depth, add, NULL, NOTHING, 1, 0);
    if (left > 0) product_strip(out, out_row, one, other, other_row, rows, depth, add, NULL, NOTHING, 1, left);
}

#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
/* One step of turning LANES x LANES numbers: rows `step` apart exchange the lanes that are. */
#if LANES == 16
#define LANES_OF(lane) lane(0), lane(1), lane(2), lane(3), lane(4), lane(5), lane(6), lane(7), lane(8), lane(9), \
                       lane(10), lane(11), lane(12), lane(13), lane(14), lane(15)
#elif LANES == 8
#define LANES_OF(lane) lane(0), lane(1), lane(2), lane(3), lane(4), lane(5), lane(6), lane(7)
#else
#define LANES_OF(lane) lane(0), lane(1), lane(2), lane(3)
#endif
#define EXCHANGE(rows, step)                                                                              \
    for (int i = 0; i < LANES; i++)                                                                       \
        if (!(i & (step))) {                                                                              \
            Vector one = rows[i], other = rows[i + (step)];                                               \
            rows[i] = __builtin_shufflevector(one, other, LANES_OF(UPPER_##step));                        \
            rows[i + (step)] = __builtin_shufflevector(one, other, LANES_OF(LOWER_##step));               \
        }
#define UPPER(lane, step) ((lane) & (step) ? LANES + (lane) - (step) : (lane))
#define LOWER(lane, step) ((lane) & (step) ? LANES + (lane) : (lane) + (step))
#define UPPER_1(lane) UPPER(lane, 1)
#define UPPER_2(lane) UPPER(lane, 2)
#define UPPER_4(lane) UPPER(lane, 4)
#define UPPER_8(lane) UPPER(lane, 8)
#define LOWER_1(lane) LOWER(lane, 1)
#define LOWER_2(lane) LOWER(lane, 2)
#define LOWER_4(lane) LOWER(lane, 4)
#define LOWER_8(lane) LOWER(lane, 8)

INLINE void turn(float *to, long to_row, const float *from, long step, long count)
{
    Vector rows[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) rows[i] = i < count ? load(from + i * step) : all(0.0f);
#if LANES > 8
#pragma GCC unroll 16
    EXCHANGE(rows, 8)
#endif
#if LANES > 4
#pragma GCC unroll 16
    EXCHANGE(rows, 4)
#endif
#pragma GCC unroll 16
    EXCHANGE(rows, 2)
#pragma GCC unroll 16
    EXCHANGE(rows, 1)
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) store(to + i * to_row, rows[i]);
}
#else
INLINE void turn(float *to, long to_row, const float *from, long step, long count)
{
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++) to[j * to_row + i] = i < count ? from[i * step + j] : 0.0f;
}
#endif

/* (count, size) at a distance of `step` -> (size, count), filled up with zeros to whole vectors. */
static void transpose(float *to, long to_row, const float *from, long step, long count, long size)
{
    const long columns = size / LANES * LANES;
    for (long row = 0; row < count; row += LANES) {
        const long some = count - row < LANES ? count - row : LANES;
        for (long column = 0; column < columns; column += LANES)
            turn(to + column * to_row + row, to_row, from + row * step + column, step, some);
        for (long column = columns; column < size; column++)
            for (long i = 0; i < LANES; i++)
                to[column * to_row + row + i] = i < some ? from[(row + i) * step + column] : 0.0f;
    }
}

#endif

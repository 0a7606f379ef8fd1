/* GELU, dropout and attention for training, forward and backward, and what int8 needs around its products, written once
   for vectors of any width.

   LEVEL names the processor that this copy is compiled for; the compiler's own macros say how wide its vectors are.
   Attention follows arXiv 2205.14135 in what it keeps: two numbers a row, from which the backward pass makes the
   weights again. It follows its own way in the rest: a row of scores is never cut, since BERT's are short. */

#include "kernels.h"

#include <math.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

/* Rows and vectors of a product that stand in registers at once; 12 sums hide the time that an addition takes. */
#define ROWS 6
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
    Vector t = 1.0f / (1.0f + 0.28284271f * distance);
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

INLINE Vector slope_of_gelu(Vector x)
{
    Vector density;
    Vector share = normal(x, &density);
    return share + x * density * 0.39894228f; /* 1 / √(2π) */
}

static void gelu(const void *given, float *scratch, long first, long last)
{
    const Elements *job = given;
    (void)scratch;
    long end = last * BLOCK < job->count ? last * BLOCK : job->count, at = first * BLOCK;
    for (; at + LANES <= end; at += LANES) store(job->result + at, gelu_of(load(job->values + at)));
    if (at < end) store_some(job->result + at, gelu_of(load_some(job->values + at, end - at)), end - at);
}

static void gelu_backward(const void *given, float *scratch, long first, long last)
{
    const Elements *job = given;
    (void)scratch;
    long end = last * BLOCK < job->count ? last * BLOCK : job->count, at = first * BLOCK;
    for (; at + LANES <= end; at += LANES)
        store(job->result + at, load(job->gradient + at) * slope_of_gelu(load(job->values + at)));
    if (at < end) {
        Vector slope = slope_of_gelu(load_some(job->values + at, end - at));
        store_some(job->result + at, load_some(job->gradient + at, end - at) * slope, end - at);
    }
}

/* Words `first` and following of a seed's random bits; `first` is a multiple of LANES.

   A counter is mixed with the seed by multiplication and shifts, so any word can be made again by itself. The last
   two rounds are those of "lowbias32" (Chris Wellons, 2018), a mixer searched for the least bias. */
INLINE Words random_words(uint64_t seed, uint64_t first)
{
    Words word;
    for (int lane = 0; lane < LANES; lane++) word[lane] = (uint32_t)lane;
    word += (uint32_t)first;
    word ^= (uint32_t)seed ^ (uint32_t)(first >> 32) * 0x85ebca6bu;
    word *= 0x9e3779b1u;
    word ^= word >> 16;
    word ^= (uint32_t)(seed >> 32);
    word *= 0x7feb352du;
    word ^= word >> 15;
    word *= 0x846ca68bu;
    return word ^ word >> 16;
}

/* Number 32 b + l, l < 16, is decided by the low half of word 16 b + l, and number 32 b + 16 + l by its high half,
   whatever the width of a vector. */
INLINE Signs low_kept(Words words, Dropping dropping) { return (Signs)(words & 0xffff) >= (int32_t)dropping.dropped; }

INLINE Signs high_kept(Words words, Dropping dropping) { return (Signs)(words >> 16) >= (int32_t)dropping.dropped; }

INLINE void drop_block(float *result, const float *values, uint64_t block, Dropping dropping)
{
    for (int lane = 0; lane < 16; lane += LANES) {
        Words words = random_words(dropping.seed, block * 16 + (uint64_t)lane);
        store(result + lane, keep(low_kept(words, dropping), load(values + lane) * dropping.scale));
        store(result + 16 + lane, keep(high_kept(words, dropping), load(values + 16 + lane) * dropping.scale));
    }
}

static void dropout(const void *given, float *scratch, long first, long last)
{
    const Elements *job = given;
    (void)scratch;
    for (long block = first; block < last; block++) {
        long at = block * BLOCK, left = job->count - at;
        if (left >= BLOCK) {
            drop_block(job->result + at, job->values + at, (uint64_t)block, job->dropping);
        } else {
            float some[BLOCK] = {0};
            memcpy(some, job->values + at, (size_t)left * sizeof(float));
            drop_block(some, some, (uint64_t)block, job->dropping);
            memcpy(job->result + at, some, (size_t)left * sizeof(float));
        }
    }
}

/* A matrix whose number (i, j) stands at `at[i * row + j * column]`. */
typedef struct {
    const float *at;
    long row, column;
} Matrix;

/* Write, or add, `rows` x (`width` vectors, or `some` numbers) of a product; all but the places are constants. */
INLINE void product_tile(float *out, long out_row, Matrix one, const float *other, long other_row, long depth, int add,
                         const int rows, const int width, const long some)
{
    Vector sums[ROWS][WIDTH];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < width; j++) {
            float *place = out + i * out_row + j * LANES;
            sums[i][j] = !add ? all(0.0f) : some ? load_some(place, some) : load(place);
        }
    for (long k = 0; k < depth; k++) {
        Vector line[WIDTH];
        for (int j = 0; j < width; j++) {
            const float *place = other + k * other_row + j * LANES;
            line[j] = some ? load_some(place, some) : load(place);
        }
        for (int i = 0; i < rows; i++) {
            float factor = one.at[i * one.row + k * one.column];
            for (int j = 0; j < width; j++) sums[i][j] += factor * line[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < width; j++) {
            float *place = out + i * out_row + j * LANES;
            if (some) store_some(place, sums[i][j], some);
            else store(place, sums[i][j]);
        }
}

INLINE void product_strip(float *out, long out_row, Matrix one, const float *other, long other_row, long rows,
                          long depth, int add, const int width, const long some)
{
    for (; rows > 0; rows -= ROWS, out += ROWS * out_row, one.at += ROWS * one.row) {
        switch (rows) {
        case 1: product_tile(out, out_row, one, other, other_row, depth, add, 1, width, some); break;
        case 2: product_tile(out, out_row, one, other, other_row, depth, add, 2, width, some); break;
        case 3: product_tile(out, out_row, one, other, other_row, depth, add, 3, width, some); break;
        case 4: product_tile(out, out_row, one, other, other_row, depth, add, 4, width, some); break;
        case 5: product_tile(out, out_row, one, other, other_row, depth, add, 5, width, some); break;
        default: product_tile(out, out_row, one, other, other_row, depth, add, ROWS, width, some);
        }
    }
}

/* out (rows, columns) = one (rows, depth) · other (depth, columns), or out += that. Each number is summed up in the
   order of depth, so that it does not depend on where a tile begins. */
static void product(float *out, long out_row, Matrix one, const float *other, long other_row, long rows, long columns,
                    long depth, int add)
{
    long left = columns;
    for (; left >= WIDTH * LANES; left -= WIDTH * LANES, out += WIDTH * LANES, other += WIDTH * LANES)
        product_strip(out, out_row, one, other, other_row, rows, depth, add, WIDTH, 0);
    for (; left >= LANES; left -= LANES, out += LANES, other += LANES)
        product_strip(out, out_row, one, other, other_row, rows, depth, add, 1, 0);
    if (left > 0) product_strip(out, out_row, one, other, other_row, rows, depth, add, 1, left);
}

INLINE long round_up(long count) { return (count + LANES - 1) / LANES * LANES; }

/* (count, size) at a distance of `step` -> (size, count), filled up with zeros to whole vectors. */
static void transpose(float *to, long to_row, const float *from, long step, long count, long size)
{
    for (long column = 0; column < size; column++) {
        for (long row = 0; row < count; row++) to[column * to_row + row] = from[row * step + column];
        for (long row = count; row < round_up(count); row++) to[column * to_row + row] = 0.0f;
    }
}

/* Queries of a head of a sequence that are worked on at once, and the keys that they see. Their scores stand in a tile
   (keys, queries), so that a vector holds several queries, and what belongs to one of them is summed up in its lane. */
typedef struct {
    const Attention *job;
    long keys, queries, row;   /* of a tile: how many, and numbers between two rows */
    long step;                 /* numbers between two tokens */
    long key, query;           /* the number in the stream that the first of them begin with */
    long found;                /* where `tops` and `shares` of the first query stand */
    uint64_t word;             /* the first word of random bits of the first key's row */
    uint64_t row_words;        /* between two rows */
} Tile;

/* Which queries from `query` on keep the weight of a key. */
INLINE Signs kept(const Tile *tile, long key, long query)
{
    uint64_t word = tile->word + (uint64_t)key * tile->row_words + (uint64_t)(query / 32 * 16 + query % 16);
    Words words = random_words(tile->job->dropping.seed, word);
    return query & 16 ? high_kept(words, tile->job->dropping) : low_kept(words, tile->job->dropping);
}

INLINE Vector load_part(const float *from, long left) { return left < LANES ? load_some(from, left) : load(from); }

INLINE void store_part(float *to, Vector values, long left)
{
    if (left < LANES) store_some(to, values, left);
    else store(to, values);
}

/* Scores -> exponentials below each query's largest score, zero where they are dropped. */
static void soften(const Tile *tile, long first_query, float *scores, float factor)
{
    const Attention *job = tile->job;
    for (long query = 0; query < tile->queries; query += LANES) {
        float *column = scores + query;
        Vector top = load(column), sum = all(0.0f);
        for (long key = 1; key < tile->keys; key++) {
            Vector some = load(column + key * tile->row);
            top = choose(some > top, some, top);
        }
        for (long key = 0; key < tile->keys; key++) {
            Vector weights = exponential((load(column + key * tile->row) - top) * factor);
            sum += weights;
            if (job->dropping.dropped) weights = keep(kept(tile, key, first_query + query), weights);
            store(column + key * tile->row, weights);
        }
        store_part(job->tops + tile->found + query, top, tile->queries - query);
        store_part(job->shares + tile->found + query, 1.0f / sum, tile->queries - query);
    }
}

/* Scores -> their gradients, and what is left of the weights; from the gradients of what is left of the weights. */
static void soften_backward(const Tile *tile, long first_query, float *scores, float *gradients, float *weights,
                            float factor)
{
    const Attention *job = tile->job;
    for (long query = 0; query < tile->queries; query += LANES) {
        const Vector top = load_part(job->tops + tile->found + query, tile->queries - query);
        const Vector share = load_part(job->shares + tile->found + query, tile->queries - query);
        /* A softmax takes from each gradient their mean, weighted by the weights. */
        Vector mean = all(0.0f);
        for (long key = 0; key < tile->keys; key++) {
            const long at = key * tile->row + query;
            Vector weight = exponential((load(scores + at) - top) * factor) * share;
            Vector left = weight * job->dropping.scale, gradient = load(gradients + at) * job->dropping.scale;
            if (job->dropping.dropped) {
                Signs stays = kept(tile, key, first_query + query);
                left = keep(stays, left);
                gradient = keep(stays, gradient);
            }
            mean += weight * gradient;
            store(scores + at, weight);
            store(gradients + at, gradient);
            store(weights + at, left);
        }
        for (long key = 0; key < tile->keys; key++) {
            const long at = key * tile->row + query;
            store(scores + at, load(scores + at) * (load(gradients + at) - mean) * factor);
        }
    }
}

/* The tile of an item that begins with query `first`; no queries are left where the sequence ends before. */
static Tile tile_of(const Attention *job, long item, long first)
{
    const Room space = room(job->longest, job->size);
    /* The stream holds the longest sequences last. Taken first, they leave small items to even out the threads. */
    const long sequence = job->sequences - 1 - item / job->heads, head = item % job->heads;
    const long begin = job->starts[sequence], keys = job->starts[sequence + 1] - begin;
    const long queries = (job->first_only ? 1 : keys) - first, query = first + (job->first_only ? sequence : begin);
    const uint64_t row_words = (uint64_t)((job->longest + 31) / 32 * 16);
    return (Tile){
        .job = job,
        .keys = keys,
        .queries = queries < space.queries ? queries : space.queries,
        .row = space.queries,
        .step = job->heads * job->size,
        .key = (begin * job->heads + head) * job->size,
        .query = (query * job->heads + head) * job->size,
        .found = head * (job->first_only ? job->sequences : job->starts[job->sequences]) + query,
        .word = (uint64_t)(begin * job->heads + head) * row_words,
        .row_words = row_words * (uint64_t)job->heads,
    };
}

static void attend(const void *given, float *scratch, long first, long last)
{
    const Attention *job = given;
    const long size = job->size;
    const float factor = 1.0f / sqrtf((float)size);
    for (long item = first; item < last; item++) {
        for (long begin = 0;;) {
            const Tile tile = tile_of(job, item, begin);
            if (tile.queries <= 0) break;
            float *turned = scratch, *scores = turned + size * tile.row, *context = job->context + tile.query;
            transpose(turned, tile.row, job->query + tile.query, tile.step, tile.queries, size);
            product(scores, tile.row, (Matrix){job->key + tile.key, tile.step, 1}, turned, tile.row, tile.keys,
                    round_up(tile.queries), size, 0);
            soften(&tile, begin, scores, factor);
            product(context, tile.step, (Matrix){scores, 1, tile.row}, job->value + tile.key, tile.step, tile.queries,
                    size, tile.keys, 0);
            for (long query = 0; query < tile.queries; query++) {
                const float share = job->shares[tile.found + query] * job->dropping.scale;
                for (long d = 0; d < size; d++) context[query * tile.step + d] *= share;
            }
            begin += tile.queries;
        }
    }
}

static void attend_backward(const void *given, float *scratch, long first, long last)
{
    const Attention *job = given;
    const long size = job->size;
    const float factor = 1.0f / sqrtf((float)size);
    for (long item = first; item < last; item++) {
        for (long begin = 0;;) {
            const Tile tile = tile_of(job, item, begin);
            if (tile.queries <= 0) break;
            const float *query = job->query + tile.query, *gradient = job->gradient + tile.query;
            const float *key = job->key + tile.key, *value = job->value + tile.key;
            float *turned = scratch, *scores = turned + size * tile.row, *by_weights = scores + job->longest * tile.row;
            float *weights = by_weights + job->longest * tile.row;
            const Matrix by_scores = {scores, tile.row, 1}, left = {weights, tile.row, 1};
            transpose(turned, tile.row, query, tile.step, tile.queries, size);
            product(scores, tile.row, (Matrix){key, tile.step, 1}, turned, tile.row, tile.keys, round_up(tile.queries),
                    size, 0);
            transpose(turned, tile.row, gradient, tile.step, tile.queries, size);
            product(by_weights, tile.row, (Matrix){value, tile.step, 1}, turned, tile.row, tile.keys,
                    round_up(tile.queries), size, 0);
            soften_backward(&tile, begin, scores, by_weights, weights, factor);
            product(job->by_query + tile.query, tile.step, (Matrix){scores, 1, tile.row}, key, tile.step, tile.queries,
                    size, tile.keys, 0);
            product(job->by_key + tile.key, tile.step, by_scores, query, tile.step, tile.keys, size, tile.queries,
                    begin > 0);
            product(job->by_value + tile.key, tile.step, left, gradient, tile.step, tile.keys, size, tile.queries,
                    begin > 0);
            begin += tile.queries;
        }
    }
}

typedef uint8_t Bytes __attribute__((vector_size(LANES)));

/* The lanes from `count` on repeat the first number, which changes neither the least nor the largest. */
INLINE Vector load_repeated(const float *from, long count)
{
    Vector values = all(from[0]);
    memcpy(&values, from, (size_t)count * sizeof(float));
    return values;
}

INLINE void quantize_token(const Rounding *job, long token)
{
    const float *values = job->values + token * job->size;
    uint8_t *rounded = job->rounded + token * job->size;
    const long size = job->size, whole = size / LANES * LANES;
    /* Comparisons pass over NaN. Times 0, what is not finite is NaN, and so is a sum with it. */
    Vector low = all(values[0]), high = low, spoiled = all(0.0f);
    for (long at = 0; at < size; at += LANES) {
        Vector some = at < whole ? load(values + at) : load_repeated(values + at, size - at);
        low = choose(some < low, some, low);
        high = choose(some > high, some, high);
        spoiled += some * 0.0f;
    }
    float least = low[0], most = high[0], spoil = 0.0f;
    for (int lane = 0; lane < LANES; lane++) {
        least = low[lane] < least ? low[lane] : least;
        most = high[lane] > most ? high[lane] : most;
        spoil += spoiled[lane];
    }
    const float span = most - least;
    spoil += span * 0.0f;
    job->least[token] = least + spoil;
    job->steps[token] = span / job->levels;
    /* Steps between numbers nearer than this would be too small to divide by; they are taken for one number. */
    const float factor = span > 1e-30f && spoil == 0.0f ? job->levels / span : 0.0f;
    if (factor == 0.0f) {
        memset(rounded, 0, (size_t)size);
        return;
    }
    /* Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits. */
    const float shift = 12582912.0f;
    for (long at = 0; at < size; at += LANES) {
        Vector some = at < whole ? load(values + at) : load_repeated(values + at, size - at);
        Words number = (Words)((some - least) * factor + shift) & 255u;
        Bytes bytes = __builtin_convertvector(number, Bytes);
        memcpy(rounded + at, &bytes, (size_t)(at < whole ? LANES : size - at));
    }
}

static void quantize(const void *given, float *scratch, long first, long last)
{
    (void)scratch;
    for (long token = first; token < last; token++) quantize_token(given, token);
}

static void rescale(const void *given, float *scratch, long first, long last)
{
    const Scaling *job = given;
    const long size = job->size, whole = size / LANES * LANES, left = size - whole;
    (void)scratch;
    for (long token = first; token < last; token++) {
        float *products = job->products + token * size;
        const Vector step = all(job->steps[token]), least = all(job->least[token]);
        for (long at = 0; at < whole; at += LANES) {
            Vector added = load(job->sums + at) * least + load(job->bias + at);
            store(products + at, load(products + at) * step + added);
        }
        if (left > 0) {
            Vector added = load_some(job->sums + whole, left) * least + load_some(job->bias + whole, left);
            store_some(products + whole, load_some(products + whole, left) * step + added, left);
        }
    }
}

#define TEXT(name) #name
#define TEXT_OF(name) TEXT(name)

const Kernels NAMED(kernels_, LEVEL) = {
    TEXT_OF(LEVEL), gelu, gelu_backward, dropout, attend, attend_backward, quantize, rescale,
};

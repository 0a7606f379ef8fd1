/* GELU, dropout and attention for training, forward and backward, and what int8 needs around its products, written once
   for vectors of any width.

   LEVEL names the processor that this copy is compiled for; the compiler's own macros say how wide its vectors are.
   Attention follows arXiv 2205.14135 in what it keeps: two numbers a row, from which the backward pass makes the
   weights again. It follows its own way in the rest: a row of scores is never cut, since BERT's are short. */

#include "vectors.h"

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

const Kernels NAMED(kernels_, LEVEL) = {
    gelu, gelu_backward, dropout, attend, attend_backward, quantize, rescale,
};

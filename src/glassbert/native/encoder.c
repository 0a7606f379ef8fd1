/* BERT's embeddings and layers for inference, from ids to hidden states, in one call.

   Tokens of different sequences never meet, so the stream is cut into bundles of whole sequences, and a thread takes a
   bundle through all layers by itself: what it works on stays in its own cache, and it waits for nobody. Where there
   are fewer bundles than threads, the threads share each one, and wait for each other after each step of a layer.

   A number is summed up in one order whatever stands beside it, so neither batch-mates nor threads change a result. */

#if PARTS
#include "tiles.h"
#else
#include "strips.h"
#endif

#include <sched.h>

/* Between two rows stand some numbers more, or the rows would lie in the same places of the cache. */
#define GAP 16

/* Who works on a bundle. */
typedef struct {
    Meeting *meeting;   /* of the threads that share it; NULL where one has it for itself */
    long member, members;
} Team;

/* Wait a moment; where others want the processor, let them. */
static void relax(long tries)
{
#if defined(__x86_64__)
    if (tries < 4096) {
        __builtin_ia32_pause();
        return;
    }
#endif
    if (tries >= 256) sched_yield();
}

static void meet(const Team *team)
{
    Meeting *meeting = team->meeting;
    if (team->members == 1) return;
    const long turn = __atomic_load_n(&meeting->turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_ACQ_REL) == team->members) {
        __atomic_store_n(&meeting->arrived, 0, __ATOMIC_RELAXED);
        memset(meeting->taken, 0, sizeof meeting->taken);
        __atomic_store_n(&meeting->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    for (long tries = 0; __atomic_load_n(&meeting->turn, __ATOMIC_ACQUIRE) == turn; tries++) relax(tries);
}

/* A member's share of `count` things. */
typedef struct {
    long first, last;
} Share;

INLINE Share share_of(const Team *team, long count)
{
    return (Share){count * team->member / team->members, count * (team->member + 1) / team->members};
}

/* What a member does next of a job: with `each` 0 its share, all at once; else one thing after the other, as long as
   there are some that no other member has taken. `before` is what it did last. */
INLINE Share take(const Team *team, long count, int each, int job, Share before)
{
    if (!each || team->members == 1) return before.last ? (Share){count, count} : share_of(team, count);
    const long first = __atomic_fetch_add(&team->meeting->taken[job], 1, __ATOMIC_RELAXED);
    return (Share){first, first < count ? first + 1 : first};
}

/* What becomes of a panel's columns of a product. */
typedef void Activation(float *at, long row, long rows);

/* Rows of a bundle and who computes them: a team together, or one of it alone. */
typedef struct {
    const Team *team;
    long first, last;
} Band;

INLINE Share rows_of(const Band *band)
{
    const Share share = share_of(band->team, band->last - band->first);
    return (Share){band->first + share.first, band->first + share.last};
}

/* Make a band of rows ready to be read by products: each member does its share, and waits for the others. Bands that are
   at different steps share `place`, so a row of it lies there whatever its columns are. */
static Input ready(const Band *band, Input place, Rows rows, long columns)
{
    const Input input = input_of(place, rows);
    if (input_size(1, 1) == 0) return input; /* they are read as they are */
    const Share share = rows_of(band);
    make_ready(input, rows, share.first, share.last, columns);
    meet(band->team);
    return input;
}

/* out = in · part of the weight + bias, or out += that. `in` and `out` begin where the part does; the bias comes with
   the first rows of the weight. `then` is what will be read after it. */
static void linear(const Band *band, int job, const Panels *weight, Part part, Input in, Rows out, int add,
                   Activation *activation, const void *then, float *scratch)
{
    const Team *team = band->team;
    const long count = band->last - band->first;
    /* Threads take one panel after the other, since one may be slower. Of few rows each reads its share of the weight at
       once. */
    const int each = count >= 8 * ROWS;
    const long panels = panels_of(part.columns), some = at_once(count), side = panels < some * team->members ? 1 : some;
    const long sides = (panels + side - 1) / side;
    in = input_from(in, band->first);
    out = rows_from(out, band->first, 0);
    Share share = {0, 0};
    while (share = take(team, sides, each, job, share), share.first < share.last)
        for (long panel = share.first * side; panel < least(share.last * side, panels); panel += side) {
            const long own = least(side, panels - panel), following = panel + side;
            multiply(weight, part, panel * PANEL, own, in, out, count, add,
                     following < panels ? block_of(weight, part.column + following * PANEL, part.row) : then, scratch);
            for (long i = 0; activation && i < own; i++) activation(out.at + (panel + i) * PANEL, out.row, count);
        }
}

/* The same with a whole weight. */
static void all_linear(const Band *band, int job, const Panels *weight, Input in, Rows out, int add, const void *then,
                       float *scratch)
{
    linear(band, job, weight, (Part){0, weight->columns, 0, weight->depth}, in, out, add, NULL, then, scratch);
}

/* Activations of a panel's columns. */
#define ACTIVATION(name, formula)                                                                         \
    static void name(float *at, long row, long rows)                                                      \
    {                                                                                                     \
        for (long i = 0; i < rows; i++)                                                                   \
            for (long j = 0; j < PANEL; j += LANES) {                                                     \
                float *place = at + i * row + j;                                                          \
                Vector x = load(place);                                                                   \
                store(place, formula);                                                                    \
            }                                                                                             \
    }

ACTIVATION(gelu, gelu_of(x))
/* (1 + tanh x) / 2 is the logistic function of 2x; 1.6 is √(8/π). */
ACTIVATION(gelu_new, x * logistic((x + 0.044715f * x * x * x) * 1.59576912f))
ACTIVATION(relu, choose(x < 0.0f, all(0.0f), x)) /* NaN stays */
ACTIVATION(silu, x * logistic(x))

static Activation *const activations[] = {gelu, gelu_new, relu, silu};

/* LayerNorm of rows, in place. */
static void normalize(const Norm *norm, float epsilon, Rows rows, Share share, long width)
{
    const long whole = width / LANES * LANES, left = width - whole;
    for (long i = share.first; i < share.last; i++) {
        float *row = rows.at + i * rows.row;
        Vector sum = load_some(row + whole, left);
        for (long at = 0; at < whole; at += LANES) sum += load(row + at);
        const float mean = total(sum) / (float)width;
        Vector squares = first_lanes(load_some(row + whole, left) - mean, left);
        squares *= squares;
        for (long at = 0; at < whole; at += LANES) {
            Vector distance = load(row + at) - mean;
            squares += distance * distance;
        }
        const float variance = total(squares) / (float)width;
        /* Where it is too large for a float, nothing is known of the row. */
        const float factor = variance < INFINITY ? 1.0f / sqrtf(variance + epsilon) : NAN;
        for (long at = 0; at < whole; at += LANES)
            store(row + at, (load(row + at) - mean) * factor * load(norm->weight + at) + load(norm->bias + at));
        if (left) {
            Vector weight = load_some(norm->weight + whole, left), bias = load_some(norm->bias + whole, left);
            store_some(row + whole, (load_some(row + whole, left) - mean) * factor * weight + bias, left);
        }
    }
}

/* The queries of a head of a sequence, so many at once that a tile of their scores stays in the nearest cache. */
static long queries_at_once(long queries, long keys)
{
    const long room = 8192 / keys / 32 * 32;
    return least(round_up(queries), room < 32 ? 32 : room);
}

/* Scores (keys, queries) -> exponentials below each query's largest score; 1 / their sum into `shares`, 0 where a query
   sees no key. */
static void soften(float *scores, long row, long keys, long queries, float factor, float *shares)
{
    for (long query = 0; query < queries; query += LANES) {
        float *column = scores + query;
        Vector top = load(column), sum = all(0.0f);
        for (long key = 1; key < keys; key++) {
            Vector some = load(column + key * row);
            top = choose(some > top, some, top);
        }
        top = choose(top == -INFINITY, all(0.0f), top);
        for (long key = 0; key < keys; key++) {
            Vector weights = exponential((load(column + key * row) - top) * factor);
            sum += weights;
            store(column + key * row, weights);
        }
        store(shares + query, choose(sum == 0.0f, sum, 1.0f / sum));
    }
}

/* softmax(QKᵀ / √D) V of one head of one sequence. */
static void attend(Rows query, Rows key, Rows value, Rows context, const uint8_t *seen, long queries, long keys,
                   long size, float *scratch)
{
    const long row = queries_at_once(queries, keys);
    const float factor = 1.0f / sqrtf((float)size);
    float *turned = scratch, *shares = turned + size * row, *scores = shares + row;
    for (long begin = 0; begin < queries; begin += row) {
        const long some = least(row, queries - begin);
        float *out = context.at + begin * context.row;
        transpose(turned, row, query.at + begin * query.row, query.row, some, size);
        product(scores, row, (Matrix){key.at, key.row, 1}, turned, row, keys, round_up(some), size, 0);
        for (long i = 0; seen && i < keys; i++)
            for (long j = 0; !seen[i] && j < row; j++) scores[i * row + j] = -INFINITY;
        soften(scores, row, keys, some, factor, shares);
        product(out, context.row, (Matrix){scores, 1, row}, value.at, value.row, some, size, keys, 0);
        for (long i = 0; i < some; i++)
            for (long d = 0; d < size; d++) out[i * context.row + d] *= shares[i];
    }
}

/* What a bundle is worked out in. */
typedef struct {
    Rows hidden, other, query, key, value, context, inner;
    Input input, inner_input;   /* rows made ready for products */
    float *scratch;
    long scratch_size;   /* of a thread */
    long size;           /* of all, one scratch included */
} Area;

/* The next part of the memory, for `rows` rows. */
static Rows place(Area *area, float *memory, long columns, long rows)
{
    Rows found = {memory + area->size, columns};
    area->size += rows * columns;
    return found;
}

/* Threads that share a bundle take all outputs of the feed-forward's first half at once: there is less to wait for. */
static long chunk_of(const Encoding *job)
{
    const long inner = job->model->inner;
    return job->together ? (inner + CHUNK - 1) / CHUNK * CHUNK : CHUNK;
}

static Area area_of(const Encoding *job, float *memory)
{
    const Model *model = job->model;
    const long rows = job->most_tokens, width = padded(model->width), attended = padded(model->attended);
    Area area = {.size = 0};
    area.hidden = place(&area, memory, width + GAP, rows);
    area.other = place(&area, memory, width + GAP, rows);
    area.query = place(&area, memory, 3 * attended + GAP, rows);
    area.key = (Rows){area.query.at + attended, area.query.row};
    area.value = (Rows){area.key.at + attended, area.query.row};
    area.context = place(&area, memory, attended + GAP, rows);
    area.inner = place(&area, memory, chunk_of(job) + GAP, rows);
    const long widest = most(width, attended), chunk = chunk_of(job);
    area.input = input_in(place(&area, memory, input_size(rows, widest), 1).at, rows, widest);
    area.inner_input = input_in(place(&area, memory, input_size(rows, chunk), 1).at, rows, chunk);
    /* Of `attend`: queries, shares and scores; of products: a panel. */
    const long attention = (model->size + 1) * 128 + 32 * most(job->longest, 256);
    area.scratch_size = most(attention, product_size(rows));
    area.scratch = place(&area, memory, area.scratch_size, 1).at;
    return area;
}

static long memory(const Encoding *job)
{
    const Area area = area_of(job, NULL);
    return job->together ? area.size + (job->threads - 1) * area.scratch_size : job->threads * area.size;
}

static void embed(const Encoding *job, const Band *band, Rows hidden, long begin)
{
    const Model *model = job->model;
    const Share share = rows_of(band);
    const long width = model->width;
    for (long i = share.first; i < share.last; i++) {
        float *row = hidden.at + i * hidden.row;
        const long token = begin + i;
        const float *word = job->embeds ? job->embeds + token * width : model->words + job->ids[token] * width;
        const float *kind = model->kinds + job->kinds[token] * width;
        const float *place = model->places + job->positions[token] * width;
        for (long at = 0; at < width; at++) row[at] = word[at] + kind[at] + place[at];
        for (long at = width; at < hidden.row; at++) row[at] = 0.0f;
    }
    normalize(&model->norm, (float)model->epsilon, hidden, share, width);
}

/* Rows of the stream, whose first is `begin`; a row is `width` numbers. */
static void give(const Band *band, float *result, Rows rows, long begin, long width)
{
    const Share share = rows_of(band);
    for (long i = share.first; i < share.last; i++)
        memcpy(result + (begin + i) * width, rows.at + i * rows.row, (size_t)width * sizeof(float));
}

static void copy_row(Rows to, long place, Rows from, long source)
{
    memcpy(to.at + place * to.row, from.at + source * from.row, (size_t)to.row * sizeof(float));
}

static void swap(Area *area)
{
    const Rows hidden = area->hidden;
    area->hidden = area->other;
    area->other = hidden;
}

/* Attention of all heads of the sequences; where `narrow`, of the rows that are asked for. */
static void attend_all(const Encoding *job, const Team *team, const Area *area, long first, long last, long heads,
                       int narrow, float *scratch)
{
    const int64_t *starts = job->starts, *asked = narrow ? job->picked_starts : starts;
    const long size = job->model->size, items = (last - first) * heads;
    Share own = {0, 0};
    while (own = take(team, items, 1, 0, own), own.first < own.last)
        for (long item = own.first; item < own.last; item++) {
            const long sequence = first + item / heads, column = item % heads * size;
            const long key = starts[sequence] - starts[first], keys = starts[sequence + 1] - starts[sequence];
            const long query = asked[sequence] - asked[first], queries = asked[sequence + 1] - asked[sequence];
            const uint8_t *seen = job->seen ? job->seen + starts[sequence] : NULL;
            if (queries)
                attend(rows_from(area->query, query, column), rows_from(area->key, key, column),
                       rows_from(area->value, key, column), rows_from(area->context, query, column), seen, queries,
                       keys, size, scratch);
        }
}

/* How many bands the threads of a team compute by themselves; 1 is one that they share by outputs. Tokens only meet in
   attention, so of many rows each thread takes some from one attention to the next: what it reads it has written, and it
   waits for nobody. More bands than threads even out that one is slower. */
static long bands_of(const Team *team, long rows)
{
    if (team->members == 1 || rows < BAND / 2 * team->members) return 1;
    return most(1, rows / (BAND * team->members)) * team->members;
}

/* The next band of so many rows, after one that ends at row `done`; an empty one where there are no more. */
static Band next_band(const Team *team, long rows, long done)
{
    static const Team alone = {NULL, 0, 1};
    const long count = bands_of(team, rows);
    if (count == 1) return (Band){team, done, rows};
    const long number = __atomic_fetch_add(&team->meeting->taken[0], 1, __ATOMIC_RELAXED);
    /* Whole tiles. */
    const long first = rows * number / count / 16 * 16, last = rows * (number + 1) / count / 16 * 16;
    return number < count ? (Band){&alone, first, number + 1 < count ? last : rows} : (Band){&alone, rows, rows};
}

/* A bundle, as a thread sees it. */
typedef struct {
    const Encoding *job;
    const Team *team;
    float *scratch;
    long begin;   /* its first token in the stream */
    long rows;    /* that are computed: all tokens, or those asked for */
} Bundle;

/* What goes before attention. */
static void find_keys(const Bundle *bundle, const Band *band, const Area *area, const Layer *layer, Input input)
{
    all_linear(band, 0, &layer->key, input, area->key, 0, block_of(&layer->value, 0, 0), bundle->scratch);
    all_linear(band, 1, &layer->value, input, area->value, 0, block_of(&layer->query, 0, 0), bundle->scratch);
}

static void find_queries(const Bundle *bundle, const Band *band, const Area *area, const Layer *layer, Input input)
{
    all_linear(band, 2, &layer->query, input, area->query, 0, block_of(&layer->projection, 0, 0), bundle->scratch);
}

/* What comes after it: area->hidden -> area->other. */
static void leave_attention(const Bundle *bundle, const Band *band, const Area *area, const Layer *layer, int is_last)
{
    const Encoding *job = bundle->job;
    const Model *model = job->model;
    const Team *team = band->team;
    const long width = model->width, chunk = team->members > 1 ? chunk_of(job) : CHUNK;
    const float epsilon = (float)model->epsilon;
    float *scratch = bundle->scratch;
    Input input = ready(band, area->input, area->context, layer->projection.depth);
    all_linear(band, 0, &layer->projection, input, area->hidden, 1, block_of(&layer->intermediate, 0, 0), scratch);
    meet(team);
    const Share share = rows_of(band);
    normalize(&layer->attention_norm, epsilon, area->hidden, share, width);
    /* What comes out is added to a copy, since all parts of the first half read what comes in. */
    for (long i = share.first; i < share.last; i++) copy_row(area->other, i, area->hidden, i);
    meet(team);
    input = ready(band, area->input, area->hidden, width);
    for (long from = 0; from < model->inner; from += chunk) {
        const long some = least(chunk, model->inner - from);
        linear(band, 0, &layer->intermediate, (Part){from, some, 0, width}, input, area->inner, 0,
               activations[model->activation], block_of(&layer->output, 0, from), scratch);
        meet(team);
        const Input inner = ready(band, area->inner_input, area->inner, some);
        const void *then = from + chunk < model->inner ? block_of(&layer->intermediate, from + chunk, 0)
                            : is_last                  ? NULL
                                                       : block_of(&layer[1].key, 0, 0);
        linear(band, 0, &layer->output, (Part){0, width, from, some}, inner, area->other, 1, NULL, then, scratch);
        meet(team);
    }
    normalize(&layer->output_norm, epsilon, area->other, share, width);
    meet(team);
}

/* Sequences `first` to `last` through all layers. */
static void encode(const Encoding *job, float *room, long first, long last, const Team *team)
{
    const Model *model = job->model;
    const int64_t *starts = job->starts, *asked = job->picked_starts;
    const long width = model->width, all = starts[job->sequences] * width;
    Area area = area_of(job, room);
    Bundle bundle = {job, team, area.scratch + team->member * area.scratch_size, starts[first],
                     starts[last] - starts[first]};
    for (long number = 0; number <= model->layer_count; number++) {
        const Layer *layer = model->layers + number;
        const int begins = number == 0, ends = number == model->layer_count;
        const int narrow = job->picked != NULL && number == model->layer_count - 1;
        /* Whatever comes between one attention and the next. */
        for (Band band = {.last = 0}; band = next_band(team, bundle.rows, band.last), band.first < band.last;) {
            const Rows hidden = begins ? area.hidden : area.other;
            if (begins) embed(job, &band, hidden, bundle.begin);
            else leave_attention(&bundle, &band, &area, layer - 1, ends);
            if (begins) meet(band.team);
            if (job->states) give(&band, job->states + number * all, hidden, bundle.begin, width);
            if (ends) {
                give(&band, job->result, hidden, job->picked ? asked[first] : bundle.begin, width);
                continue;
            }
            const Input input = ready(&band, area.input, hidden, width);
            find_keys(&bundle, &band, &area, layer, input);
            if (!narrow) find_queries(&bundle, &band, &area, layer, input);
        }
        meet(team);
        if (ends) return;
        if (!begins) swap(&area);
        if (narrow) {
            /* Nobody reads other rows of the last layer than these. */
            const int64_t *picked = job->picked + asked[first];
            bundle.rows = asked[last] - asked[first];
            const Share own = share_of(team, bundle.rows);
            for (long i = own.first; i < own.last; i++) copy_row(area.other, i, area.hidden, picked[i] - bundle.begin);
            swap(&area);
            meet(team);
            for (Band band = {.last = 0}; band = next_band(team, bundle.rows, band.last), band.first < band.last;)
                find_queries(&bundle, &band, &area, layer, ready(&band, area.input, area.hidden, width));
            meet(team);
        }
        attend_all(job, team, &area, first, last, layer->heads, narrow, bundle.scratch);
        meet(team);
    }
}

/* Bundles, each by one thread; from the last on, since the longest sequences are last and the rest evens out. */
static void encode_alone(const void *given, float *room, long first, long last)
{
    const Encoding *job = given;
    const Team alone = {NULL, 0, 1};
    const Setting before = set_up();
    for (long item = first; item < last; item++) {
        const int64_t *bundle = job->bundles + job->bundle_count - 1 - item;
        encode(job, room, bundle[0], bundle[1], &alone);
    }
    set_back(before);
}

/* All bundles, as one of several threads that have the same memory. */
static void encode_together(const Encoding *job, float *room, long member, long members, Meeting *meeting)
{
    const Team team = {meeting, member, members};
    const Setting before = set_up();
    for (long bundle = 0; bundle < job->bundle_count; bundle++)
        encode(job, room, job->bundles[bundle], job->bundles[bundle + 1], &team);
    set_back(before);
}

const Encoder NAMED(encoder_, LEVEL) = {packed_size, pack, memory, encode_alone, encode_together};

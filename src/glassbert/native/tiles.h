/* Products of a layer in tiles (AMX), for levels of processors that have them. A tile multiplies bfloat16 and adds up in
   float32.

   Where PARTS is 3, products are those of float32: a float has 24 bits, a bfloat16 has 8, so each number is cut into three
   of them, exactly, and six of the nine products of parts are added up, the small ones first. What is left out is below
   the last place of a float, so that is no less exact than multiplying floats (of numbers above 1e-33: tiles take the
   smallest bfloat16 for zero); and it takes less time, since a tile does 16 times as much at once as vectors do. Weights are kept whole, and cut where they are used, to take no more memory.

   Where PARTS is 1, all numbers are rounded to bfloat16, and weights kept so. */

#ifndef GLASSBERT_TILES_H
#define GLASSBERT_TILES_H

#include "rows.h"

/* Numbers of a row of a tile; rows of a tile. */
#define STRIDE 32
#define TALL 16
/* Numbers of all parts of as many rows of a panel as a tile has numbers in a row. */
#define STEP (PARTS * STRIDE * PANEL)

/* So many rows of a thread are worth reading a weight for. */
#define BAND (4 * TALL)

typedef uint16_t Half;

/* Rows of numbers in parts: `part` numbers after a part comes the next. */
typedef struct {
    Half *at;
    long row, part;
} Input;

INLINE Input input_from(Input in, long row) { return (Input){in.at + row * in.row, in.row, in.part}; }

INLINE long whole(long count) { return (count + STRIDE - 1) / STRIDE * STRIDE; }

/* Tiles read whole ones of rows, whatever stands there. Rows do not lie in the same places of the cache. */
INLINE long input_part(long rows, long columns) { return (rows + 2 * TALL) * (whole(columns) + STRIDE); }

/* Numbers of a thread's scratch: sums of a panel, and two steps of two panels in parts. */
static long product_size(long rows) { return LANES + (rows + 2 * TALL) * PANEL + 4 * STEP / 2; }

/* Numbers of memory that rows take, ready to be read. */
static long input_size(long rows, long columns) { return PARTS * input_part(rows, columns) / 2; }

INLINE Input input_in(float *memory, long count, long columns)
{
    return (Input){(Half *)memory, whole(columns) + STRIDE, input_part(count, columns)};
}

INLINE Input input_of(Input place, Rows rows)
{
    (void)rows;
    return place;
}

INLINE __m512i upper(Vector values) { return _mm512_and_si512((__m512i)values, _mm512_set1_epi32((int)0xffff0000)); }

/* Cut rows `first` to `last`, each filled up with zeros. */
static void make_ready(Input input, Rows rows, long first, long last, long columns)
{
    for (long row = first; row < last; row++) {
        const float *from = rows.at + row * rows.row;
        for (long at = 0; at < whole(columns); at += LANES) {
            const long left = columns - at;
            Vector rest = left >= LANES ? load(from + at) : left > 0 ? load_some(from + at, left) : all(0.0f);
            Half *to = input.at + row * input.row + at;
#if PARTS == 1
            _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)rest));
#else
            for (int part = 0; part < PARTS; part++) {
                const __m512i high = upper(rest);
                const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(high, 16));
                _mm256_storeu_si256((__m256i *)(to + part * input.part), half);
                rest -= (Vector)high;
            }
#endif
        }
    }
}

/* Two rows of 16 numbers side by side, as tiles want them. */
INLINE void store_pair(Half *to, __m512i one, __m512i other)
{
    _mm512_storeu_si512(to, _mm512_or_si512(_mm512_srli_epi32(one, 16), upper((Vector)other)));
}

#if PARTS == 1
static long packed_size(long columns, long depth) { return padded(columns) * whole(depth) * (long)sizeof(Half); }

/* (columns, depth) -> panels of PANEL columns, in them STRIDE rows at a time, in them two halves of 16 columns, in them
   pairs of rows side by side; filled up with zeros. */
static void pack(const void *given, float *scratch, long first, long last)
{
    const Packing *job = given;
    (void)scratch;
    for (long panel = first; panel < last; panel++)
        for (long row = 0; row < whole(job->depth); row++)
            for (long i = 0; i < PANEL; i++) {
                const long column = panel * PANEL + i;
                const int known = column < job->columns && row < job->depth;
                const __m128 number = _mm_set_ss(known ? job->weight[column * job->depth + row] : 0.0f);
                Half *to = (Half *)job->packed + panel * PANEL * whole(job->depth) + row / STRIDE * STEP;
                to[i / LANES * (STRIDE * LANES) + row % STRIDE / 2 * (2 * LANES) + i % LANES * 2 + row % 2] =
                    (Half)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(number), 0);
            }
}

INLINE const void *block_of(const Panels *weight, long column, long row)
{
    return (const Half *)weight->numbers + column * whole(weight->depth) + row * PANEL;
}

#else
/* Pairs of rows `first` to `last` of STRIDE rows of a panel, of which `known` are there, in parts: in each part two halves
   of 16 columns, in them pairs of rows side by side. */
INLINE void cut(Half *to, const float *from, long first, long last, const long known)
{
    for (long pair = first; pair < last; pair++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            const float *place = from + pair * (2 * PANEL) + half * LANES;
            Vector one = 2 * pair < known ? load(place) : all(0.0f);
            Vector other = 2 * pair + 1 < known ? load(place + PANEL) : all(0.0f);
            Half *out = to + half * (STRIDE * LANES) + pair * (2 * LANES);
#pragma GCC unroll 3
            for (int part = 0; part < PARTS; part++) {
                store_pair(out + part * (STRIDE * PANEL), (__m512i)one, (__m512i)other);
                one -= (Vector)upper(one);
                other -= (Vector)upper(other);
            }
        }
}

/* The same of a weight's last rows, where they do not fill a step. */
static void __attribute__((noinline)) cut_last(Half *to, const float *from, long first, long last, long known)
{
    cut(to, from, first, last, known);
}
#endif

/* Panels that are worked on at once, of so many rows: what is cut is multiplied while the next is cut. */
INLINE long at_once(long rows) { return rows <= TALL ? 2 : 1; }

/* Where a block's products come from. */
typedef struct {
    Input in;
    Half *panel;                    /* in parts, */
    const float *source;            /* which are cut from this first; NULL where they are */
    long panel_size, source_size;   /* numbers from a panel to the next */
    long depth;
    int goes_on;                    /* with the sums that are there */
    Ahead ahead;                    /* what is called from memory with each product */
    long bytes;                     /* of the weight, from a panel to the next */
} Block;

/* The step of a row: where weights are cut there is only room for two, the one that is multiplied and the next. */
#if PARTS == 1
#define STEP_OF(row) ((row) / STRIDE * STEP)
#define CUT(row, first, last) (void)0
#else
#define STEP_OF(row) ((row) / STRIDE % 2 * STEP)
#define CUT(row, first, last)                                                                                     \
    if (block->source && (row) < block->depth)                                                                    \
        for (int i = 0; i < wide; i++) {                                                                          \
            Half *to = block->panel + i * block->panel_size + STEP_OF(row);                                       \
            const float *from = block->source + i * block->source_size + (row) * PANEL;                           \
            if (block->depth - (row) >= STRIDE) cut(to, from, first, last, STRIDE);                               \
            else cut_last(to, from, first, last, block->depth - (row));                                           \
        }
#endif

/* What comes with each product of tiles: a share of cutting the next step. */
#define MEANWHILE(number) CUT(row + STRIDE, TALL * (number) / (4 * PRODUCTS), TALL * ((number) + 1) / (4 * PRODUCTS))
/* And with each product of parts: a share of calling what is read next. */
#define CALL                                                                                                      \
    for (int i = 0; i < wide; i++)                                                                                \
        for (long line = 0; line < ahead.pace; line += 64)                                                        \
            __builtin_prefetch(ahead.at + i * block->bytes + line, 0, 2);                                         \
    ahead.at += ahead.pace

#define LEFT(tile, part, place) _tile_loadd(tile, left + (part) * in_part + (place) * TALL * in_row, in_row * 2)
#define RIGHT(tile, part, half, place)                                                                            \
    _tile_loadd(tile, right + (place) * block->panel_size + (part) * STRIDE * PANEL + (half) * STRIDE * LANES, 64)

/* All products of a step, the small ones first. */
#if PARTS == 1
#define PRODUCTS 1
#define STEPS                                                                                                     \
    LEFTS(0);                                                                                                     \
    RIGHTS(0, 0)
#else
#define PRODUCTS 6
#define STEPS                                                                                                     \
    LEFTS(0);                                                                                                     \
    RIGHTS(0, 2);                                                                                                 \
    RIGHTS(1, 1);                                                                                                 \
    LEFTS(1);                                                                                                     \
    RIGHTS(2, 1);                                                                                                 \
    RIGHTS(3, 0);                                                                                                 \
    LEFTS(2);                                                                                                     \
    RIGHTS(4, 0);                                                                                                 \
    LEFTS(0);                                                                                                     \
    RIGHTS(5, 0)
#endif

#define ALL_STEPS                                                                                                 \
    const long in_row = block->in.row, in_part = block->in.part;                                                  \
    Ahead ahead = block->ahead;                                                                                   \
    CUT(0, 0, TALL);                                                                                              \
    for (long row = 0; row < block->depth; row += STRIDE) {                                                       \
        const Half *left = block->in.at + row, *right = block->panel + STEP_OF(row);                              \
        STEPS;                                                                                                    \
    }

/* The first sums, tiles 0 and 1, stand side by side in memory; 2 and 3, where there are any, at `second`. */
#define BEGIN_SUMS(second, row_size, four)                                                                        \
    if (block->goes_on) {                                                                                         \
        _tile_loadd(0, sums, row_size);                                                                           \
        _tile_loadd(1, sums + LANES, row_size);                                                                   \
        if (four) {                                                                                               \
            _tile_loadd(2, second, row_size);                                                                     \
            _tile_loadd(3, second + LANES, row_size);                                                             \
        }                                                                                                         \
    } else {                                                                                                      \
        _tile_zero(0);                                                                                            \
        _tile_zero(1);                                                                                            \
        if (four) {                                                                                               \
            _tile_zero(2);                                                                                        \
            _tile_zero(3);                                                                                        \
        }                                                                                                         \
    }
#define END_SUMS(second, row_size, four)                                                                          \
    _tile_stored(0, sums, row_size);                                                                              \
    _tile_stored(1, sums + LANES, row_size);                                                                      \
    if (four) {                                                                                                   \
        _tile_stored(2, second, row_size);                                                                        \
        _tile_stored(3, second + LANES, row_size);                                                                \
    }

/* A block of sums: two tiles of rows high, and one panel wide. */
static void tall_block(float *sums, const Block *block)
{
    enum { wide = 1 };
    float *lower = sums + TALL * PANEL;
    BEGIN_SUMS(lower, PANEL * 4, 1)
#define LEFTS(part)                                                                                               \
    LEFT(4, part, 0);                                                                                             \
    LEFT(5, part, 1)
#define RIGHTS(number, part)                                                                                      \
    RIGHT(6, part, 0, 0);                                                                                         \
    RIGHT(7, part, 1, 0);                                                                                         \
    _tile_dpbf16ps(0, 4, 6);                                                                                      \
    MEANWHILE(4 * number);                                                                                        \
    _tile_dpbf16ps(1, 4, 7);                                                                                      \
    MEANWHILE(4 * number + 1);                                                                                    \
    _tile_dpbf16ps(2, 5, 6);                                                                                      \
    MEANWHILE(4 * number + 2);                                                                                    \
    _tile_dpbf16ps(3, 5, 7);                                                                                      \
    MEANWHILE(4 * number + 3);                                                                                    \
    CALL
    ALL_STEPS
#undef LEFTS
#undef RIGHTS
    END_SUMS(lower, PANEL * 4, 1)
}

/* A block of sums: one tile of rows high, and one panel or two wide. */
INLINE void flat_block(float *sums, const Block *block, const int wide)
{
    float *right_panel = sums + PANEL;
    BEGIN_SUMS(right_panel, wide * PANEL * 4, wide > 1)
#define LEFTS(part) LEFT(4, part, 0)
#define RIGHTS(number, part)                                                                                      \
    RIGHT(5, part, 0, 0);                                                                                         \
    _tile_dpbf16ps(0, 4, 5);                                                                                      \
    MEANWHILE(4 * number);                                                                                        \
    RIGHT(6, part, 1, 0);                                                                                         \
    _tile_dpbf16ps(1, 4, 6);                                                                                      \
    MEANWHILE(4 * number + 1);                                                                                    \
    if (wide > 1) {                                                                                               \
        RIGHT(7, part, 0, 1);                                                                                     \
        _tile_dpbf16ps(2, 4, 7);                                                                                  \
    }                                                                                                             \
    MEANWHILE(4 * number + 2);                                                                                    \
    if (wide > 1) {                                                                                               \
        RIGHT(5, part, 1, 1);                                                                                     \
        _tile_dpbf16ps(3, 4, 5);                                                                                  \
    }                                                                                                             \
    MEANWHILE(4 * number + 3);                                                                                    \
    CALL
    ALL_STEPS
#undef LEFTS
#undef RIGHTS
    END_SUMS(right_panel, wide * PANEL * 4, wide > 1)
}

static void take_sums(Rows out, const float *sums, long rows, long columns, int add, const float *bias)
{
    for (long row = 0; row < rows; row++)
        for (long at = 0; at < columns; at += LANES) {
            float *place = out.at + row * out.row + at;
            Vector sum = load(sums + row * columns + at);
            if (bias) sum += load(bias + at);
            store(place, add ? sum + load(place) : sum);
        }
}

/* `panels` panels of a product, from column `column` of the part on: out = in · weight + bias, or out += that. While one
   is worked on, what is read `then` comes from memory. */
static void multiply(const Panels *weight, Part part, long column, long panels, Input in, Rows out, long rows, int add,
                     const void *then, float *scratch)
{
    enum { HIGH = 2 * TALL };
    const long blocks = (rows + HIGH - 1) / HIGH, last = (blocks - 1) * HIGH, columns = panels * PANEL;
    float *sums = (float *)(((uintptr_t)scratch + 63) / 64 * 64);
    out = rows_from(out, 0, column);
    for (long done = 0; done < part.rows; done += CHUNK) {
        const long from = part.row + done, depth = least(CHUNK, part.rows - done);
        const void *numbers = block_of(weight, part.column + column, from);
        const char *next = done + CHUNK < part.rows ? block_of(weight, part.column + column, from + CHUNK) : then;
        const float *bias = from == 0 ? weight->bias + part.column + column : NULL;
        Block block = {0};
#if PARTS == 1
        const long deep = depth, step = STRIDE * PANEL * (long)sizeof(Half);
        block.panel_size = PANEL * whole(weight->depth);
        block.bytes = block.panel_size * (long)sizeof(Half);
#else
        /* The nearest cache keeps a few steps that are cut, while all blocks are multiplied with them. */
        const long deep = blocks == 1 ? depth : 2 * STRIDE, step = STRIDE * PANEL * (long)sizeof(float);
        block.panel = (Half *)(sums + most(rows, HIGH) * PANEL);
        block.panel_size = 2 * STEP;
        block.source_size = PANEL * weight->depth;
        block.bytes = block.source_size * (long)sizeof(float);
#endif
        /* Where each number is read once, the processor sees by itself what comes next. */
        if (next && blocks > 1) block.ahead = (Ahead){next, (step / PRODUCTS + blocks - 1) / blocks};
        for (long row = 0; row < depth; row += deep) {
            const int goes_on = row > 0, ends = row + deep >= depth;
            block.depth = least(deep, depth - row);
            block.goes_on = goes_on;
#if PARTS == 1
            block.panel = (Half *)numbers;
#else
            block.source = (const float *)numbers + row * PANEL;
#endif
            for (long first = 0; first < rows; first += HIGH) {
                float *own = sums + first * PANEL;
                block.in = (Input){in.at + first * in.row + done + row, in.row, in.part};
                if (panels > 1) flat_block(own, &block, 2);
                else if (rows - first > TALL) tall_block(own, &block);
                else flat_block(own, &block, 1);
                block.source = NULL;
                block.ahead.at += block.ahead.pace * PRODUCTS * (whole(block.depth) / STRIDE);
                /* Of the block before, since these sums will only be there in a while. */
                if (ends && first > 0)
                    take_sums(rows_from(out, first - HIGH, 0), own - HIGH * PANEL, HIGH, columns, add || from > 0, bias);
            }
        }
        take_sums(rows_from(out, last, 0), sums + last * PANEL, rows - last, columns, add || from > 0, bias);
    }
}

/* What the processor keeps of the tiles' shapes, for each thread. */
typedef struct {
    uint8_t palette, start, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((packed, aligned(64))) Setting;

/* All tiles are whole ones. What another library has set comes back afterwards. */
static Setting set_up(void)
{
    Setting before, own = {.palette = 1};
    _tile_storeconfig(&before);
    for (int i = 0; i < 8; i++) {
        own.bytes[i] = 64;
        own.rows[i] = TALL;
    }
    _tile_loadconfig(&own);
    return before;
}

static void set_back(Setting before)
{
    _tile_release();
    if (before.palette) _tile_loadconfig(&before);
}

#endif

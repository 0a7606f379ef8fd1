/* Products in tiles (AMX), for levels of processors that have them.

   A float has 24 bits, a bfloat16 has 8, and a tile multiplies bfloat16 and adds up in float. So each number is cut into
   three of them, exactly, and six of the nine products of parts are added up, the small ones first: what is left out is
   below the last place of a float. That is more exact than a sum of floats one after the other, and takes less time:
   a tile does 16 times as much as vectors do. */

#ifndef GLASSBERT_TILES_H
#define GLASSBERT_TILES_H

#include "vectors.h"

/* Numbers of a row of a tile; rows of a tile. */
#define STRIDE 32
#define TALL 16
#define CUTS 3

/* What the processor keeps of the tiles' shapes, for each thread. */
typedef struct {
    uint8_t palette, start, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((packed, aligned(64))) Setting;

/* All tiles are whole ones. Another library's tiles, if it left any, come back afterwards. */
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

typedef uint16_t Part16;

/* Rows whose numbers are cut: `part` numbers after a part comes the next. */
typedef struct {
    Part16 *at;
    long row, part;
} Cut;

INLINE long strides(long count) { return (count + STRIDE - 1) / STRIDE * STRIDE; }

INLINE __m512i upper(Vector values) { return _mm512_and_epi32((__m512i)values, _mm512_set1_epi32((int)0xffff0000)); }

/* Cut a row of `count` numbers, filled up with zeros to whole rows of tiles. */
static void cut_row(Part16 *to, long part, const float *from, long count)
{
    for (long at = 0; at < strides(count); at += LANES) {
        Vector rest = at + LANES <= count ? load(from + at) : at < count ? load_some(from + at, count - at) : all(0.0f);
        for (int number = 0; number < CUTS; number++) {
            const __m512i high = upper(rest);
            _mm256_storeu_si256((__m256i *)(to + number * part + at), _mm512_cvtepi32_epi16(_mm512_srli_epi32(high, 16)));
            rest -= (Vector)high;
        }
    }
}

/* Cut `depth` rows of a panel: in blocks of STRIDE rows, in them the parts, in them two halves of 16 columns, in them
   pairs of rows side by side. */
static void cut_panel(Part16 *to, const float *from, long depth)
{
    for (long row = 0; row < strides(depth); row += 2) {
        for (int half = 0; half < 2; half++) {
            const float *place = from + row * PANEL + half * LANES;
            Vector one = row < depth ? load(place) : all(0.0f), other = row + 1 < depth ? load(place + PANEL) : all(0.0f);
            Part16 *out = to + row / STRIDE * (CUTS * STRIDE * PANEL) + half * (STRIDE * LANES) + row % STRIDE * LANES;
            for (int number = 0; number < CUTS; number++, out += STRIDE * PANEL) {
                const __m512i first = upper(one), second = upper(other);
                _mm512_storeu_si512(out, _mm512_or_epi32(_mm512_srli_epi32(first, 16), second));
                one -= (Vector)first;
                other -= (Vector)second;
            }
        }
    }
}

/* One block of sums, `tall` tiles of rows high and two wide, into `out` (32, 32). */
INLINE void tile_block(float *out, Cut in, const Part16 *panel, long depth, Ahead ahead, const int tall)
{
    _tile_zero(0);
    _tile_zero(1);
    if (tall > 1) {
        _tile_zero(2);
        _tile_zero(3);
    }
#define LEFT(number)                                                                       \
    _tile_loadd(4, left + (number) * in.part, in.row * 2);                                 \
    if (tall > 1) _tile_loadd(5, left + (number) * in.part + TALL * in.row, in.row * 2)
#define RIGHT(number)                                                                      \
    _tile_loadd(6, right + (number) * STRIDE * PANEL, 64);                                 \
    _tile_loadd(7, right + (number) * STRIDE * PANEL + STRIDE * LANES, 64)
#define ADD                                                                                \
    _tile_dpbf16ps(0, 4, 6);                                                               \
    _tile_dpbf16ps(1, 4, 7);                                                               \
    if (tall > 1) {                                                                        \
        _tile_dpbf16ps(2, 5, 6);                                                           \
        _tile_dpbf16ps(3, 5, 7);                                                           \
    }
    for (long row = 0; row < depth; row += STRIDE) {
        const Part16 *left = in.at + row, *right = panel + row * (CUTS * PANEL);
        for (long line = 0; line < STRIDE * ahead.pace; line += 64)
            __builtin_prefetch(ahead.at + row * ahead.pace + line, 0, 2);
        LEFT(0);
        RIGHT(2);
        ADD
        RIGHT(1);
        ADD
        LEFT(1);
        ADD
        RIGHT(0);
        ADD
        LEFT(2);
        ADD
        LEFT(0);
        ADD
    }
#undef LEFT
#undef RIGHT
#undef ADD
    _tile_stored(0, out, PANEL * 4);
    _tile_stored(1, out + LANES, PANEL * 4);
    if (tall > 1) {
        _tile_stored(2, out + TALL * PANEL, PANEL * 4);
        _tile_stored(3, out + TALL * PANEL + LANES, PANEL * 4);
    }
}

static void take_sums(float *out, long out_row, const float *sums, long rows, int add, const float *bias)
{
    for (long row = 0; row < rows; row++)
        for (long at = 0; at < PANEL; at += LANES) {
            float *place = out + row * out_row + at;
            Vector sum = load(sums + row * PANEL + at);
            if (bias) sum += load(bias + at);
            store(place, add ? sum + load(place) : sum);
        }
}

/* A panel's columns of a product: out = in · panel + bias, or out += that. `depth` is a whole number of strides. */
static void tile_panel(float *out, long out_row, Cut in, const Part16 *panel, long rows, long depth, int add,
                       const float *bias, Ahead ahead)
{
    float sums[2][2 * TALL * PANEL] __attribute__((aligned(64)));
    for (long first = 0; first < rows; first += 2 * TALL) {
        const long some = rows - first < 2 * TALL ? rows - first : 2 * TALL;
        const Cut part = {in.at + first * in.row, in.row, in.part};
        float *own = sums[first / (2 * TALL) % 2];
        if (some > TALL) tile_block(own, part, panel, depth, ahead, 2);
        else tile_block(own, part, panel, depth, ahead, 1);
        /* The block before: these sums will only be ready in a while. */
        if (first > 0)
            take_sums(out + (first - 2 * TALL) * out_row, out_row, sums[(first / (2 * TALL) + 1) % 2], 2 * TALL, add, bias);
        ahead.at += depth * ahead.pace;
    }
    const long last = (rows - 1) / (2 * TALL);
    take_sums(out + last * 2 * TALL * out_row, out_row, sums[last % 2], rows - last * 2 * TALL, add, bias);
}

#endif

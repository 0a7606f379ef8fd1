/* Products of a layer in strips of vectors: rows are read as they are. */

#ifndef GLASSBERT_STRIPS_H
#define GLASSBERT_STRIPS_H

#include "rows.h"

/* Rows of a weight that are worked on at once, so that a panel of them stays in the nearest cache; CHUNK is a multiple. */
#define DEPTH 192

/* So many rows of a thread are worth reading a weight for. */
#define BAND (4 * ROWS)

typedef Rows Input;

INLINE Input input_from(Input in, long row) { return rows_from(in, row, 0); }

/* Numbers of memory beside the rows, and in a thread's scratch. */
static long input_size(long rows, long columns)
{
    (void)rows, (void)columns;
    return 0;
}

static long product_size(long rows)
{
    (void)rows;
    return 0;
}

INLINE Input input_in(float *memory, long count, long columns)
{
    (void)memory, (void)count, (void)columns;
    return (Input){NULL, 0};
}

INLINE Input input_of(Input place, Rows rows)
{
    (void)place;
    return rows;
}

static void make_ready(Input input, Rows rows, long first, long last, long columns)
{
    (void)input, (void)rows, (void)first, (void)last, (void)columns;
}

/* Panels that are worked on at once, of so many rows. */
INLINE long at_once(long rows)
{
    (void)rows;
    return 1;
}

/* `panels` panels of a product, from column `column` of the part on: out = in · weight + bias, or out += that. While one
   is worked on, what is read `then` comes from memory, a share of it with each tile. */
static void multiply(const Panels *weight, Part part, long column, long panels, Input in, Rows out, long rows, int add,
                     const void *then, float *scratch)
{
    const long strip = WIDTH * LANES, tiles = tiles_of(rows);
    (void)panels, (void)scratch;
    for (long done = 0; done < part.rows; done += DEPTH) {
        const long row = part.row + done, depth = least(DEPTH, part.rows - done);
        const float *numbers = block_of(weight, part.column + column, row);
        const float *bias = row == 0 ? weight->bias + part.column + column : NULL;
        const char *next = done + DEPTH < part.rows ? block_of(weight, part.column + column, row + DEPTH) : then;
        Ahead ahead = {next, (strip * (long)sizeof(float) + tiles - 1) / tiles};
        for (long at = 0; at < PANEL; at += strip, ahead.at += tiles * depth * ahead.pace)
            product_strip(out.at + column + at, out.row, (Matrix){in.at + done, in.row, 1}, numbers + at, PANEL, rows,
                          depth, add || row > 0, bias ? bias + at : NULL, ahead, WIDTH, 0);
    }
}

/* What a thread does before and after. */
typedef int Setting;

static Setting set_up(void) { return 0; }

static void set_back(Setting before) { (void)before; }

#endif

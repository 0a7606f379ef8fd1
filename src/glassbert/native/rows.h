/* What the encoder and the products of a layer know of each other. */

#ifndef GLASSBERT_ROWS_H
#define GLASSBERT_ROWS_H

#include "vectors.h"

/* Numbers of a row of a product that are summed up at once: each such sum is added to what is there, since small products
   would lose digits, one after the other, in a sum with a large number. Threads never share one, so it is the same sum
   however the work is shared out. */
#define CHUNK 384

INLINE long least(long one, long other) { return one < other ? one : other; }

INLINE long most(long one, long other) { return one > other ? one : other; }

INLINE long panels_of(long columns) { return (columns + PANEL - 1) / PANEL; }

INLINE long padded(long columns) { return panels_of(columns) * PANEL; }

typedef struct {
    float *at;
    long row;   /* numbers between two rows */
} Rows;

INLINE Rows rows_from(Rows rows, long row, long column) { return (Rows){rows.at + row * rows.row + column, rows.row}; }

/* Columns of a weight, from a multiple of PANEL on, and rows, from a multiple of CHUNK on. */
typedef struct {
    long column, columns, row, rows;
} Part;

#if PARTS != 1
/* Panels of floats as they are. */
static long packed_size(long columns, long depth) { return padded(columns) * depth * (long)sizeof(float); }

/* (columns, depth) -> panels of PANEL columns, in them the rows; filled up with zeros. */
static void pack(const void *given, float *scratch, long first, long last)
{
    const Packing *job = given;
    (void)scratch;
    for (long panel = first; panel < last; panel++) {
        float *to = (float *)job->packed + panel * PANEL * job->depth;
        for (long row = 0; row < job->depth; row++)
            for (long i = 0; i < PANEL; i++) {
                const long column = panel * PANEL + i;
                *to++ = column < job->columns ? job->weight[column * job->depth + row] : 0.0f;
            }
    }
}

/* Where a panel's rows from `row` on lie. */
INLINE const void *block_of(const Panels *weight, long column, long row)
{
    return (const float *)weight->numbers + column * weight->depth + row * PANEL;
}
#endif

#endif

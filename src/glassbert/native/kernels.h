/* What the Python module and the kernels know of each other. The kernels are compiled once for each level of
   processor, and the module takes the best that the processor has. All numbers are float32 unless said, all arrays
   contiguous.

   Letters: B sequences, T tokens in the stream, A heads, D head size. */

#ifndef GLASSBERT_KERNELS_H
#define GLASSBERT_KERNELS_H

#include <stdint.h>

/* Numbers of an array that one item of an elementwise kernel stands for. */
#define BLOCK 32

/* What attention works in, for sequences of at most `longest` tokens. */
typedef struct {
    long queries;   /* at once */
    long total;     /* numbers of memory for a thread */
} Room;

Room room(long longest, long size);

/* 16 random bits decide about each number: below `dropped` of 65,536 they drop it, else it is multiplied by `scale`. */
typedef struct {
    uint64_t seed;
    uint32_t dropped;
    float scale;
} Dropping;

typedef struct {
    const float *values;
    const float *gradient;   /* of gelu's result; unused elsewhere */
    float *result;
    long count;
    Dropping dropping;       /* of dropout alone */
} Elements;

typedef struct {
    const float *query;      /* (T, A, D), or (B, A, D) where first_only */
    const float *key;        /* (T, A, D), as are value, by_key and by_value */
    const float *value;
    float *context;          /* as query, as are gradient and by_query */
    float *tops;             /* (A, T) or (A, B), the largest score of each query */
    float *shares;           /* likewise: 1 / sum of the exponentials below it */
    const float *gradient;   /* of the context */
    float *by_query;
    float *by_key;
    float *by_value;
    const int64_t *starts;   /* (B + 1,), the first token of each sequence, and T */
    long sequences, heads, size, longest;
    int first_only;          /* the first token of each sequence is its only query */
    Dropping dropping;
} Attention;

typedef struct {
    const float *values;     /* (T, size), rounded to whole numbers between 0 and `levels` */
    uint8_t *rounded;        /* likewise */
    float *least, *steps;    /* (T,), the range of each token: its least number is 0 steps, its largest `levels` */
    long tokens, size;
    float levels;
} Rounding;

typedef struct {
    float *products;         /* (T, size), of whole numbers; replaced by what they stand for */
    const float *least, *steps;  /* (T,), of the token */
    const float *sums, *bias;    /* (size,), of the output */
    long tokens, size;
} Scaling;

/* Columns of a product that stand side by side in memory. */
#define PANEL 32

typedef struct {
    const float *weight;     /* (columns, depth), as torch keeps it */
    void *packed;            /* panels of it, PANEL columns each, the last one filled up with zeros */
    long columns, depth;
} Packing;

/* What follows is read from int64 numbers and addresses side by side in memory: every field has 8 bytes. */

/* A linear layer. */
typedef struct {
    const void *numbers;     /* packed */
    const float *bias;       /* (columns,), filled up with zeros to whole panels */
    int64_t columns, depth;  /* out, in */
} Panels;

/* A LayerNorm of (H,) numbers. */
typedef struct {
    const float *weight, *bias;
} Norm;

typedef struct {
    Panels query, key, value, projection, intermediate, output;
    Norm attention_norm, output_norm;
    int64_t heads;
} Layer;

/* Sequences through embeddings and layers. */
typedef struct {
    const Layer *layers;
    const float *words, *places, *kinds;     /* tables of (…, H) */
    Norm norm;                               /* of the embeddings */
    int64_t layer_count, width, size, inner; /* L, H, D, I */
    int64_t attended;                        /* most numbers that the heads of a layer have, A · D */
    int64_t activation;
    double epsilon;
} Model;

typedef struct {
    const Model *model;
    const int64_t *ids, *kinds, *positions;  /* (T,) */
    const float *embeds;                     /* (T, H) in place of ids, or null */
    const uint8_t *seen;                     /* (T,), 0 at tokens that none attends to; or null */
    const int64_t *starts;                   /* (B + 1,), the first token of each sequence, and T */
    const int64_t *bundles;                  /* (N + 1,), the first sequence of each bundle, and B */
    const int64_t *picked;                   /* places in the stream, rising, that alone are asked for; or null */
    const int64_t *picked_starts;            /* (B + 1,), how many of them lie before each sequence */
    float *result;                           /* (T, H), or a row for each of the places */
    float *states;                           /* (L + 1, T, H), what came into each layer and out of the last; or null */
    long sequences, bundle_count;
    long most_tokens, longest;               /* of a bundle, of a sequence */
    int together;                            /* all threads work on each bundle */
    long threads;
} Encoding;

/* Where threads that share a bundle wait for each other, and what they have taken since of up to three jobs. */
typedef struct {
    long arrived, turn, taken[3];
} Meeting;


/* Bytes of an array that one item of a look for finite numbers stands for. */
#define PIECE (256L * 1024)

typedef struct {
    int64_t address, bytes;  /* floats of any width */
    int64_t exponents;       /* the bits of their exponents, in each number of a word */
    int64_t first;           /* the array's first item, which the module counts */
} Array;

typedef struct {
    const Array *arrays;
    long count;
    uint8_t *finite;         /* (count,), set to 0 where a number of the array is not */
} Arrays;

/* Does items `first` to `last` of a job. An item of an elementwise job is a BLOCK, one of attention a head of a
   sequence, one of a look for finite numbers a PIECE, one of the others a token. Items write to different places, or all
   the same, so threads that share them cannot change a result. */
typedef void Work(const void *job, float *scratch, long first, long last);

/* All bundles, as one of `members` threads that have one memory. */
typedef void Together(const Encoding *job, float *memory, long member, long members, Meeting *meeting);

typedef struct {
    long (*packed_size)(long columns, long depth);   /* bytes */
    Work *pack;                              /* an item is a panel */
    long (*memory)(const Encoding *job);     /* numbers that all threads need */
    Work *encode;                            /* an item is a bundle */
    Together *encode_together;
} Encoder;

extern const Encoder encoder_plain, encoder_v3, encoder_v4, encoder_amx, encoder_amx_rounding;

Work look_for_finite;

typedef struct {
    Work *gelu, *gelu_backward, *dropout, *attend, *attend_backward, *quantize, *rescale;
} Kernels;

extern const Kernels kernels_plain, kernels_v3, kernels_v4;

#endif

/* bits_cover.h - rows of choices in which every pair of values of any two axes occurs.
 *
 *     const unsigned size[] = {6, 7, 2};
 *     bits_cover c;
 *     bits_cover_new(&c, 3, size);
 *     ... c.row[i][axis] < size[axis], i < c.n_rows ...
 *
 * A full product of ten axes is half a million runs; what breaks the law is nearly always one value
 * or two together (a type with a cut, a window with a length), and a few dozen rows hold every two.
 * Greedy (Cohen et al., 1997, AETG): of some candidates the row that covers most pairs that are
 * still open. Always the same rows for the same sizes. */
#ifndef TFM_TESTS_BITS_COVER_H
#define TFM_TESTS_BITS_COVER_H

#include "../ops/ops.h"

enum { BITS_AXES = 12, BITS_VALUES = 8, BITS_ROWS = 128, BITS_CANDIDATES = 40 };

typedef struct bits_cover {
    unsigned n_axes, n_rows, n_open;
    unsigned size[BITS_AXES];
    uint8_t row[BITS_ROWS][BITS_AXES];
    bool open[BITS_AXES][BITS_VALUES][BITS_AXES][BITS_VALUES]; /* both ways round */
    uint64_t random;
} bits_cover;

/* Open pairs of value v of axis a with the values of `row` at the axes that are `set`. */
static inline unsigned bits_cover_gain(const bits_cover *c, const uint8_t *row, const bool *set,
                                       unsigned a, unsigned v) {
    unsigned gain = 0;
    for (unsigned b = 0; b < c->n_axes; b++) gain += set[b] && c->open[a][v][b][row[b]];
    return gain;
}

/* Open pairs of value v of axis a with anything. */
static inline unsigned bits_cover_left(const bits_cover *c, unsigned a, unsigned v) {
    unsigned left = 0;
    for (unsigned b = 0; b < c->n_axes; b++) {
        for (unsigned w = 0; w < c->size[b]; w++) left += c->open[a][v][b][w];
    }
    return left;
}

/* Axis after axis, in random order, takes the value that covers most; how many pairs that are. */
static inline unsigned bits_cover_candidate(bits_cover *c, uint8_t *row) {
    bool set[BITS_AXES] = {false};
    unsigned order[BITS_AXES], total = 0;
    for (unsigned i = 0; i < c->n_axes; i++) {
        const unsigned j = (unsigned)(ops_next(&c->random) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (unsigned i = 0; i < c->n_axes; i++) {
        const unsigned a = order[i];
        /* Where nothing is open, a switch stays off: what it turns on (taps) is dear. */
        const unsigned from = c->size[a] == 2 ? 0 : (unsigned)(ops_next(&c->random) % c->size[a]);
        unsigned best = 0, most = 0;
        for (unsigned k = 0; k < c->size[a]; k++) {
            const unsigned v = (from + k) % c->size[a];
            const unsigned gain = bits_cover_gain(c, row, set, a, v);
            const unsigned rank = 1 + gain * 4096 + bits_cover_left(c, a, v);
            if (rank > most) {
                most = rank;
                best = v;
            }
        }
        total += bits_cover_gain(c, row, set, a, best);
        row[a] = (uint8_t)best;
        set[a] = true;
    }
    return total;
}

static inline void bits_cover_take(bits_cover *c, const uint8_t *row) {
    memcpy(c->row[c->n_rows++], row, BITS_AXES);
    for (unsigned a = 0; a < c->n_axes; a++) {
        for (unsigned b = 0; b < c->n_axes; b++) {
            c->n_open -= a < b && c->open[a][row[a]][b][row[b]];
            c->open[a][row[a]][b][row[b]] = false;
        }
    }
}

static inline void bits_cover_new(bits_cover *c, unsigned n_axes, const unsigned *size) {
    memset(c, 0, sizeof *c);
    c->n_axes = n_axes;
    c->random = 1;
    for (unsigned a = 0; a < n_axes; a++) {
        c->size[a] = size[a];
        for (unsigned b = 0; b < n_axes; b++) {
            if (a == b) continue;
            if (a < b) c->n_open += size[a] * size[b];
            for (unsigned v = 0; v < size[a]; v++) {
                for (unsigned w = 0; w < size[b]; w++) c->open[a][v][b][w] = true;
            }
        }
    }
    while (c->n_open > 0) {
        uint8_t row[BITS_AXES] = {0}, best[BITS_AXES] = {0};
        unsigned most = 0;
        if (c->n_rows == BITS_ROWS) ops_die("a cover of more rows than there is room for", NULL);
        for (int i = 0; i < BITS_CANDIDATES; i++) {
            const unsigned gain = bits_cover_candidate(c, row);
            if (gain <= most) continue;
            most = gain;
            memcpy(best, row, sizeof best);
        }
        bits_cover_take(c, best);
    }
}

#endif

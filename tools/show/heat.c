/* heat.c - tensors as pictures: in the terminal, or as PGM.
 *
 * The last two dimensions are rows and columns; each index of the ones before is a picture of its own,
 * as an attention pattern [heads, n, n] has one a head. All pictures of a tensor share one scale, so
 * that heads can be compared. In the terminal a picture that is too wide is averaged over cells; a
 * cell is two characters wide, which makes it about square. A PGM has a pixel a value; its pictures
 * stand in a grid with lines of white between, and each tensor is an image of its own (netpbm reads
 * several in one file). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

enum { MAX_VALUES = 1 << 24, MAX_LEVEL = 255 };

typedef struct picture {
    const tfm_record *rec;
    float *value; /* [n_pictures, rows, cols] */
    uint64_t n_pictures, rows, cols;
    double low, high; /* over all finite values */
} picture;

static void find_range(picture *p, uint64_t n) {
    p->low = INFINITY;
    p->high = -INFINITY;
    for (uint64_t i = 0; i < n; i++) {
        double x = (double)p->value[i];
        if (!isfinite(x)) continue;
        if (x < p->low) p->low = x;
        if (x > p->high) p->high = x;
    }
    if (p->low > p->high) p->low = p->high = 0;
}

/* Tensors without values, and those of the kind that no screen can show, give no pictures. */
static tfm_status open_picture(picture *p, const tfm_record *rec, const void *payload,
                               tfm_error *err) {
    uint64_t n;
    *p = (picture){.rec = rec, .rows = 1, .cols = 1, .n_pictures = 1};
    if (rec->type != TFM_REC_TENSOR) return TFM_DONE;
    if (!payload || !tfm_dims_count(rec->rank, rec->dims, &n) || n > MAX_VALUES)
        return tfm_fail(err, TFM_LIMIT, "record %" PRIu32 " '%s': more than %d values in a picture",
                        rec->seq, rec->name, MAX_VALUES);
    if (n == 0) return TFM_DONE;
    for (unsigned i = 0; i < rec->rank; i++) {
        if (i + 1 == rec->rank)
            p->cols = rec->dims[i];
        else if (i + 2 == rec->rank)
            p->rows = rec->dims[i];
        else
            p->n_pictures *= rec->dims[i];
    }
    p->value = malloc((size_t)n * sizeof *p->value);
    if (!p->value) return tfm_fail(err, TFM_NOMEM, "out of memory for a picture");
    tfm_status st = tfm_to_f32((tfm_dtype)rec->dtype, payload, n, p->value, err);
    if (st == TFM_OK)
        find_range(p, n);
    else
        free(p->value);
    return st;
}

/* Where x lies between low and high: 0 to levels - 1; NaN is lowest. */
static unsigned level(const picture *p, double x, unsigned levels) {
    double part = p->high > p->low ? (x - p->low) / (p->high - p->low) : 0;
    if (!(part > 0)) return 0;
    return part >= 1 ? levels - 1 : (unsigned)(part * levels);
}

/* ---- terminal ---- */

typedef struct grid {
    uint64_t rows, cols, row_step, col_step; /* cells, and values a cell */
} grid;

static grid fit(const picture *p, uint64_t max_cells) {
    grid g = {.row_step = (p->rows + max_cells - 1) / max_cells,
              .col_step = (p->cols + max_cells - 1) / max_cells};
    g.rows = (p->rows + g.row_step - 1) / g.row_step;
    g.cols = (p->cols + g.col_step - 1) / g.col_step;
    return g;
}

/* The mean of a cell's values; NaN if one is. Rows beyond the picture are lowest. */
static double cell(const picture *p, const grid *g, uint64_t k, uint64_t row, uint64_t col) {
    double sum = 0;
    uint64_t n = 0, r_end = (row + 1) * g->row_step, c_end = (col + 1) * g->col_step;
    if (row >= g->rows) return p->low;
    for (uint64_t r = row * g->row_step; r < r_end && r < p->rows; r++)
        for (uint64_t c = col * g->col_step; c < c_end && c < p->cols; c++, n++)
            sum += (double)p->value[(k * p->rows + r) * p->cols + c];
    return sum / (double)n;
}

static void draw_shades(FILE *out, const picture *p, uint64_t k, const show_heat_options *o) {
    static const char *const blocks[] = {"  ", "░░", "▒▒", "▓▓", "██"};
    static const char *const ascii[] = {"  ", "..", "::", "--", "==", "++", "**", "##", "%%", "@@"};
    const char *const *shade = o->ascii ? ascii : blocks;
    unsigned levels = o->ascii ? 10 : 5;
    grid g = fit(p, o->width < 6 ? 2 : (o->width - 2) / 2);
    for (uint64_t row = 0; row < g.rows; row++) {
        fputc('|', out);
        for (uint64_t col = 0; col < g.cols; col++) {
            double x = cell(p, &g, k, row, col);
            fputs(isnan(x) ? "??" : shade[level(p, x, levels)], out);
        }
        fputs("|\n", out);
    }
}

/* Two rows a line: the upper half block has the colour of the upper one, its background that of the
 * lower one. From black over red to white, colours of the xterm palette. */
static void draw_colours(FILE *out, const picture *p, uint64_t k, const show_heat_options *o) {
    static const unsigned char ramp[] = {16,  17,  18,  54,  90,  126, 162, 161,
                                         197, 203, 209, 215, 221, 227, 229, 231};
    grid g = fit(p, o->width);
    for (uint64_t row = 0; row < g.rows; row += 2) {
        for (uint64_t col = 0; col < g.cols; col++)
            fprintf(out, "\x1b[38;5;%u;48;5;%um▀",
                    ramp[level(p, cell(p, &g, k, row, col), sizeof ramp)],
                    ramp[level(p, cell(p, &g, k, row + 1, col), sizeof ramp)]);
        fputs("\x1b[0m\n", out);
    }
}

static void draw_title(FILE *out, const picture *p, uint64_t k) {
    fprintf(out, "record %" PRIu32 " ", p->rec->seq);
    tfm_cli_escaped(out, p->rec->name, strlen(p->rec->name));
    fprintf(out, " group %" PRIu32 " at %" PRIu32, p->rec->group, p->rec->position);
    if (p->n_pictures > 1) fprintf(out, ", %" PRIu64 " of %" PRIu64, k, p->n_pictures);
    fprintf(out, ": %" PRIu64 " x %" PRIu64 ", from %.6g to %.6g\n", p->rows, p->cols, p->low,
            p->high);
}

tfm_status show_heat(FILE *out, const tfm_record *rec, const void *payload,
                     const show_heat_options *o, tfm_error *err) {
    picture p;
    tfm_status st = open_picture(&p, rec, payload, err);
    if (st != TFM_OK) return st == TFM_DONE ? TFM_OK : st;
    for (uint64_t k = 0; k < p.n_pictures; k++) {
        draw_title(out, &p, k);
        if (o->colour)
            draw_colours(out, &p, k, o);
        else
            draw_shades(out, &p, k, o);
    }
    free(p.value);
    return TFM_OK;
}

/* ---- PGM ---- */

static void put_pgm_row(FILE *out, const picture *p, uint64_t first, uint64_t across,
                        uint64_t row) {
    for (uint64_t i = 0; i < across; i++) {
        if (i > 0) fputc(MAX_LEVEL, out);
        uint64_t k = first + i;
        const float *x = k < p->n_pictures ? p->value + (k * p->rows + row) * p->cols : NULL;
        for (uint64_t col = 0; col < p->cols; col++)
            fputc(x ? (int)level(p, (double)x[col], MAX_LEVEL + 1) : MAX_LEVEL, out);
    }
}

tfm_status show_pgm(FILE *out, const tfm_record *rec, const void *payload, tfm_error *err) {
    picture p;
    uint64_t across = 1;
    tfm_status st = open_picture(&p, rec, payload, err);
    if (st != TFM_OK) return st == TFM_DONE ? TFM_OK : st;
    while (across * across < p.n_pictures) across++;
    uint64_t down = (p.n_pictures + across - 1) / across;
    uint64_t width = across * (p.cols + 1) - 1, height = down * (p.rows + 1) - 1;
    fprintf(out, "P5\n%" PRIu64 " %" PRIu64 "\n%d\n", width, height, MAX_LEVEL);
    for (uint64_t k = 0; k < down; k++) {
        for (uint64_t i = 0; k > 0 && i < width; i++) fputc(MAX_LEVEL, out);
        for (uint64_t row = 0; row < p.rows; row++) put_pgm_row(out, &p, k * across, across, row);
    }
    free(p.value);
    return TFM_OK;
}

/* heat.c - tensors as pictures: in the terminal, or as PGM.
 *
 * The last two dimensions are rows and columns; each index of the ones before is a picture of its
 * own, as an array [heads, n, n] has one a head. What flows in a stream are rows, though: records
 * that go on by position are joined, and what a tap writes a row a record, [1, heads, keys],
 * becomes a picture for each head in which the row at a position is as long as there were keys; the
 * rest is lowest. All pictures of a tensor share one scale, so that heads can be compared. In the
 * terminal a picture that is too wide is averaged over cells; a cell is two characters wide, which
 * makes it about square. A PGM has a pixel a value; its pictures stand in a grid with lines of
 * white between, and each tensor is an image of its own (netpbm reads several in one file). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

enum { MAX_VALUES = 1 << 24, MAX_LEVEL = 255 };

typedef struct row {
    const float *value; /* of the first picture */
    uint64_t stride;    /* to the same row of the next one */
    uint64_t len;
} row;

typedef struct picture {
    struct picture *next;
    tfm_record first;
    row *row;      /* [rows] */
    float **chunk; /* [n_chunks]: the values of each record */
    size_t n_chunks;
    uint64_t n_values, n_pictures, rows, cols; /* cols: of the longest row */
    double low, high;                          /* over all finite values */
} picture;

struct show_heat {
    show_heat_options o;
    picture *open; /* those that may go on, in the order in which they began */
};

tfm_status show_heat_new(show_heat **out, const show_heat_options *o, tfm_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return tfm_fail(err, TFM_NOMEM, "out of memory");
    (*out)->o = *o;
    return TFM_OK;
}

static void free_picture(picture *p) {
    for (size_t i = 0; i < p->n_chunks; i++) free(p->chunk[i]);
    free(p->chunk);
    free(p->row);
    free(p);
}

void show_heat_free(show_heat *h) {
    if (!h) return;
    for (picture *p = h->open, *next; p; p = next) {
        next = p->next;
        free_picture(p);
    }
    free(h);
}

/* Is dimension 0 of the record rows that others may continue? */
static bool has_rows(const tfm_record *rec) {
    return rec->rank == 2 || (rec->rank > 2 && rec->dims[0] == 1);
}

static bool continues(const picture *p, const tfm_record *rec) {
    if (!has_rows(rec) || rec->rank != p->first.rank) return false;
    for (unsigned i = 1; i + 1 < rec->rank; i++)
        if (rec->dims[i] != p->first.dims[i]) return false;
    return rec->position == p->first.position + p->rows;
}

static void take_range(picture *p, const float *value, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        double x = (double)value[i];
        if (!isfinite(x)) continue;
        if (!(x >= p->low)) p->low = x;
        if (!(x <= p->high)) p->high = x;
    }
}

/* Room for one more chunk and `rows` more rows. */
static bool make_room(picture *p, uint64_t rows) {
    void *chunks = reallocarray(p->chunk, p->n_chunks + 1, sizeof *p->chunk);
    if (chunks) p->chunk = chunks;
    void *all = reallocarray(p->row, (size_t)(p->rows + rows), sizeof *p->row);
    if (all) p->row = all;
    return chunks && all;
}

/* Adds the record's values; n of them, not none. */
static tfm_status add_record(picture *p, const tfm_record *rec, const void *payload, uint64_t n,
                             tfm_error *err) {
    uint64_t cols = rec->rank > 0 ? rec->dims[rec->rank - 1] : 1;
    uint64_t rows = rec->rank < 2 ? 1 : has_rows(rec) ? rec->dims[0] : rec->dims[rec->rank - 2];
    float *value = malloc((size_t)n * sizeof *value);
    if (!value || !make_room(p, rows)) {
        free(value);
        return tfm_fail(err, TFM_NOMEM, "out of memory for a picture");
    }
    p->chunk[p->n_chunks++] = value;
    TFM_TRY(tfm_to_f32((tfm_dtype)rec->dtype, payload, n, value, err));
    take_range(p, value, n);
    p->n_pictures = n / rows / cols;
    for (uint64_t i = 0; i < rows; i++)
        p->row[p->rows + i] = has_rows(rec) ? (row){value + i * p->n_pictures * cols, cols, cols}
                                            : (row){value + i * cols, rows * cols, cols};
    p->rows += rows;
    p->n_values += n;
    if (cols > p->cols) p->cols = cols;
    return TFM_OK;
}

/* The value; what is beyond its row is lowest. */
static double at(const picture *p, uint64_t k, uint64_t r, uint64_t c) {
    const row *x = &p->row[r];
    return c < x->len ? (double)x->value[k * x->stride + c] : p->low;
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
static double cell(const picture *p, const grid *g, uint64_t k, uint64_t y, uint64_t x) {
    double sum = 0;
    uint64_t n = 0, r_end = (y + 1) * g->row_step, c_end = (x + 1) * g->col_step;
    if (y >= g->rows) return p->low;
    for (uint64_t r = y * g->row_step; r < r_end && r < p->rows; r++)
        for (uint64_t c = x * g->col_step; c < c_end && c < p->cols; c++, n++)
            sum += at(p, k, r, c);
    return sum / (double)n;
}

static void draw_shades(FILE *out, const picture *p, uint64_t k, const show_heat_options *o) {
    static const char *const blocks[] = {"  ", "░░", "▒▒", "▓▓", "██"};
    static const char *const ascii[] = {"  ", "..", "::", "--", "==", "++", "**", "##", "%%", "@@"};
    const char *const *shade = o->ascii ? ascii : blocks;
    unsigned levels = o->ascii ? 10 : 5;
    grid g = fit(p, o->width < 6 ? 2 : (o->width - 2) / 2);
    for (uint64_t y = 0; y < g.rows; y++) {
        fputc('|', out);
        for (uint64_t i = 0; i < g.cols; i++) {
            double x = cell(p, &g, k, y, i);
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
    for (uint64_t y = 0; y < g.rows; y += 2) {
        for (uint64_t x = 0; x < g.cols; x++)
            fprintf(out, "\x1b[38;5;%u;48;5;%um▀",
                    ramp[level(p, cell(p, &g, k, y, x), sizeof ramp)],
                    ramp[level(p, cell(p, &g, k, y + 1, x), sizeof ramp)]);
        fputs("\x1b[0m\n", out);
    }
}

static void draw_title(FILE *out, const picture *p, uint64_t k) {
    fprintf(out, "record %" PRIu32 " ", p->first.seq);
    tfm_cli_escaped(out, p->first.name, strlen(p->first.name));
    fprintf(out, " group %" PRIu32 " at %" PRIu32, p->first.group, p->first.position);
    if (p->n_pictures > 1) fprintf(out, ", %" PRIu64 " of %" PRIu64, k, p->n_pictures);
    fprintf(out, ": %" PRIu64 " x %" PRIu64 ", from %.6g to %.6g\n", p->rows, p->cols, p->low,
            p->high);
}

static void draw_text(FILE *out, const picture *p, const show_heat_options *o) {
    for (uint64_t k = 0; k < p->n_pictures; k++) {
        draw_title(out, p, k);
        if (o->colour)
            draw_colours(out, p, k, o);
        else
            draw_shades(out, p, k, o);
    }
}

/* ---- PGM ---- */

static void put_pgm_row(FILE *out, const picture *p, uint64_t first, uint64_t across, uint64_t y) {
    for (uint64_t k = first; k < first + across; k++) {
        if (k > first) fputc(MAX_LEVEL, out);
        for (uint64_t x = 0; x < p->cols; x++)
            fputc(k < p->n_pictures ? (int)level(p, at(p, k, y, x), MAX_LEVEL + 1) : MAX_LEVEL,
                  out);
    }
}

static void draw_pgm(FILE *out, const picture *p) {
    uint64_t across = 1;
    while (across * across < p->n_pictures) across++;
    uint64_t down = (p->n_pictures + across - 1) / across;
    uint64_t width = across * (p->cols + 1) - 1, height = down * (p->rows + 1) - 1;
    fprintf(out, "P5\n%" PRIu64 " %" PRIu64 "\n%d\n", width, height, MAX_LEVEL);
    for (uint64_t i = 0; i < down; i++) {
        for (uint64_t x = 0; i > 0 && x < width; x++) fputc(MAX_LEVEL, out);
        for (uint64_t y = 0; y < p->rows; y++) put_pgm_row(out, p, i * across, across, y);
    }
}

/* ---- the stream ---- */

/* Draws the picture at *place, takes it out of the list and frees it. */
static void finish(show_heat *h, FILE *out, picture **place) {
    picture *p = *place;
    *place = p->next;
    if (!isfinite(p->low)) p->low = p->high = 0;
    if (h->o.pgm)
        draw_pgm(out, p);
    else
        draw_text(out, p, &h->o);
    free_picture(p);
}

void show_heat_end(show_heat *h, FILE *out) {
    while (h->open) finish(h, out, &h->open);
}

static void end_group(show_heat *h, FILE *out, uint32_t group) {
    for (picture **place = &h->open; *place;)
        if ((*place)->first.group == group)
            finish(h, out, place);
        else
            place = &(*place)->next;
}

tfm_status show_heat_add(show_heat *h, FILE *out, const tfm_record *rec, const void *payload,
                         tfm_error *err) {
    uint64_t n;
    picture **place = &h->open;
    if (rec->type == TFM_REC_GROUP_END) end_group(h, out, rec->group);
    if (rec->type != TFM_REC_TENSOR || (payload && rec->bytes == 0)) return TFM_OK;
    while (*place &&
           ((*place)->first.group != rec->group || strcmp((*place)->first.name, rec->name) != 0))
        place = &(*place)->next;
    if (*place && !continues(*place, rec)) {
        finish(h, out, place);
        while (*place) place = &(*place)->next;
    }
    if (!payload || !tfm_dims_count(rec->rank, rec->dims, &n) ||
        n > MAX_VALUES - (*place ? (*place)->n_values : 0))
        return tfm_fail(err, TFM_LIMIT, "record %" PRIu32 " '%s': more than %d values in a picture",
                        rec->seq, rec->name, MAX_VALUES);
    if (!*place) {
        *place = calloc(1, sizeof **place);
        if (!*place) return tfm_fail(err, TFM_NOMEM, "out of memory for a picture");
        (*place)->first = *rec;
        (*place)->low = (*place)->high = NAN;
    }
    TFM_TRY(add_record(*place, rec, payload, n, err));
    if (!has_rows(rec)) finish(h, out, place);
    return TFM_OK;
}

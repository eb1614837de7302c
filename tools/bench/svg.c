/* svg.c - the figures as a chart: for every case a bar of the share reached of the limit that binds
 * it (the larger of its two shares), a line from the lowest to the highest repetition, and the
 * numbers. */
#include <string.h>

#include "bench.h"

/* Pixels. */
enum {
    WIDTH = 860,
    LEFT = 210, /* names */
    BAR = 380,  /* 100 % */
    TOP = 96,
    ROW = 34,
    THICK = 18,
    BOTTOM = 62
};

static void escaped(FILE *out, const char *s) {
    for (; *s; s++) switch (*s) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        default: /* a control character may not stand in XML */
            fputc((unsigned char)*s < 0x20 ? '?' : *s, out);
        }
}

static double pixels(double share) {
    return BAR * (share < 0 ? 0 : share > 1 ? 1 : share);
}

static void row(FILE *out, const bench_figures *f, const bench_case *c, int y) {
    const bench_spread read = bench_share_read(f, c), ops = bench_share_ops(f, c);
    const bool is_read = read.median > ops.median;
    const bench_spread s = is_read ? read : ops;
    const size_t which = is_read ? 0 : bench_limit_of_type(f->cost.type);
    const int middle = y + THICK / 2;
    char name[64];

    bench_case_name(c, name, sizeof name);
    fprintf(out, "<text x=\"%d\" y=\"%d\" class=\"name\">%s</text>\n", LEFT - 10, middle + 4, name);
    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#eceff3\"/>\n", LEFT, y,
            BAR, THICK);
    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", LEFT, y,
            pixels(s.median), THICK, is_read ? "#3b78b4" : "#d0802b");
    fprintf(out,
            "<path d=\"M%.1f %dH%.1fM%.1f %dv8M%.1f %dv8\" stroke=\"#1d2733\" fill=\"none\"/>\n",
            LEFT + pixels(s.lowest), middle, LEFT + pixels(s.highest), LEFT + pixels(s.lowest),
            middle - 4, LEFT + pixels(s.highest), middle - 4);
    fprintf(out,
            "<text x=\"%d\" y=\"%d\"><tspan class=\"rate\">%.4g tokens/s</tspan>"
            "<tspan class=\"small\">  %.0f %% of %s</tspan></text>\n",
            LEFT + BAR + 12, middle + 4, bench_rate(f, c).median, 100 * s.median,
            bench_limit_name[which]);
}

static void axis(FILE *out, int bottom) {
    for (int tick = 0; tick <= 100; tick += 25) {
        const int x = LEFT + BAR * tick / 100;
        fprintf(out,
                "<path d=\"M%d %dV%d\" stroke=\"#c3cad3\"/>"
                "<text x=\"%d\" y=\"%d\" class=\"tick\">%d %%</text>\n",
                x, TOP - 8, bottom, x, bottom + 16, tick);
    }
}

void bench_svg(FILE *out, const bench_figures *f) {
    const int bottom = TOP + ROW * (int)f->n_cases - (ROW - THICK) + 8;
    const char *slash = strrchr(f->model, '/');
    const size_t compute = bench_limit_of_type(f->cost.type);

    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#1d2733\">\n"
        "<style>.name{text-anchor:end}.rate{font-weight:bold}.small{font-size:12px;fill:#5a6675}"
        ".tick{font-size:11px;fill:#5a6675;text-anchor:middle}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
        WIDTH, bottom + BOTTOM, WIDTH, bottom + BOTTOM);
    fputs("<text x=\"20\" y=\"32\" font-size=\"18\" font-weight=\"bold\">", out);
    escaped(out, slash && slash[1] ? slash + 1 : f->model);
    fputs("</text>\n<text x=\"20\" y=\"54\" class=\"small\">", out);
    escaped(out, f->numerics);
    fprintf(out, ", %u thread%s; ", f->cost.threads, tfm_cli_plural(f->cost.threads));
    escaped(out, f->processor);
    fprintf(out, "; median of %u, lines from the lowest to the highest</text>\n", f->repeat);
    axis(out, bottom);
    for (size_t i = 0; i < f->n_cases; i++) row(out, f, &f->cases[i], TOP + ROW * (int)i);
    fprintf(out,
            "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"#3b78b4\"/>"
            "<text x=\"%d\" y=\"%d\" class=\"small\">of the read bandwidth, %.1f GB/s</text>\n",
            LEFT, bottom + 30, LEFT + 18, bottom + 41, bench_limit(f, 0).median);
    fprintf(out,
            "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"#d0802b\"/>"
            "<text x=\"%d\" y=\"%d\" class=\"small\">of the %s peak, %.0f GOP/s</text>\n</svg>\n",
            LEFT + 250, bottom + 30, LEFT + 268, bottom + 41, bench_limit_name[compute],
            bench_limit(f, compute).median);
}

/* probe.c - the options of taps and interventions, the same in every tool that runs a model.
 *
 * Owns the stream of taps: where it goes, its header, its end. What the options mean is the
 * library's (tfm/probe.h); files are opened here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "cli/cli_internal.h"
#include "tfm/probe.h"

enum { MAX_FILES = 64 };

struct tfm_cli_probe {
    tfm_probe *probe;
    const char *tap_out;
    int fd; /* of taps; -1 before it is open */
    bool has_tap, has_ablate, has_positions, has_scale, lists;
    const char *mean, *patch[MAX_FILES], *steer[MAX_FILES];
    size_t n_patch, n_steer;
    double scale;
    tfm_writer *w;
};

/* ---- options ---- */

/* Memory that runs out while options are read; there is no output yet that could be wrong. */
static void must(tfm_cli *c, tfm_status st, const tfm_error *err) {
    if (st == TFM_OK) return;
    tfm_cli_print(c, err->message);
    exit(5);
}

static tfm_cli_probe *get(tfm_cli *c) {
    tfm_error err = {0};
    void *p;

    if (c->probe) return c->probe;
    must(c, tfm_alloc(&p, 1, sizeof *c->probe, &err), &err);
    c->probe = p;
    c->probe->fd = -1;
    c->probe->scale = 1;
    must(c, tfm_probe_new(&c->probe->probe, &err), &err);
    return c->probe;
}

static void add_file(tfm_cli *c, const char **list, size_t *n) {
    if (*n == MAX_FILES) tfm_cli_usage(c, "%s: %d at most", c->option, MAX_FILES);
    list[(*n)++] = c->arg;
}

static void positions(tfm_cli *c, tfm_cli_probe *p) {
    const char *dash = strchr(c->arg, '-'), *end = dash ? dash : c->arg + strlen(c->arg);
    char text[16] = "";
    uint64_t a, b;

    if ((size_t)(end - c->arg) < sizeof text) memcpy(text, c->arg, (size_t)(end - c->arg));
    if (!tfm_parse_u64(text, 0, UINT32_MAX, &a) ||
        !tfm_parse_u64(dash ? dash + 1 : text, a, UINT32_MAX, &b))
        tfm_cli_usage(c, "%s: '%s' is no range of positions: give A-B, both included, from 0",
                      c->option, c->arg);
    tfm_probe_positions(p->probe, (uint32_t)a, (uint32_t)b);
    p->has_positions = true;
}

bool tfm_cli_probe_take(tfm_cli *c, int option) {
    tfm_error err = {0};
    tfm_cli_probe *p;

    if (option < TFM_OPTION_TAP || option > TFM_OPTION_AT) return false;
    p = get(c);
    switch (option) {
    case TFM_OPTION_TAP:
        p->has_tap = true;
        must(c, tfm_probe_tap(p->probe, c->arg, &err), &err);
        break;
    case TFM_OPTION_ABLATE:
        p->has_ablate = true;
        must(c, tfm_probe_ablate(p->probe, c->arg, &err), &err);
        break;
    case TFM_OPTION_SKIP: must(c, tfm_probe_skip(p->probe, c->arg, &err), &err); break;
    case TFM_OPTION_TAP_OUT: p->tap_out = tfm_cli_second_output(c); break;
    case TFM_OPTION_LIST_TAPS: p->lists = true; break;
    case TFM_OPTION_MEAN: p->mean = c->arg; break;
    case TFM_OPTION_PATCH: add_file(c, p->patch, &p->n_patch); break;
    case TFM_OPTION_STEER: add_file(c, p->steer, &p->n_steer); break;
    case TFM_OPTION_SCALE:
        p->scale = tfm_cli_double(c, -1e30, 1e30);
        p->has_scale = true;
        break;
    case TFM_OPTION_AT: positions(c, p); break;
    }
    return true;
}

/* ---- opening ---- */

static void check(tfm_cli *c, const tfm_cli_probe *p) {
    if (p->has_tap && !p->tap_out) tfm_cli_usage(c, "--tap: give --tap-out FILE or FD, too");
    if (p->tap_out && !p->has_tap) tfm_cli_usage(c, "--tap-out: give --tap GLOB, too");
    if (p->mean && !p->has_ablate) tfm_cli_usage(c, "--mean: give --ablate NAME, too");
    if (p->has_scale && !p->n_steer) tfm_cli_usage(c, "--scale: give --steer FILE, too");
    if (p->has_positions && !p->has_ablate && !p->n_steer)
        tfm_cli_usage(c, "--at: give --ablate NAME or --steer FILE, too");
}

/* --tap-out 3: what the shell has opened; the standard descriptors are taken. */
static tfm_status open_number(tfm_cli *c, tfm_cli_probe *p, uint64_t fd, tfm_error *err) {
    if (fd == STDIN_FILENO || fd == STDERR_FILENO || (fd == STDOUT_FILENO && !c->output))
        tfm_cli_usage(c,
                      "--tap-out %s: this descriptor is in use; give another, opened by the "
                      "shell (3>taps.tfms), or a file",
                      p->tap_out);
    if (fcntl((int)fd, F_GETFD) < 0)
        tfm_cli_usage(c, "--tap-out %s: this descriptor is not open; a file of that name is ./%s",
                      p->tap_out, p->tap_out);
    p->fd = (int)fd;
    (void)err;
    return TFM_OK;
}

static tfm_status open_taps(tfm_cli *c, tfm_cli_probe *p, tfm_error *err) {
    uint64_t fd;

    if (!p->tap_out) return TFM_OK;
    if (tfm_parse_u64(p->tap_out, 0, INT32_MAX, &fd)) {
        TFM_TRY(open_number(c, p, fd, err));
    } else {
        p->fd = open(p->tap_out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (p->fd < 0) return tfm_fail_errno(err, TFM_IO, "%s", p->tap_out);
    }
    if (isatty(p->fd))
        return tfm_fail(err, TFM_USAGE, "--tap-out %s: is a terminal, taps are binary: give a file",
                        p->tap_out);
    return tfm_writer_new(&p->w, p->fd, p->tap_out, err);
}

typedef tfm_status (*take_fn)(tfm_cli_probe *p, tfm_reader *r, const char *name, tfm_error *err);

static tfm_status take_mean(tfm_cli_probe *p, tfm_reader *r, const char *name, tfm_error *err) {
    return tfm_probe_mean(p->probe, r, name, err);
}
static tfm_status take_patch(tfm_cli_probe *p, tfm_reader *r, const char *name, tfm_error *err) {
    return tfm_probe_patch(p->probe, r, name, err);
}
static tfm_status take_steer(tfm_cli_probe *p, tfm_reader *r, const char *name, tfm_error *err) {
    return tfm_probe_steer(p->probe, r, name, p->scale, err);
}

static tfm_status read_file(tfm_cli *c, const char *path, take_fn take, tfm_error *err) {
    tfm_reader *r;
    const char *name;
    int fd;

    TFM_TRY(tfm_cli_open_input(c, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) {
        st = take(c->probe, r, name, err);
        tfm_reader_free(r);
    }
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

tfm_status tfm_cli_probe_open(tfm_cli *c, tfm_probe **probe, tfm_writer **taps, tfm_error *err) {
    tfm_cli_probe *p = c->probe;

    *probe = NULL;
    *taps = NULL;
    if (!p) return TFM_OK;
    check(c, p);
    if (p->mean) TFM_TRY(read_file(c, p->mean, take_mean, err));
    for (size_t i = 0; i < p->n_patch; i++) TFM_TRY(read_file(c, p->patch[i], take_patch, err));
    for (size_t i = 0; i < p->n_steer; i++) TFM_TRY(read_file(c, p->steer[i], take_steer, err));
    TFM_TRY(open_taps(c, p, err));
    *probe = p->probe;
    *taps = p->w;
    return TFM_OK;
}

/* ---- the stream of taps ---- */

tfm_status tfm_cli_taps_header(tfm_cli *c, const tfm_header *output, tfm_error *err) {
    static const char *const not_of_taps[] = {"next-block", "side", "frame", "tokenize"};
    tfm_header *h;

    if (!c->probe || !c->probe->w) return TFM_OK;
    TFM_TRY(tfm_header_copy(&h, output, err));
    tfm_status st = tfm_header_set_kind(h, "tensor", err);
    for (size_t i = 0; st == TFM_OK && i < sizeof not_of_taps / sizeof *not_of_taps; i++)
        st = tfm_header_set(h, not_of_taps[i], NULL, err);
    if (st == TFM_OK) st = tfm_writer_header(c->probe->w, h, err);
    tfm_header_free(h);
    return st;
}

tfm_status tfm_cli_taps_end(tfm_cli *c, tfm_error *err) {
    return c->probe && c->probe->w ? tfm_writer_end(c->probe->w, err) : TFM_OK;
}

tfm_status tfm_cli_probe_close(tfm_cli *c, tfm_status st, tfm_error *err) {
    tfm_cli_probe *p = c->probe;
    tfm_error ignored = {0};
    const char *file, *name;

    if (!p) return st;
    if (st == TFM_OK && tfm_probe_unmet(p->probe, &file, &name))
        tfm_cli_warn(c,
                     "--patch %s: no row of %s was put: the input has no such group at such a "
                     "position",
                     file, name);
    if (st != TFM_OK && p->w && tfm_writer_is_open(p->w))
        /* The failure itself is what is told; that the taps cannot say so, too, changes nothing. */
        (void)!tfm_writer_error(p->w, TFM_GROUP_ALL, c->program->name, err->message, &ignored);
    tfm_writer_free(p->w);
    if (p->fd > STDERR_FILENO && close(p->fd) != 0 && st == TFM_OK)
        st = tfm_fail_errno(err, TFM_IO, "%s", p->tap_out);
    tfm_probe_free(p->probe);
    tfm_free(p);
    c->probe = NULL;
    return st;
}

/* ---- the list ---- */

bool tfm_cli_lists_taps(const tfm_cli *c) {
    return c->probe && c->probe->lists;
}

static tfm_status print_name(void *ctx, const char *name, const char *shape, tfm_error *err) {
    if (fprintf(ctx, "%s\t%s\n", name, shape) >= 0) return TFM_OK;
    return tfm_fail_errno(err, TFM_IO, "stdout");
}

int tfm_cli_list_taps(tfm_cli *c, const tfm_model_range *range) {
    tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    tfm_model *model = NULL;
    tfm_error err = {0};
    FILE *out = NULL;

    tfm_status st = tfm_cli_open_text(c, &out, &err);
    if (st == TFM_OK) st = tfm_load(&model, c->model, &lo, &err);
    if (st == TFM_OK) st = tfm_probe_list(model, range, print_name, out, &err);
    if (st == TFM_OK) st = tfm_cli_close_text(c, out, &err);
    tfm_model_free(model);
    st = tfm_cli_probe_close(c, st, &err);
    return tfm_cli_finish(c, st, NULL, &err);
}

/* test_stop.c - stop strings: what is held back, what is released, the exact cut. */
#include "infer/infer_internal.h"
#include "unit.h"

/* Pieces of a byte-level vocabulary; ids are their order. */
static const char *const pieces[] = {"a", "b", "c", "d", "ab", "cd", "abcd", "dab"};
#define N_PIECES (sizeof pieces / sizeof *pieces)

/* A vocabulary that a test needs nothing of but its pieces. */
static tfm_vocab_tables *tables;
static bool find_table(void *ctx, const char *name, tfm_tensor *out) {
    (void)ctx;
    for (size_t i = 0; i < tables->n_tensors; i++)
        if (strcmp(tables->tensor[i].name, name) == 0) {
            *out = tables->tensor[i];
            return true;
        }
    return false;
}

static tfm_vocab *make_vocab(void) {
    static uint32_t len[N_PIECES];
    static uint8_t flags[N_PIECES];
    const char *none[1] = {""};
    const uint32_t zero[1] = {0};
    tfm_vocab *v = NULL;
    tfm_error err = {0};

    for (size_t i = 0; i < N_PIECES; i++) len[i] = (uint32_t)strlen(pieces[i]);
    tfm_vocab_source src = {.type = TFM_VOCAB_BPE,
                            .n = N_PIECES,
                            .piece = pieces,
                            .piece_len = len,
                            .flags = flags,
                            .merge_left = none,
                            .merge_right = none,
                            .merge_left_len = zero,
                            .merge_right_len = zero,
                            .bos = -1,
                            .eos = -1,
                            .unk = -1,
                            .pad = -1,
                            .normaliser = "none",
                            .byte_level = true};
    if (!CHECK_INT(tfm_vocab_build(&tables, &src, &err), TFM_OK))
        puts(err.message);
    else if (!CHECK_INT(
                 tfm_vocab_open(&v, tables->settings, tables->settings_len, find_table, NULL, &err),
                 TFM_OK))
        puts(err.message);
    return v;
}

/* Pushes ids until one stops; what came out, spelled with '|' after each push; '!' marks the stop,
 * '.' the flush. */
static void run(const tfm_vocab *v, const char *const *stops, size_t n_stops, const int *ids,
                size_t n, const char *want) {
    tfm_stop_set *set = NULL;
    tfm_stop *s = NULL;
    char got[200] = "";
    bool stopped = false;

    if (!CHECK_INT(tfm_stop_set_new(&set, v, stops, n_stops, NULL), TFM_OK)) return;
    CHECK_INT(tfm_stop_new(&s, set, NULL), TFM_OK);
    for (size_t i = 0; i <= n && !stopped; i++) {
        tfm_ids ready = {0};
        if (i < n)
            CHECK_INT(tfm_stop_push(s, ids[i], &ready, &stopped, NULL), TFM_OK);
        else
            CHECK_INT(tfm_stop_flush(s, &ready, NULL), TFM_OK);
        for (size_t k = 0; k < ready.len; k++) {
            strcat(got, k ? "," : "");
            strcat(got, pieces[ready.data[k]]);
        }
        strcat(got, stopped ? "!" : i < n ? "|" : ".");
        tfm_ids_free(&ready);
    }
    CHECK_STR(got, want);
    tfm_stop_free(s);
    tfm_stop_set_free(set);
}

enum { A, B, C, D, AB, CD, ABCD, DAB };

static void holds_back_and_cuts_exactly(void) {
    tfm_vocab *v = make_vocab();
    if (!v) return;
    const char *bc[] = {"bc"}, *two[] = {"cab", "bb"}, *cc[] = {"ca"}, *dd[] = {"dd"};
    run(v, bc, 1, (const int[]){A, B, C}, 3, "a||!");
    run(v, bc, 1, (const int[]){A, B, D, A}, 4, "a||b,d|a|.");
    run(v, bc, 1, (const int[]){D, ABCD}, 2, "d|a!");   /* inside one token: "a" is spelled */
    run(v, bc, 1, (const int[]){DAB, CD}, 2, "|d,a!");  /* no piece "da" */
    run(v, bc, 1, (const int[]){AB, AB}, 2, "|ab|ab."); /* held at the end of each */
    run(v, two, 2, (const int[]){C, AB, D}, 3, "|!");
    run(v, two, 2, (const int[]){C, A, C, A, B}, 5, "||c,a||!");
    run(v, two, 2, (const int[]){A, B, B}, 3, "a||!");
    run(v, cc, 1, (const int[]){C, C, A}, 3, "|c|!");
    run(v, dd, 1, (const int[]){CD, DAB}, 2, "|c!"); /* the rest of the last token goes, too */
    tfm_vocab_free(v);
    tfm_vocab_tables_free(tables);
}

static void refuses_what_makes_no_sense(void) {
    const char *empty[] = {""};
    tfm_stop_set *set;
    tfm_vocab *v;
    if (!CHECK_INT(tfm_vocab_raw_bytes(&v, NULL), TFM_OK)) return;
    CHECK_INT(tfm_stop_set_new(&set, v, empty, 1, NULL), TFM_USAGE);
    CHECK_INT(tfm_stop_set_new(&set, NULL, empty, 1, NULL), TFM_USAGE);
    tfm_vocab_free(v);
}

int main(void) {
    UNIT_RUN(holds_back_and_cuts_exactly);
    UNIT_RUN(refuses_what_makes_no_sense);
    return unit_done();
}

/* fuzz_cache.c - fuzz target: any bytes as a file of --load-cache, as they are and with checksums
 * repaired.
 *
 * The caches are of a model in the corpus of models; the header's model and numerics are part of
 * the input (make_model_seeds.sh makes the seeds anew when they change). What is accepted must be
 * usable: a prompt that begins with its tokens runs from it, and written again it reads back. */
#include "fuzz_use.h"
#include "tfm/cache.h"

enum { MAX_PROMPT = 8, NEW_TOKENS = 2 };

static tfm_engine *engine;

static void open_engine(void) {
    const tfm_load_options o = {.share_dir = "share"};
    const tfm_engine_options eo = {.device = "ref", .threads = 1};
    tfm_model *m;
    if (engine != NULL) return;
    fuzz_must(tfm_load(&m, "tests/fuzz/corpus/model/seed-rows.tfms", &o, NULL) == TFM_OK,
              "run it from the top of the source tree");
    fuzz_must(tfm_engine_new(&engine, m, &eo, NULL) == TFM_OK, "the seed model does not run");
}

/* The cache's first tokens and one more, from the cache. */
static void generate(tfm_cache_set *set, const int32_t *of, uint32_t n) {
    const tfm_generate_options o = {
        .has_max_tokens = true, .max_tokens = NEW_TOKENS, .ignore_eog = true};
    int32_t ids[MAX_PROMPT + 1];
    tfm_generator *g;
    tfm_event event;
    if (n > MAX_PROMPT) n = MAX_PROMPT;
    for (uint32_t i = 0; i < n; i++) ids[i] = of[i];
    ids[n++] = 1;
    if (tfm_generator_new(&g, engine, &o, NULL) != TFM_OK) return;
    const tfm_cache *from = tfm_cache_set_best(set, ids, n);
    tfm_status st = tfm_generator_add_from(g, 0, ids, n, from, false, NULL);
    while (st == TFM_OK) st = tfm_generator_next(g, &event, NULL);
    tfm_generator_free(g);
}

static void write_again(const tfm_cache *c) {
    const char *path = fuzz_put("again.tfms", NULL, 0);
    const int fd = fuzz_create(path);
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    tfm_reader *r = NULL;
    tfm_cache *back = NULL;
    tfm_status st = tfm_header_new(&h, "cache", NULL);
    if (st == TFM_OK) st = tfm_cache_header(engine, h, NULL);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, path, NULL);
    if (st == TFM_OK) st = tfm_writer_header(w, h, NULL);
    if (st == TFM_OK) st = tfm_cache_write(c, 0, w, NULL);
    if (st == TFM_OK) st = tfm_writer_end(w, NULL);
    fuzz_must(st == TFM_OK && lseek(fd, 0, SEEK_SET) == 0, "a cache is not written");
    if (st == TFM_OK) st = tfm_reader_new(&r, fd, path, NULL);
    if (st == TFM_OK) st = tfm_reader_stream(r, NULL);
    if (st == TFM_OK) st = tfm_cache_read(&back, engine, r, NULL);
    fuzz_must(st == TFM_OK, "a written cache does not read");
    tfm_cache_free(back);
    tfm_reader_free(r);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
}

static void try_file(const uint8_t *data, size_t size) {
    const int fd = fuzz_memfd(data, size);
    tfm_cache_set *set = NULL;
    tfm_reader *r = NULL;
    tfm_cache *c;
    tfm_status st = tfm_cache_set_new(&set, NULL);
    if (st == TFM_OK) st = tfm_reader_new(&r, fd, "c", NULL);
    while (st == TFM_OK && (st = tfm_reader_stream(r, NULL)) == TFM_OK) {
        while (st == TFM_OK && (st = tfm_cache_read(&c, engine, r, NULL)) == TFM_OK) {
            uint32_t n;
            const int32_t *ids = tfm_cache_ids(c, &n);
            write_again(c);
            st = tfm_cache_set_add(set, c, NULL);
            if (st == TFM_OK) generate(set, ids, n);
        }
        if (st == TFM_DONE) st = TFM_OK;
    }
    tfm_reader_free(r);
    tfm_cache_set_free(set);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    open_engine();
    try_file(data, size);
    uint8_t *p = fuzz_copy(data, size);
    fuzz_repair(p, size);
    try_file(p, size);
    free(p);
    return 0;
}

/* test_nomem.c - memory that runs out inside the library: the Nth allocation fails, N = 1 until
 * success. Every call then returns TFM_NOMEM (TFM_IO from opendir) or has the full result, does
 * not crash, and leaves nothing allocated: what tests/fault.bats cannot see from outside.
 *
 * malloc and its family are replaced by functions that count and fail, with glibc. Elsewhere and
 * under a sanitizer, which has its own allocator, every scenario runs once, without failures. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch_internal.h"
#include "tfm/infer.h"
#include "tfm/load.h"
#include "tfm/model.h"
#include "tfm/probe.h"
#include "tfm/stream.h"
#include "tfm/tokenizer.h"
#include "../unit/unit.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define CAN_FAIL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAN_FAIL 0
#endif
#endif
#ifndef CAN_FAIL
#define CAN_FAIL 1
#endif

static atomic_long live;            /* blocks that malloc gave and free did not get back */
static atomic_ulong calls, fail_at; /* fail_at 0: never */
static atomic_bool struck;

#if CAN_FAIL

/* glibc keeps its allocator under these names for replacements such as this one. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

#define REPLACE __attribute__((visibility("default")))

static bool fails(void) {
    if (++calls != fail_at) return false;
    struck = true;
    errno = ENOMEM;
    return true;
}

static void *counted(void *p) {
    if (p != NULL) live++;
    return p;
}

REPLACE void *malloc(size_t n) {
    return fails() ? NULL : counted(__libc_malloc(n));
}

REPLACE void *calloc(size_t n, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(n, size));
}

REPLACE void *memalign(size_t align, size_t n) {
    return fails() ? NULL : counted(__libc_memalign(align, n));
}

REPLACE void *aligned_alloc(size_t align, size_t n) {
    return fails() ? NULL : counted(__libc_memalign(align, n));
}

REPLACE int posix_memalign(void **out, size_t align, size_t n) {
    void *p = fails() ? NULL : counted(__libc_memalign(align, n));
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}

REPLACE void *realloc(void *p, size_t n) {
    if (fails()) return NULL;
    void *q = __libc_realloc(p, n);
    if (p == NULL) return counted(q);
    if (q == NULL && n == 0) live--;
    return q;
}

REPLACE void free(void *p) {
    if (p != NULL) live--;
    __libc_free(p);
}

#endif

/* ---- scenarios: each does everything once and frees it; returns the first failure ---- */

typedef tfm_status scenario(tfm_error *err);

static tfm_status write_stream(tfm_writer *w, tfm_header *h, tfm_error *err) {
    const int32_t ids[3] = {1, 2, 3};
    const tfm_record rec = {.type = TFM_REC_TENSOR,
                            .dtype = TFM_I32,
                            .rank = 1,
                            .group = 7,
                            .dims = {3, 1, 1, 1},
                            .name = "tokens"};
    TFM_TRY(tfm_header_set(h, "tool", "test", err));
    TFM_TRY(tfm_header_add(h, "prov", "{}", err));
    TFM_TRY(tfm_writer_header(w, h, err));
    TFM_TRY(tfm_writer_record(w, &rec, ids, err));
    TFM_TRY(tfm_writer_text(w, 7, "line", "abc", 3, err));
    TFM_TRY(tfm_writer_group_end(w, 7, 3, TFM_END_LENGTH, err));
    return tfm_writer_end(w, err);
}

static tfm_status read_stream(tfm_reader *r, tfm_error *err) {
    tfm_record rec;
    const void *payload;
    tfm_status st = tfm_reader_stream(r, err);
    while (st == TFM_OK) {
        st = tfm_reader_next(r, &rec, err);
        if (st == TFM_OK) st = tfm_reader_payload(r, &payload, err);
    }
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status stream_scenario(tfm_error *err) {
    const int fd = memfd_create("stream", MFD_CLOEXEC);
    tfm_header *h = NULL, *copy = NULL;
    tfm_writer *w = NULL;
    tfm_reader *r = NULL;
    tfm_status st = tfm_header_new(&h, "tokens", err);
    if (st == TFM_OK) st = tfm_header_copy(&copy, h, err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, "memory", err);
    if (st == TFM_OK) st = write_stream(w, copy, err);
    if (st == TFM_OK && lseek(fd, 0, SEEK_SET) != 0) st = TFM_IO;
    if (st == TFM_OK) st = tfm_reader_new(&r, fd, "memory", err);
    if (st == TFM_OK) st = read_stream(r, err);
    tfm_reader_free(r);
    tfm_writer_free(w);
    tfm_header_free(copy);
    tfm_header_free(h);
    close(fd);
    return st;
}

static bool lookup(void *ctx, const char *name, tfm_tensor *out) {
    const tfm_vocab_tables *tables = ctx;
    for (size_t i = 0; i < tables->n_tensors; i++) {
        if (strcmp(tables->tensor[i].name, name) != 0) continue;
        *out = tables->tensor[i];
        return true;
    }
    return false;
}

static tfm_status detokenise(const tfm_tokenizer *t, const tfm_ids *ids, tfm_error *err) {
    tfm_detok *d;
    const char *bytes;
    size_t n;
    TFM_TRY(tfm_detok_new(&d, t, 0, err));
    tfm_status st = TFM_OK;
    for (size_t i = 0; i < ids->len && st == TFM_OK; i++) {
        st = tfm_detok_push(d, ids->data[i], &bytes, &n, err);
    }
    if (st == TFM_OK) st = tfm_detok_finish(d, &bytes, &n, err);
    tfm_detok_free(d);
    return st;
}

static tfm_status use_vocab(const tfm_vocab *v, tfm_error *err) {
    static const char text[] = "The cat's 1234 words,\n na\xc3\xafve <|end|> \xff";
    tfm_tokenizer *t = NULL;
    tfm_ids ids = {0};
    tfm_status st = tfm_tokenizer_new(&t, v, err);
    if (st == TFM_OK)
        st = tfm_tokenize(t, text, sizeof text - 1, TFM_TOK_PARSE_SPECIAL, &ids, NULL, err);
    if (st == TFM_OK) st = detokenise(t, &ids, err);
    tfm_ids_free(&ids);
    tfm_tokenizer_free(t);
    return st;
}

static tfm_status use_source(const char *path, const char *tokenizer_path, tfm_error *err) {
    const tfm_vocab_tables *tables = NULL;
    tfm_source *s = NULL;
    tfm_vocab *v = NULL;
    char digest[65];
    const tfm_source_options o = {.tokenizer_path = tokenizer_path, .share_dir = "share"};
    tfm_status st = tfm_source_open(&s, path, &o, err);
    if (st == TFM_OK) st = tfm_source_digest(s, true, digest, err);
    if (st == TFM_OK) st = tfm_source_vocab(s, &tables, err);
    if (st == TFM_OK && tables != NULL)
        st = tfm_vocab_open(&v, tables->settings, tables->settings_len, lookup,
                            (void *)(uintptr_t)tables, err);
    if (st == TFM_OK && v != NULL) st = use_vocab(v, err);
    tfm_vocab_free(v);
    tfm_source_free(s);
    return st;
}

#define SEEDS "tests/fuzz/corpus/"

static tfm_status gguf_scenario(tfm_error *err) {
    return use_source(SEEDS "gguf/seed-llama-q8_0.gguf", NULL, err);
}

static tfm_status gguf_bpe_scenario(tfm_error *err) {
    return use_source(SEEDS "gguf/seed-bpe-vocab.gguf", NULL, err);
}

static tfm_status llama2c_scenario(tfm_error *err) {
    return use_source(SEEDS "llama2c/seed-v1.bin", SEEDS "tokenizer_bin/seed-tokenizer.bin", err);
}

static tfm_status json_scenario(tfm_error *err) {
    return use_source(SEEDS "tokenizer_json/seed-split.json", NULL, err);
}

static tfm_status spm_scenario(tfm_error *err) {
    return use_source(SEEDS "tokenizer_model/seed-bpe.model", NULL, err);
}

/* A folder of links to seeds, under the names that such folders have. */
static char folder[] = "/tmp/nomem-XXXXXX";
static const char *const links[3][2] = {
    {"config.json", SEEDS "config_json/seed-llama.json"},
    {"model.safetensors", SEEDS "safetensors/seed-llama.safetensors"},
    {"tokenizer.json", SEEDS "tokenizer_json/seed-metaspace.json"}};

static void make_folder(void) {
    char here[2048], from[4096], to[128];
    if (!CHECK(mkdtemp(folder) != NULL) || !CHECK(getcwd(here, sizeof here) != NULL)) return;
    for (int i = 0; i < 3; i++) {
        snprintf(from, sizeof from, "%s/%s", here, links[i][1]);
        snprintf(to, sizeof to, "%s/%s", folder, links[i][0]);
        CHECK(symlink(from, to) == 0);
    }
}

static void remove_folder(void) {
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, links[i][0]);
        CHECK(unlink(path) == 0);
    }
    CHECK(rmdir(folder) == 0);
}

static tfm_status folder_scenario(tfm_error *err) {
    return use_source(folder, NULL, err);
}

/* A model, by whatever way it opened: its vocabulary and its steps. */
static tfm_status use_model(tfm_model *m, tfm_error *err) {
    const tfm_vocab *v = NULL;
    tfm_graph *g;
    TFM_TRY(tfm_model_vocab(m, &v, err));
    if (v != NULL) TFM_TRY(use_vocab(v, err));
    TFM_TRY(tfm_graph_new(&g, m, 0, err));
    tfm_graph_free(g);
    return TFM_OK;
}

static tfm_status load_scenario(tfm_error *err) {
    const tfm_load_options o = {.share_dir = "share"};
    tfm_model *m;
    TFM_TRY(tfm_load(&m, SEEDS "gguf/seed-llama-q8_0.gguf", &o, err));
    const tfm_status st = use_model(m, err);
    tfm_model_free(m);
    return st;
}

static tfm_status model_scenario(tfm_error *err) {
    tfm_model *m;
    TFM_TRY(tfm_model_open(&m, SEEDS "model/seed-p16.tfms", err));
    const tfm_status st = use_model(m, err);
    tfm_model_free(m);
    return st;
}

static tfm_status generate(tfm_engine *e, tfm_writer *taps, tfm_error *err) {
    static const char *const stop[] = {"zzz"};
    static const int32_t prompt[3] = {1, 261, 267};
    const tfm_generate_options o = {.has_max_tokens = true,
                                    .max_tokens = 3,
                                    .n_samples = 2,
                                    .sampling = {.temperature = 1, .top_k = 5, .top_p = 0.9f},
                                    .stop = stop,
                                    .n_stop = 1,
                                    .tap_out = taps};
    tfm_generator *g;
    tfm_event event;
    TFM_TRY(tfm_generator_new(&g, e, &o, err));
    tfm_status st = tfm_generator_add(g, 0, prompt, 3, err);
    if (st == TFM_OK) st = tfm_generator_add(g, 1, prompt, 2, err);
    while (st == TFM_OK) st = tfm_generator_next(g, &event, err);
    tfm_generator_free(g);
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status generate_on(const char *device, tfm_probe *probe, tfm_writer *taps,
                              tfm_error *err) {
    const tfm_engine_options o = {.device = device, .threads = 1, .probe = probe};
    tfm_engine *e = NULL;
    tfm_model *m;
    TFM_TRY(tfm_model_open(&m, SEEDS "model/seed-p16.tfms", err));
    tfm_status st = tfm_engine_new(&e, m, &o, err);
    if (st == TFM_OK) st = generate(e, taps, err);
    tfm_engine_free(e);
    tfm_model_free(m);
    return st;
}

static tfm_status ref_scenario(tfm_error *err) {
    return generate_on("ref", NULL, NULL, err);
}

static tfm_status cpu_scenario(tfm_error *err) {
    return generate_on("cpu", NULL, NULL, err);
}

/* Taps of a run, as a stream in a file without a name. */
static tfm_status write_taps(int fd, tfm_error *err) {
    tfm_probe *p = NULL;
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    tfm_status st = tfm_probe_new(&p, err);
    if (st == TFM_OK) st = tfm_probe_tap(p, "blk.*.resid", err);
    if (st == TFM_OK) st = tfm_probe_tap(p, "blk.0.[hp]*", err);
    if (st == TFM_OK) st = tfm_probe_ablate(p, "blk.*.head.1", err);
    if (st == TFM_OK) st = tfm_probe_skip(p, "blk.0.ffn", err);
    if (st == TFM_OK) st = tfm_header_new(&h, "tensor", err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, "memory", err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    if (st == TFM_OK) st = generate_on("cpu", p, w, err);
    if (st == TFM_OK) st = tfm_writer_end(w, err);
    tfm_writer_free(w);
    tfm_header_free(h);
    tfm_probe_free(p);
    return st;
}

typedef tfm_status take_file(tfm_probe *p, tfm_reader *r, const char *name, tfm_error *err);

static tfm_status read_taps(tfm_probe *p, take_file *take, int fd, tfm_error *err) {
    tfm_reader *r;
    if (lseek(fd, 0, SEEK_SET) != 0) return TFM_IO;
    TFM_TRY(tfm_reader_new(&r, fd, "memory", err));
    const tfm_status st = take(p, r, "memory", err);
    tfm_reader_free(r);
    return st;
}

static tfm_status take_vectors(tfm_probe *p, tfm_reader *r, const char *name, tfm_error *err) {
    const tfm_status st = tfm_probe_steer(p, r, name, 2, err);
    return st == TFM_MISMATCH ? TFM_OK : st; /* these have more rows than one: read, then refused */
}

static tfm_status taps_scenario(tfm_error *err) {
    const int fd = memfd_create("taps", MFD_CLOEXEC);
    tfm_probe *p = NULL, *q = NULL;
    tfm_status st = write_taps(fd, err);
    if (st == TFM_OK) st = tfm_probe_new(&q, err);
    if (st == TFM_OK) st = read_taps(q, take_vectors, fd, err);
    if (st == TFM_OK) st = tfm_probe_new(&p, err);
    if (st == TFM_OK) st = read_taps(p, tfm_probe_mean, fd, err);
    if (st == TFM_OK) st = tfm_probe_ablate(p, "blk.0.heads", err);
    if (st == TFM_OK) st = generate_on("cpu", p, NULL, err);
    tfm_probe_free(p);
    p = NULL;
    if (st == TFM_OK) st = tfm_probe_new(&p, err);
    if (st == TFM_OK) st = read_taps(p, tfm_probe_patch, fd, err);
    if (st == TFM_OK) {
        st = generate_on("ref", p, NULL, err);
    }
    tfm_probe_free(p);
    tfm_probe_free(q);
    close(fd);
    return st;
}

static tfm_status convert_scenario(tfm_error *err) {
    const tfm_convert_options o = {
        .load = {.share_dir = "share"}, .type = TFM_Q4_0, .layout = TFM_LAYOUT_P16};
    const int fd = memfd_create("model", MFD_CLOEXEC);
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    tfm_status st = tfm_header_new(&h, "model", err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, "memory", err);
    if (st == TFM_OK) st = tfm_convert(SEEDS "gguf/seed-llama-f16.gguf", &o, h, w, err);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
    return st;
}

static tfm_status to_gguf_scenario(tfm_error *err) {
    const int fd = memfd_create("gguf", MFD_CLOEXEC);
    tfm_model *m = NULL;
    tfm_status st = tfm_model_open(&m, SEEDS "model/seed-p16.tfms", err);
    if (st == TFM_OK) st = tfm_gguf_write(m, "share", fd, "memory", err);
    tfm_model_free(m);
    close(fd);
    return st;
}

/* ---- running them ---- */

static tfm_status run_scenario(scenario *s, unsigned long n) {
    tfm_error err = {0};
    calls = 0;
    struck = false;
    fail_at = n;
    const tfm_status st = s(&err);
    fail_at = 0;
    const bool failed_silently = st != TFM_OK && err.message[0] == '\0';
    if (failed_silently) CHECK(!failed_silently);
    return st;
}

/* NULL if the outcome of a run is right. */
static const char *judge(tfm_status st, long before) {
    if (live != before) return "something was left allocated";
    /* TFM_IO: opendir allocates, and gives its failure as any other. Both are exit status 5. */
    if (st != TFM_OK && st != TFM_NOMEM && st != TFM_IO) return "failed with a wrong status";
    return NULL;
}

static void exhaust(scenario *s) {
    enum { MANY = 1000000 };
    CHECK_INT(run_scenario(s, 0), TFM_OK);
    if (!CAN_FAIL) return;
    CHECK_INT(run_scenario(s, 0), TFM_OK); /* what libraries allocate once is there now */
    const unsigned long all = calls;
    unsigned complaints = 0;
    /* Every call when there are few, else about 500 of them. */
    const unsigned long step = getenv("LONG") != NULL ? 1 : all / 500 + 1;
    CHECK(all > 5);
    for (unsigned long n = 1; n < MANY && complaints < 10; n += step) {
        const long before = live;
        const tfm_status st = run_scenario(s, n);
        const char *fault = judge(st, before);
        if (fault != NULL) {
            printf("allocation %lu of %lu: %s (status %d)\n", n, all, fault, (int)st);
            complaints++;
        }
        if (!struck) break;
    }
    CHECK_INT(complaints, 0);
}

static void stream(void) {
    exhaust(stream_scenario);
}

static void gguf(void) {
    exhaust(gguf_scenario);
}

static void gguf_bpe(void) {
    exhaust(gguf_bpe_scenario);
}

static void llama2c(void) {
    exhaust(llama2c_scenario);
}

static void tokenizer_json(void) {
    exhaust(json_scenario);
}

static void tokenizer_model(void) {
    exhaust(spm_scenario);
}

static void hugging_face(void) {
    make_folder();
    exhaust(folder_scenario);
    remove_folder();
}

static void load(void) {
    exhaust(load_scenario);
}

static void model(void) {
    exhaust(model_scenario);
}

static void run_ref(void) {
    exhaust(ref_scenario);
}

static void run_cpu(void) {
    exhaust(cpu_scenario);
}

static void taps(void) {
    exhaust(taps_scenario);
}

static void convert(void) {
    exhaust(convert_scenario);
}

static void to_gguf(void) {
    exhaust(to_gguf_scenario);
}

int main(void) {
    UNIT_RUN(stream);
    UNIT_RUN(gguf);
    UNIT_RUN(gguf_bpe);
    UNIT_RUN(llama2c);
    UNIT_RUN(tokenizer_json);
    UNIT_RUN(tokenizer_model);
    UNIT_RUN(hugging_face);
    UNIT_RUN(load);
    UNIT_RUN(model);
    UNIT_RUN(run_ref);
    UNIT_RUN(run_cpu);
    UNIT_RUN(taps);
    UNIT_RUN(convert);
    UNIT_RUN(to_gguf);
    return unit_done();
}

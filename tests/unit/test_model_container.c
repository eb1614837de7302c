/* test_model_container.c - model.bin: what is written is read back, what is damaged is refused. */
#include <fcntl.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "model/container_internal.h"
#include "tfm/model.h"
#include "unit.h"

static const char id64[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char description[] = "architecture: test\ntokenizer:\n  a: 1\n  b: 2\nblocks: 1\n";
static char path[64];

/* Three tensors: rows f32, p16 of bf16 with both kinds of padding, q8_0. */
static float f32_data[6] = {1, 2, 3, 4, 5, 6};
static unsigned char p16_data[32 * 4 * 2], q8_data[2 * 34];

static tfm_tensor tensors[3] = {
    {.name = "a.weight",
     .dtype = TFM_F32,
     .rank = 2,
     .dims = {2, 3, 1, 1},
     .data = f32_data,
     .bytes = sizeof f32_data},
    {.name = "blk.0.p",
     .dtype = TFM_BF16,
     .layout = TFM_LAYOUT_P16,
     .rank = 2,
     .dims = {17, 3, 1, 1},
     .data = p16_data,
     .bytes = sizeof p16_data},
    {.name = "q",
     .dtype = TFM_Q8_0,
     .rank = 2,
     .dims = {2, 32, 1, 1},
     .data = q8_data,
     .bytes = sizeof q8_data},
};

static tfm_status write_model(const char *to, const tfm_tensor *t, size_t n, tfm_error *err) {
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) return tfm_fail_errno(err, TFM_IO, "%s", to);
    tfm_status st = tfm_header_new(&h, "model", err);
    if (st == TFM_OK) st = tfm_header_set(h, "model", id64, err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, to, err);
    if (st == TFM_OK)
        st = tfm_model_write(w, h, description, sizeof description - 1, t, n, NULL, NULL, err);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
    return st;
}

static tfm_status open_model(tfm_error *err) {
    tfm_model *m;
    tfm_status st = tfm_model_open(&m, path, err);
    tfm_model_free(m);
    return st;
}

static void put_file(const char *data, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(write(fd, data, n) == (ssize_t)n);
    close(fd);
}

static void round_trip(void) {
    tfm_error err = {0};
    tfm_model *m;
    size_t len;
    memset(p16_data, 7, sizeof p16_data);
    if (!CHECK_INT(write_model(path, tensors, 3, &err), TFM_OK)) return;
    if (!CHECK_INT(tfm_model_open(&m, path, &err), TFM_OK)) {
        puts(err.message);
        return;
    }
    CHECK_STR(tfm_model_id(m), id64);
    CHECK_STR(tfm_model_vocab_id(m), "");
    CHECK_STR(tfm_model_path(m), path);
    CHECK_STR(tfm_model_description(m, &len), description);
    CHECK_INT(len, sizeof description - 1);
    CHECK_INT(tfm_model_n_tensors(m), 3);
    for (size_t i = 0; i < 3; i++) {
        const tfm_tensor *t = tfm_model_tensor(m, tensors[i].name);
        if (!CHECK(t != NULL)) continue;
        CHECK(t == tfm_model_tensor_at(m, i));
        CHECK_INT(t->dtype, tensors[i].dtype);
        CHECK_INT(t->layout, tensors[i].layout);
        CHECK_INT(t->bytes, tensors[i].bytes);
        CHECK(memcmp(t->dims, tensors[i].dims, sizeof t->dims) == 0);
        CHECK(memcmp(t->data, tensors[i].data, (size_t)t->bytes) == 0);
        CHECK_INT((uintptr_t)t->data % 64, 0);
    }
    CHECK(tfm_model_tensor(m, "a.weigh") == NULL);
    CHECK(tfm_model_tensor_at(m, 3) == NULL);
    tfm_model_free(m);
}

/* The container is a stream: a reader that knows nothing of models must accept all of it. */
static void is_a_stream(void) {
    tfm_error err = {0};
    tfm_reader *r;
    tfm_record rec;
    const void *payload;
    int fd, n = 0;
    tfm_status st;
    CHECK_INT(write_model(path, tensors, 3, &err), TFM_OK);
    fd = open(path, O_RDONLY);
    CHECK_INT(tfm_reader_new(&r, fd, path, &err), TFM_OK);
    CHECK_INT(tfm_reader_stream(r, &err), TFM_OK);
    while ((st = tfm_reader_next(r, &rec, &err)) == TFM_OK) {
        CHECK_INT(tfm_reader_payload(r, &payload, &err), TFM_OK);
        if (n++ == 3) { /* description, index, a.weight, blk.0.p */
            CHECK_STR(rec.name, "blk.0.p");
            CHECK_INT(rec.dims[0], 32);
            CHECK_INT(rec.dims[1], 4);
        }
    }
    CHECK_INT(st, TFM_DONE);
    CHECK_INT(n, 5);
    CHECK_INT(tfm_reader_stream(r, &err), TFM_DONE);
    tfm_reader_free(r);
    close(fd);
}

static void refuses_bad_tensors(void) {
    tfm_error err = {0};
    tfm_tensor t[2] = {tensors[0], tensors[0]};
    CHECK_INT(write_model(path, t, 2, &err), TFM_FORMAT); /* the name twice */
    CHECK(strstr(err.message, "a.weight") != NULL);
    t[1].name = "has space";
    CHECK_INT(write_model(path, t, 2, &err), TFM_FORMAT);
    t[1].name = "";
    CHECK_INT(write_model(path, t, 2, &err), TFM_FORMAT);
    t[1].name = "b";
    t[1].bytes = 20;
    CHECK_INT(write_model(path, t, 2, &err), TFM_FORMAT);
    t[1] = tensors[1];
    t[1].rank = 3;
    CHECK(write_model(path, t, 2, &err) != TFM_OK); /* p16 is for rank 2 */
    t[1] = tensors[2];
    t[1].dims[1] = 33;
    CHECK(write_model(path, t, 2, &err) != TFM_OK); /* no whole blocks */
    CHECK_INT(write_model(path, t, 0, &err), TFM_LIMIT);
}

/* Cut at every byte and with every byte changed: never a crash, and never silently good where
 * opening looks (the payloads and heads of tensors are tfm-check's). */
static void refuses_damage(void) {
    tfm_error err = {0};
    tfm_buf b = {0};
    size_t checked_end; /* the records that opening reads are before this */
    CHECK_INT(write_model(path, tensors, 3, &err), TFM_OK);
    CHECK_INT(tfm_file_read(&b, path, 1 << 20, &err), TFM_OK);
    for (size_t n = 0; n < b.len; n++) {
        put_file(b.data, n);
        tfm_status st = open_model(&err);
        CHECK(st == TFM_TRUNCATED || st == TFM_FORMAT);
    }
    const char *first = memmem(b.data, b.len, "\x89TFR\x01", 5);
    if (!CHECK(first != NULL)) return;
    checked_end = (size_t)(first - b.data);
    for (size_t i = 0; i < b.len; i++) {
        if (i >= checked_end && i < b.len - 128) continue; /* tensors */
        b.data[i] = (char)(b.data[i] ^ 0x11);
        put_file(b.data, b.len);
        CHECK(open_model(&err) != TFM_OK);
        b.data[i] = (char)(b.data[i] ^ 0x11);
    }
    put_file(b.data, b.len);
    CHECK_INT(open_model(&err), TFM_OK);
    CHECK_INT(tfm_buf_add(&b, "x", 1, &err), TFM_OK);
    put_file(b.data, b.len);
    CHECK_INT(open_model(&err), TFM_FORMAT); /* something follows */
    tfm_buf_free(&b);
}

/* An INDEX whose CRC is right and whose content lies. */
static void refuses_lying_index(void) {
    static const char *const changes[][2] = {
        {"a.weight f32 rows 2 2 3 ", "a.weight f32 rows 2 2 4 "}, /* dims against bytes */
        {"a.weight f32 rows 2 2 3 ", "a.weight f32 rows 2 3 2 "}, /* the same bytes: good */
        {"a.weight f32 rows", "a.weight f33 rows"},
        {"a.weight f32 rows", "a.weight f32 rowz"},
        {"blk.0.p bf16 p16 2", "blk.0.p bf16 p16 1"},
        {"q q8_0 rows 2 2 32 ", "a.weight rows 2 32 "},
        {"q q8_0 rows 2 2 32 0", "q q8_0 rows 2 2 32 9"},
        {"q q8_0 rows 2 2 32 0", "q q8_0 rows 2 2 32 -"},
        {" 68\n", " 67\n"},
    };
    tfm_error err = {0};
    tfm_buf b = {0};
    CHECK_INT(write_model(path, tensors, 3, &err), TFM_OK);
    CHECK_INT(tfm_file_read(&b, path, 1 << 20, &err), TFM_OK);
    char *index = memmem(b.data, b.len, "a.weight f32", 12);
    char *head = memmem(b.data, b.len, "\x89TFR\x07", 5);
    if (!CHECK(index != NULL && head != NULL)) return;
    size_t n = tfm_load_u32(head + 24);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char saved[1024];
        memcpy(saved, index, n);
        char *at = memmem(index, n, changes[i][0], strlen(changes[i][0]));
        if (!CHECK(at != NULL)) continue;
        memcpy(at, changes[i][1], strlen(changes[i][1]));
        tfm_store_u32(index + n, tfm_crc32(0, index, n));
        put_file(b.data, b.len);
        CHECK_INT(open_model(&err) == TFM_OK, i == 1);
        memcpy(index, saved, n);
    }
    tfm_buf_free(&b);
}

static void section_of_a_description(void) {
    static const char text[] =
        "x: 1\ntokenizer_x:\n  no: 1\ntokenizer:\n  a: 1\n\n    b: 2\ngguf:\n";
    tfm_error err = {0};
    tfm_buf b = {0};
    bool found;
    CHECK_INT(tfm_description_section(text, "tokenizer", &b, &found, &err), TFM_OK);
    CHECK(found);
    CHECK_STR(b.data, "a: 1\n\n  b: 2\n");
    tfm_buf_clear(&b);
    CHECK_INT(tfm_description_section(text, "gguf", &b, &found, &err), TFM_OK);
    CHECK(found);
    CHECK_STR(b.data, "");
    CHECK_INT(tfm_description_section(text, "a", &b, &found, &err), TFM_OK);
    CHECK(!found);
    CHECK_INT(tfm_description_section("k:\n  a: 1", "k", &b, &found, &err), TFM_OK);
    CHECK_STR(b.data, "a: 1");
    tfm_buf_free(&b);
}

static int freed;
static void count_free(void *owner) {
    freed += *(int *)owner;
}

static void from_parts(void) {
    tfm_error err = {0};
    tfm_model *m;
    const tfm_vocab *v;
    int one = 1;
    tfm_model_parts parts = {.path = "x.gguf",
                             .id = id64,
                             .vocab_id = "",
                             .description = "a: 1\n",
                             .description_len = 5,
                             .tensor = tensors,
                             .n_tensors = 3,
                             .owner = &one,
                             .free_owner = count_free};
    CHECK_INT(tfm_model_from_parts(&m, &parts, &err), TFM_OK);
    CHECK(tfm_model_tensor(m, "q") != NULL);
    CHECK_INT(tfm_model_vocab(m, &v, &err), TFM_OK);
    CHECK(v == NULL);
    CHECK_STR(tfm_header_get(tfm_model_header(m), "model"), id64);
    tfm_model_free(m);
    CHECK_INT(freed, 1);
    parts.id = "short";
    CHECK_INT(tfm_model_from_parts(&m, &parts, &err), TFM_USAGE);
    CHECK(m == NULL);
    CHECK_INT(freed, 1); /* a failed call leaves the owner to its owner */
}

/* KiB of the mapping of `path` that this process has touched; -1 if it is not mapped. */
static long touched_kib(void) {
    char line[512];
    long kib = -1;
    bool ours = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strstr(line, path)) {
            ours = true;
            if (kib < 0) kib = 0;
        } else if (ours && strncmp(line, "Rss:", 4) == 0) {
            kib += strtol(line + 4, NULL, 10);
            ours = false;
        }
    }
    if (f) fclose(f);
    return kib;
}

/* Opening reads the start and the end of a file, however large what lies between. The kernel maps
 * up to 16 neighbours of a page that is touched (fault-around), so a few dozen pages may show, and
 * of a file just written a whole huge page at either end. */
static void reads_no_weights(void) {
    enum { WEIGHTS = 32 << 20 };
    tfm_error err = {0};
    tfm_model *m;
    void *data;
    if (!CHECK_INT(tfm_alloc(&data, WEIGHTS, 1, &err), TFM_OK)) return;
    tfm_tensor t[2] = {{.name = "w",
                        .dtype = TFM_F32,
                        .rank = 2,
                        .dims = {1024, 4096, 1, 1},
                        .data = data,
                        .bytes = WEIGHTS / 2},
                       {0}};
    t[1] = t[0];
    t[1].name = "x";
    CHECK_INT(write_model(path, t, 2, &err), TFM_OK);
    tfm_free(data);
    if (!CHECK_INT(tfm_model_open(&m, path, &err), TFM_OK)) return;
    long kib = touched_kib();
    if (kib < 0)
        UNIT_SKIP("no /proc/self/smaps");
    else
        CHECK(kib <= 1024 + 2 * 2048);
    tfm_model_free(m);
}

static void other_files(void) {
    tfm_error err = {0};
    static const char gz[] = "\x1f\x8b\x08";
    put_file(gz, sizeof gz - 1);
    CHECK_INT(open_model(&err), TFM_UNSUPPORTED);
    put_file("hello", 5);
    CHECK(open_model(&err) != TFM_OK);
    put_file("", 0);
    CHECK(open_model(&err) != TFM_OK);
    tfm_model *m;
    CHECK_INT(tfm_model_open(&m, "/dev/null", &err), TFM_IO);
    CHECK(m == NULL);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/tfm-test-container-%ld", (long)getpid());
    UNIT_RUN(round_trip);
    UNIT_RUN(is_a_stream);
    UNIT_RUN(refuses_bad_tensors);
    UNIT_RUN(refuses_damage);
    UNIT_RUN(refuses_lying_index);
    UNIT_RUN(section_of_a_description);
    UNIT_RUN(from_parts);
    UNIT_RUN(reads_no_weights);
    UNIT_RUN(other_files);
    unlink(path);
    return unit_done();
}

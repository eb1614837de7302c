/* test_stream.c - the stream layer: what is written is read back, and damage is never a success.
 *
 * Everything runs in one process over memory files, so that thousands of cuts and flips cost
 * seconds. The corpus in tests/streams is read in test_streams_corpus.c. */
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "stream/stream_internal.h"
#include "unit.h"

/* A file in memory with these bytes, at its start. */
static int memory_file(const void *p, size_t n) {
    int fd = memfd_create("stream", MFD_CLOEXEC);
    if (fd < 0 || (n && write(fd, p, n) != (ssize_t)n) || lseek(fd, 0, SEEK_SET) != 0) {
        perror("memory_file");
        exit(1);
    }
    return fd;
}

/* All bytes of fd from its start. */
static tfm_buf contents(int fd) {
    tfm_buf b = {0};
    size_t got;
    off_t size = lseek(fd, 0, SEEK_END);
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(tfm_buf_reserve(&b, (size_t)size, NULL), TFM_OK);
    CHECK_INT(tfm_fd_read_full(fd, "memory", b.data, (size_t)size, &got, NULL), TFM_OK);
    b.len = got;
    return b;
}

/* ---- a stream to test with ---- */

static void put_tokens(tfm_writer *w, uint32_t group, uint32_t position, uint32_t n,
                       uint16_t flags) {
    static int32_t ids[100000];
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .flags = flags,
                      .group = group,
                      .position = position,
                      .dims = {n},
                      .name = "tokens"};
    for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)(group * 1000 + position + i);
    CHECK_INT(tfm_writer_record(w, &rec, ids, NULL), TFM_OK);
}

/* Three groups, the second interleaved with the third, one failed; `rows` tokens in the first. */
static void put_stream(tfm_writer *w, uint32_t rows) {
    tfm_header *h = NULL;
    CHECK_INT(tfm_header_new(&h, "tokens", NULL), TFM_OK);
    CHECK_INT(tfm_header_set(h, "tool", "tfm-embed", NULL), TFM_OK);
    CHECK_INT(tfm_header_set(h, "frame", "jsonl", NULL), TFM_OK);
    CHECK_INT(tfm_header_add(h, "prov", "{\"tool\":\"tfm-embed\"}", NULL), TFM_OK);
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    tfm_header_free(h);
    CHECK_INT(tfm_writer_text(w, 0, "source", "{\"text\":\"\xc3\xa9\"}", 13, NULL), TFM_OK);
    put_tokens(w, 0, 0, rows, TFM_FLAG_LAST);
    CHECK_INT(tfm_writer_group_end(w, 0, rows, TFM_END_OPEN, NULL), TFM_OK);
    put_tokens(w, 1, 0, 5, 0);
    put_tokens(w, 2, 0, 0, TFM_FLAG_LAST);
    put_tokens(w, 1, 5, 1, TFM_FLAG_LAST | TFM_FLAG_FLUSH);
    CHECK_INT(tfm_writer_error(w, 1, "tfm-run", "too long", NULL), TFM_OK);
    CHECK_INT(tfm_writer_group_end(w, 1, 6, TFM_END_ERROR, NULL), TFM_OK);
    CHECK_INT(tfm_writer_group_end(w, 2, 0, TFM_END_STOP, NULL), TFM_OK);
    CHECK_INT(tfm_writer_end(w, NULL), TFM_OK);
}

static tfm_buf sample(uint32_t rows, int times) {
    int fd = memory_file("", 0);
    tfm_writer *w = NULL;
    CHECK_INT(tfm_writer_new(&w, fd, "memory", NULL), TFM_OK);
    for (int i = 0; i < times; i++) put_stream(w, rows);
    tfm_buf b = contents(fd);
    CHECK_INT(tfm_writer_offset(w), (long long)b.len);
    tfm_writer_free(w);
    close(fd);
    return b;
}

/* Reads all streams of fd to the end. pieces: payloads by tfm_reader_chunk, else whole or
 * skipped. */
enum how { WHOLE, PIECES, SKIP };
static tfm_status read_all(int fd, enum how how, size_t *n_streams, tfm_error *err) {
    tfm_reader *r = NULL;
    tfm_record rec;
    const void *p;
    size_t n;
    *n_streams = 0;
    tfm_status st = tfm_reader_new(&r, fd, "stdin", err);
    while (st == TFM_OK && (st = tfm_reader_stream(r, err)) == TFM_OK) {
        ++*n_streams;
        while (st == TFM_OK && (st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
            if (how == WHOLE) st = tfm_reader_payload(r, &p, err);
            if (how == WHOLE && st == TFM_OK) CHECK((uintptr_t)p % 64 == 0);
            n = how == PIECES;
            while (n > 0 && (st = tfm_reader_chunk(r, &p, &n, err)) == TFM_OK) continue;
        }
        if (st == TFM_DONE) st = TFM_OK;
    }
    tfm_reader_free(r);
    return st;
}

static tfm_status read_bytes(const void *p, size_t n, enum how how, tfm_error *err) {
    size_t streams;
    int fd = memory_file(p, n);
    tfm_status st = read_all(fd, how, &streams, err);
    close(fd);
    return st;
}

/* ---- tests ---- */

static void what_is_written_is_read(void) {
    tfm_buf b = sample(7, 1);
    int fd = memory_file(b.data, b.len);
    tfm_reader *r = NULL;
    tfm_record rec;
    const void *p;
    CHECK_INT(b.len % 64, 0);
    CHECK_INT(tfm_reader_new(&r, fd, "stdin", NULL), TFM_OK);
    CHECK(!tfm_reader_pending(r));
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_OK);
    CHECK_STR(tfm_header_kind(tfm_reader_header(r)), "tokens");
    CHECK_STR(tfm_header_get(tfm_reader_header(r), "tool"), "tfm-embed");
    CHECK_INT(tfm_header_count(tfm_reader_header(r)), 3);
    CHECK_STR(tfm_header_key(tfm_reader_header(r), 2), "prov");
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.type, TFM_REC_TEXT);
    CHECK_STR(rec.name, "source");
    CHECK_INT(rec.bytes, 13);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.type, TFM_REC_TENSOR);
    CHECK_INT(rec.flags, TFM_FLAG_LAST);
    CHECK_INT(rec.seq, 1);
    CHECK_INT(rec.dims[0], 7);
    CHECK_INT(rec.dims[1], 1);
    CHECK_INT(tfm_reader_payload(r, &p, NULL), TFM_OK);
    CHECK_INT(((const int32_t *)p)[6], 6);
    CHECK(tfm_reader_pending(r));
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.type, TFM_REC_GROUP_END);
    CHECK_INT(rec.position, 7);
    for (int i = 0; i < 3; i++) CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.group, 1);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.type, TFM_REC_ERROR);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.status, TFM_END_ERROR);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_DONE);
    CHECK_INT(tfm_reader_offset(r), (long long)b.len);
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_DONE);
    tfm_reader_free(r);
    close(fd);
    tfm_buf_free(&b);
}

static void joined_streams_are_all_read(void) {
    tfm_buf b = sample(90000, 3); /* larger than any buffer */
    size_t n;
    for (enum how how = WHOLE; how <= SKIP; how++) {
        int fd = memory_file(b.data, b.len);
        CHECK_INT(read_all(fd, how, &n, NULL), TFM_DONE);
        CHECK_INT(n, 3);
        close(fd);
    }
    tfm_buf_free(&b);
}

static void gzip_is_read(void) {
    tfm_buf b = sample(90000, 2);
    char path[] = "/tmp/tfm-test-XXXXXX";
    int fd = mkstemp(path);
    size_t n;
    CHECK(fd >= 0);
    unlink(path);
    for (int half = 0; half < 2; half++) { /* two members, cut at an odd place */
        gzFile z = gzdopen(dup(fd), "wb");
        size_t at = half ? b.len / 3 : 0, len = half ? b.len - at : b.len / 3;
        CHECK_INT(gzwrite(z, b.data + at, (unsigned)len), (long long)len);
        gzclose(z);
    }
    for (enum how how = WHOLE; how <= SKIP; how++) {
        lseek(fd, 0, SEEK_SET);
        CHECK_INT(read_all(fd, how, &n, NULL), TFM_DONE);
        CHECK_INT(n, 2);
    }
    CHECK_INT(ftruncate(fd, lseek(fd, 0, SEEK_END) - 1), 0);
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(read_all(fd, WHOLE, &n, NULL), TFM_TRUNCATED);
    close(fd);
    tfm_buf_free(&b);
}

static void a_cut_is_never_a_success(void) {
    tfm_buf b = sample(30000, 1);
    tfm_error err;
    unsigned random = 1;
    for (size_t i = 0; i < 4096 + 1000; i++) {
        size_t n = i;
        if (i >= 4096) {
            random = random * 1103515245u + 12345u;
            n = 4096 + (random >> 1) % (b.len - 4096);
        }
        err = (tfm_error){0};
        if (!CHECK_INT(read_bytes(b.data, n, (enum how)(i % 3), &err), TFM_TRUNCATED)) break;
        CHECK(err.message[0] != '\0');
        if (n >= 192) CHECK(strstr(err.message, "the stream of tfm-embed ends before its END"));
    }
    tfm_buf_free(&b);
}

static void a_flipped_bit_is_never_a_success(void) {
    tfm_buf b = sample(3, 1);
    for (size_t i = 0; i < b.len * 8; i++) {
        tfm_error err = {0};
        b.data[i / 8] ^= (char)(1 << i % 8);
        tfm_status st = read_bytes(b.data, b.len, (enum how)(i % 3), &err);
        CHECK(st != TFM_OK && st != TFM_DONE && tfm_status_exit(st) == 3);
        CHECK(err.message[0] != '\0');
        b.data[i / 8] ^= (char)(1 << i % 8);
    }
    CHECK_INT(read_bytes(b.data, b.len, WHOLE, NULL), TFM_DONE);
    tfm_buf_free(&b);
}

/* A pipe that gives one byte at a time, by a descriptor that does not block. */
static void a_slow_pipe_is_read(void) {
    tfm_buf b = sample(9, 2);
    int fd[2];
    size_t n = 0;
    CHECK_INT(pipe2(fd, O_CLOEXEC), 0);
    CHECK_INT(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    pid_t child = fork();
    if (child == 0) {
        close(fd[0]);
        for (size_t i = 0; i < b.len; i++)
            if (write(fd[1], b.data + i, 1) != 1) _exit(1);
        _exit(0);
    }
    close(fd[1]);
    CHECK_INT(read_all(fd[0], PIECES, &n, NULL), TFM_DONE);
    CHECK_INT(n, 2);
    close(fd[0]);
    tfm_buf_free(&b);
}

/* A header that arrives in two pieces, wherever it is cut. */
static void a_split_header_is_read(void) {
    tfm_buf b = sample(9, 1);
    size_t header;
    CHECK_INT(tfm_header_extent((const unsigned char *)b.data, b.len, 0, &header, NULL), TFM_OK);
    for (size_t cut = header < 150 ? 1 : header - 150; cut <= header; cut++) {
        int fd[2], left = 1;
        size_t n = 0;
        CHECK_INT(pipe2(fd, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0) {
            if (write(fd[1], b.data, cut) != (ssize_t)cut) _exit(1);
            while (left > 0 && ioctl(fd[1], FIONREAD, &left) == 0) sched_yield();
            _exit(write(fd[1], b.data + cut, b.len - cut) != (ssize_t)(b.len - cut));
        }
        close(fd[1]);
        CHECK_INT(read_all(fd[0], PIECES, &n, NULL), TFM_DONE);
        CHECK_INT(n, 1);
        close(fd[0]);
        waitpid(child, NULL, 0);
    }
    tfm_buf_free(&b);
}

/* A head that claims a huge payload must cost no memory that did not arrive. */
static void a_lying_length_costs_nothing(void) {
    int fd = memory_file("", 0);
    tfm_writer *w = NULL;
    tfm_header *h = NULL;
    tfm_error err = {0};
    size_t n;
    tfm_record rec = {
        .type = TFM_REC_TENSOR, .dtype = TFM_F32, .rank = 2, .dims = {1u << 30, 1u << 28}};
    CHECK_INT(tfm_header_new(&h, "model", NULL), TFM_OK);
    CHECK_INT(tfm_writer_new(&w, fd, "memory", NULL), TFM_OK);
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    CHECK_INT(tfm_writer_begin(w, &rec, NULL), TFM_OK);
    CHECK_INT(tfm_writer_data(w, "abcd", 4, NULL), TFM_OK);
    CHECK_INT(tfm_writer_error(w, TFM_GROUP_ALL, "p", "m", NULL), TFM_USAGE);
    CHECK_INT(tfm_writer_finish(w, NULL), TFM_USAGE);
    CHECK_INT(tfm_writer_flush(w, NULL), TFM_OK);
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(read_all(fd, WHOLE, &n, &err), TFM_TRUNCATED);
    CHECK_STR(err.message, "stdin: the stream ends before its END: the stage that wrote it died or "
                           "the file was cut");
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
}

/* One case: a record that the writer must refuse, with the status and a word of the message. */
static void refuses(const char *kind, tfm_record rec, tfm_status want, const char *word) {
    int fd = memory_file("", 0);
    tfm_writer *w = NULL;
    tfm_header *h = NULL;
    tfm_error err = {0};
    char payload[64] = {0};
    CHECK_INT(tfm_header_new(&h, kind, NULL), TFM_OK);
    CHECK_INT(tfm_writer_new(&w, fd, "memory", NULL), TFM_OK);
    CHECK_INT(tfm_writer_record(w, &rec, payload, NULL), TFM_USAGE); /* no header yet */
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    CHECK_INT(tfm_writer_record(w, &rec, payload, &err), want);
    if (!CHECK(strstr(err.message, word) != NULL)) printf("  %s\n", err.message);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
}

static void the_writer_refuses_what_a_reader_must(void) {
    tfm_record t = {.type = TFM_REC_TENSOR, .dtype = TFM_I32, .rank = 1, .dims = {2}}, r;
    r = t, r.type = 9, refuses("tokens", r, TFM_UNSUPPORTED, "record type 9");
    r = t, r.type = TFM_REC_INDEX, r.dtype = TFM_U8, refuses("tokens", r, TFM_FORMAT, "index");
    r = t, r.flags = 8, refuses("tokens", r, TFM_UNSUPPORTED, "flag bits 0x0008");
    r = t, r.status = 1, refuses("tokens", r, TFM_FORMAT, "status 1");
    r = t, r.dtype = 0, r.rank = 0, refuses("tokens", r, TFM_FORMAT, "without a dtype");
    r = t, r.dtype = 99, refuses("tokens", r, TFM_UNSUPPORTED, "dtype 99");
    r = t, r.dtype = TFM_Q8_0, refuses("tokens", r, TFM_FORMAT, "q8_0 blocks");
    r = t, r.rank = 5, refuses("tokens", r, TFM_FORMAT, "rank 5");
    r = t, r.group = TFM_GROUP_ALL, refuses("tokens", r, TFM_FORMAT, "for errors only");
    r = t, r.position = UINT32_MAX, refuses("tokens", r, TFM_FORMAT, "pass position");
    r = t, r.dims[0] = 5u << 20, refuses("tokens", r, TFM_LIMIT, "above the limit");
    r = t, r.rank = 4, r.dims[0] = r.dims[1] = r.dims[2] = r.dims[3] = UINT32_MAX;
    refuses("model", r, TFM_FORMAT, "dimensions");
    r = t, r.type = TFM_REC_TEXT, refuses("tokens", r, TFM_FORMAT, "u8 of rank 1");
    r = t, r.type = TFM_REC_GROUP_END, refuses("tokens", r, TFM_FORMAT, "no payload");
    r = t, r.type = TFM_REC_FORK, r.dims[0] = 3, refuses("tokens", r, TFM_FORMAT, "i32 [2]");
    r = (tfm_record){.type = TFM_REC_GROUP_END, .status = 6};
    refuses("tokens", r, TFM_FORMAT, "status 6");
    r = t, strcpy(r.name, "a\nb"), refuses("tokens", r, TFM_FORMAT, "control characters");
    r = t, strcpy(r.name, "\xc2\x85"), refuses("tokens", r, TFM_FORMAT, "control characters");
    r = t, strcpy(r.name, "\xff"), refuses("tokens", r, TFM_FORMAT, "UTF-8");
    r = t, memset(r.name, 'a', sizeof r.name), refuses("tokens", r, TFM_FORMAT, "name");
}

static void open_groups_are_known(void) {
    int fd = memory_file("", 0);
    tfm_writer *w = NULL;
    tfm_header *h = NULL;
    tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = TFM_I32, .rank = 1, .dims = {1}};
    int32_t id = 0;
    CHECK_INT(tfm_header_new(&h, "tokens", NULL), TFM_OK);
    CHECK_INT(tfm_writer_new(&w, fd, "memory", NULL), TFM_OK);
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    /* Many open groups, so that the table grows, and every second one closed again. */
    for (rec.group = 0; rec.group < 10000; rec.group++) {
        rec.position = rec.group + 5;
        CHECK_INT(tfm_writer_record(w, &rec, &id, NULL), TFM_OK);
    }
    for (uint32_t g = 0; g < 10000; g += 2)
        CHECK_INT(tfm_writer_group_end(w, g, 0, TFM_END_OPEN, NULL), TFM_OK);
    for (rec.group = 0; rec.group < 10000; rec.group += 4) { /* opened again, further back */
        rec.position = rec.group + 4;
        CHECK_INT(tfm_writer_record(w, &rec, &id, NULL), TFM_OK);
    }
    size_t n = 0;
    CHECK_INT(tfm_writer_fail_groups(w, "tfm-cat", "cut", &n, NULL), TFM_OK);
    CHECK_INT(n, 7500);
    CHECK_INT(tfm_writer_end(w, NULL), TFM_OK);
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(read_all(fd, SKIP, &n, NULL), TFM_DONE);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
}

static void an_upstream_error_is_told(void) {
    int fd = memory_file("", 0);
    tfm_writer *w = NULL;
    tfm_header *h = NULL;
    tfm_error err = {0};
    size_t n;
    CHECK_INT(tfm_header_new(&h, "tokens", NULL), TFM_OK);
    CHECK_INT(tfm_writer_new(&w, fd, "memory", NULL), TFM_OK);
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    CHECK(tfm_writer_is_open(w));
    CHECK_INT(tfm_writer_error(w, TFM_GROUP_ALL, "tfm-embed", "disk\nfull", NULL), TFM_OK);
    CHECK(!tfm_writer_is_open(w));
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(read_all(fd, WHOLE, &n, &err), TFM_UPSTREAM);
    CHECK_STR(err.message, "upstream tfm-embed: disk?full");
    /* Told once more, it still names the first. */
    CHECK_INT(ftruncate(fd, 0), 0);
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    CHECK_INT(tfm_writer_error(w, TFM_GROUP_ALL, "tfm-run", err.message, NULL), TFM_OK);
    lseek(fd, 0, SEEK_SET);
    CHECK_INT(read_all(fd, WHOLE, &n, &err), TFM_UPSTREAM);
    CHECK_STR(err.message, "upstream tfm-embed: disk?full");
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
}

static void headers_are_checked(void) {
    tfm_header *h = NULL, *copy = NULL;
    tfm_error err = {0};
    tfm_buf b = {0};
    size_t used;
    CHECK_INT(tfm_header_new(&h, "Tokens", NULL), TFM_FORMAT);
    CHECK(h == NULL);
    CHECK_INT(tfm_header_new(&h, "tokens", NULL), TFM_OK);
    CHECK_INT(tfm_header_set(h, "end", "1", NULL), TFM_FORMAT);
    CHECK_INT(tfm_header_set(h, "a b", "1", NULL), TFM_FORMAT);
    CHECK_INT(tfm_header_set(h, "", "1", NULL), TFM_FORMAT);
    CHECK_INT(tfm_header_set(h, "k", "a\nend 00000000", NULL), TFM_FORMAT);
    CHECK_INT(tfm_header_set(h, "k", "", NULL), TFM_OK);
    CHECK_INT(tfm_header_add(h, "prov", "one", NULL), TFM_OK);
    CHECK_INT(tfm_header_add(h, "prov", "two", NULL), TFM_OK);
    CHECK_INT(tfm_header_set(h, "k", "v w", NULL), TFM_OK);
    CHECK_INT(tfm_header_copy(&copy, h, NULL), TFM_OK);
    CHECK_INT(tfm_header_set(h, "prov", NULL, NULL), TFM_OK);
    CHECK_INT(tfm_header_count(h), 1);
    CHECK_INT(tfm_header_count(copy), 3);
    CHECK_STR(tfm_header_value(copy, 2), "two");
    CHECK(tfm_header_get(copy, "none") == NULL);
    CHECK_INT(tfm_header_format(copy, &b, NULL), TFM_OK);
    CHECK_INT(b.len % 64, 0);
    tfm_header_free(h);
    CHECK_INT(tfm_header_parse(&h, b.data, b.len, &used, NULL), TFM_OK);
    CHECK_INT(used, (long long)b.len);
    CHECK_STR(tfm_header_get(h, "k"), "v w");
    tfm_header_free(h);
    CHECK_INT(tfm_header_parse(&h, b.data, b.len - 1, &used, NULL), TFM_TRUNCATED);
    CHECK_INT(tfm_header_parse(&h, "hello", 5, &used, &err), TFM_FORMAT);
    CHECK(strstr(err.message, "tfm-tokenize"));
    CHECK_INT(tfm_header_parse(&h, "GGUF\3\0\0\0", 8, &used, &err), TFM_FORMAT);
    CHECK(strstr(err.message, "tfm-convert"));
    CHECK_INT(tfm_header_parse(&h, "TFMSTRM2\n", 9, &used, &err), TFM_UNSUPPORTED);
    tfm_header_free(copy);
    /* Longer than the limit: neither written nor read. */
    char *value = NULL;
    CHECK_INT(tfm_alloc((void **)&value, TFM_HEADER_MAX + 1, 1, NULL), TFM_OK);
    memset(value, 'x', TFM_HEADER_MAX);
    CHECK_INT(tfm_header_new(&h, "tokens", NULL), TFM_OK);
    CHECK_INT(tfm_header_set(h, "k", value, NULL), TFM_OK);
    tfm_buf_clear(&b);
    CHECK_INT(tfm_header_format(h, &b, NULL), TFM_LIMIT);
    CHECK_INT(read_bytes(b.data, b.len, WHOLE, NULL), TFM_LIMIT);
    value[TFM_HEADER_MAX - 100] = '\0';
    CHECK_INT(tfm_header_set(h, "k", value, NULL), TFM_OK);
    tfm_buf_clear(&b);
    CHECK_INT(tfm_header_format(h, &b, NULL), TFM_OK);
    CHECK_INT(read_bytes(b.data, b.len, WHOLE, NULL), TFM_TRUNCATED);
    tfm_free(value);
    tfm_header_free(h);
    tfm_buf_free(&b);
}

/* What the next stage can read at this moment. */
static int readable(int fd) {
    int n = -1;
    CHECK_INT(ioctl(fd, FIONREAD, &n), 0);
    return n;
}

/* The header goes out at once; records when they are asked to, or at the END. */
static void flush_lets_the_next_stage_work(void) {
    int fd[2];
    tfm_writer *w = NULL;
    tfm_header *h = NULL;
    tfm_reader *r = NULL;
    tfm_record rec;
    CHECK_INT(pipe2(fd, O_CLOEXEC), 0);
    CHECK_INT(tfm_header_new(&h, "tokens", NULL), TFM_OK);
    CHECK_INT(tfm_writer_new(&w, fd[1], "pipe", NULL), TFM_OK);
    CHECK_INT(tfm_reader_new(&r, fd[0], "pipe", NULL), TFM_OK);
    CHECK_INT(tfm_writer_header(w, h, NULL), TFM_OK);
    CHECK_INT(readable(fd[0]), 64);
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_OK);
    put_tokens(w, 0, 0, 3, 0);
    CHECK_INT(readable(fd[0]), 0);
    put_tokens(w, 0, 3, 1, TFM_FLAG_FLUSH);
    CHECK_INT(readable(fd[0]), 2 * 192);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK(tfm_reader_pending(r));
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_OK);
    CHECK_INT(rec.position, 3);
    const void *p;
    CHECK_INT(tfm_reader_payload(r, &p, NULL), TFM_OK);
    CHECK(!tfm_reader_pending(r)); /* a poll of the descriptor must be asked now */
    CHECK_INT(tfm_writer_end(w, NULL), TFM_OK);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_DONE);
    close(fd[1]);
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_DONE);
    close(fd[0]);
    tfm_reader_free(r);
    tfm_writer_free(w);
    tfm_header_free(h);
}

/* Bytes that no stream begins with: the message says what they are. */
static void empty_and_foreign_input(void) {
    tfm_error err = {0};
    CHECK_INT(read_bytes("", 0, WHOLE, &err), TFM_TRUNCATED);
    CHECK(strstr(err.message, "no stream at all"));
    CHECK_INT(read_bytes("Once upon", 9, WHOLE, &err), TFM_FORMAT);
    CHECK(strstr(err.message, "stdin: not a tfm stream"));
    tfm_buf b = sample(3, 1);
    CHECK_INT(tfm_buf_str(&b, "trailing", NULL), TFM_OK);
    CHECK_INT(read_bytes(b.data, b.len, WHOLE, &err), TFM_FORMAT);
    CHECK(strstr(err.message, "after the END"));
    tfm_buf_free(&b);
}

static void a_failure_sticks(void) {
    tfm_buf b = sample(3, 1);
    tfm_error err = {0};
    tfm_record rec;
    const void *p;
    int fd = memory_file(b.data, 300);
    tfm_reader *r = NULL;
    CHECK_INT(tfm_reader_new(&r, fd, "stdin", NULL), TFM_OK);
    CHECK_INT(tfm_reader_next(r, &rec, NULL), TFM_USAGE);
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_OK);
    CHECK_INT(tfm_reader_payload(r, &p, NULL), TFM_USAGE);
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_USAGE);
    while (tfm_reader_next(r, &rec, &err) == TFM_OK) continue;
    CHECK_INT(err.status, TFM_TRUNCATED);
    CHECK_INT(ftruncate(fd, 0), 0);
    err = (tfm_error){0};
    CHECK_INT(tfm_reader_payload(r, &p, &err), TFM_TRUNCATED);
    CHECK(strstr(err.message, "tfm-embed"));
    CHECK_INT(tfm_reader_stream(r, NULL), TFM_TRUNCATED);
    tfm_reader_free(r);
    close(fd);
    tfm_buf_free(&b);
}

int main(void) {
    UNIT_RUN(what_is_written_is_read);
    UNIT_RUN(joined_streams_are_all_read);
    UNIT_RUN(gzip_is_read);
    UNIT_RUN(a_cut_is_never_a_success);
    UNIT_RUN(a_flipped_bit_is_never_a_success);
    UNIT_RUN(a_slow_pipe_is_read);
    UNIT_RUN(a_split_header_is_read);
    UNIT_RUN(a_lying_length_costs_nothing);
    UNIT_RUN(the_writer_refuses_what_a_reader_must);
    UNIT_RUN(open_groups_are_known);
    UNIT_RUN(an_upstream_error_is_told);
    UNIT_RUN(headers_are_checked);
    UNIT_RUN(flush_lets_the_next_stage_work);
    UNIT_RUN(empty_and_foreign_input);
    UNIT_RUN(a_failure_sticks);
    return unit_done();
}

/* test_base.c - the base layer: messages, memory, buffers, numbers, hashes, files, threads, UTF-8,
 * random numbers. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "base/rng_internal.h"
#include "base/threads_internal.h"
#include "base/utf8_internal.h"
#include "unit.h"

static void messages_are_one_clean_line(void) {
    tfm_error err = {0};
    char longer[2000];
    CHECK_INT(tfm_fail(&err, TFM_FORMAT, "%s: %d", "a\tb\x1b\xff\xc2\x85", 7), TFM_FORMAT);
    CHECK_STR(err.message, "a?b?\?\?\?: 7");
    CHECK_INT(tfm_fail(NULL, TFM_IO, "no object"), TFM_IO);
    /* An argument may be the message itself. */
    CHECK_INT(tfm_fail(&err, TFM_LIMIT, "again: %s", err.message), TFM_LIMIT);
    CHECK_STR(err.message, "again: a?b?\?\?\?: 7");
    CHECK_INT(tfm_error_prefix(&err, TFM_OK, "%s", "file"), TFM_LIMIT);
    CHECK_STR(err.message, "file: again: a?b?\?\?\?: 7");
    errno = ENOENT;
    CHECK_INT(tfm_fail_errno(&err, TFM_IO, "%s", "x"), TFM_IO);
    CHECK_STR(err.message, "x: No such file or directory");
    CHECK_INT(errno, ENOENT);
    /* Cut at a whole character; the reason of the system stays. */
    for (size_t i = 0; i + 2 < sizeof longer; i += 2) memcpy(longer + i, "\xc3\xa9", 3);
    tfm_fail(&err, TFM_FORMAT, "%s", longer);
    CHECK(strlen(err.message) == 598 && tfm_utf8_valid(err.message, 598, NULL));
    tfm_fail_errno(&err, TFM_IO, "x%s", longer);
    CHECK(strlen(err.message) < 600 && strstr(err.message, "\xc3\xa9: No such file or directory"));
    CHECK(strchr(err.message, '?') == NULL);
}

static void statuses_have_exit_codes(void) {
    static const int want[] = {0, 0, 5, 5, 5, 2, 3, 3, 3, 3, 3, 3, 3, 4};
    for (int i = 0; i < 14; i++) CHECK_INT(tfm_status_exit((tfm_status)i), want[i]);
}

static void sizes_are_checked(void) {
    size_t s = 7;
    uint64_t u = 7;
    void *p;
    CHECK(!tfm_mul_size(SIZE_MAX / 2, 3, &s) && s == 7);
    CHECK(!tfm_add_u64(UINT64_MAX, 1, &u) && u == 7);
    CHECK(tfm_mul_u64(UINT32_MAX, UINT32_MAX, &u) && u == 0xfffffffe00000001u);
    CHECK_INT(tfm_alloc(&p, SIZE_MAX / 4, 8, NULL), TFM_NOMEM);
    CHECK(p == NULL);
    CHECK_INT(tfm_alloc(&p, SIZE_MAX, 1, NULL), TFM_NOMEM);
    CHECK_INT(tfm_alloc(&p, 0, 8, NULL), TFM_OK);
    CHECK(p != NULL);
    tfm_free(p);
    CHECK_INT(tfm_alloc_aligned(&p, 64, 100, 1, NULL), TFM_OK);
    CHECK((uintptr_t)p % 64 == 0 && ((char *)p)[99] == 0);
    tfm_free(p);
    size_t cap = 0;
    p = NULL;
    CHECK_INT(tfm_grow(&p, &cap, 3, 4, NULL), TFM_OK);
    CHECK(cap >= 3);
    CHECK_INT(tfm_grow(&p, &cap, SIZE_MAX, 4, NULL), TFM_NOMEM);
    CHECK(p != NULL && cap >= 3);
    tfm_free(p);
}

static void arena_gives_zeroed_aligned_memory(void) {
    tfm_arena *a;
    void *p;
    const char *s;
    CHECK_INT(tfm_arena_new(&a, NULL), TFM_OK);
    for (size_t i = 0; i < 5000; i++) {
        size_t n = i * 7 % 1000 + (i % 500 == 0 ? 100000 : 0);
        if (!CHECK_INT(tfm_arena_alloc(a, &p, n, NULL), TFM_OK)) break;
        CHECK((uintptr_t)p % 16 == 0);
        size_t dirty = 0;
        for (size_t k = 0; k < n; k++) dirty += ((unsigned char *)p)[k] != 0;
        CHECK_INT(dirty, 0);
        memset(p, 0xff, n);
    }
    CHECK_INT(tfm_arena_strndup(a, &s, "abcdef", 3, NULL), TFM_OK);
    CHECK_STR(s, "abc");
    CHECK_INT(tfm_arena_alloc(a, &p, SIZE_MAX - 8, NULL), TFM_NOMEM);
    tfm_arena_free(a);
    tfm_arena_free(NULL);
}

static void buffers_grow_and_end_in_a_nul(void) {
    tfm_buf b = {0};
    CHECK_INT(tfm_buf_printf(&b, NULL, "%s-%d", "x", 42), TFM_OK);
    CHECK_STR(b.data, "x-42");
    for (int i = 0; i < 1000; i++) CHECK_INT(tfm_buf_byte(&b, 'y', NULL), TFM_OK);
    CHECK_INT(b.len, 1004);
    CHECK_INT(strlen(b.data), 1004);
    CHECK_INT(tfm_buf_reserve(&b, SIZE_MAX, NULL), TFM_NOMEM);
    tfm_buf_clear(&b);
    CHECK_INT(tfm_buf_add(&b, "a\0b", 3, NULL), TFM_OK);
    CHECK(b.len == 3 && memcmp(b.data, "a\0b", 4) == 0);
    tfm_buf_free(&b);
    CHECK(b.data == NULL && b.cap == 0);
    unsigned char bytes[9] = {0};
    tfm_store_u64(bytes + 1, 0x8877665544332211u);
    CHECK(bytes[1] == 0x11 && bytes[8] == 0x88);
    CHECK(tfm_load_u64(bytes + 1) == 0x8877665544332211u);
    CHECK_INT(tfm_load_u32(bytes + 1), 0x44332211);
    CHECK_INT(tfm_load_u16(bytes + 7), 0x8877);
}

static void numbers_are_parsed_whole(void) {
    static const char *const bad[] = {
        "", " 1", "1 ", "0x1", "1.5", "--1", "one", "+", "-", "1e3", "18446744073709551616"};
    int64_t i = 5;
    uint64_t u = 5;
    double d = 5;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        CHECK(!tfm_parse_i64(bad[k], INT64_MIN, INT64_MAX, &i) && i == 5);
        CHECK(!tfm_parse_u64(bad[k], 0, UINT64_MAX, &u) && u == 5);
    }
    CHECK(tfm_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i) && i == INT64_MIN);
    CHECK(!tfm_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &i));
    CHECK(!tfm_parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &i));
    CHECK(tfm_parse_u64("18446744073709551615", 0, UINT64_MAX, &u) && u == UINT64_MAX);
    CHECK(!tfm_parse_u64("-1", 0, UINT64_MAX, &u));
    CHECK(!tfm_parse_u64("11", 0, 10, &u));
    CHECK(tfm_parse_u64("+007", 7, 7, &u));
    static const char *const not_double[] = {"",    "nan", "inf",   "0x1p3", "1e",   "e1",
                                             "1,5", " 1",  "1e400", ".",     "1.5f", "1e+"};
    for (size_t k = 0; k < sizeof not_double / sizeof *not_double; k++)
        CHECK(!tfm_parse_double(not_double[k], -1e308, 1e308, &d) && d == 5);
    CHECK(tfm_parse_double("-.5e-1", -1, 1, &d) && d == -0.05);
    CHECK(tfm_parse_double("3.", 3, 3, &d));
    CHECK(!tfm_parse_double("3.1", 0, 3, &d));
}

static void hashes_are_those_of_the_standards(void) {
    static const struct {
        const char *text;
        size_t times;
        const char *hex;
    } sha[] = {{"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
               {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
               {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
               {"aaaaaaaaaaaaaaaaaaaaaaaaa", 40000,
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
    char hex[65];
    for (size_t i = 0; i < sizeof sha / sizeof *sha; i++) {
        tfm_sha256 s;
        tfm_sha256_init(&s);
        for (size_t k = 0; k < sha[i].times; k++)
            tfm_sha256_add(&s, sha[i].text, strlen(sha[i].text));
        tfm_sha256_hex(&s, hex);
        CHECK_STR(hex, sha[i].hex);
    }
    CHECK_INT(tfm_crc32(0, "123456789", 9), 0xcbf43926);
    CHECK_INT(tfm_crc32(tfm_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
    CHECK_INT(tfm_crc32(0, "", 0), 0);
}

/* Every length of padding: the length field needs a block of its own from 56 bytes on. */
static void sha256_in_pieces_is_that_of_the_whole(void) {
    unsigned char text[200];
    char whole[65], pieces[65];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (unsigned char)(i * 37);
    for (size_t n = 0; n <= sizeof text; n++) {
        tfm_sha256 s;
        tfm_sha256_init(&s);
        tfm_sha256_add(&s, text, n);
        tfm_sha256_hex(&s, whole);
        tfm_sha256_init(&s);
        for (size_t k = 0; k < n; k++) tfm_sha256_add(&s, text + k, 1);
        tfm_sha256_hex(&s, pieces);
        CHECK_STR(pieces, whole);
    }
}

static void utf8_is_strict(void) {
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80",
                                      "\xc3",
                                      "\xe2\x82"};
    size_t at;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(tfm_utf8_valid(good[i], strlen(good[i]), NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!tfm_utf8_valid(bad[i], strlen(bad[i]), NULL));
    CHECK(!tfm_utf8_valid("ab\xff", 3, &at) && at == 2);
    /* Every code point there and back. */
    for (uint32_t cp = 0; cp < 0x110010; cp++) {
        unsigned char s[4];
        uint32_t back;
        bool ok;
        size_t n = tfm_utf8_encode(cp, s);
        if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) {
            if (n != 0) CHECK_INT(n, 0);
        } else if (tfm_utf8_decode(s, n, &back, &ok) != n || !ok || back != cp) {
            CHECK_INT(back, cp);
        }
    }
    CHECK_INT(tfm_utf8_tail("a\xe2\x82", 3), 2);
    CHECK_INT(tfm_utf8_tail("a\xe2\x82\xac", 4), 0);
    CHECK_INT(tfm_utf8_tail("\xf0\x9f\x98", 3), 3);
    CHECK_INT(tfm_utf8_tail("\xc3", 1), 1);
    CHECK_INT(tfm_utf8_tail("\xe0\x80", 2), 0); /* can never become valid */
    CHECK_INT(tfm_utf8_tail("\xff", 1), 0);
    CHECK_INT(tfm_utf8_tail("\x82\x82\x82\x82", 4), 0);
    CHECK_INT(tfm_utf8_tail("", 0), 0);
}

/* Answers from the known-answer tests of the paper's own library (Random123, kat_vectors). */
static void philox_gives_the_known_answers(void) {
    static const uint32_t kat[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1}};
    uint32_t out[4];
    for (int i = 0; i < 3; i++) {
        tfm_philox(kat[i] + 4, kat[i], out);
        CHECK(memcmp(out, kat[i] + 6, sizeof out) == 0);
    }
    CHECK(tfm_uniform53(0, 0) == 0);
    CHECK(tfm_uniform53(UINT32_MAX, UINT32_MAX) == 1 - 0x1p-53);
    double sum = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        double u = tfm_rng_uniform(1, 2, 3, i, 0);
        CHECK(u >= 0 && u < 1);
        sum += u;
    }
    /* Mean of 10,000 uniform numbers: standard deviation 0.0029; the seed is fixed. */
    CHECK(fabs(sum / 10000 - 0.5) < 0.01);
    CHECK(tfm_rng_uniform(1, 2, 3, 4, 0) != tfm_rng_uniform(1, 2, 4, 3, 0));
    CHECK(tfm_rng_uniform(1ull << 32, 0, 0, 0, 0) != tfm_rng_uniform(1, 0, 0, 0, 0));
}

static void files_are_mapped_and_read(void) {
    char path[] = "/tmp/tfm-test-XXXXXX";
    tfm_map m;
    tfm_buf b = {0};
    tfm_error err = {0};
    int fd = mkstemp(path);
    if (!CHECK(fd >= 0)) return;
    CHECK_INT(tfm_map_open(&m, path, NULL), TFM_OK);
    CHECK(m.size == 0 && m.data != NULL);
    tfm_map_close(&m);
    CHECK_INT(tfm_fd_write_full(fd, path, "hello", 5, NULL), TFM_OK);
    CHECK_INT(tfm_map_open(&m, path, NULL), TFM_OK);
    CHECK(m.size == 5 && memcmp(m.data, "hello", 5) == 0);
    tfm_map_close(&m);
    CHECK_INT(tfm_file_read(&b, path, 5, NULL), TFM_OK);
    CHECK_STR(b.data, "hello");
    CHECK_INT(tfm_file_read(&b, path, 4, &err), TFM_LIMIT);
    CHECK_INT(b.len, 5);
    CHECK_INT(tfm_map_open(&m, "/tmp", &err), TFM_IO);
    CHECK(strstr(err.message, "directory") != NULL);
    CHECK_INT(tfm_map_open(&m, "/dev/null", &err), TFM_IO);
    CHECK(strstr(err.message, "not a regular file") != NULL);
    CHECK_INT(tfm_map_open(&m, "/nonexistent/x", &err), TFM_IO);
    CHECK_STR(err.message, "/nonexistent/x: No such file or directory");
    CHECK_INT(tfm_file_read(&b, "/tmp", 10, &err), TFM_IO);
    close(fd);
    unlink(path);
    tfm_buf_free(&b);
}

static void descriptors_that_do_not_block_are_waited_for(void) {
    enum { N = 300000 }; /* more than a pipe holds */
    static char sent[N], got[N];
    int fd[2];
    size_t n;
    for (size_t i = 0; i < N; i++) sent[i] = (char)(i * 31 % 251);
    CHECK_INT(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        close(fd[0]);
        _exit(tfm_fd_write_full(fd[1], "pipe", sent, N, NULL) == TFM_OK ? 0 : 1);
    }
    close(fd[1]);
    CHECK_INT(tfm_fd_read_full(fd[0], "pipe", got, N, &n, NULL), TFM_OK);
    CHECK_INT(n, N);
    CHECK(memcmp(sent, got, N) == 0);
    CHECK_INT(tfm_fd_read_full(fd[0], "pipe", got, 1, &n, NULL), TFM_OK);
    CHECK_INT(n, 0);
    close(fd[0]);
    tfm_error err = {0};
    CHECK_INT(tfm_fd_read_some(-1, "gone", got, 1, &n, &err), TFM_IO);
    CHECK_STR(err.message, "gone: read: Bad file descriptor");
}

/* Every chunk exactly once, by a worker in range, with the argument of its own run (runs take two
 * in turn), and seen when the run returns. */
static struct { unsigned count[2][1000], n_workers; } jobs;

static void count_chunk(void *arg, size_t chunk, unsigned worker) {
    unsigned *count = arg;
    count[chunk]++;
    if (worker >= jobs.n_workers) count[chunk] += 1000;
}

static void pool_runs_every_chunk_once(void) {
    static const unsigned threads[] = {1, 2, 5};
    tfm_pool *p = NULL;
    for (size_t t = 0; t < 3; t++) {
        if (!CHECK_INT(tfm_pool_new(&p, threads[t], NULL), TFM_OK)) return;
        jobs.n_workers = threads[t];
        CHECK_INT(tfm_pool_threads(p), threads[t]);
        for (size_t round = 0; round < 3000; round++) {
            size_t n = round * 7 % 1000;
            memset(jobs.count, 0, sizeof jobs.count);
            tfm_pool_run(p, n, count_chunk, jobs.count[round % 2]);
            size_t wrong = 0;
            for (size_t i = 0; i < 1000; i++) {
                wrong += jobs.count[round % 2][i] != (i < n) || jobs.count[1 - round % 2][i] != 0;
            }
            if (!CHECK_INT(wrong, 0)) break;
            if (round % 1000 == 999) usleep(1000); /* so that the workers go to sleep */
        }
        tfm_pool_free(p);
    }
    CHECK_INT(tfm_pool_new(&p, 0, NULL), TFM_USAGE);
    CHECK(tfm_threads_default() >= 1);
}

int main(void) {
    UNIT_RUN(messages_are_one_clean_line);
    UNIT_RUN(statuses_have_exit_codes);
    UNIT_RUN(sizes_are_checked);
    UNIT_RUN(arena_gives_zeroed_aligned_memory);
    UNIT_RUN(buffers_grow_and_end_in_a_nul);
    UNIT_RUN(numbers_are_parsed_whole);
    UNIT_RUN(hashes_are_those_of_the_standards);
    UNIT_RUN(sha256_in_pieces_is_that_of_the_whole);
    UNIT_RUN(utf8_is_strict);
    UNIT_RUN(philox_gives_the_known_answers);
    UNIT_RUN(files_are_mapped_and_read);
    UNIT_RUN(descriptors_that_do_not_block_are_waited_for);
    UNIT_RUN(pool_runs_every_chunk_once);
    return unit_done();
}

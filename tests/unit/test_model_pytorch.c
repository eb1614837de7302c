/* test_model_pytorch.c - hostile and odd files of torch.save: pickles in archives made here.
 * What torch itself writes is read in tests/pytorch.bats. */
#include "exchange/exchange_internal.h"
#include "model_files.h"

/* An archive x/data.pkl with this pickle, x/data/0 of 32 bytes 0..31, and one more member if
 * named. */
static void put_archive(const void *pickle, size_t n, const char *other, const char *body) {
    int fd = open(in_dir("pytorch_model.bin"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    tfm_zip_writer z = {.fd = fd, .name = "test"};
    unsigned char data[32];
    for (unsigned i = 0; i < sizeof data; i++) data[i] = (unsigned char)i;
    CHECK_INT(tfm_zip_add(&z, "x/data.pkl", pickle, n, "", 0, NULL), TFM_OK);
    CHECK_INT(tfm_zip_add(&z, "x/data/0", data, sizeof data, "", 0, NULL), TFM_OK);
    if (other) CHECK_INT(tfm_zip_add(&z, other, body, strlen(body), "", 0, NULL), TFM_OK);
    CHECK_INT(tfm_zip_finish(&z, NULL), TFM_OK);
    tfm_buf_free(&z.directory);
    close(fd);
}

static tfm_status try_pickle(const void *pickle, size_t n, tfm_error *err) {
    put_archive(pickle, n, NULL, NULL);
    return try_source("", err);
}

/* The status, and (of a failure) a part of the message. */
static void expect(const void *pickle, size_t n, tfm_status status, const char *part) {
    tfm_error err = {0};
    if (!CHECK_INT(try_pickle(pickle, n, &err), status)) printf("# %s\n", err.message);
    if (status != TFM_OK && !CHECK(strstr(err.message, part) != NULL))
        printf("# '%s' is not in: %s\n", part, err.message);
}
/* P: a string literal, with NULs. */
#define EXPECT(P, status, part) expect(P, sizeof(P) - 1, status, part)

#define STORAGE(key, count)                                                                        \
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" key "X\3\0\0\0cpuK" count "tQ"
#define TENSOR(key, count, offset, size, stride)                                                   \
    "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE(key, count) offset size stride                  \
        "\211ccollections\nOrderedDict\n)RtR"
#define DICT_OF(value) "\200\2}X\1\0\0\0w" value "s."

/* A storage of 8 numbers as [2, 4], and as [4, 2] turned. */
static void reads(void) {
    static const char whole[] = DICT_OF(TENSOR("0", "\10", "K\0", "K\2K\4\206", "K\4K\1\206"));
    static const char turned[] = DICT_OF(TENSOR("0", "\10", "K\0", "K\4K\2\206", "K\1K\4\206"));
    static const char scalar[] = DICT_OF(TENSOR("0", "\10", "K\7", ")", ")"));
    tfm_error err = {0};
    tfm_source *s;
    put_archive(whole, sizeof whole - 1, NULL, NULL);
    if (!CHECK_INT(tfm_source_open(&s, in_dir(""), NULL, &err), TFM_OK)) return;
    const tfm_tensor *t = tfm_source_tensor(s, "w");
    CHECK(t && t->dtype == TFM_F32 && t->rank == 2 && t->dims[0] == 2 && t->dims[1] == 4);
    CHECK(t && memcmp(t->data, "\0\1\2\3\4\5\6\7", 8) == 0);
    tfm_source_free(s);
    put_archive(turned, sizeof turned - 1, NULL, NULL);
    CHECK_INT(tfm_source_open(&s, in_dir(""), NULL, &err), TFM_OK);
    t = tfm_source_tensor(s, "w");
    CHECK(t && t->dims[0] == 4 && memcmp(t->data, "\0\1\2\3\20\21\22\23\4\5\6\7", 12) == 0);
    tfm_source_free(s);
    put_archive(scalar, sizeof scalar - 1, NULL, NULL);
    CHECK_INT(tfm_source_open(&s, in_dir("pytorch_model.bin"), NULL, &err), TFM_OK);
    t = tfm_source_tensor(s, "w");
    CHECK(t && t->rank == 0 && memcmp(t->data, "\34\35\36\37", 4) == 0);
    tfm_source_free(s);
}

#define SAFE TENSOR("0", "\10", "K\0", "K\2K\4\206", "K\4K\1\206")

static void refuses_code(void) {
    EXPECT("\200\2cposix\nsystem\nX\4\0\0\0true\205R.", TFM_UNSUPPORTED, "posix.system");
    EXPECT("\200\2cos\nsystem\nX\4\0\0\0true\205R.", TFM_UNSUPPORTED, "os.system");
    EXPECT("\200\2c__builtin__\neval\nX\1\0\0\0001\205R.", TFM_UNSUPPORTED, "__builtin__.eval");
    EXPECT("\200\4\214\10builtins\214\4exec\223\214\1x\205R.", TFM_UNSUPPORTED, "builtins.exec");
    EXPECT("\200\2cnumpy.core.multiarray\n_reconstruct\n)R.", TFM_UNSUPPORTED, "_reconstruct");
    EXPECT("\200\2ctorch\nload\n)R.", TFM_UNSUPPORTED, "torch.load");
    EXPECT("\200\2ctorch._utils\n_rebuild_tensor_v2.__globals__\n)R.", TFM_UNSUPPORTED, "globals");
    EXPECT("(iposix\nsystem\n.", TFM_UNSUPPORTED, "INST");
    EXPECT("(ccollections\nOrderedDict\no.", TFM_UNSUPPORTED, "OBJ");
    EXPECT("\200\2\202\1.", TFM_UNSUPPORTED, "EXT1");
    EXPECT("\200\4ccollections\nOrderedDict\n)}\222.", TFM_UNSUPPORTED, "NEWOBJ_EX");
    /* a call of what a memo, a text or a type is */
    EXPECT("\200\2X\6\0\0\0system)R.", TFM_FORMAT, "no name");
    EXPECT("\200\2ctorch\nFloatStorage\n)R.", TFM_UNSUPPORTED, "only a type");
    /* state for what is no dict: __setstate__ of anything is code */
    EXPECT("\200\2]}b.", TFM_UNSUPPORTED, "BUILD");
    /* hidden beside a good tensor */
    EXPECT("\200\2}(X\1\0\0\0w" SAFE "X\1\0\0\0vcos\nsystem\nu.", TFM_UNSUPPORTED, "os.system");
}

static void refuses_lies(void) {
    EXPECT(DICT_OF(TENSOR("0", "\11", "K\0", "K\1\205", "K\1\205")), TFM_FORMAT, "32 bytes");
    EXPECT(DICT_OF(TENSOR("1", "\10", "K\0", "K\1\205", "K\1\205")), TFM_FORMAT, "not in the arch");
    EXPECT(DICT_OF(TENSOR("0", "\10", "K\1", "K\2K\4\206", "K\4K\1\206")), TFM_FORMAT, "beyond");
    EXPECT(DICT_OF(TENSOR("0", "\10", "K\0", "K\2K\4\206", "K\5K\1\206")), TFM_FORMAT, "beyond");
    EXPECT(DICT_OF(TENSOR("0", "\10", "J\377\377\377\377", "K\1\205", "K\1\205")), TFM_FORMAT,
           "offset");
    EXPECT(DICT_OF(TENSOR("0", "\10", "K\0", "K\1\205", "J\377\377\377\377\205")), TFM_FORMAT,
           "stride");
    /* a gigabyte out of one number */
    EXPECT(DICT_OF(TENSOR("0", "\10", "K\0", "J\0\0\0\20\205", "K\0\205")), TFM_FORMAT, "beyond");
    /* products that overflow 64 bits */
    EXPECT(
        DICT_OF(TENSOR("0", "\10", "K\0", "J\377\377\377\177J\377\377\377\177J\377\377\377\177\207",
                       "K\0K\0K\0\207")),
        TFM_FORMAT, "overflow");
    EXPECT(DICT_OF(
               TENSOR("0", "\10", "K\0", "K\2\205", "\212\10\377\377\377\377\377\377\377\177\205")),
           TFM_FORMAT, "beyond");
    EXPECT(DICT_OF(TENSOR("0", "\10", "K\0", "(K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1t")), TFM_LIMIT,
           "5 dimensions");
    EXPECT(DICT_OF(TENSOR("0", "\10", "K\0", "K\0\205", "K\1\205")), TFM_FORMAT, "dimension of 0");
    EXPECT("\200\2}X\2\0\0\0a\0" SAFE "s.", TFM_FORMAT, "name");
    EXPECT("\200\2}K\1" SAFE "s.", TFM_FORMAT, "name");
    EXPECT("\200\2}(X\1\0\0\0w" SAFE "X\1\0\0\0w" SAFE "u.", TFM_FORMAT, "tensor");
    EXPECT("\200\2}(X\1\0\0\0w" SAFE "X\1\0\0\0v]u.", TFM_UNSUPPORTED, "'v' is a list");
    EXPECT("\200\2].", TFM_UNSUPPORTED, "a list, not a dict");
    EXPECT("\200\2}.", TFM_UNSUPPORTED, "no tensors");
}

static void refuses_damage(void) {
    static const char good[] = DICT_OF(SAFE);
    tfm_error err = {0};
    for (size_t n = 0; n < sizeof good - 1; n++) CHECK(try_pickle(good, n, &err) != TFM_OK);
    EXPECT("", TFM_TRUNCATED, "no end");
    EXPECT("\200\2a.", TFM_FORMAT, "too few");
    EXPECT("\200\2t.", TFM_FORMAT, "no mark");
    EXPECT("\200\2}(K\1u.", TFM_FORMAT, "without value");
    EXPECT("\200\2K\1(K\2s.", TFM_FORMAT, "too few"); /* what is under a mark */
    EXPECT("\200\2h\0.", TFM_FORMAT, "no such memo");
    EXPECT("\200\2}r\377\377\377\177.", TFM_FORMAT, "out of order"); /* a memo of 2^31 */
    EXPECT("\200\2X\377\377\377\377a.", TFM_TRUNCATED, "inside a value");
    EXPECT("\200\4\215\377\377\377\377\377\377\377\377a.", TFM_TRUNCATED, "inside a value");
    EXPECT("\200\2\213\377\377\377\377.", TFM_TRUNCATED, "inside a value");
    EXPECT("\200\2cposix", TFM_TRUNCATED, "inside a name");
    EXPECT("\200\2(K\1.", TFM_FORMAT, "open values");
}

/* n times one byte, then a tail. */
static void repeat(unsigned char byte, size_t n, const char *tail, tfm_status status,
                   const char *part) {
    tfm_buf b = {0};
    CHECK_INT(tfm_buf_reserve(&b, n + 16, NULL), TFM_OK);
    memset(b.data, byte, n);
    b.len = n;
    put_bytes(&b, tail, strlen(tail));
    expect(b.data, b.len, status, part);
    tfm_buf_free(&b);
}

static void bounds(void) {
    repeat('(', 2000, ".", TFM_LIMIT, "deep");
    repeat(']', 1000000, ".", TFM_LIMIT, "values");
    repeat('N', 1000000, ".", TFM_LIMIT, "values");
    repeat(0x94, 10, ".", TFM_FORMAT, "too few");
    /* lists in lists: 400,000 deep, and nothing recurses */
    tfm_buf b = {0};
    for (int i = 0; i < 400000; i++) put_bytes(&b, "]", 1);
    for (int i = 0; i < 399999; i++) put_bytes(&b, "a", 1);
    put_bytes(&b, ".", 1);
    expect(b.data, b.len, TFM_UNSUPPORTED, "a list, not a dict");
    /* a list of 100,000 copied by ten calls */
    tfm_buf_clear(&b);
    put_bytes(&b, "c__builtin__\nset\nq\0]q\1(", 23);
    for (int i = 0; i < 100000; i++) put_bytes(&b, "N", 1);
    put_bytes(&b, "eh\1\205q\2", 6);
    for (int i = 0; i < 10; i++) put_bytes(&b, "h\0h\2R", 5);
    put_bytes(&b, ".", 1);
    expect(b.data, b.len, TFM_LIMIT, "containers");
    /* a list that holds itself */
    EXPECT("\200\2]q\0h\0a}X\1\0\0\0w]q\1h\0as.", TFM_FORMAT, "open values");
    EXPECT("\200\2}X\1\0\0\0w]q\0h\0as.", TFM_UNSUPPORTED, "no tensors");
    tfm_buf_free(&b);
}

static void refuses_archives(void) {
    static const char good[] = DICT_OF(SAFE);
    tfm_error err = {0};
    put_archive(good, sizeof good - 1, "x/byteorder", "little");
    CHECK_INT(try_source("", &err), TFM_OK);
    put_archive(good, sizeof good - 1, "x/byteorder", "big");
    CHECK_INT(try_source("", &err), TFM_UNSUPPORTED);
    put_archive(good, sizeof good - 1, "x/constants.pkl", "");
    CHECK_INT(try_source("", &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "TorchScript") != NULL);
    put_archive(good, sizeof good - 1, "y/data.pkl", "");
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    put_archive(good, sizeof good - 1, "x/data/0", ""); /* one name twice */
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    put_file("pytorch_model.bin", "PK\3\4 and no more of it, never a zip", 34);
    CHECK_INT(try_source("", &err), TFM_TRUNCATED);
    put_file("pytorch_model.bin", "\200\2\212\012l\374\234\106\371 j\250P\031.", 15);
    CHECK_INT(try_source("", &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "before 1.6") != NULL);
    put_text("pytorch_model.bin", "");
    CHECK_INT(try_source("", &err), TFM_TRUNCATED);
}

/* Copies of turned tensors: all of them together no more than the file is long. */
static void bounds_copies(void) {
    static const char first[] =
        "\200\2}(X\4\0\0\0w000ctorch._utils\n_rebuild_tensor_v2\nq\0(" STORAGE(
            "0", "\10") "K\0K\4K\2\206K\1K\4\206tq\1R";
    char entry[] = "X\4\0\0\0w000h\0h\1R"; /* 14 bytes that ask for a copy of 32 */
    tfm_buf b = {0};
    put_bytes(&b, first, sizeof first - 1);
    for (int i = 1; i < 100; i++) {
        entry[7] = (char)('0' + i / 10);
        entry[8] = (char)('0' + i % 10);
        put_bytes(&b, entry, sizeof entry - 1);
    }
    put_bytes(&b, "u.", 2);
    expect(b.data, b.len, TFM_LIMIT, "contiguous");
    tfm_buf_free(&b);
}

int main(void) {
    make_dir("pytorch");
    put_text("config.json", "{\"model_type\": \"x\"}");
    UNIT_RUN(reads);
    UNIT_RUN(refuses_code);
    UNIT_RUN(refuses_lies);
    UNIT_RUN(refuses_damage);
    UNIT_RUN(bounds);
    UNIT_RUN(bounds_copies);
    UNIT_RUN(refuses_archives);
    remove_file("config.json");
    remove_file("pytorch_model.bin");
    CHECK(rmdir(dir) == 0);
    return unit_done();
}

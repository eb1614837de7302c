/* test_corpus.c - the files of tests/streams: makes them, and runs the reader over them.
 *
 *     test_corpus            the files are what this program makes, and each has its verdict
 *     test_corpus DIR        writes the files and README into DIR (tests/streams)
 *
 * The name says the verdict: good-* is read to its end, bad-* is refused, unsupported-* is well
 * formed but needs something newer. Each file breaks one rule; its line in `cases` says which, and
 * a word that the message must hold. How a stream is put together is in corpus.h. */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>
#include <zlib.h>

#include "corpus.h"
#include "stream/stream_internal.h"
#include "unit.h"

/* ---- good ---- */

static void good_empty(stream *s) {
    header(s, TOKENS);
    end(s);
}

static void good_tokens(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 0);
    text(s, 0, "tail", "\n");
    group_end(s, 0, TFM_END_OPEN);
    end(s);
}

static void good_groups(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\ntool tfm-run\nframe jsonl\nvocab raw-bytes\n"
              "prov {\"tool\":\"tfm-tokenize\"}\nprov {\"tool\":\"tfm-run\"}\n");
    text(s, 0, "source", "{\"text\":\"caf\xc3\xa9\"}");
    tokens(s, 0, 0);
    text(s, 1, "source", "{\"text\":");
    error(s, 1, "not JSON");
    tokens(s, 2, 0);
    group_end(s, 1, TFM_END_ERROR);
    tokens(s, 0, 3);
    tokens(s, 2, 0); /* goes over the same positions again: allowed */
    group_end(s, 2, TFM_END_LENGTH);
    group_end(s, 0, TFM_END_STOP);
    end(s);
}

static void good_joined(stream *s) {
    small(s);
    good_groups(s);
    good_empty(s);
}

static void good_ancillary(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\nx-mine anything\nsome-later-key with a value\n");
    record(s, (tfm_record){.type = 0x90, .dtype = TFM_U8, .rank = 1, .dims = {3}, .status = 77},
           "abc", 3);
    tokens(s, 0, 0);
    group_end(s, 0, TFM_END_OPEN);
    end(s);
}

static void good_fork(stream *s) {
    static const unsigned char from[8] = {0, 0, 0, 0, 3, 0, 0, 0};
    header(s, TOKENS);
    tokens(s, 0, 0);
    record(s,
           (tfm_record){.type = TFM_REC_FORK, .dtype = TFM_I32, .rank = 1, .dims = {2}, .group = 1},
           from, sizeof from);
    tokens(s, 1, 3);
    tokens(s, 0, 3);
    group_end(s, 0, TFM_END_TOKEN);
    group_end(s, 1, TFM_END_CONTEXT);
    end(s);
}

static void good_dtypes(stream *s) {
    static const uint8_t types[] = {TFM_F32,  TFM_F16,  TFM_BF16,   TFM_I8,    TFM_U8,
                                    TFM_I32,  TFM_I64,  TFM_Q4_0,   TFM_Q4_1,  TFM_Q5_0,
                                    TFM_Q5_1, TFM_Q8_0, TFM_Q2_K,   TFM_Q3_K,  TFM_Q4_K,
                                    TFM_Q5_K, TFM_Q6_K, TFM_IQ4_NL, TFM_MXFP4, TFM_IQ4_XS};
    static const unsigned char zeros[2048];
    header(s, "TFMSTRM1\nkind tensor\nneeds 1.0\n");
    for (size_t i = 0; i < sizeof types; i++) {
        tfm_dtype t = (tfm_dtype)types[i];
        tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = types[i], .rank = 1};
        rec.dims[0] = tfm_dtype_block(t);
        snprintf(rec.name, sizeof rec.name, "%s", tfm_dtype_name(t));
        record(s, rec, zeros, tfm_dtype_block_bytes(t));
    }
    for (uint8_t rank = 0; rank <= 4; rank++) {
        tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = TFM_F32, .rank = rank};
        size_t n = 4;
        for (int i = 0; i < rank; i++) n *= rec.dims[i] = 3;
        snprintf(rec.name, sizeof rec.name, "rank %d", rank);
        record(s, rec, zeros, n);
    }
    record(
        s,
        (tfm_record){
            .type = TFM_REC_TENSOR, .dtype = TFM_F32, .rank = 2, .dims = {0, 7}, .name = "nothing"},
        zeros, 0);
    end(s);
}

static void good_names(stream *s) {
    static const size_t lengths[] = {1, 63, 64, 65, 255};
    header(s, "TFMSTRM1\nkind tensor\nneeds 1.0\n");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = TFM_U8, .rank = 1, .dims = {1}};
        memset(rec.name, 'a' + (int)i, lengths[i]);
        record(s, rec, "x", 1);
    }
    record(s,
           (tfm_record){.type = TFM_REC_TENSOR,
                        .dtype = TFM_U8,
                        .rank = 1,
                        .dims = {1},
                        .name = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
           "x", 1);
    end(s);
}

/* Kind, needs and one key; the end line fills up 64 bytes to the last. */
static void good_full_header(stream *s) {
    header(s, "TFMSTRM1\nkind tensor\nneeds 1.0\nx-pad 123456789012345\n");
    end(s);
}

static void good_model(stream *s) {
    static const char meta[] = "arch: none\n",
                      index[] = "token_embd.weight f32 rows 2 2 2 0000000000000576 16\n";
    static const unsigned char weights[16];
    header(s, "TFMSTRM1\nkind model\nneeds 1.0\ntool tfm-convert\n");
    record(s,
           (tfm_record){.type = TFM_REC_META,
                        .dtype = TFM_U8,
                        .rank = 1,
                        .dims = {sizeof meta - 1},
                        .name = "description"},
           meta, sizeof meta - 1);
    record(s,
           (tfm_record){.type = TFM_REC_INDEX,
                        .dtype = TFM_U8,
                        .rank = 1,
                        .dims = {sizeof index - 1},
                        .name = "index"},
           index, sizeof index - 1);
    record(s,
           (tfm_record){.type = TFM_REC_TENSOR,
                        .dtype = TFM_F32,
                        .rank = 2,
                        .dims = {2, 2},
                        .name = "token_embd.weight"},
           weights, sizeof weights);
    end(s);
}

/* b is replaced by its gzip form. */
static void compress_all(stream *s) {
    z_stream z = {0};
    unsigned char out[8192];
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    z.next_in = (unsigned char *)s->b.data;
    z.avail_in = (uInt)s->b.len;
    z.next_out = out;
    z.avail_out = sizeof out;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    tfm_buf_clear(&s->b);
    add(s, out, z.total_out);
    deflateEnd(&z);
}

static void good_gzip(stream *s) {
    good_groups(s);
    compress_all(s);
}

/* ---- bad: the whole stream ---- */

static void bad_nothing(stream *s) {
    add(s, "", 0);
}

static void bad_text(stream *s) {
    add(s, "Once upon a time\n", 17);
}

static void bad_no_end(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 0);
    group_end(s, 0, TFM_END_OPEN);
}

static void cut_at(stream *s, size_t n) {
    s->b.len = n;
}

static void bad_cut_header(stream *s) {
    small(s);
    cut_at(s, 70);
}

static void bad_cut_head(stream *s) {
    cut_at(s, small(s) + 40);
}

static void bad_cut_name(stream *s) {
    cut_at(s, small(s) + 70);
}

static void bad_cut_payload(stream *s) {
    cut_at(s, small(s) + 128 + 5);
}

static void bad_cut_padding(stream *s) {
    small(s);
    cut_at(s, s->b.len - 1);
}

static void bad_trailing(stream *s) {
    small(s);
    add(s, "\n", 1);
}

static void bad_second(stream *s) {
    small(s);
    good_empty(s);
    s->b.data[s->b.len - 70] ^= 1;
}

static void bad_gzip_cut(stream *s) {
    good_gzip(s);
    cut_at(s, s->b.len - 8);
}

#define NOTHING_YET "TFMSTRM1\nkind error\nneeds 1.0\ntool tfm-embed\n"

static void bad_start(stream *s) {
    header(s, NOTHING_YET);
    error(s, TFM_GROUP_ALL, "no such model");
}

static void bad_start_without(stream *s) {
    header(s, NOTHING_YET);
    end(s);
}

static void bad_upstream(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 0);
    error(s, TFM_GROUP_ALL, "disk full");
}

/* ---- bad: the header ---- */

static void bad_header_crc(stream *s) {
    small(s);
    s->b.data[15] ^= 1;
}

static void bad_header_padding(stream *s) {
    size_t from = s->b.len;
    small(s);
    s->b.data[from + 127] = ' ';
}

static void bad_header_kind(stream *s) {
    header(s, "TFMSTRM1\nneeds 1.0\n");
    end(s);
}

static void bad_header_needs(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds one\n");
    end(s);
}

static void bad_header_key(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\na.key value\n");
    end(s);
}

static void bad_header_line(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\nkey\n");
    end(s);
}

static void bad_header_control(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\nkey \x1b[2J\n");
    end(s);
}

static void bad_header_utf8(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\nkey \xed\xa0\x80\n");
    end(s);
}

/* ---- bad: a record; byte offsets as tfm-stream(5) has them ---- */

static void bad_magic(stream *s) {
    small_with(s, 1, 'X');
}
static void bad_head_crc(stream *s) {
    small_damaged(s, 17);
}
static void bad_name_crc(stream *s) {
    small_damaged(s, 66);
}
static void bad_payload_crc(stream *s) {
    small_damaged(s, 130);
}
static void bad_payload_padding(stream *s) {
    small_damaged(s, 191);
}
static void bad_reserved(stream *s) {
    small_with(s, 50, 1);
}
static void bad_name_padding(stream *s) {
    small_with(s, 100, 1);
}
static void bad_name_control(stream *s) {
    small_with(s, 66, '\t');
}
static void bad_name_nul(stream *s) {
    small_with(s, 66, '\0');
}
static void bad_name_utf8(stream *s) {
    small_with(s, 66, 0xc0);
}
static void bad_rank(stream *s) {
    small_with(s, 6, 5);
}
static void bad_unused_dim(stream *s) {
    small_with(s, 44, 2);
}
static void bad_status(stream *s) {
    small_with(s, 10, 1);
}
static void bad_seq(stream *s) {
    small_with(s, 20, 1);
}
static void bad_size(stream *s) {
    small_with(s, 24, 11);
}
static void bad_dims(stream *s) {
    small_with(s, 32, 4);
}

static void bad_overflow(stream *s) {
    size_t at = small(s);
    s->b.data[at + 6] = 4;
    memset(s->b.data + at + 32, 0x80, 16);
    seal(s, at);
}

static void bad_length(stream *s) {
    size_t at = small(s);
    tfm_store_u64(s->b.data + at + 24, 17u << 20);
    tfm_store_u32(s->b.data + at + 32, (17u << 20) / 4);
    seal(s, at);
}

static void bad_length_model(stream *s) {
    header(s, "TFMSTRM1\nkind model\nneeds 1.0\n");
    size_t at = tokens(s, 0, 0);
    tfm_store_u64(s->b.data + at + 24, 4ull << 30);
    tfm_store_u32(s->b.data + at + 32, 1u << 30);
    seal(s, at);
}

static void bad_blocks(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_TENSOR, .dtype = TFM_Q8_0, .rank = 1, .dims = {33}},
                "0123456789012345678901234567890123", 34);
}

static void bad_tensor_none(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_TENSOR}, "", 0);
}

static void bad_none_rank(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_GROUP_END, .rank = 1, .dims = {0}}, "", 0);
}

static void bad_text_dtype(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_TEXT, .dtype = TFM_I8, .rank = 1, .dims = {1}}, "x",
                1);
}

static void bad_group_end_payload(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_GROUP_END, .dtype = TFM_U8, .rank = 1, .dims = {1}},
                "x", 1);
}

static void bad_group_end_status(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_GROUP_END, .status = 6}, "", 0);
}

static void bad_fork(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_FORK, .dtype = TFM_I32, .rank = 1, .dims = {1}},
                "abcd", 4);
}

static void bad_index(stream *s) {
    with_record(s, (tfm_record){.type = TFM_REC_INDEX, .dtype = TFM_U8, .rank = 1, .dims = {1}},
                "x", 1);
}

static void bad_group_all(stream *s) {
    tfm_record rec = tokens_record(TFM_GROUP_ALL, 0, 0);
    with_record(s, rec, "", 0);
}

static void bad_position_range(stream *s) {
    with_record(s, tokens_record(0, UINT32_MAX, 2), "abcdefgh", 8);
}

static void good_truncation(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 3);
    tokens(s, 1, 0);
    tokens(s, 0, 2);
    end(s);
}

static void bad_seq_repeated(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 0);
    s->seq = 0;
    group_end(s, 0, TFM_END_OPEN);
    s->seq = 2;
    end(s);
}

static void bad_end_records(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 0);
    end_counting(s, 2, 0);
}

static void bad_end_groups(stream *s) {
    header(s, TOKENS);
    tokens(s, 0, 0);
    group_end(s, 0, TFM_END_OPEN);
    end_counting(s, 2, 2);
}

static void bad_end_shape(stream *s) {
    header(s, TOKENS);
    record(s, (tfm_record){.type = TFM_REC_END, .dtype = TFM_I64, .rank = 1, .dims = {1}},
           "\0\0\0\0\0\0\0", 8);
}

/* ---- unsupported ---- */

static void unsupported_format(stream *s) {
    header(s, "TFMSTRM2\nkind tokens\nneeds 2.0\n");
    end(s);
}

static void unsupported_major(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 2.0\n");
    end(s);
}

static void unsupported_minor(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.1\n");
    end(s);
}

static void unsupported_key(stream *s) {
    header(s, "TFMSTRM1\nkind tokens\nneeds 1.0\nEncrypted yes\n");
    end(s);
}

static void unsupported_type(stream *s) {
    small_with(s, 4, 9);
}
static void unsupported_type_zero(stream *s) {
    small_with(s, 4, 0);
}
static void unsupported_flag(stream *s) {
    small_with(s, 8, 8);
}
static void unsupported_flag_high(stream *s) {
    small_with(s, 9, 0x80);
}
static void unsupported_dtype(stream *s) {
    small_with(s, 5, 99);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    void (*make)(stream *s);
    const char *word; /* in the message; NULL for good ones */
    const char *why;  /* for README */
} cases[] = {
    {"good-empty", good_empty, NULL, "no record but END"},
    {"good-tokens", good_tokens, NULL, "one prompt in whole frame, with the newline taken off"},
    {"good-groups", good_groups, NULL, "interleaved groups, one failed; provenance; a source line"},
    {"good-joined", good_joined, NULL, "three streams one after another"},
    {"good-ancillary", good_ancillary, NULL, "an unknown ancillary record, unknown keys"},
    {"good-fork", good_fork, NULL, "a group forked from another"},
    {"good-dtypes", good_dtypes, NULL, "every dtype, rank 0 to 4, a tensor without elements"},
    {"good-names", good_names, NULL, "names of 1, 63, 64, 65, 255 bytes, and UTF-8"},
    {"good-full-header", good_full_header, NULL, "a header that needs no padding"},
    {"good-model", good_model, NULL, "kind model: META, INDEX, a tensor"},
    {"good-truncation", good_truncation, NULL,
     "a group that goes back: what is kept from there on is forgotten"},
    {"good-gzip", good_gzip, NULL, "good-groups, gzipped"},
    {"bad-nothing", bad_nothing, "no stream at all", "an empty file"},
    {"bad-text", bad_text, "not a tfm stream", "plain text"},
    {"bad-no-end", bad_no_end, "tfm-tokenize ends before its END", "whole records, but no END"},
    {"bad-cut-header", bad_cut_header, "inside a stream header", "cut in the header"},
    {"bad-cut-head", bad_cut_head, "ends before its END", "cut in the head of a record"},
    {"bad-cut-name", bad_cut_name, "ends before its END", "cut in a name"},
    {"bad-cut-payload", bad_cut_payload, "ends before its END", "cut in a payload"},
    {"bad-cut-padding", bad_cut_padding, "ends before its END", "the very last byte is missing"},
    {"bad-trailing", bad_trailing, "after the END", "a byte after the last END"},
    {"bad-second", bad_second, "CRC", "the second of two streams is damaged"},
    {"bad-gzip-cut", bad_gzip_cut, "gzip", "good-gzip without its last bytes"},
    {"bad-start", bad_start, "upstream tfm-embed: no such model",
     "a stage that failed before it had a header"},
    {"bad-start-without", bad_start_without, "without one", "kind error, and no ERROR in it"},
    {"bad-upstream", bad_upstream, "upstream tfm-embed: disk full",
     "an ERROR of the whole stream in place of END"},
    {"bad-header-crc", bad_header_crc, "CRC", "a bit flipped in the header"},
    {"bad-header-padding", bad_header_padding, "padded", "a space in the header's padding"},
    {"bad-header-kind", bad_header_kind, "kind", "no kind line"},
    {"bad-header-needs", bad_header_needs, "needs", "a version that is none"},
    {"bad-header-key", bad_header_key, "a.key", "a dot in a key"},
    {"bad-header-line", bad_header_line, "key value", "a line without a space"},
    {"bad-header-control", bad_header_control, "control", "an escape character in a value"},
    {"bad-header-utf8", bad_header_utf8, "UTF-8", "a surrogate in a value"},
    {"bad-magic", bad_magic, "no record begins here", "another magic in a record"},
    {"bad-head-crc", bad_head_crc, "CRC of its head", "a bit flipped in the position"},
    {"bad-name-crc", bad_name_crc, "CRC of its head", "a bit flipped in the name"},
    {"bad-payload-crc", bad_payload_crc, "CRC of its payload", "a bit flipped in the payload"},
    {"bad-payload-padding", bad_payload_padding, "padding of its payload",
     "a bit set in the padding of a payload"},
    {"bad-reserved", bad_reserved, "reserved", "a bit set in bytes 48-59"},
    {"bad-name-padding", bad_name_padding, "padding of its name", "a byte after the name"},
    {"bad-name-control", bad_name_control, "control", "a tab in a name"},
    {"bad-name-nul", bad_name_nul, "control", "a NUL in a name"},
    {"bad-name-utf8", bad_name_utf8, "UTF-8", "a name that is not UTF-8"},
    {"bad-rank", bad_rank, "rank", "rank 5"},
    {"bad-unused-dim", bad_unused_dim, "unused", "an unused dimension that is not 1"},
    {"bad-status", bad_status, "status", "a status in a TENSOR"},
    {"bad-seq", bad_seq, "sequence number 1", "the first record has number 1"},
    {"bad-seq-repeated", bad_seq_repeated, "sequence number 0", "two records with number 0"},
    {"bad-size", bad_size, "payload bytes", "the payload bytes are not those of the dimensions"},
    {"bad-dims", bad_dims, "payload bytes", "the dimensions are not those of the payload bytes"},
    {"bad-overflow", bad_overflow, "dimensions", "dimensions whose product overflows 64 bits"},
    {"bad-length", bad_length, "above the limit", "a payload of 17 MiB in a stream of tokens"},
    {"bad-length-model", bad_length_model, "ends before its END",
     "a model whose tensor claims 4 GiB that are not there"},
    {"bad-blocks", bad_blocks, "blocks", "33 elements of q8_0, which has blocks of 32"},
    {"bad-tensor-none", bad_tensor_none, "dtype", "a TENSOR without a dtype"},
    {"bad-none-rank", bad_none_rank, "dtype", "dimensions without a dtype"},
    {"bad-text-dtype", bad_text_dtype, "u8", "a TEXT of i8"},
    {"bad-group-end-payload", bad_group_end_payload, "no payload", "a GROUP-END with a payload"},
    {"bad-group-end-status", bad_group_end_status, "status 6", "a GROUP-END that ended in way 6"},
    {"bad-fork", bad_fork, "i32 [2]", "a FORK of one number"},
    {"bad-index", bad_index, "no model", "an INDEX in a stream of tokens"},
    {"bad-group-all", bad_group_all, "for errors only", "a TENSOR of group 0xFFFFFFFF"},
    {"bad-position-range", bad_position_range, "position", "rows beyond position 0xFFFFFFFF"},
    {"bad-end-records", bad_end_records, "END counts", "END counts a record too many"},
    {"bad-end-groups", bad_end_groups, "END counts", "END counts a group too many"},
    {"bad-end-shape", bad_end_shape, "i64 [2]", "an END of one number"},
    {"unsupported-format", unsupported_format, "newer", "the magic of a format 2"},
    {"unsupported-major", unsupported_major, "2.0", "needs 2.0"},
    {"unsupported-minor", unsupported_minor, "1.1", "needs 1.1"},
    {"unsupported-key", unsupported_key, "'Encrypted'", "an unknown critical header key"},
    {"unsupported-type", unsupported_type, "record type 9", "an unknown critical record type"},
    {"unsupported-type-zero", unsupported_type_zero, "record type 0", "record type 0"},
    {"unsupported-flag", unsupported_flag, "0x0008", "an unknown flag bit"},
    {"unsupported-flag-high", unsupported_flag_high, "0x8000", "the highest flag bit"},
    {"unsupported-dtype", unsupported_dtype, "dtype 99", "an unknown dtype"}};
enum { N_CASES = sizeof cases / sizeof *cases };

/* ---- reading ---- */

static tfm_status read_all(const void *p, size_t n, tfm_error *err) {
    FILE *f = tmpfile();
    tfm_reader *r = NULL;
    tfm_record rec;
    if (!f || (n && fwrite(p, 1, n, f) != n)) abort();
    rewind(f);
    tfm_status st = tfm_reader_new(&r, fileno(f), "stdin", err);
    while (st == TFM_OK && (st = tfm_reader_stream(r, err)) == TFM_OK) {
        while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) continue;
        if (st == TFM_DONE) st = TFM_OK;
    }
    tfm_reader_free(r);
    fclose(f);
    return st;
}

static void check_case(size_t i, const char *dir) {
    char path[PATH_MAX];
    stream s = {0};
    tfm_buf file = {0};
    tfm_error err = {0};
    const char *name = cases[i].name;
    cases[i].make(&s);
    snprintf(path, sizeof path, "%s/%s.tfms", dir, name);
    if (!CHECK_INT(tfm_file_read(&file, path, 1 << 20, &err), TFM_OK)) printf("  %s\n", path);
    /* Other versions of zlib compress to other bytes. */
    if (!strstr(name, "gzip") &&
        !CHECK(file.len == s.b.len && (s.b.len == 0 || memcmp(file.data, s.b.data, s.b.len) == 0)))
        printf("  %s is not what this program makes\n", path);
    tfm_status st = read_all(file.data, file.len, &err), want = TFM_DONE;
    if (strncmp(name, "unsupported-", 12) == 0) want = TFM_UNSUPPORTED;
    if (strncmp(name, "bad-", 4) == 0) {
        CHECK_INT(tfm_status_exit(st), 3);
        CHECK(st != TFM_UNSUPPORTED);
    } else {
        CHECK_INT(st, want);
    }
    if (!CHECK(!cases[i].word || strstr(err.message, cases[i].word)))
        printf("  %s: %s\n", name, err.message);
    tfm_buf_free(&s.b);
    tfm_buf_free(&file);
}

static void every_file_has_its_verdict(void) {
    for (size_t i = 0; i < N_CASES; i++) check_case(i, "tests/streams");
}

/* ---- writing ---- */

static const char readme[] =
    "Streams that every reader of the format of tfm-stream(5) must judge alike. The name says "
    "how:\n"
    "good-* is read to its end, bad-* is refused, unsupported-* is well formed but needs "
    "something\n"
    "that format version 1.0 does not have. Each of the latter two breaks one rule only.\n"
    "\n"
    "Made by `build/tests/unit/test_corpus tests/streams`; without an argument that program "
    "checks\n"
    "that the files are what it makes and that the library's reader judges them right. The reader\n"
    "in the page is run over them by tests/stream.bats.\n"
    "\n";

static int write_file(const char *dir, const char *name, const void *p, size_t n) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(p, 1, n, f) != n) || fclose(f) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

static int write_corpus(const char *dir) {
    char name[64];
    tfm_buf list = {0};
    int failed = 0;
    if (tfm_buf_str(&list, readme, NULL) != TFM_OK) abort();
    for (size_t i = 0; i < N_CASES; i++) {
        stream s = {0};
        cases[i].make(&s);
        snprintf(name, sizeof name, "%s.tfms", cases[i].name);
        failed |= write_file(dir, name, s.b.data, s.b.len);
        if (tfm_buf_printf(&list, NULL, "%-27s %s\n", name, cases[i].why) != TFM_OK) abort();
        tfm_buf_free(&s.b);
    }
    failed |= write_file(dir, "README", list.data, list.len);
    tfm_buf_free(&list);
    return failed;
}

int main(int argc, char **argv) {
    if (argc > 1) return write_corpus(argv[1]);
    UNIT_RUN(every_file_has_its_verdict);
    return unit_done();
}

/* fuzz_stream.c - fuzz target: any bytes as a tensor stream.
 *
 * Reads them as a stage would, whole payloads and pieces in turn, and copies every record to a
 * writer. What reads to a clean end must read again from the copy: a reader may not let through
 * what a writer could not have written. Each input is tried as it is and with its checksums
 * repaired. */
#include "fuzz_util.h"
#include "tfm/model.h"

enum { MAX_RECORDS = 100000 };

static tfm_status copy_payload(tfm_reader *r, const tfm_record *rec, tfm_writer *w) {
    const void *p;
    size_t n;
    if (rec->seq % 2 == 0) {
        tfm_status st = tfm_reader_payload(r, &p, NULL);
        if (st != TFM_OK) return st;
        fuzz_must((uintptr_t)p % 64 == 0, "a payload is not aligned");
        return tfm_writer_record(w, rec, p, NULL);
    }
    tfm_status st = tfm_writer_begin(w, rec, NULL);
    for (;;) {
        if (st != TFM_OK) return st;
        st = tfm_reader_chunk(r, &p, &n, NULL);
        if (st != TFM_OK) return st;
        if (n == 0) return tfm_writer_finish(w, NULL);
        st = tfm_writer_data(w, p, n, NULL);
    }
}

/* One stream, header to END, from r to w. */
static tfm_status copy_stream(tfm_reader *r, tfm_writer *w) {
    tfm_record rec;
    tfm_status st = tfm_writer_header(w, tfm_reader_header(r), NULL);
    for (unsigned i = 0; st == TFM_OK && i < MAX_RECORDS; i++) {
        st = tfm_reader_next(r, &rec, NULL);
        if (st == TFM_OK && rec.seq % 3 != 2) {
            st = copy_payload(r, &rec, w);
        } else if (st == TFM_OK) { /* leaves the payload to be skipped */
            rec = (tfm_record){.type = TFM_REC_TEXT,
                               .dtype = TFM_U8,
                               .rank = 1,
                               .group = rec.group,
                               .dims = {0, 1, 1, 1}};
            if (rec.group != TFM_GROUP_ALL) st = tfm_writer_record(w, &rec, NULL, NULL);
        }
    }
    return st == TFM_DONE ? tfm_writer_end(w, NULL) : st;
}

/* Returns the status of the whole input; *out is a memfd with the copy. */
static tfm_status copy_all(int in, int out) {
    tfm_reader *r = NULL;
    tfm_writer *w = NULL;
    tfm_status st = tfm_reader_new(&r, in, "input", NULL);
    if (st == TFM_OK) st = tfm_writer_new(&w, out, "copy", NULL);
    while (st == TFM_OK) {
        st = tfm_reader_stream(r, NULL);
        if (st == TFM_OK) st = copy_stream(r, w);
    }
    tfm_reader_free(r);
    tfm_writer_free(w);
    return st;
}

static void parse_pieces(const uint8_t *data, size_t size) {
    tfm_header *h;
    tfm_record rec;
    uint64_t payload_at, next;
    size_t used = 0;
    uint8_t *p = fuzz_copy(data, size);
    tfm_index_check *index;
    fuzz_must(tfm_index_check_new(&index, 0, NULL) == TFM_OK, "no memory");
    tfm_status as_model = TFM_OK;
    if (tfm_header_parse(&h, p, size, &used, NULL) == TFM_OK) {
        fuzz_must(used <= size && used % 64 == 0, "a header is longer than its bytes");
        tfm_header_free(h);
    }
    for (size_t at = used; at < size; at += (size_t)next) {
        uint8_t *tail = fuzz_copy(data + at, size - at);
        const tfm_status st =
            tfm_record_parse(&rec, tail, size - at, true, &payload_at, &next, NULL);
        if (st == TFM_OK && next <= size - at && as_model == TFM_OK)
            as_model =
                tfm_index_check_record(index, &rec, at + payload_at, tail + payload_at, NULL);
        free(tail);
        if (st != TFM_OK || next > size - at) break;
        fuzz_must(payload_at <= next && next > 0, "a record has no length");
    }
    if (as_model == TFM_OK) as_model = tfm_index_check_end(index, NULL);
    tfm_index_check_free(index);
    free(p);
}

static void try_stream(const uint8_t *data, size_t size) {
    const int in = fuzz_memfd(data, size), out = fuzz_memfd(NULL, 0), again = fuzz_memfd(NULL, 0);
    if (copy_all(in, out) == TFM_DONE) {
        fuzz_must(lseek(out, 0, SEEK_SET) == 0, "lseek");
        fuzz_must(copy_all(out, again) == TFM_DONE, "the copy of a good stream does not read");
    }
    close(in);
    close(out);
    close(again);
    parse_pieces(data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_stream(data, size);
    uint8_t *p = fuzz_copy(data, size);
    fuzz_repair(p, size);
    try_stream(p, size);
    free(p);
    return 0;
}

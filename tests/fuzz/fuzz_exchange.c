/* fuzz_exchange.c - fuzz target: any bytes as a file to import (JSON lines, npy, npz, safetensors).
 *
 * What imports must be a stream that a writer takes and a reader reads; exported again as each of
 * the forms and imported, its records must come back. Each input is tried with and without a
 * kind. */
#include "fuzz_util.h"
#include "tfm/exchange.h"

/* in to a stream at out; TFM_DONE when all of it was good. */
static tfm_status import_to(int in, int out, const char *kind) {
    const tfm_import_options o = {.kind = kind, .round = true};
    tfm_importer *im = NULL;
    tfm_writer *w = NULL;
    const tfm_header *h;
    const void *payload;
    tfm_record rec;
    tfm_status st = tfm_import_new(&im, in, "input", &o, NULL);
    if (st == TFM_OK) st = tfm_writer_new(&w, out, "stream", NULL);
    while (st == TFM_OK && (st = tfm_import_stream(im, &h, NULL)) == TFM_OK) {
        st = tfm_writer_header(w, h, NULL);
        while (st == TFM_OK && (st = tfm_import_next(im, &rec, &payload, NULL)) == TFM_OK)
            st = tfm_writer_record(w, &rec, payload, NULL);
        if (st == TFM_DONE) st = tfm_writer_end(w, NULL);
    }
    tfm_import_free(im);
    tfm_writer_free(w);
    return st;
}

static tfm_status export_to(int in, int out, tfm_exchange format) {
    FILE *spool = tmpfile();
    fuzz_must(spool != NULL, "tmpfile");
    const tfm_export_options o = {.format = format, .spool = fileno(spool)};
    tfm_exporter *e = NULL;
    tfm_reader *r = NULL;
    const void *payload;
    tfm_record rec;
    tfm_status st = tfm_export_new(&e, out, "file", &o, NULL);
    if (st == TFM_OK) st = tfm_reader_new(&r, in, "stream", NULL);
    while (st == TFM_OK && (st = tfm_reader_stream(r, NULL)) == TFM_OK) {
        st = tfm_export_header(e, tfm_reader_header(r), NULL);
        while (st == TFM_OK && (st = tfm_reader_next(r, &rec, NULL)) == TFM_OK) {
            st = tfm_reader_payload(r, &payload, NULL);
            if (st == TFM_OK) st = tfm_export_record(e, &rec, payload, NULL);
        }
        if (st == TFM_DONE) st = tfm_export_end(e, NULL);
    }
    if (st == TFM_DONE) st = tfm_export_finish(e, NULL);
    tfm_export_free(e);
    tfm_reader_free(r);
    fclose(spool);
    return st;
}

static bool same_bytes(int a, int b) {
    static char x[4096], y[4096];
    fuzz_must(lseek(a, 0, SEEK_SET) == 0 && lseek(b, 0, SEEK_SET) == 0, "lseek");
    for (;;) {
        const ssize_t n = read(a, x, sizeof x), m = read(b, y, sizeof y);
        if (n != m || memcmp(x, y, (size_t)n) != 0) return false;
        if (n <= 0) return true;
    }
}

/* The stream at `stream`, there and back. */
static void round_trip(int stream, tfm_exchange format) {
    const int file = fuzz_memfd(NULL, 0), again = fuzz_memfd(NULL, 0);
    fuzz_must(lseek(stream, 0, SEEK_SET) == 0, "lseek");
    const tfm_status st = export_to(stream, file, format);
    fuzz_must(lseek(file, 0, SEEK_SET) == 0, "lseek");
    if (st == TFM_OK) {
        fuzz_must(import_to(file, again, NULL) == TFM_DONE, "what was exported does not import");
        fuzz_must(same_bytes(stream, again), "the stream that comes back is another one");
    }
    close(file);
    close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const kinds[] = {NULL, "tensor", "hidden"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const int in = fuzz_memfd(data, size), stream = fuzz_memfd(NULL, 0);
        if (import_to(in, stream, kinds[i]) == TFM_DONE) {
            round_trip(stream, TFM_EXCHANGE_JSONL);
            round_trip(stream, TFM_EXCHANGE_NPZ);
            round_trip(stream, TFM_EXCHANGE_SAFETENSORS);
        }
        close(in);
        close(stream);
    }
    return 0;
}

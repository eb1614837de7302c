/* fuzz_pytorch.c - fuzz target: any bytes as the pickle of a checkpoint, in an archive with one
 * storage of 256 bytes; bytes that start as an archive does are taken as the whole file. Beside it
 * lies a good config.json. */
#include "exchange/exchange_internal.h"
#include "fuzz_use.h"

static void put_archive(const uint8_t *pickle, size_t n) {
    static const uint8_t storage[256] = {1, 2, 3, 4, 5, 6, 7, 8};
    const char *path = fuzz_put("pytorch_model.bin", NULL, 0);
    tfm_zip_writer z = {.fd = fuzz_create(path), .name = "fuzz"};
    tfm_status st = tfm_zip_add(&z, "x/data.pkl", pickle, n, "", 0, NULL);
    if (st == TFM_OK) st = tfm_zip_add(&z, "x/data/0", storage, sizeof storage, "", 0, NULL);
    if (st == TFM_OK) st = tfm_zip_finish(&z, NULL);
    fuzz_must(st == TFM_OK, "an archive");
    tfm_buf_free(&z.directory);
    close(z.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *config;
    if (config == NULL) {
        config = fuzz_put_seed("config.json", "tests/fuzz/corpus/config_json/seed-llama.json");
    }
    if (size >= 2 && memcmp(data, "PK", 2) == 0) {
        fuzz_put("pytorch_model.bin", data, size);
    } else {
        put_archive(data, size);
    }
    fuzz_use_source(fuzz_dir(), NULL);
    return 0;
}

/* fuzz.h - a fuzz target is one file tests/fuzz/fuzz_X.c that includes this and defines the
 * function below (return 0, whatever the input was; no output, no state kept between calls). Its
 * corpus is tests/fuzz/corpus/X/. `make check` replays the corpus by replay.c, `make fuzz` runs
 * libFuzzer. */
#ifndef TFM_TESTS_FUZZ_H
#define TFM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

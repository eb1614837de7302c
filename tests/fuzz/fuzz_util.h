/* fuzz_util.h - what several fuzz targets share: input as files, and repaired checksums.
 *
 * Header only, because a target is one file linked with one main (replay.c or libFuzzer's).
 * Anything that goes wrong here is the harness's own failure and aborts. */
#ifndef TFM_TESTS_FUZZ_UTIL_H
#define TFM_TESTS_FUZZ_UTIL_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "fuzz.h"

static inline void fuzz_must(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "fuzz target: %s\n", what);
    abort();
}

/* A copy of exactly n bytes, so that a sanitizer sees the first byte read past them. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t n) {
    uint8_t *p = calloc(n > 0 ? n : 1, 1);
    fuzz_must(p != NULL, "out of memory");
    if (n > 0) memcpy(p, data, n);
    return p;
}

/* An anonymous file that holds the data, positioned at its start. */
static inline int fuzz_memfd(const uint8_t *data, size_t n) {
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    fuzz_must(fd >= 0, "memfd_create");
    fuzz_must(n == 0 || write(fd, data, n) == (ssize_t)n, "write");
    fuzz_must(lseek(fd, 0, SEEK_SET) == 0, "lseek");
    return fd;
}

/* ---- files in a folder of this process ---- */

static char fuzz_folder[64];
static unsigned fuzz_n_files;
static char fuzz_file[8][128];

static inline void fuzz_remove_files(void) {
    char arch[128];
    for (unsigned i = 0; i < fuzz_n_files; i++) unlink(fuzz_file[i]);
    snprintf(arch, sizeof arch, "%s/arch", fuzz_folder);
    rmdir(arch); /* there only if fuzz_arch_dir was called */
    rmdir(fuzz_folder);
}

static inline const char *fuzz_dir(void) {
    if (fuzz_folder[0] != '\0') return fuzz_folder;
    snprintf(fuzz_folder, sizeof fuzz_folder, "/dev/shm/fuzz-tfm-XXXXXX");
    if (mkdtemp(fuzz_folder) == NULL) { /* no shared memory folder here */
        snprintf(fuzz_folder, sizeof fuzz_folder, "/tmp/fuzz-tfm-XXXXXX");
        fuzz_must(mkdtemp(fuzz_folder) != NULL, "mkdtemp");
    }
    atexit(fuzz_remove_files);
    return fuzz_folder;
}

/* The folder with an empty folder arch/ in it: a share_dir. */
static inline const char *fuzz_arch_dir(void) {
    char arch[128];
    snprintf(arch, sizeof arch, "%s/arch", fuzz_dir());
    fuzz_must(mkdir(arch, 0700) == 0, "mkdir");
    return fuzz_folder;
}

/* (Over)writes the file `name` of the folder; returns its path, valid until the process ends. */
static inline const char *fuzz_put(const char *name, const uint8_t *data, size_t n) {
    char path[128];
    unsigned i = 0;
    snprintf(path, sizeof path, "%s/%s", fuzz_dir(), name);
    while (i < fuzz_n_files && strcmp(fuzz_file[i], path) != 0) i++;
    fuzz_must(i < 8, "too many files");
    memcpy(fuzz_file[i], path, sizeof path);
    if (i == fuzz_n_files) fuzz_n_files++;
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_must(fd >= 0, "open");
    fuzz_must(n == 0 || write(fd, data, n) == (ssize_t)n, "write");
    close(fd);
    return fuzz_file[i];
}

/* A file of the source tree (a seed that stays as it is); the present folder must be its top. */
static inline const char *fuzz_put_seed(const char *name, const char *seed) {
    static uint8_t bytes[1 << 18];
    FILE *f = fopen(seed, "rb");
    fuzz_must(f != NULL, "run it from the top of the source tree");
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fuzz_must(n < sizeof bytes, "the seed is too large");
    fclose(f);
    return fuzz_put(name, bytes, n);
}

/* ---- checksums of the stream format ----
 *
 * A mutated stream is nearly always refused at its first checksum. Repairing them lets the fuzzer
 * reach what an attacker, who can compute a CRC, reaches. */

static inline uint32_t fuzz_u32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void fuzz_put_crc(uint8_t *at, uint32_t crc) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(crc >> 8 * i);
}

/* The header's "end XXXXXXXX" line; returns the offset of the first record, 0 if there is none. */
static inline size_t fuzz_repair_header(uint8_t *p, size_t n) {
    for (size_t i = 0; i + 13 <= n; i++) {
        if (p[i] != '\n' || i + 14 > n || memcmp(p + i + 1, "end ", 4) != 0) continue;
        char hex[9];
        snprintf(hex, sizeof hex, "%08lx", crc32(0, p, (unsigned)(i + 1)));
        memcpy(p + i + 5, hex, 8);
        return (i + 14 + 63) / 64 * 64;
    }
    return 0;
}

static inline void fuzz_repair(uint8_t *p, size_t n) {
    size_t at = fuzz_repair_header(p, n);
    while (at > 0 && at + 64 <= n && memcmp(p + at, "\x89TFR", 4) == 0) {
        uint8_t *head = p + at;
        const size_t name = ((size_t)head[7] + 63) / 64 * 64;
        const uint64_t bytes = fuzz_u32(head + 24) | (uint64_t)fuzz_u32(head + 28) << 32;
        at += 64 + name;
        if (at > n) return;
        const uLong crc = crc32(crc32(0, head, 60), head + 64, (unsigned)name);
        fuzz_put_crc(head + 60, (uint32_t)crc);
        if (bytes > n || at + bytes + 4 > n) return;
        fuzz_put_crc(p + at + bytes, (uint32_t)crc32(0, p + at, (unsigned)bytes));
        at += (bytes + 4 + 63) / 64 * 64;
    }
}

#endif

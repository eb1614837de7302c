/* replay.c - the main() of a fuzz target that is built without a fuzzer.
 *
 *     fuzz_X [-n MUTATIONS] [-s SEED] FILE|FOLDER...
 *
 * Owns: running LLVMFuzzerTestOneInput over every file (a folder is read in name order), and over
 * MUTATIONS deterministic mutations of them (default 50, LONG=1: 10,000), each watched:
 * more than a second of processor time, or more than 64 MiB + 4 times the input of live memory, is
 * a failure (memory is what was asked of malloc, counted by heap.c, so that a sanitizer's own does
 * not count). The input that caused a crash or a failure is left in $REPLAY_SAVE (else
 * ./replay-failed). Prints the lines that tests/run.sh counts. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "heap.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SLOW 1
#endif
#endif
#ifndef IS_SLOW
#define IS_SLOW 0
#endif

enum { MAX_INPUTS = 100000, MAX_INPUT_BYTES = 8 << 20, MIB = 1 << 20 };

typedef struct input {
    char *path;
    uint8_t *data;
    size_t size;
} input;

static input *inputs;
static size_t n_inputs;
static const uint8_t *running; /* what a crash handler saves */
static size_t running_size;
static unsigned n_failed;

/* Both sanitizers of clang and gcc have it; without one it is not there. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void save_running(void) {
    const char *path = getenv("REPLAY_SAVE");
    int fd;
    if (running == NULL) return;
    if (path == NULL) path = "replay-failed";
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) return;
    if (write(fd, running, running_size) == (ssize_t)running_size)
        fprintf(stderr, "the input is in %s\n", path);
    close(fd);
}

static void on_signal(int sig) {
    save_running();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void *must(void *p) {
    if (p == NULL) {
        fprintf(stderr, "replay: out of memory\n");
        exit(5);
    }
    return p;
}

static void read_input(const char *path) {
    struct stat st;
    FILE *f = fopen(path, "rb");
    input *in;
    if (f == NULL || fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size > MAX_INPUT_BYTES || n_inputs == MAX_INPUTS) {
        printf("not ok - %s: cannot be read, or too large\n", path);
        n_failed++;
        if (f != NULL) fclose(f);
        return;
    }
    inputs = must(realloc(inputs, (n_inputs + 1) * sizeof *inputs));
    in = &inputs[n_inputs++];
    in->path = must(strdup(path));
    in->data = must(malloc((size_t)st.st_size + 1));
    in->size = fread(in->data, 1, (size_t)st.st_size, f);
    fclose(f);
}

static void read_path(const char *path) {
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        read_input(path);
        return;
    }
    for (int i = 0; i < n; i++) {
        char full[4096];
        struct stat st;
        if (entries[i]->d_name[0] != '.' &&
            snprintf(full, sizeof full, "%s/%s", path, entries[i]->d_name) < (int)sizeof full &&
            stat(full, &st) == 0)
            read_path(full);
        free(entries[i]);
    }
    free(entries);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* true if the input kept within the limits. */
static bool run_one(const uint8_t *data, size_t size, const char *what) {
    double start = cpu_seconds(), took;
    bool good = true;
    const size_t before = heap_live();
    heap_mark();
    running = data;
    running_size = size;
    LLVMFuzzerTestOneInput(data, size);
    took = cpu_seconds() - start;
    /* Sanitizers cost a factor of two to five: the limit of a second is for the plain build. */
    if (took > (IS_SLOW ? 5.0 : 1.0)) {
        printf("%s: took %.1f s\n", what, took);
        good = false;
    }
    if (heap_peak() > before + 64u * MIB + 4 * size) {
        printf("%s: used %zu bytes for an input of %zu\n", what, heap_peak() - before, size);
        good = false;
    }
    if (!good) save_running();
    running = NULL;
    return good;
}

static uint64_t random_state;
static uint64_t random_u64(void) /* splitmix64 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n) {
    return (size_t)(random_u64() % n);
}

/* Values that lengths and counts go wrong at. */
static const uint64_t edges[] = {0,
                                 1,
                                 0x7f,
                                 0x80,
                                 0xff,
                                 0x7fff,
                                 0xffff,
                                 0x7fffffff,
                                 0x80000000,
                                 0xffffffff,
                                 0x100000000,
                                 0x7fffffffffffffff,
                                 0x8000000000000000,
                                 0xffffffffffffffff};

/* Mutates data[0..*size) in place a few times; room for cap bytes. Half of the places are in the
 * first 4 KiB, where the lengths are. */
static void mutate(uint8_t *data, size_t *size, size_t cap, const input *other) {
    size_t n_changes = 1 + below(4);
    while (n_changes-- > 0) {
        size_t reach = *size > 4096 && below(2) == 0 ? 4096 : *size;
        size_t at = reach ? below(reach) : 0, n;
        uint64_t value;
        if (*size == 0) return;
        switch (below(8)) {
        case 0: data[at] = (uint8_t)(data[at] ^ (1u << below(8))); break;
        case 1: data[at] = (uint8_t)random_u64(); break;
        case 2: /* a little-endian number at any alignment */
        case 3:
            value = edges[below(sizeof edges / sizeof *edges)];
            n = (size_t)1 << below(4);
            if (n > *size - at) n = *size - at;
            memcpy(data + at, &value, n);
            break;
        case 4: *size = at; break; /* cut */
        case 5:                    /* take out a piece */
            n = 1 + below(*size - at < 64 ? *size - at : 64);
            memmove(data + at, data + at + n, *size - at - n);
            *size -= n;
            break;
        case 6: /* repeat a piece */
            n = 1 + below(*size - at < 64 ? *size - at : 64);
            if (*size + n > cap) break;
            memmove(data + at + n, data + at, *size - at);
            *size += n;
            break;
        default: /* a piece of another input */
            if (other->size == 0) break;
            n = 1 + below(other->size < 64 ? other->size : 64);
            if (n > *size - at) n = *size - at;
            memcpy(data + at, other->data + below(other->size - (n < other->size ? n : 0)),
                   n < other->size ? n : 1);
            break;
        }
    }
}

static void run_mutations(unsigned long n, uint64_t seed) {
    unsigned bad = 0;
    for (unsigned long i = 0; i < n && n_inputs > 0; i++) {
        char what[128];
        const input *in;
        uint8_t *data;
        size_t size, cap;
        random_state = seed + i * 1000003u; /* every mutation can be made again on its own */
        in = &inputs[below(n_inputs)];
        size = in->size;
        cap = size + 256;
        data = must(malloc(cap));
        memcpy(data, in->data, size);
        mutate(data, &size, cap, &inputs[below(n_inputs)]);
        snprintf(what, sizeof what, "mutation %lu of seed %llu", i, (unsigned long long)seed);
        if (!run_one(data, size, what)) bad++;
        free(data);
    }
    n_failed += bad;
    printf("%s - %lu mutations of %zu inputs\n", bad ? "not ok" : "ok", n, n_inputs);
}

int main(int argc, char **argv) {
    unsigned long n_mutations = getenv("LONG") ? 10000 : 50;
    unsigned long long seed = 1;
    int opt;

    while ((opt = getopt(argc, argv, "n:s:")) != -1) switch (opt) {
        case 'n': n_mutations = strtoul(optarg, NULL, 10); break;
        case 's': seed = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    if (!heap_start()) printf("# memory cannot be counted here\n");
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(save_running);
    } else {
        signal(SIGSEGV, on_signal);
        signal(SIGBUS, on_signal);
        signal(SIGFPE, on_signal);
    }
    signal(SIGABRT, on_signal);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (; optind < argc; optind++) read_path(argv[optind]);
    if (n_inputs == 0) {
        printf("not ok - no inputs\n");
        return 1;
    }
    for (size_t i = 0; i < n_inputs; i++)
        if (!run_one(inputs[i].data, inputs[i].size, inputs[i].path)) n_failed++;
    printf("%s - %zu inputs of the corpus\n", n_failed ? "not ok" : "ok", n_inputs);
    if (n_mutations > 0) run_mutations(n_mutations, seed);
    for (size_t i = 0; i < n_inputs; i++) {
        free(inputs[i].path);
        free(inputs[i].data);
    }
    free(inputs);
    return n_failed ? 1 : 0;
}

/* limits.c - the machine's limits: how fast all threads together read memory and compute.
 *
 * Owns the buffer, a thread pool of its own and the clock; the loops are the backend's. Each figure
 * is the best of a few runs of some ten milliseconds, since what disturbs a run only ever slows it:
 * a limit is what the machine can do, not what it does on average. */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "backend/backend_internal.h"
#include "backend/cpu/limits_internal.h"
#include "base/threads_internal.h"
#include "tfm/bench.h"

#define MIN_BUFFER ((uint64_t)256 << 20)
#define MAX_BUFFER ((uint64_t)512 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

enum {
    RUNS = 5,
    PIECES = 64,              /* of the buffer; of a computation, a thread's share is in 8 pieces */
    PIECES_OF_THREAD = 8,     /* so that a thread that comes late costs an eighth at most */
    RUN_NS = 10 * 1000 * 1000 /* aimed at, of one run */
};

struct tfm_limits {
    const tfm_cpu_limits *loops;
    tfm_pool *pool;
    void *map;
    size_t map_bytes;
    unsigned char *buffer; /* in map, aligned to HUGE_PAGE */
    size_t piece_bytes;
};

typedef struct limit_job {
    const tfm_limits *l;
    const tfm_cpu_limit *limit;
    uint64_t rounds; /* of one piece */
} limit_job;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_piece(void *arg, size_t piece, unsigned worker) {
    const limit_job *j = arg;
    unsigned char sink[TFM_LIMIT_SINK];
    (void)worker;
    j->l->loops->read(j->l->buffer + piece * j->l->piece_bytes, j->l->piece_bytes, sink);
    __asm__ volatile("" : : "r"(sink) : "memory"); /* the sum is looked at */
}

static void compute_piece(void *arg, size_t piece, unsigned worker) {
    const limit_job *j = arg;
    unsigned char sink[TFM_LIMIT_SINK];
    (void)piece;
    (void)worker;
    j->limit->run(j->rounds, sink);
    __asm__ volatile("" : : "r"(sink) : "memory");
}

static double read_limit(const tfm_limits *l) {
    limit_job job = {.l = l};
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        const double from = now_s();
        tfm_pool_run(l->pool, PIECES, read_piece, &job);
        const double took = now_s() - from;
        const double speed = 1e-9 * (double)PIECES * (double)l->piece_bytes / took;
        if (speed > best) best = speed;
    }
    return best;
}

static double compute_limit(const tfm_limits *l, const tfm_cpu_limit *limit) {
    const size_t pieces = (size_t)tfm_pool_threads(l->pool) * PIECES_OF_THREAD;
    limit_job job = {.l = l, .limit = limit, .rounds = 1000};
    double best = 0;
    for (int i = 0; i < RUNS + 1; i++) { /* the first one finds out how many rounds */
        const double from = now_s();
        tfm_pool_run(l->pool, pieces, compute_piece, &job);
        const double took = now_s() - from;
        if (i == 0) {
            const double more = 1e-9 * RUN_NS / took;
            job.rounds = more > 1 ? (uint64_t)((double)job.rounds * more) : job.rounds;
            continue;
        }
        const double n = (double)job.rounds * (double)pieces * limit->operations;
        if (1e-9 * n / took > best) best = 1e-9 * n / took;
    }
    return best;
}

/* Four times the last cache that the system knows of. */
static uint64_t default_bytes(void) {
    uint64_t bytes = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (cache > 0) bytes = 4 * (uint64_t)cache;
#endif
    return bytes < MIN_BUFFER ? MIN_BUFFER : bytes > MAX_BUFFER ? MAX_BUFFER : bytes;
}

/* Mapped, not allocated: huge pages must be asked for before a page is touched, and with small ones
 * much less is read. Where there are none, small pages are this machine's limit. */
static tfm_status map_buffer(tfm_limits *l, uint64_t bytes, tfm_error *err) {
    if (bytes > SIZE_MAX / 2) return tfm_fail(err, TFM_LIMIT, "a buffer is too large to be read");
    l->piece_bytes = (size_t)(bytes / PIECES + 1023) / 1024 * 1024;
    const size_t used = PIECES * l->piece_bytes;
    void *map =
        mmap(NULL, used + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return tfm_fail(err, TFM_NOMEM, "no memory for a buffer of %zu bytes", used);
    l->map = map;
    l->map_bytes = used + HUGE_PAGE;
    l->buffer = (unsigned char *)map + (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
#ifdef MADV_HUGEPAGE
    const int refused = madvise(l->buffer, used, MADV_HUGEPAGE);
    (void)refused;
#endif
    memset(l->buffer, 1, used);
    return TFM_OK;
}

static tfm_status make(tfm_limits *l, const char *device, unsigned threads, uint64_t bytes,
                       tfm_error *err) {
    tfm_backend *be;

    /* The backend says what the device is called, and refuses what there is not. */
    TFM_TRY(tfm_backend_new(&be, device, 1, err));
    l->loops = tfm_cpu_limits_find(be->instruction_set);
    tfm_backend_free(be);
    TFM_TRY(tfm_pool_new(&l->pool, threads > 0 ? threads : tfm_threads_default(), err));
    return map_buffer(l, bytes > 0 ? bytes : default_bytes(), err);
}

tfm_status tfm_limits_new(tfm_limits **out, const char *device, unsigned threads,
                          uint64_t buffer_bytes, tfm_error *err) {
    tfm_limits *l = NULL;

    *out = NULL;
    TFM_TRY(tfm_alloc((void **)&l, 1, sizeof *l, err));
    tfm_status st = make(l, device, threads, buffer_bytes, err);
    if (st != TFM_OK) {
        tfm_limits_free(l);
        return st;
    }
    *out = l;
    return TFM_OK;
}

const char *tfm_limits_instruction_set(const tfm_limits *l) {
    return l->loops->instruction_set;
}

uint64_t tfm_limits_buffer_bytes(const tfm_limits *l) {
    return (uint64_t)PIECES * l->piece_bytes;
}

tfm_status tfm_limits_measure(tfm_limits *l, tfm_limit_figures *out, tfm_error *err) {
    const tfm_cpu_limits *loops = l->loops;
    (void)err;
    out->read = read_limit(l);
    out->f32 = compute_limit(l, &loops->f32);
    out->bf16 = loops->bf16.run ? compute_limit(l, &loops->bf16) : out->f32;
    out->int8 = loops->int8.run ? compute_limit(l, &loops->int8) : out->f32;
    return TFM_OK;
}

void tfm_limits_free(tfm_limits *l) {
    if (!l) return;
    tfm_pool_free(l->pool);
    if (l->map) munmap(l->map, l->map_bytes);
    tfm_free(l);
}

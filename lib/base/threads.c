/* threads.c - the thread pool, and how many threads this process may use.
 *
 *     caller            tickets (generation, next chunk)           workers 1..n-1
 *     publish job  -->  [ g+1 | 0 ]  <-- claim by compare-and-swap --  run chunk, count it done
 *                       [ g+1 | n/2 ]
 *     claim too, then wait until done == n_chunks
 *
 * Every thread has a range of consecutive chunks with a ticket of its own, and when that is used up
 * takes from the others': chunks that a thread runs one after another are neighbours in memory,
 * which is what streams of weights are read fastest by.
 *
 * A 64-bit ticket holds the generation and the next chunk, so a claim and "is this still the job
 * whose fields I read?" are the same atomic step: a worker that wakes late cannot take a chunk of a
 * newer job with the older job's arguments, and the caller need not wait for workers that never
 * woke. While the fields change all tickets are closed (next = CLOSED); the first is opened last,
 * so its generation tells that there is work.
 *
 * Waiting: spin for SPIN_NS, then sleep on a condition. A sleeper first announces itself, then
 * looks again; a waker first publishes, then looks for sleepers; both sequentially consistent. */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/threads_internal.h"

enum { SPIN_NS = 20 * 1000, MAX_THREADS = 1024 };
static const uint32_t CLOSED = UINT32_MAX;

/* Alone in its cache line. */
typedef struct ticket {
    _Alignas(64) _Atomic uint64_t at;
} ticket;

struct tfm_pool {
    ticket *tickets; /* [n_threads] */
    _Atomic(tfm_pool_job) job;
    _Atomic(void *) arg;
    _Atomic uint32_t n_chunks;
    _Atomic uint32_t done;
    _Atomic unsigned n_sleeping;
    atomic_bool caller_sleeps, stop;
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    unsigned n_threads, n_started;
    struct worker {
        tfm_pool *pool;
        unsigned index;
        pthread_t thread;
    } * workers; /* [n_threads - 1] */
};

static uint32_t ticket_gen(uint64_t t) {
    return (uint32_t)(t >> 32);
}

static uint32_t ticket_next(uint64_t t) {
    return (uint32_t)t;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t range_start(uint32_t n_chunks, unsigned range, unsigned n_ranges) {
    return (uint32_t)((uint64_t)n_chunks * range / n_ranges);
}

/* Chunks that a claim takes when `left` are left in a range: half of them, because every claim
 * waits for what the processor has asked of memory, and the last ones singly, so that all end
 * together. */
static uint32_t claim_size(uint32_t left) {
    return left < 2 ? 1 : left / 2;
}

/* Claims and runs chunks of one range until none is left. */
static void work_on_range(tfm_pool *p, unsigned range, unsigned worker) {
    _Atomic uint64_t *at = &p->tickets[range].at;
    for (;;) {
        uint64_t t = atomic_load(at);
        tfm_pool_job job = atomic_load(&p->job);
        void *arg = atomic_load(&p->arg);
        uint32_t n = atomic_load(&p->n_chunks);
        const uint32_t end = range_start(n, range + 1, p->n_threads);
        if (ticket_next(t) == CLOSED || ticket_next(t) >= end) {
            /* n may belong to the next job already; only an unchanged ticket makes it ours. */
            if (atomic_load(at) == t) return;
            continue;
        }
        const uint32_t first = ticket_next(t), size = claim_size(end - first);
        if (!atomic_compare_exchange_weak(at, &t, t + size)) continue;
        for (uint32_t i = 0; i < size; i++) job(arg, first + i, worker);
        if (atomic_fetch_add(&p->done, size) + size == n && atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->finished);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

/* The worker's own range, then the others'; returns the generation that it saw exhausted. */
static uint32_t work_on(tfm_pool *p, unsigned worker) {
    const uint32_t gen = ticket_gen(atomic_load(&p->tickets[0].at));
    for (unsigned i = 0; i < p->n_threads; i++) {
        work_on_range(p, (worker + i) % p->n_threads, worker);
    }
    return gen;
}

static bool has_news(tfm_pool *p, uint32_t seen) {
    return ticket_gen(atomic_load(&p->tickets[0].at)) != seen || atomic_load(&p->stop);
}

static void wait_for_work(tfm_pool *p, uint32_t seen) {
    uint64_t until = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 64; i++) {
            if (has_news(p, seen)) return;
            relax();
        }
    } while (now_ns() < until);
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_sleeping, 1);
    while (!has_news(p, seen)) pthread_cond_wait(&p->work, &p->lock);
    atomic_fetch_sub(&p->n_sleeping, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    uint32_t seen = 0;
    /* Results must not depend on who created the pool: default rounding, denormals kept. */
    fesetenv(FE_DFL_ENV);
    for (;;) {
        wait_for_work(w->pool, seen);
        if (atomic_load(&w->pool->stop)) return NULL;
        seen = work_on(w->pool, w->index);
    }
}

/* Starts the workers with every signal blocked, so that handlers run in the program's own
 * thread. */
static tfm_status start_workers(tfm_pool *p, tfm_error *err) {
    sigset_t all, old;
    int failed = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i + 1 < p->n_threads && !failed; i++) {
        p->workers[i].pool = p;
        p->workers[i].index = i + 1;
        failed = pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
        if (!failed) p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!failed) return TFM_OK;
    return tfm_fail(err, TFM_NOMEM, "cannot start thread %u of %u: %s", p->n_started + 2,
                    p->n_threads, strerror(failed));
}

tfm_status tfm_pool_new(tfm_pool **out, unsigned n_threads, tfm_error *err) {
    void *mem;
    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS)
        return tfm_fail(err, TFM_USAGE, "%u threads: must be 1 to %d", n_threads, MAX_THREADS);
    TFM_TRY(tfm_alloc(&mem, 1, sizeof(tfm_pool), err));
    tfm_pool *p = mem;
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->finished, NULL);
    tfm_status st = tfm_alloc_aligned(&mem, 64, n_threads, sizeof *p->tickets, err);
    if (st == TFM_OK) {
        p->tickets = mem;
        st = tfm_alloc(&mem, n_threads - 1, sizeof *p->workers, err);
    }
    if (st == TFM_OK) {
        p->workers = mem;
        st = start_workers(p, err);
    }
    if (st != TFM_OK) {
        tfm_pool_free(p);
        return st;
    }
    *out = p;
    return TFM_OK;
}

unsigned tfm_pool_threads(const tfm_pool *p) {
    return p->n_threads;
}

static void wait_until_done(tfm_pool *p, uint32_t n) {
    uint64_t until = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load(&p->done) == n) return;
            relax();
        }
    } while (now_ns() < until);
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->done) != n) pthread_cond_wait(&p->finished, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

void tfm_pool_run(tfm_pool *p, size_t n_chunks, tfm_pool_job job, void *arg) {
    /* Nothing to share, or more chunks than a ticket can count: no threads, same results. */
    if (p->n_threads == 1 || n_chunks <= 1 || n_chunks >= CLOSED) {
        for (size_t i = 0; i < n_chunks; i++) job(arg, i, 0);
        return;
    }
    /* Released in order, so that whoever sees a field finds the tickets closed; but for the last
     * store, which must be seen before n_sleeping is read, none waits for the one before it. */
    uint32_t n = (uint32_t)n_chunks;
    uint32_t gen = ticket_gen(atomic_load(&p->tickets[0].at));
    for (unsigned i = 0; i < p->n_threads; i++) {
        atomic_store_explicit(&p->tickets[i].at, (uint64_t)gen << 32 | CLOSED,
                              memory_order_release);
    }
    atomic_store_explicit(&p->job, job, memory_order_release);
    atomic_store_explicit(&p->arg, arg, memory_order_release);
    atomic_store_explicit(&p->n_chunks, n, memory_order_release);
    atomic_store_explicit(&p->done, 0, memory_order_release);
    for (unsigned i = p->n_threads; i-- > 1;) {
        const uint32_t start = range_start(n, i, p->n_threads);
        atomic_store_explicit(&p->tickets[i].at, (uint64_t)(gen + 1) << 32 | start,
                              memory_order_release);
    }
    atomic_store(&p->tickets[0].at, (uint64_t)(gen + 1) << 32);
    if (atomic_load(&p->n_sleeping) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
    }
    (void)work_on(p, 0);
    wait_until_done(p, n);
}

void tfm_pool_free(tfm_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->finished);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    tfm_free(p->workers);
    tfm_free(p->tickets);
    tfm_free(p);
}

/* ---- how many threads ---- */

/* Processors that the affinity mask allows. */
static unsigned affinity_count(void) {
    for (size_t n_cpus = 1024; n_cpus <= 64 * 1024;
         n_cpus *= 4) { /* the kernel may know more bits */
        cpu_set_t *set = CPU_ALLOC(n_cpus);
        if (!set) return 1;
        size_t size = CPU_ALLOC_SIZE(n_cpus);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) return (unsigned)count;
    }
    return 1;
}

/* Reads the numbers at the start of a small file; how many there were. "max" counts as none. */
static int read_numbers(const char *dir, const char *file, long long *a, long long *b) {
    char path[512];
    if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path) return 0;
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    int n = fscanf(f, "%lld %lld", a, b);
    fclose(f);
    return n;
}

/* Lowers *limit to the quota of the control group at `dir` (version 2 or 1). */
static void apply_quota(const char *dir, unsigned *limit) {
    long long quota = 0, period = 0, unused;
    if (read_numbers(dir, "cpu.max", &quota, &period) < 2 &&
        (read_numbers(dir, "cpu.cfs_quota_us", &quota, &unused) < 1 ||
         read_numbers(dir, "cpu.cfs_period_us", &period, &unused) < 1))
        return;
    if (quota <= 0 || period <= 0) return;
    long long cpus = (quota - 1) / period + 1;
    if (cpus < (long long)*limit) *limit = (unsigned)cpus;
}

/* Applies the quotas of `root` + `path` and of every group above it. `path` is eaten. */
static void apply_quotas(const char *root, char *path, unsigned *limit) {
    char dir[480];
    for (;;) {
        if (snprintf(dir, sizeof dir, "%s%s", root, path) < (int)sizeof dir)
            apply_quota(dir, limit);
        char *slash = strrchr(path, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

unsigned tfm_threads_default(void) {
    unsigned limit = affinity_count();
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return limit;
    while (fgets(line, sizeof line, f)) { /* "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1) */
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        if (names[1] == '\0')
            apply_quotas("/sys/fs/cgroup", path, &limit);
        else if (strncmp(names + 1, "cpu", 3) == 0 && (names[4] == '\0' || names[4] == ','))
            apply_quotas("/sys/fs/cgroup/cpu", path, &limit);
    }
    fclose(f);
    return limit > 0 ? limit : 1;
}

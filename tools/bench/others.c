/* others.c - processes beside this one: the prober of the limits, and starts of the program itself.
 *
 *     tfm-bench --(fork, before any thread)--> prober: waits for a byte, measures, writes figures
 *               --(spawn)--> tfm-bench --once: its life is the start-up time
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

/* What the prober says: first once, when it is ready, then after every question. */
typedef struct answer {
    tfm_status status;
    tfm_limit_figures figures;
    char set[16];
    tfm_error err;
} answer;

struct bench_prober {
    pid_t pid;
    int fd;
    char set[16];
};

static bool read_whole(int fd, void *p, size_t n) {
    char *at = p;
    while (n > 0) {
        const ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

static bool send_whole(int fd, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        const ssize_t put = send(fd, at, n, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        at += put;
        n -= (size_t)put;
    }
    return true;
}

/* The child: lives until its end of the socket is closed. */
static void serve(int fd, const char *device, unsigned threads) {
    tfm_limits *l = NULL;
    answer a = {.status = TFM_OK};
    char question;

    a.status = tfm_limits_new(&l, device, threads, 0, &a.err);
    if (a.status == TFM_OK) snprintf(a.set, sizeof a.set, "%s", tfm_limits_instruction_set(l));
    while (send_whole(fd, &a, sizeof a) && a.status == TFM_OK && read_whole(fd, &question, 1)) {
        a.status = tfm_limits_measure(l, &a.figures, &a.err);
    }
    tfm_limits_free(l);
}

static tfm_status take(struct bench_prober *p, answer *a, tfm_error *err) {
    if (!read_whole(p->fd, a, sizeof *a))
        return tfm_fail(err, TFM_DEVICE, "the process that measures the limits has ended");
    if (a->status != TFM_OK) *err = a->err;
    return a->status;
}

tfm_status bench_prober_start(struct bench_prober **out, const char *device, unsigned threads,
                              tfm_error *err) {
    int fds[2];
    answer a;

    *out = NULL;
    struct bench_prober *p = calloc(1, sizeof *p);
    if (!p) return tfm_fail(err, TFM_NOMEM, "no memory");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        free(p);
        return tfm_fail_errno(err, TFM_IO, "socketpair");
    }
    p->pid = fork();
    if (p->pid == 0) {
        close(fds[0]);
        /* A signal ends it and touches no file of the parent's. */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        signal(SIGQUIT, SIG_DFL);
        serve(fds[1], device, threads);
        _exit(0);
    }
    close(fds[1]);
    p->fd = fds[0];
    *out = p;
    if (p->pid < 0) {
        *out = NULL;
        close(fds[0]);
        free(p);
        return tfm_fail_errno(err, TFM_IO, "fork");
    }
    TFM_TRY(take(p, &a, err));
    memcpy(p->set, a.set, sizeof p->set);
    return TFM_OK;
}

const char *bench_prober_set(const struct bench_prober *p) {
    return p->set;
}

tfm_status bench_prober_ask(struct bench_prober *p, tfm_limit_figures *out, tfm_error *err) {
    const char question = '?';
    answer a;

    if (!send_whole(p->fd, &question, 1))
        return tfm_fail(err, TFM_DEVICE, "the process that measures the limits has ended");
    TFM_TRY(take(p, &a, err));
    *out = a.figures;
    return TFM_OK;
}

void bench_prober_stop(struct bench_prober *p) {
    if (!p) return;
    close(p->fd);
    while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    free(p);
}

tfm_status bench_start_up(const tfm_cli *c, tfm_dtype kv_type, double *seconds, tfm_error *err) {
    char threads[16];
    char *argv[12] = {(char *)c->program->name, "--once", "-m", (char *)c->model, "-d",
                      (char *)c->device,        NULL};
    size_t n = 6;
    struct timespec from, to;
    int status = 0;
    pid_t pid;

    snprintf(threads, sizeof threads, "%u", c->threads);
    if (c->threads != 0) {
        argv[n++] = "-t";
        argv[n++] = threads;
    }
    if (c->verbose) argv[n++] = "-v";
    if (kv_type != TFM_DTYPE_NONE) {
        argv[n++] = "--kv";
        argv[n] = (char *)(uintptr_t)tfm_dtype_name(kv_type);
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    const int failed = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
    if (failed) {
        errno = failed;
        return tfm_fail_errno(err, TFM_IO, "cannot start tfm-bench --once");
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return tfm_fail_errno(err, TFM_IO, "tfm-bench --once");
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return tfm_fail(err, TFM_DEVICE, "tfm-bench --once has failed");
    *seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    return TFM_OK;
}

uint64_t bench_peak_bytes(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss * 1024 : 0;
}

void bench_processor(char *out, size_t n) {
    static const char key[] = "model name";
    char line[256];

    snprintf(out, n, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, sizeof key - 1) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, n, "%s", colon + strspn(colon, ": \t"));
        break;
    }
    fclose(f);
}

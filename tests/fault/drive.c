/* drive.c - runs one program again and again, failing another call each time, and judges.
 *
 *     drive -l faultlib.so -o m.tfms -- tfm-convert in.gguf -o m.tfms
 *     drive -l faultlib.so -i prompt -n 'tfm-detok -m m.tfms' -s 12 -- tfm-tokenize -m m.tfms
 *
 *   -l FILE   the preload library (faultlib.c)
 *   -i FILE   stdin (default /dev/null)
 *   -o FILE   the program's output file: whole or untouched after every run
 *   -n CMD    the next stage: if the program failed it is given what was written, and must fail too
 *   -k KIND   one kind of call only (default: all five)
 *   -s N      try about N calls of each kind, spread over all (default: every one)
 *   -a        after the Nth call all later ones of its kind fail too
 *
 * A run with a fault must end with status 0 and exactly the output of a run without one, or with
 * status 3 or 5, one line on stderr that begins with "tfm-", and no file left that was not there.
 * The next stage must then end with 3 and one line. Works in the present folder, which should hold
 * nothing that others write to. Prints "ok - ..." or "not ok - ..." for each kind; exits 0 or 1. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUN_SECONDS = 60, MAX_COMPLAINTS = 12, REPORT_FD = 9 };

typedef struct options {
    const char *library, *input, *output, *next, *kind;
    unsigned long samples;
    bool all_later;
    char **program;
} options;

/* What is in a file or memfd. */
typedef struct bytes {
    char *data;
    size_t n;
} bytes;

typedef struct outcome {
    int status; /* exit status, or 1000 + signal */
    bytes out, err, file;
    uint64_t calls, struck;
} outcome;

static const char old_content[] = "what was there before\n";

static void die(const char *what) {
    fprintf(stderr, "drive: %s: %s\n", what, strerror(errno));
    exit(2);
}

static bytes slurp(int fd) {
    struct stat st;
    bytes b = {NULL, 0};
    if (fstat(fd, &st) != 0) die("fstat");
    b.data = malloc((size_t)st.st_size + 1);
    if (b.data == NULL) die("malloc");
    while (b.n < (size_t)st.st_size) {
        const ssize_t got = pread(fd, b.data + b.n, (size_t)st.st_size - b.n, (off_t)b.n);
        if (got <= 0) break;
        b.n += (size_t)got;
    }
    b.data[b.n] = '\0';
    return b;
}

static bytes slurp_path(const char *path) {
    const int fd = open(path, O_RDONLY);
    if (fd < 0) return (bytes){NULL, 0};
    const bytes b = slurp(fd);
    close(fd);
    return b;
}

static bool same(bytes a, bytes b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

static void outcome_free(outcome *o) {
    free(o->out.data);
    free(o->err.data);
    free(o->file.data);
}

static int new_memfd(void) {
    const int fd = memfd_create("drive", MFD_CLOEXEC);
    if (fd < 0) die("memfd_create");
    return fd;
}

/* Waits; a run over the time limit is killed and counts as SIGKILL. */
static int wait_status(pid_t pid) {
    int status = 0;
    for (unsigned ms = 0; waitpid(pid, &status, WNOHANG) == 0; ms++) {
        if (ms > RUN_SECONDS * 1000u) kill(pid, SIGKILL);
        usleep(1000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void write_old(const char *path) {
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(old_content, f) < 0 || fclose(f) != 0) die(path);
}

/* Environment of the faulty run; in the child. */
static void set_fault(const options *o, const char *kind, uint64_t n, int report_fd) {
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)n);
    dup2(report_fd, REPORT_FD);
    setenv("TFM_FAULT_KIND", kind, 1);
    setenv("TFM_FAULT_N", number, 1);
    snprintf(number, sizeof number, "%d", REPORT_FD);
    setenv("TFM_FAULT_FD", number, 1);
    if (o->all_later) setenv("TFM_FAULT_ALL", "1", 1);
    setenv("LD_PRELOAD", o->library, 1);
}

/* Runs argv with the Nth call of `kind` failing (kind NULL: as it is). */
static outcome run(const options *o, char **argv, int in, const char *kind, uint64_t n) {
    outcome r = {0};
    const int out = new_memfd(), err = new_memfd(), report = new_memfd();
    if (ftruncate(report, 16) != 0) die("ftruncate");
    if (o->output != NULL && kind != NULL) write_old(o->output);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
        if (lseek(in, 0, SEEK_SET) < 0 && errno != ESPIPE) _exit(126);
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        if (kind != NULL) set_fault(o, kind, n, report);
        execvp(argv[0], argv);
        _exit(127);
    }
    r.status = wait_status(pid);
    r.out = slurp(out);
    r.err = slurp(err);
    if (o->output != NULL) r.file = slurp_path(o->output);
    uint64_t counts[2] = {0};
    if (pread(report, counts, sizeof counts, 0) != sizeof counts) die("report");
    r.calls = counts[0];
    r.struck = counts[1];
    close(out);
    close(err);
    close(report);
    return r;
}

/* ---- judging ---- */

static bool one_line(bytes err) {
    return err.n > 4 && memcmp(err.data, "tfm-", 4) == 0 &&
           memchr(err.data, '\n', err.n) == err.data + err.n - 1;
}

/* Entries of the present folder: a leftover temporary changes the number. */
static unsigned count_files(void) {
    unsigned n = 0;
    DIR *d = opendir(".");
    if (d == NULL) die(".");
    while (readdir(d) != NULL) n++;
    closedir(d);
    return n;
}

/* NULL if the next stage fails as it should on what the program left. */
static const char *judge_next(const options *o, const outcome *good, const outcome *r) {
    char *argv[] = {"sh", "-c", (char *)o->next, NULL};
    options plain = *o;
    const char *fault = NULL;
    const int in = new_memfd();
    plain.output = NULL;
    if (write(in, r->out.data, r->out.n) != (ssize_t)r->out.n) die("write");
    outcome next = run(&plain, argv, in, NULL, 0);
    const bool is_complete = same(r->out, good->out);
    if (next.status == 0 && !is_complete) fault = "the next stage took it for a whole stream";
    if (next.status != 0 && next.status != 3) fault = "the next stage did not exit 0 or 3";
    if (next.status == 3 && !one_line(next.err)) fault = "the next stage: not exactly one line";
    if (fault != NULL) {
        printf("# next stage: status %d, stderr: %.300s\n", next.status, next.err.data);
    }
    outcome_free(&next);
    close(in);
    return fault;
}

static const char *judge(const options *o, const outcome *good, const outcome *r,
                         unsigned files_before) {
    const bytes old = {(char *)old_content, sizeof old_content - 1};
    if (r->status >= 1000) return "killed by a signal (or by the time limit)";
    if (count_files() != files_before) return "a file was left";
    if (r->status == 0) {
        if (!same(r->out, good->out)) return "exit 0 but the output differs";
        if (o->output != NULL && !same(r->file, good->file)) return "exit 0 but -o differs";
        return NULL;
    }
    if (r->status != 3 && r->status != 5) return "exit status is not 0, 3 or 5";
    if (!one_line(r->err)) return "stderr is not exactly one line of the program";
    if (o->output != NULL && !same(r->file, old)) return "-o was touched";
    return o->next != NULL ? judge_next(o, good, r) : NULL;
}

/* The next N to try: every one, or about `samples` spread over `calls`, the first and last three
 * always. */
static uint64_t next_n(const options *o, uint64_t n, uint64_t calls) {
    if (o->samples == 0 || n < 3 || n + 3 >= calls) return n + 1;
    const uint64_t step = calls / o->samples + 1;
    return n + step + 3 > calls ? calls - 2 : n + step;
}

/* Fails call after call of one kind; the number of complaints. */
static unsigned drive_kind(const options *o, int in, const char *kind) {
    outcome good = run(o, o->program, in, kind, 0);
    unsigned complaints = 0, tried = 0, struck = 0;
    const unsigned files = count_files();
    if (good.status != 0) {
        printf("# without a fault: status %d, stderr: %.300s\n", good.status, good.err.data);
        complaints++;
    }
    for (uint64_t n = 1; complaints < MAX_COMPLAINTS; n = next_n(o, n, good.calls)) {
        outcome r = run(o, o->program, in, kind, n);
        const bool was_struck = r.struck != 0;
        const char *fault = judge(o, &good, &r, files);
        tried++;
        struck += was_struck ? 1u : 0u;
        if (fault != NULL) {
            complaints++;
            printf("# %s call %llu of %llu: %s; status %d, stderr: %.300s\n", kind,
                   (unsigned long long)n, (unsigned long long)good.calls, fault, r.status,
                   r.err.data);
        }
        outcome_free(&r);
        if (!was_struck) break; /* N is past the last call: the program succeeded */
    }
    printf("%s - %s, %s: %llu calls, %u made to fail\n", complaints != 0 ? "not ok" : "ok",
           o->program[0], kind, (unsigned long long)good.calls, struck);
    fflush(stdout);
    outcome_free(&good);
    return complaints;
}

int main(int argc, char **argv) {
    static const char *const kinds[] = {"open", "read", "write", "mmap", "malloc"};
    options o = {.input = "/dev/null"};
    unsigned complaints = 0;
    for (int c; (c = getopt(argc, argv, "+l:i:o:n:k:s:a")) != -1;) {
        switch (c) {
        case 'l': o.library = optarg; break;
        case 'i': o.input = optarg; break;
        case 'o': o.output = optarg; break;
        case 'n': o.next = optarg; break;
        case 'k': o.kind = optarg; break;
        case 's': o.samples = strtoul(optarg, NULL, 10); break;
        case 'a': o.all_later = true; break;
        default: return 2;
        }
    }
    o.program = argv + optind;
    if (o.library == NULL || optind >= argc) {
        fprintf(stderr, "usage: drive -l LIBRARY [options] -- PROGRAM [ARG...]\n");
        return 2;
    }
    const int in = open(o.input, O_RDONLY | O_CLOEXEC);
    if (in < 0) die(o.input);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        if (o.kind != NULL && strcmp(o.kind, kinds[k]) != 0) continue;
        complaints += drive_kind(&o, in, kinds[k]);
    }
    return complaints != 0 ? 1 : 0;
}

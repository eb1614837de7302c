/* faultlib.c - an LD_PRELOAD library that makes the Nth call of one kind fail.
 *
 *     LD_PRELOAD=faultlib.so TFM_FAULT_KIND=malloc TFM_FAULT_N=7 tfm-convert ...
 *
 * TFM_FAULT_KIND  open (EMFILE), read (EIO), write (EIO), mmap (ENOMEM) or malloc (ENOMEM)
 * TFM_FAULT_N     which call fails, from 1; 0: none, only count
 * TFM_FAULT_ALL   if set, every later call of the kind fails too
 * TFM_FAULT_FD    a shared, writable file (memfd) of at least 16 bytes that receives two u64: how
 *                 many calls were made, and whether one was made to fail. It outlives a crash.
 *
 * Only calls made after the program's main() has begun are counted, not the loader's. What glibc
 * does inside itself (stdio's own reads and writes) cannot be seen from outside; for output through
 * stdio, fwrite and fflush of streams other than stderr count as writes. A write to fd 2 is never
 * failed: the message is what the tests want to see. Linux and glibc only. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum kind { KIND_NONE, KIND_OPEN, KIND_READ, KIND_WRITE, KIND_MMAP, KIND_MALLOC };
static const struct {
    const char *name;
    int error;
} kinds[] = {{"", 0},        {"open", EMFILE}, {"read", EIO},
             {"write", EIO}, {"mmap", ENOMEM}, {"malloc", ENOMEM}};

typedef struct fault_report {
    _Atomic uint64_t calls, struck;
} fault_report;

static fault_report own_report;
static fault_report *report = &own_report;
static atomic_int chosen = KIND_NONE; /* stays so until main begins */
static uint64_t target;
static bool strike_all;

/* Counts a call of `kind`; true (and errno set) if this one is to fail. */
static bool strikes(enum kind kind) {
    if (atomic_load(&chosen) != (int)kind) return false;
    const uint64_t n = atomic_fetch_add(&report->calls, 1) + 1;
    if (target == 0 || n < target || (n > target && !strike_all)) return false;
    atomic_store(&report->struck, 1);
    errno = kinds[kind].error;
    return true;
}

/* ---- beginning at main ---- */

typedef int main_fn(int, char **, char **);
typedef int start_fn(main_fn *, int, char **, void (*)(void), void (*)(void), void (*)(void),
                     void *);
static main_fn *real_main;
static FILE *(*real_fopen)(const char *, const char *);
static int (*real_mkostemp)(char *, int);
static size_t (*real_fwrite)(const void *, size_t, size_t, FILE *);
static int (*real_fflush)(FILE *);

/* dlsym gives data pointers; POSIX says that they are functions. */
static void find(void *function, const char *name) {
    void *p = dlsym(RTLD_NEXT, name);
    if (p == NULL) abort();
    memcpy(function, &p, sizeof p);
}

static int armed_main(int argc, char **argv, char **envp) {
    const char *kind = getenv("TFM_FAULT_KIND"), *n = getenv("TFM_FAULT_N");
    const char *fd = getenv("TFM_FAULT_FD");
    if (fd != NULL) {
        void *p = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
        if (p == MAP_FAILED) abort();
        report = p;
    }
    target = n != NULL ? strtoull(n, NULL, 10) : 0;
    strike_all = getenv("TFM_FAULT_ALL") != NULL;
    /* A program that this one runs is not to be counted with it. */
    unsetenv("LD_PRELOAD");
    for (int k = 1; kind != NULL && k < (int)(sizeof kinds / sizeof kinds[0]); k++) {
        if (strcmp(kind, kinds[k].name) == 0) atomic_store(&chosen, k);
    }
    return real_main(argc, argv, envp);
}

EXPORT int __libc_start_main(main_fn *program, int argc, char **argv, void (*init)(void),
                             void (*fini)(void), void (*rtld_fini)(void), void *stack_end);
int __libc_start_main(main_fn *program, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
    start_fn *start;
    find(&start, "__libc_start_main");
    find(&real_fopen, "fopen");
    find(&real_mkostemp, "mkostemp");
    find(&real_fwrite, "fwrite");
    find(&real_fflush, "fflush");
    real_main = program;
    return start(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* ---- open ---- */

static int open_at(int dir, const char *path, int flags, mode_t mode) {
    if (strikes(KIND_OPEN)) return -1;
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

/* The mode of a variadic open is there only with these flags. */
#define OPEN_MODE(flags, mode)                                                                     \
    mode_t mode = 0;                                                                               \
    if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = (mode_t)va_arg(args, unsigned);                                                     \
        va_end(args);                                                                              \
    }

EXPORT int open(const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_at(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_at(dir, path, flags | O_LARGEFILE, mode);
}

EXPORT FILE *fopen(const char *path, const char *mode) {
    return strikes(KIND_OPEN) ? NULL : real_fopen(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode) {
    return strikes(KIND_OPEN) ? NULL : real_fopen(path, mode);
}

EXPORT int mkostemp(char *path, int flags) {
    return strikes(KIND_OPEN) ? -1 : real_mkostemp(path, flags);
}

EXPORT int mkstemp(char *path) {
    return strikes(KIND_OPEN) ? -1 : real_mkostemp(path, 0);
}

/* ---- read and write ---- */

EXPORT ssize_t read(int fd, void *p, size_t n) {
    return strikes(KIND_READ) ? -1 : (ssize_t)syscall(SYS_read, fd, p, n);
}

EXPORT ssize_t pread(int fd, void *p, size_t n, off_t at) {
    return strikes(KIND_READ) ? -1 : (ssize_t)syscall(SYS_pread64, fd, p, n, at);
}

EXPORT ssize_t readv(int fd, const struct iovec *v, int n) {
    return strikes(KIND_READ) ? -1 : (ssize_t)syscall(SYS_readv, fd, v, n);
}

EXPORT ssize_t write(int fd, const void *p, size_t n) {
    if (fd != STDERR_FILENO && strikes(KIND_WRITE)) return -1;
    return (ssize_t)syscall(SYS_write, fd, p, n);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
    return strikes(KIND_WRITE) ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int n) {
    if (fd != STDERR_FILENO && strikes(KIND_WRITE)) return -1;
    return (ssize_t)syscall(SYS_writev, fd, v, n);
}

EXPORT int rename(const char *from, const char *to) {
    return strikes(KIND_WRITE) ? -1 : (int)syscall(SYS_rename, from, to);
}

/* A failed stdio write leaves the stream's error flag, as glibc's own would. */
static bool strikes_stream(FILE *f) {
    if (f == stderr || !strikes(KIND_WRITE)) return false;
    if (f != NULL) f->_flags |= 0x20; /* _IO_ERR_SEEN of glibc's libio.h */
    return true;
}

EXPORT size_t fwrite(const void *p, size_t size, size_t n, FILE *f) {
    return strikes_stream(f) ? 0 : real_fwrite(p, size, n, f);
}

EXPORT int fflush(FILE *f) {
    return strikes_stream(f) ? EOF : real_fflush(f);
}

/* ---- memory ---- */

EXPORT void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
    if (strikes(KIND_MMAP)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t offset) {
    if (strikes(KIND_MMAP)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

/* glibc's allocator under the names that it keeps for replacements such as this. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

EXPORT void *malloc(size_t n) {
    return strikes(KIND_MALLOC) ? NULL : __libc_malloc(n);
}

EXPORT void *calloc(size_t n, size_t size) {
    return strikes(KIND_MALLOC) ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n) {
    return strikes(KIND_MALLOC) ? NULL : __libc_realloc(p, n);
}

EXPORT void *memalign(size_t align, size_t n) {
    return strikes(KIND_MALLOC) ? NULL : __libc_memalign(align, n);
}

EXPORT void *aligned_alloc(size_t align, size_t n) {
    return strikes(KIND_MALLOC) ? NULL : __libc_memalign(align, n);
}

EXPORT int posix_memalign(void **out, size_t align, size_t n) {
    if (strikes(KIND_MALLOC)) return ENOMEM;
    void *p = __libc_memalign(align, n);
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}

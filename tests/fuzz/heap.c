/* heap.c - the counting allocator of replay.c.
 *
 * Under the address sanitizer: its hooks. Else with glibc: malloc and its family are replaced by
 * functions that count and pass on to the allocator under its other names. Elsewhere (thread
 * sanitizer, other libraries): nothing is counted, and heap_start says so. */
#include "heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#elif __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#endif

static atomic_size_t live, peak;

size_t heap_live(void) {
    return live;
}

size_t heap_peak(void) {
    return peak;
}

void heap_mark(void) {
    peak = live;
}

#if defined(HAS_ASAN) || (defined(__GLIBC__) && !defined(HAS_TSAN))
static void count(size_t n) {
    const size_t now = atomic_fetch_add(&live, n) + n;
    if (now > peak) peak = now; /* a race can only lose another thread's equal peak */
}
#endif

#if defined(HAS_ASAN)

int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                              void (*)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);

static void on_malloc(const volatile void *p, size_t n) {
    (void)p;
    count(n);
}

static void on_free(const volatile void *p) {
    if (p != NULL) atomic_fetch_sub(&live, __sanitizer_get_allocated_size(p));
}

bool heap_start(void) {
    return __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) != 0;
}

#elif defined(__GLIBC__) && !defined(HAS_TSAN)

/* glibc keeps its allocator under these names for replacements such as this one. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

#define REPLACE __attribute__((visibility("default")))

bool heap_start(void) {
    return true;
}

static void *counted(void *p) {
    if (p != NULL) count(malloc_usable_size(p));
    return p;
}

REPLACE void *malloc(size_t n) {
    return counted(__libc_malloc(n));
}

REPLACE void *calloc(size_t n, size_t size) {
    return counted(__libc_calloc(n, size));
}

REPLACE void *memalign(size_t align, size_t n) {
    return counted(__libc_memalign(align, n));
}

REPLACE void *aligned_alloc(size_t align, size_t n) {
    return counted(__libc_memalign(align, n));
}

REPLACE int posix_memalign(void **out, size_t align, size_t n) {
    void *p = counted(__libc_memalign(align, n));
    if (p == NULL) return ENOMEM;
    *out = p;
    return 0;
}

REPLACE void free(void *p) {
    if (p != NULL) atomic_fetch_sub(&live, malloc_usable_size(p));
    __libc_free(p);
}

REPLACE void *realloc(void *p, size_t n) {
    const size_t before = p != NULL ? malloc_usable_size(p) : 0;
    void *q = __libc_realloc(p, n);
    if (q == NULL && n > 0) return NULL; /* the old one is still there */
    atomic_fetch_sub(&live, before);
    return counted(q);
}

#else

bool heap_start(void) {
    return false;
}

#endif

/* file.c - whole files and file descriptors, with messages that name the file.
 *
 * Descriptors may be non-blocking (a shell can hand us one that somebody else made so): EAGAIN
 * waits in poll, EINTR tries again. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"

/* One system call moves at most this much: Linux caps it near 2 GiB, others at INT_MAX. */
enum { IO_MAX = 1 << 30 };

static const char *file_kind(mode_t mode) {
    if (S_ISDIR(mode)) return "is a directory";
    if (S_ISFIFO(mode)) return "is a pipe, which cannot be mapped";
    if (S_ISSOCK(mode)) return "is a socket";
    return "is a device";
}

tfm_status tfm_map_open(tfm_map *m, const char *path, tfm_error *err) {
    tfm_status st = TFM_OK;
    struct stat info;
    *m = (tfm_map){.data = (const unsigned char *)""};
    /* O_NONBLOCK: opening a FIFO without a writer must be refused, not wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tfm_fail_errno(err, TFM_IO, "%s", path);
    if (fstat(fd, &info) != 0) {
        st = tfm_fail_errno(err, TFM_IO, "%s", path);
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        st = tfm_fail(err, TFM_IO, "%s: %s, not a regular file", path, file_kind(info.st_mode));
        goto out;
    }
    if ((uintmax_t)info.st_size > SIZE_MAX) {
        st = tfm_fail(err, TFM_LIMIT, "%s: larger than the address space", path);
        goto out;
    }
    if (info.st_size > 0) {
        void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            st = tfm_fail_errno(err, TFM_IO, "%s: mmap", path);
            goto out;
        }
        *m = (tfm_map){.data = p, .size = (size_t)info.st_size, .is_mapped = true};
    }
out:
    close(fd);
    return st;
}

void tfm_advise_huge(const void *p, size_t bytes) {
#if defined(MADV_HUGEPAGE)
    const long page = sysconf(_SC_PAGESIZE);
    if (page <= 0) return;
    const size_t before = (uintptr_t)p % (size_t)page;
    (void)madvise((char *)(uintptr_t)p - before, bytes + before, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

void tfm_map_close(tfm_map *m) {
    if (m->is_mapped) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (tfm_map){0};
}

/* Waits until fd can be read (POLLIN) or written (POLLOUT); false with errno on failure. */
static bool wait_for(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR && errno != EAGAIN) return false;
    return true;
}

bool tfm_fd_is_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

tfm_status tfm_fd_read_some(int fd, const char *name, void *p, size_t n, size_t *got,
                            tfm_error *err) {
    *got = 0;
    for (;;) {
        ssize_t k = read(fd, p, n < IO_MAX ? n : IO_MAX);
        if (k >= 0) {
            *got = (size_t)k;
            return TFM_OK;
        }
        if (errno == EINTR) continue;
        if ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(fd, POLLIN)) continue;
        return tfm_fail_errno(err, TFM_IO, "%s: read", name);
    }
}

tfm_status tfm_fd_read_full(int fd, const char *name, void *p, size_t n, size_t *got,
                            tfm_error *err) {
    unsigned char *at = p;
    size_t k = 1;
    for (*got = 0; *got < n && k > 0; *got += k)
        TFM_TRY(tfm_fd_read_some(fd, name, at + *got, n - *got, &k, err));
    return TFM_OK;
}

tfm_status tfm_fd_write_full(int fd, const char *name, const void *p, size_t n, tfm_error *err) {
    const unsigned char *at = p;
    while (n > 0) {
        ssize_t k = write(fd, at, n < IO_MAX ? n : IO_MAX);
        if (k >= 0) {
            at += k;
            n -= (size_t)k;
        } else if (errno == EINTR)
            continue;
        else if ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(fd, POLLOUT))
            continue;
        else
            return tfm_fail_errno(err, TFM_IO, "%s: write", name);
    }
    return TFM_OK;
}

tfm_status tfm_file_read(tfm_buf *b, const char *path, size_t max_bytes, tfm_error *err) {
    tfm_status st = TFM_OK;
    size_t start = b->len, step = 64 * 1024, got = step;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return tfm_fail_errno(err, TFM_IO, "%s", path);
    while (got == step) { /* short only at the end */
        if ((st = tfm_buf_reserve(b, step, err)) != TFM_OK) break;
        if ((st = tfm_fd_read_full(fd, path, b->data + b->len, step, &got, err)) != TFM_OK) break;
        b->len += got;
        b->data[b->len] = '\0';
        if (b->len - start > max_bytes) {
            st =
                tfm_fail(err, TFM_LIMIT, "%s: longer than the limit of %zu bytes", path, max_bytes);
            break;
        }
    }
    close(fd);
    if (st != TFM_OK) b->len = start;
    return st;
}

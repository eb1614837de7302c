/* status.h - the status of every fallible call, and the one error object.
 *
 *     tfm_error err = {0};
 *     if (tfm_model_open(&model, path, &err) != TFM_OK)
 *         fprintf(stderr, "%s\n", err.message);      // "story.bin: not a tfm stream: ..."
 *
 * The library never prints and never exits. A fallible function returns a tfm_status and takes a
 * `tfm_error *err` last (may be NULL); on failure *err holds one line without a final newline that
 * names the file, record or option and, where there is one, the cure.
 *
 * Ownership law of the whole library: what comes back through an out-pointer `T **out` belongs to
 * the caller, who frees it with the matching tfm_T_free (NULL is fine). A `const` pointer that is
 * returned is borrowed from the object it was asked of and lives as long as that object, or until
 * the moment its comment names. Functions copy what they are given unless their comment says
 * "borrows". On failure an out-pointer is set to NULL and nothing is left allocated.
 */
#ifndef TFM_STATUS_H
#define TFM_STATUS_H

#if defined(__GNUC__)
#define TFM_MUST_CHECK __attribute__((warn_unused_result))
#define TFM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TFM_API __attribute__((visibility("default")))
#else
#define TFM_MUST_CHECK
#define TFM_PRINTF(f, a)
#define TFM_API
#endif

/* Values are pinned: they are part of the ABI. The exit status a tool gives for each is in the
 * right-hand column (DESIGN 8). */
typedef enum tfm_status {
    TFM_OK = 0,          /* 0 */
    TFM_DONE = 1,        /* 0: a clean end: no more records, streams, tokens */
    TFM_NOMEM = 2,       /* 5: memory ran out */
    TFM_IO = 3,          /* 5: open, read, write, map failed; message carries strerror */
    TFM_DEVICE = 4,      /* 5: the backend is not there or failed */
    TFM_USAGE = 5,       /* 2: an option or argument is wrong */
    TFM_FORMAT = 6,      /* 3: the bytes are not what they claim to be */
    TFM_TRUNCATED = 7,   /* 3: the input stopped early */
    TFM_UNSUPPORTED = 8, /* 3: well formed, but needs what this version has not */
    TFM_LIMIT = 9,       /* 3: a stated limit was passed */
    TFM_MISMATCH = 10,   /* 3: two things do not belong together (vocabulary, model, range) */
    TFM_UPSTREAM = 11,   /* 3: an earlier stage failed; the message names it */
    TFM_NOTFOUND = 12,   /* 3: a name that was asked for is not there */
    TFM_RECORD = 13      /* 4: one record (group) failed; the rest can go on */
} tfm_status;

typedef struct tfm_error {
    tfm_status status;
    char message[600];
} tfm_error;

/* Fills *err (may be NULL) and returns `status`, so that `return tfm_fail(err, TFM_FORMAT, ...)`
 * is the one way to fail. Long messages are cut at a whole UTF-8 character; control characters
 * (they may come from a hostile file) are replaced by '?'. */
TFM_API tfm_status tfm_fail(tfm_error *err, tfm_status status, const char *fmt, ...)
    TFM_PRINTF(3, 4);

/* As tfm_fail, with ": " and strerror(errno) appended. */
TFM_API tfm_status tfm_fail_errno(tfm_error *err, tfm_status status, const char *fmt, ...)
    TFM_PRINTF(3, 4);

/* Puts "what: " before the message already in *err; returns err's status (`status` if err is NULL).
 * Used where a caller knows the file name and the callee did not. */
TFM_API tfm_status tfm_error_prefix(tfm_error *err, tfm_status status, const char *fmt, ...)
    TFM_PRINTF(3, 4);

/* The exit status a tool gives for `status`, see the table above. */
TFM_API int tfm_status_exit(tfm_status status);

/* Forwards a failure to the caller: `TFM_TRY(tfm_writer_end(w, err));` */
#define TFM_TRY(call)                                                                              \
    do {                                                                                           \
        tfm_status tfm_try_status_ = (call);                                                       \
        if (tfm_try_status_ != TFM_OK) return tfm_try_status_;                                     \
    } while (0)

#endif

/* calibrate.h - see calibrate.c.
 *
 *     calibration k = {.in = path, .load = &load_options};
 *     options.calibrate = calibration_start;
 *     options.calibrate_ctx = &k;
 *     st = calibration_end(&k, tfm_convert(path, &options, ...), &err);
 */
#ifndef CALIBRATE_H
#define CALIBRATE_H

#include <pthread.h>
#include <stdbool.h>

#include "tfm/load.h"
#include "tfm/probe.h"

typedef struct calibration {
    const char *in; /* the checkpoint */
    const tfm_load_options *load;
    unsigned threads; /* 0: what the process may use */

    tfm_probe *probe;
    tfm_reader *reader;
    int fd[2];
    pthread_t thread;
    bool has_pipe, has_thread;
    tfm_status status; /* of the thread */
    tfm_error error;
} calibration;

/* tfm_convert_options' calibrate; ctx is the calibration. */
tfm_status calibration_start(void *ctx, const char *const *name, size_t n, tfm_reader **out,
                             tfm_error *err) TFM_MUST_CHECK;
/* Waits for the thread and frees. st: of the conversion; returned, or what it failed of. */
tfm_status calibration_end(calibration *c, tfm_status st, tfm_error *err);

#endif

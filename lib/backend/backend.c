/* backend.c - from the name of a device to a backend.
 *
 * Owns the list of what there is. Never falls back in silence: a name that this build or machine
 * cannot serve is an error that says what could be asked for. */
#include <string.h>

#include "backend/plan_internal.h"

static tfm_status new_ref(tfm_backend **out, unsigned threads, tfm_error *err) {
    (void)threads;
    return tfm_backend_ref_new(out, err);
}

static tfm_status new_best(tfm_backend **out, unsigned threads, tfm_error *err) {
    return tfm_backend_cpu_new(out, NULL, threads, err);
}

static tfm_status new_generic(tfm_backend **out, unsigned threads, tfm_error *err) {
    return tfm_backend_cpu_new(out, "generic", threads, err);
}

static tfm_status new_avx2(tfm_backend **out, unsigned threads, tfm_error *err) {
    return tfm_backend_cpu_new(out, "avx2", threads, err);
}

static tfm_status new_avx512(tfm_backend **out, unsigned threads, tfm_error *err) {
    return tfm_backend_cpu_new(out, "avx512", threads, err);
}

static const struct device {
    const char *name;
    tfm_status (*make)(tfm_backend **out, unsigned threads, tfm_error *err);
} devices[] = {
    {"auto", new_best},     {"cpu", new_best},          {"cpu:generic", new_generic},
    {"cpu:avx2", new_avx2}, {"cpu:avx512", new_avx512}, {"ref", new_ref},
};

const char *tfm_backend_device(size_t i) {
    return i < sizeof devices / sizeof *devices ? devices[i].name : NULL;
}

tfm_status tfm_backend_new(tfm_backend **out, const char *device, unsigned threads,
                           tfm_error *err) {
    const size_t n = sizeof devices / sizeof *devices;
    tfm_buf known = {0};
    *out = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(device, devices[i].name) == 0) return devices[i].make(out, threads, err);
    }
    tfm_status st = TFM_OK;
    for (size_t i = 0; st == TFM_OK && i < n; i++) {
        st = tfm_buf_printf(&known, err, "%s%s", i > 0 ? ", " : "", devices[i].name);
    }
    if (st == TFM_OK) {
        st = tfm_fail(err, TFM_DEVICE, "device %s: not in this build, which has %s", device,
                      known.data);
    }
    tfm_buf_free(&known);
    return st;
}

void tfm_backend_free(tfm_backend *be) {
    if (be != NULL) be->ops->free(be);
}

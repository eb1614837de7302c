/* zip_internal.h - the members of a zip archive in mapped bytes: npz and PyTorch's checkpoints.
 *
 *     tfm_zip z;
 *     st = tfm_zip_open(&z, map.data, map.size, err);
 *     if (st == TFM_OK) st = tfm_zip_data(&z, 0, err);       // z.member[0].data, .size
 *     tfm_zip_close(&z);                                     // also after a failure
 *
 * Nothing of an archive is believed: zip_read.c says what is checked. */
#ifndef TFM_ZIP_INTERNAL_H
#define TFM_ZIP_INTERNAL_H

#include "base/base_internal.h"

typedef struct tfm_zip_member {
    char *name;
    uint64_t packed, size, from; /* bytes in the file, inflated, offset of the first of them */
    uint32_t crc;
    bool is_deflated;
    const unsigned char *data; /* [size] once tfm_zip_data was called */
    void *map;                 /* of an inflated member's temporary file */
} tfm_zip_member;
typedef struct tfm_zip {
    const unsigned char *p; /* borrowed */
    uint64_t n;
    tfm_zip_member *member;
    size_t n_members;
} tfm_zip;
/* Is there the beginning of a member at p? So every archive starts that has one. */
bool tfm_zip_matches(const unsigned char *p, uint64_t n);
/* Lists the members of p[0..n). Refuses what overlaps, is encrypted, split, or packed otherwise. */
tfm_status tfm_zip_open(tfm_zip *z, const unsigned char *p, uint64_t n,
                        tfm_error *err) TFM_MUST_CHECK;
/* The member's bytes, their CRC checked; one that is deflated goes to a temporary file, mapped. */
tfm_status tfm_zip_data(tfm_zip *z, size_t i, tfm_error *err) TFM_MUST_CHECK;
void tfm_zip_close(tfm_zip *z);

#endif

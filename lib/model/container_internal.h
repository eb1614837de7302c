/* container_internal.h - what reader and writer of model.bin agree on. Format: tfm-model(5).
 *
 *     header (kind model) | META "description" | INDEX "index" | TENSOR ... | END
 *
 * Private to container*.c, index.c, description.c and the GGUF writer. */
#ifndef TFM_CONTAINER_INTERNAL_H
#define TFM_CONTAINER_INTERNAL_H

#include "base/base_internal.h"
#include "tfm/model.h"

#define TFM_DESCRIPTION_NAME "description"
#define TFM_INDEX_NAME "index"

/* The dims that a record carries: the stored array. For p16 rows are padded to a multiple of 16 and
 * a bf16 width to a multiple of 2. stored: [4]. TFM_LIMIT if they overflow. */
tfm_status tfm_stored_dims(const tfm_tensor *t, uint32_t stored[TFM_MAX_RANK],
                           tfm_error *err) TFM_MUST_CHECK;
/* Checks name (1 to 255 bytes of printable ASCII, no space), dtype, layout, rank, dims, and that
 * they give exactly t->bytes, which must not be 0. */
tfm_status tfm_tensor_check(const tfm_tensor *t, tfm_error *err) TFM_MUST_CHECK;
/* Bytes from the start of a TENSOR record to its payload, and from there to the next record. */
uint64_t tfm_record_head_bytes(size_t name_len);
uint64_t tfm_record_tail_bytes(uint64_t payload_bytes);

/* ---- index.c ---- */

/* A copy of an INDEX's text that can be cut into lines; *lines: their number. TFM_LIMIT: too many
 * bytes or lines; TFM_FORMAT: no text. */
tfm_status tfm_index_copy(char **copy, const void *text, uint64_t n, size_t *lines,
                          tfm_error *err) TFM_MUST_CHECK;
/* Takes the line at *at, "name dtype layout rank dims... offset bytes\n", cutting it into strings:
 * t->name points there; t->data is left alone. false: it is wrong. Whether the numbers fit each
 * other is for tfm_tensor_check. */
bool tfm_index_line(char **at, tfm_tensor *t, uint64_t *offset) TFM_MUST_CHECK;

/* ---- description.c ---- */

/* The lines of the description's top-level block `key:`, without their two spaces of indentation,
 * added to *text; *found = false if there is no such key. */
tfm_status tfm_description_section(const char *description, const char *key, tfm_buf *text,
                                   bool *found, tfm_error *err) TFM_MUST_CHECK;

#endif

/* hf_scan_internal.h - reading parts of a tokenizer.json from its text (hf_scan.c). */
#ifndef TFM_HF_SCAN_INTERNAL_H
#define TFM_HF_SCAN_INTERNAL_H

#include "model/json_internal.h"

/* A place in a text. */
typedef struct tfm_hf_scan {
    const unsigned char *p;
    uint64_t n, at;
} tfm_hf_scan;

/* Where the elements of the array model.KEY stand in the text of a tokenizer.json: bytes [from,
 * to), between the brackets. false: there is no such array. */
bool tfm_hf_find_array(const tfm_map *file, const char *key, uint64_t *from, uint64_t *to);
void tfm_hf_scan_space(tfm_hf_scan *s);
/* Takes `c` if it comes next. */
bool tfm_hf_scan_take(tfm_hf_scan *s, unsigned char c);
/* Stands on an opening bracket: past the one that closes it. */
void tfm_hf_scan_nested(tfm_hf_scan *s);
/* A string, unescaped at *out, which is moved behind it. What is written is never longer than what
 * is read: an escape of 6 bytes gives at most 3. */
bool tfm_hf_scan_string(tfm_hf_scan *s, char **out, const char **text, uint32_t *len);
/* Elements of the array whose inside s is: its outer commas, and one more; 0 if it is empty. */
uint64_t tfm_hf_scan_count(tfm_hf_scan s);

#endif

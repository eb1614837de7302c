/* characters.c - vocabularies of single characters: each character of the text is a token, or the
 * unknown one. A character is a code point; what it combines with is another. */
#include "text/text_internal.h"

tfm_status tfm_characters_fragment(tfm_tok_run *r, const unsigned char *s, size_t n) {
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        bool ok;
        len = tfm_utf8_decode(s + i, n - i, &cp, &ok);
        if (!ok) return tfm_run_byte(r, s + i); /* which is no token of such a vocabulary */
        int32_t id = tfm_vocab_lookup_text(r->v, s + i, len);
        TFM_TRY(id >= 0 ? tfm_ids_push(r->ids, id, r->err) : tfm_spell(r, s + i, len, false));
    }
    return TFM_OK;
}

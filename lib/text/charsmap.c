/* charsmap.c - SentencePiece's normalisation by a table ("precompiled_charsmap").
 *
 *     u32 bytes of the trie | the trie: u32 units of a double array | texts, each ended by a NUL
 *
 * The trie holds the texts to replace; its values are offsets into the texts that replace them. The
 * bits of a unit (darts-clone): 31 it is a value (then 0-30 are the value), 0-7 label, 8 has a
 * value, 9 offset is in units of 256, 10-30 offset to the children, by exclusive or.
 *
 * The table is used in place and may lie: every unit and every text is checked where it is read,
 * and no look-up goes deeper than TFM_CHARSMAP_KEY bytes. */
#include "text/text_internal.h"

enum { TFM_CHARSMAP_KEY = 256, TFM_CHARSMAP_TEXT = 256 };

static uint32_t unit_at(const tfm_charsmap *m, uint32_t i) {
    uint32_t u;
    memcpy(&u, m->units + (size_t)i * 4, 4);
    return u;
}

static uint32_t offset_of(uint32_t unit) {
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Is no text longer than TFM_CHARSMAP_TEXT, so that normalising cannot blow a text up? */
static bool texts_are_short(const unsigned char *p, uint64_t n) {
    while (n > 0) {
        size_t most = n <= TFM_CHARSMAP_TEXT ? (size_t)n : TFM_CHARSMAP_TEXT + 1u;
        const unsigned char *end = memchr(p, '\0', most);
        if (end == NULL) return false;
        n -= (uint64_t)(end - p) + 1;
        p = end + 1;
    }
    return true;
}

bool tfm_charsmap_open(tfm_charsmap *m, const unsigned char *p, uint64_t n) {
    uint32_t trie;
    *m = (tfm_charsmap){0};
    if (n < 8) return false;
    memcpy(&trie, p, 4);
    if (trie < 4 || trie % 4 != 0 || trie > n - 4) return false;
    m->units = p + 4;
    m->n_units = trie / 4;
    m->text = p + 4 + trie;
    m->text_len = n - 4 - trie;
    return texts_are_short(m->text, m->text_len);
}

size_t tfm_charsmap_find(const tfm_charsmap *m, const unsigned char *s, size_t n, bool shortest,
                         const unsigned char **text, size_t *len) {
    uint32_t value = UINT32_MAX, at, unit;
    size_t found = 0;
    if (m->n_units == 0) return 0;
    if (n > TFM_CHARSMAP_KEY) n = TFM_CHARSMAP_KEY;
    at = offset_of(unit_at(m, 0));
    for (size_t i = 0; i < n && !(shortest && found > 0); i++) {
        at ^= s[i];
        if (at >= m->n_units) break;
        unit = unit_at(m, at);
        if ((unit & (1u << 31 | 0xffu)) != s[i]) break;
        at ^= offset_of(unit);
        if ((unit >> 8 & 1) == 0) continue;
        if (at >= m->n_units) break;
        value = unit_at(m, at) & 0x7fffffffu;
        found = i + 1;
    }
    if (found == 0 || value >= m->text_len) return 0;
    *text = m->text + value;
    *len = strlen((const char *)*text); /* the last one ends with a NUL, too */
    return found;
}

/* ---- SentencePiece's way through a text ---- */

/* What stands at s[0..n) and its replacement; *ok false: a byte that is no UTF-8. */
static size_t next_part(const tfm_tok_run *r, const unsigned char *s, size_t n,
                        const unsigned char **out, size_t *len, bool *ok) {
    uint32_t cp;
    size_t took = tfm_charsmap_find(&r->v->charsmap, s, n, false, out, len);
    *ok = true;
    if (took > 0) return took;
    took = tfm_utf8_decode(s, n, &cp, ok);
    *out = s;
    *len = took;
    return took;
}

static tfm_status add_text(tfm_tok_run *r, const unsigned char *s, size_t n) {
    if (r->text.len + n > TFM_TEXT_MAX)
        return tfm_fail(r->err, TFM_RECORD, "the normalised text is longer than %u bytes",
                        TFM_TEXT_MAX);
    for (size_t i = 0; i < n; i++)
        if (s[i] == ' ' && r->v->set.space_to_meta)
            TFM_TRY(tfm_buf_add(&r->text, TFM_META, TFM_META_LEN, r->err));
        else
            TFM_TRY(tfm_buf_byte(&r->text, s[i], r->err));
    return TFM_OK;
}

static void strip_end(tfm_tok_run *r) {
    const char *space = r->v->set.space_to_meta ? TFM_META : " ";
    size_t n = strlen(space);
    while (r->text.len >= n && memcmp(r->text.data + r->text.len - n, space, n) == 0)
        r->text.len -= n;
}

tfm_status tfm_charsmap_fragment(tfm_tok_run *r, const unsigned char *s, size_t n, bool first,
                                 tfm_status (*flush)(tfm_tok_run *r)) {
    const bool strip = r->v->set.remove_extra_spaces;
    const bool at_end = s + n == r->src + r->src_len;
    bool ok, after_space = strip && first;
    const unsigned char *out;
    size_t took, len, i = 0;
    tfm_buf_clear(&r->text);
    for (; strip && first && i < n; i += took) {
        took = next_part(r, s + i, n - i, &out, &len, &ok);
        if (!ok || len != 1 || out[0] != ' ') break;
    }
    if (i == n && at_end) return TFM_OK;
    if (first && r->v->set.add_space_prefix) TFM_TRY(add_text(r, (const unsigned char *)" ", 1));
    for (; i < n; i += took) {
        took = next_part(r, s + i, n - i, &out, &len, &ok);
        if (!ok) {
            TFM_TRY(flush(r));
            for (size_t k = 0; k < took; k++) TFM_TRY(tfm_run_byte(r, s + i + k));
            after_space = false;
            continue;
        }
        for (; after_space && len > 0 && *out == ' '; len--) out++;
        if (len == 0) continue;
        TFM_TRY(add_text(r, out, len));
        after_space = strip && out[len - 1] == ' ';
    }
    if (strip && at_end) strip_end(r);
    return flush(r);
}

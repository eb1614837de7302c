/* hf_unigram.c - model Unigram of a tokenizer.json: "vocab": [["<unk>", 0.0], ["a", -2.5], ...].
 *
 * The pieces are read from the text (hf_scan.c), and for the scores that is not only a matter of
 * memory: sums of them decide between ways to cut a text, and Hugging Face's program does not read
 * a number as strtod does. It takes all digits as one integer, rounds that, and divides by a power
 * of ten, which rounds again; so the last bit may differ, and then ties go the other way. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/base_internal.h"
#include "model/hf_scan_internal.h"

/* ---- a number as serde_json reads it ---- */

enum { POWERS = 309 }; /* 10^0 to 10^308, the highest that is a double */

typedef struct number {
    uint64_t digits;
    int64_t exponent;
} number;

static bool is_digit(const tfm_hf_scan *s) {
    return s->at < s->n && s->p[s->at] >= '0' && s->p[s->at] <= '9';
}

/* Digits go into one integer until it is full; those left out count in the exponent if they stand
 * before the point. false: there is none. */
static bool take_digits(tfm_hf_scan *s, number *x, bool is_fraction) {
    uint64_t from = s->at;
    bool full = false;
    for (; is_digit(s); s->at++) {
        unsigned digit = s->p[s->at] - '0';
        full = full || x->digits > (UINT64_MAX - digit) / 10;
        if (!full) x->digits = x->digits * 10 + digit;
        if (full != is_fraction) x->exponent += is_fraction ? -1 : 1;
    }
    return s->at > from;
}

static bool take_exponent(tfm_hf_scan *s, number *x) {
    bool negative = false;
    int64_t e = 0;
    if (s->at >= s->n || (s->p[s->at] != 'e' && s->p[s->at] != 'E')) return true;
    s->at++;
    if (s->at < s->n && (s->p[s->at] == '+' || s->p[s->at] == '-')) negative = s->p[s->at++] == '-';
    if (!is_digit(s)) return false;
    for (; is_digit(s); s->at++)
        if (e < 100000) e = e * 10 + (s->p[s->at] - '0');
    x->exponent += negative ? -e : e;
    return true;
}

/* 10^n, each rounded once: a loop of products would round at each step, so decimal text is read. */
static void fill_powers(double power[POWERS]) {
    for (unsigned n = 0; n < POWERS; n++) {
        const char text[] = {
            '1', 'e', (char)('0' + n / 100), (char)('0' + n / 10 % 10), (char)('0' + n % 10), '\0'};
        if (!tfm_parse_double(text, 0, DBL_MAX, &power[n])) power[n] = INFINITY;
    }
}

static bool scale(const number *x, const double power[POWERS], double *out) {
    const int64_t most = POWERS - 1;
    double f = (double)x->digits;
    int64_t e = x->exponent;
    for (; e < -most && f != 0; e += most) f /= power[most];
    if (e > most && f != 0) return false;
    if (f != 0) f = e >= 0 ? f * power[e] : f / power[-e];
    *out = f;
    return isfinite(f);
}

static bool take_number(tfm_hf_scan *s, const double power[POWERS], double *out) {
    number x = {0};
    tfm_hf_scan_space(s);
    bool negative = tfm_hf_scan_take(s, '-');
    if (!take_digits(s, &x, false)) return false;
    if (s->at < s->n && s->p[s->at] == '.') {
        s->at++;
        if (!take_digits(s, &x, true)) return false;
    }
    if (!take_exponent(s, &x) || !scale(&x, power, out)) return false;
    if (negative) *out = -*out;
    return true;
}

/* ---- pieces ---- */

/* One more than the highest id: there may be no more holes than pieces. */
static tfm_status count_ids(uint64_t pieces, const json_t *added, uint64_t *n, tfm_error *err) {
    *n = pieces;
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *id = json_object_get(json_array_get(added, i), "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return tfm_fail(err, TFM_FORMAT, "added_tokens: token %zu has no id", i);
        if ((uint64_t)json_integer_value(id) >= *n) *n = (uint64_t)json_integer_value(id) + 1;
    }
    if (*n > 2 * (pieces + json_array_size(added)))
        return tfm_fail(err, TFM_LIMIT, "%llu pieces with ids up to %llu",
                        (unsigned long long)pieces, (unsigned long long)*n - 1);
    return TFM_OK;
}

/* Of pieces that are there twice the last one counts; the others are never used. */
static tfm_status drop_doubles(tfm_draft *d, uint32_t n, tfm_error *err) {
    tfm_names names = {0};
    tfm_status st = tfm_names_reserve(&names, n, err);
    for (uint32_t i = n; i-- > 0 && st == TFM_OK;) {
        if (tfm_names_find(&names, d->piece[i], d->piece_len[i]) != TFM_NO_NAME)
            d->flags[i] = TFM_TOKEN_UNUSED;
        else
            st = tfm_names_add(&names, d->piece[i], d->piece_len[i], i, err);
    }
    tfm_names_free(&names);
    return st;
}

static tfm_status take_pieces(tfm_draft *d, const unsigned char *text, uint64_t n, uint32_t count,
                              double *wide, tfm_error *err) {
    tfm_hf_scan s = {.p = text, .n = n};
    double power[POWERS];
    void *block;
    TFM_TRY(tfm_arena_alloc(d->arena, &block, (size_t)n, err));
    char *out = block;
    fill_powers(power);
    for (uint32_t i = 0; i < d->src.n; i++) {
        wide[i] = NAN;
        d->flags[i] = TFM_TOKEN_UNUSED;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!((i == 0 || tfm_hf_scan_take(&s, ',')) && tfm_hf_scan_take(&s, '[') &&
              tfm_hf_scan_string(&s, &out, &d->piece[i], &d->piece_len[i]) &&
              tfm_hf_scan_take(&s, ',') && take_number(&s, power, &wide[i]) &&
              tfm_hf_scan_take(&s, ']')))
            return tfm_fail(err, TFM_FORMAT, "model: vocab: entry %u is not a piece and a score",
                            i);
        d->score[i] = (float)wide[i];
        d->flags[i] = 0;
    }
    tfm_hf_scan_space(&s);
    if (s.at != s.n) return tfm_fail(err, TFM_FORMAT, "model: vocab is no list of pieces");
    return drop_doubles(d, count, err);
}

/* Unknown characters in a row are one token; so if their score could ever be better than that of a
 * piece, they might together spell one, which no file in use makes happen. */
static tfm_status check_scores(const double *wide, uint32_t count, tfm_error *err) {
    for (uint32_t i = 0; i < count; i++)
        if (wide[i] <= 10) return TFM_OK;
    return tfm_fail(err, TFM_UNSUPPORTED, "model: vocab: all scores are above 10");
}

static tfm_status take_unknown(tfm_draft *d, const json_t *model, uint32_t count, tfm_error *err) {
    const json_t *unk = json_object_get(model, "unk_id");
    unsigned bytes = 0;
    if (unk && !json_is_null(unk)) {
        json_int_t id = json_integer_value(unk);
        if (!json_is_integer(unk) || id < 0 || id >= count)
            return tfm_fail(err, TFM_FORMAT, "model: unk_id is no id of its vocab");
        d->src.unk = (int32_t)id;
        tfm_draft_flag(d, id, TFM_TOKEN_UNKNOWN);
    }
    if (!tfm_json_bool(model, "byte_fallback", false)) return TFM_OK;
    for (uint32_t i = 0; i < count; i++)
        if (d->flags[i] == 0 && tfm_byte_piece(d->piece[i], d->piece_len[i]) >= 0) {
            d->flags[i] = TFM_TOKEN_BYTE;
            bytes++;
        }
    if (bytes == 0 || bytes == 256) return TFM_OK; /* without any, all is unknown */
    return tfm_fail(err, TFM_UNSUPPORTED, "model: byte_fallback with %u of the 256 byte pieces",
                    bytes);
}

static tfm_status by_settings(tfm_draft *d, const json_t *j, tfm_error *err) {
    TFM_TRY(tfm_hf_normalizer(d, json_object_get(j, "normalizer"), err));
    TFM_TRY(tfm_hf_pretokenizer(d, json_object_get(j, "pre_tokenizer"), err));
    TFM_TRY(tfm_hf_decoder(d, json_object_get(j, "decoder"), err));
    return tfm_hf_take_added(d, json_object_get(j, "added_tokens"), err);
}

tfm_status tfm_hf_unigram(tfm_draft *d, const json_t *j, const unsigned char *vocab, uint64_t len,
                          tfm_error *err) {
    const json_t *model = json_object_get(j, "model"), *added = json_object_get(j, "added_tokens");
    const char *type = tfm_json_text(model, "type", NULL);
    uint64_t count = tfm_hf_scan_count((tfm_hf_scan){.p = vocab, .n = len}), n;
    void *wide;
    if (type && strcmp(type, "Unigram") != 0)
        return tfm_fail(err, TFM_UNSUPPORTED, "model: type %s with a list of pieces", type);
    TFM_TRY(count_ids(count, added, &n, err));
    TFM_TRY(tfm_draft_pieces(d, n, true, err));
    TFM_TRY(tfm_arena_alloc(d->arena, &wide, (size_t)n * sizeof(double), err));
    TFM_TRY(take_pieces(d, vocab, len, (uint32_t)count, wide, err));
    TFM_TRY(check_scores(wide, (uint32_t)count, err));
    d->src.type = TFM_VOCAB_UNIGRAM;
    d->src.wide_score = wide;
    TFM_TRY(take_unknown(d, model, (uint32_t)count, err));
    TFM_TRY(tfm_hf_either(d, j, by_settings, tfm_hf_stages, err));
    if (d->src.unk >= 0) tfm_draft_flag(d, d->src.unk, TFM_TOKEN_UNKNOWN);
    return tfm_hf_postprocessor(d, json_object_get(j, "post_processor"), err);
}

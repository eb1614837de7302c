/* hf_pipeline.c - the stages of tokenizer.json around its model: normalizer, pre_tokenizer,
 * post_processor, decoder, and the properties of added tokens.
 *
 * Each stage is taken only if tfm's tokenizer does exactly the same with the settings that come out
 * (tfm_vocab_source); everything else is refused by its name. The two families that are taken:
 *
 *     byte level   [NFC...]  Split*, Digits*  ByteLevel
 *     characters   [NFC...]  Prepend, Replace(" " by U+2581), or Metaspace
 *
 * Other normalizers and decoders become lists of steps (hf_steps.c), and so do all of a unigram
 * model. What is more than that is read again as lists of steps altogether, the pre-tokenizers too
 * (hf_split.c). The fixed settings stay as they are where they can, since a vocabulary's id comes
 * from them. */
#include <string.h>

#include "model/json_internal.h"

#define META_SPACE "\xe2\x96\x81" /* U+2581 */
/* ByteLevel's own pattern when use_regex is set. Its last alternative, "|\s+", is left out: what no
 * alternative matches is a part of its own, which gives the same parts, and without it the
 * vocabulary has the same id as a GGUF's whose pre-tokenizer has a name for this pattern. */
#define BYTE_LEVEL_PATTERN                                                                         \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"

static const char *type_of(const json_t *j) {
    const char *type = tfm_json_text(j, "type", NULL);
    return type ? type : "?";
}

bool tfm_hf_is_type(const json_t *j, const char *type) {
    return strcmp(type_of(j), type) == 0;
}

bool tfm_hf_text_is(const json_t *j, const char *key, const char *want) {
    size_t n;
    const char *s = tfm_json_text(j, key, &n);
    return s && n == strlen(want) && memcmp(s, want, n) == 0;
}

tfm_status tfm_hf_refuse(tfm_error *err, const char *stage, const json_t *j) {
    return tfm_fail(err, TFM_UNSUPPORTED, "%s %s is not supported (with these settings)", stage,
                    type_of(j));
}

/* The members of a Sequence, under either name; NULL if it is none. */
const json_t *tfm_hf_sequence(const json_t *j, const char *key) {
    return tfm_hf_is_type(j, "Sequence") ? json_object_get(j, key) : NULL;
}

/* ---- normalizer ---- */

static const char *const forms[][2] = {
    {"NFC", "nfc"}, {"NFD", "nfd"}, {"NFKC", "nfkc"}, {"NFKD", "nfkd"}};
enum { N_FORMS = sizeof forms / sizeof *forms };

static bool prepends_meta(const json_t *j) {
    return tfm_hf_is_type(j, "Prepend") && tfm_hf_text_is(j, "prepend", META_SPACE);
}

static bool writes_meta(const json_t *j) {
    return tfm_hf_is_type(j, "Replace") &&
           tfm_hf_text_is(json_object_get(j, "pattern"), "String", " ") &&
           tfm_hf_text_is(j, "content", META_SPACE);
}

/* Is this what the settings have words for? At most one form, then the two of U+2581. */
static bool is_plain(const json_t *j) {
    const json_t *members = tfm_hf_sequence(j, "normalizers");
    size_t n = tfm_hf_is_type(j, "Sequence") ? json_array_size(members) : 1;
    unsigned n_forms = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = members ? json_array_get(members, i) : j;
        unsigned before = n_forms;
        for (size_t k = 0; k < N_FORMS; k++) n_forms += tfm_hf_is_type(m, forms[k][0]);
        if (n_forms > 1 || (n_forms > before && i > 0)) return false;
        if (n_forms == before && !prepends_meta(m) && !writes_meta(m)) return false;
        if (prepends_meta(m) && i != n_forms) return false; /* twice, or after the other */
    }
    return true;
}

static void plain_normalizer(tfm_draft *d, const json_t *j) {
    for (size_t i = 0; i < N_FORMS; i++)
        if (tfm_hf_is_type(j, forms[i][0])) d->src.normaliser = forms[i][1];
    if (prepends_meta(j))
        d->src.add_space_prefix = d->prefix_always = true;
    else if (writes_meta(j))
        d->src.space_to_meta = true;
}

tfm_status tfm_hf_normalizer(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *members = tfm_hf_sequence(j, "normalizers");
    if (!j || json_is_null(j)) return TFM_OK;
    if (d->src.type == TFM_VOCAB_UNIGRAM || !is_plain(j)) return tfm_hf_normalizer_steps(d, j, err);
    if (!members) plain_normalizer(d, j);
    for (size_t i = 0; i < json_array_size(members); i++)
        plain_normalizer(d, json_array_get(members, i));
    return TFM_OK;
}

/* ---- pre_tokenizer ---- */

static tfm_status split(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *pattern = json_object_get(j, "pattern");
    size_t n;
    const char *regex = tfm_json_text(pattern, "Regex", &n);
    if (tfm_json_bool(j, "invert", false)) return tfm_hf_refuse(err, "pre_tokenizer", j);
    if (tfm_hf_text_is(j, "behavior", "Isolated") && regex)
        return tfm_draft_pattern(d, regex, n, err);
    /* Where all spaces have become U+2581 there is nothing left to split at. */
    if (tfm_hf_text_is(pattern, "String", " ") && d->src.space_to_meta &&
        !tfm_hf_text_is(j, "behavior", "Removed"))
        return TFM_OK;
    return tfm_hf_refuse(err, "pre_tokenizer", j);
}

static tfm_status byte_level(tfm_draft *d, const json_t *j, tfm_error *err) {
    d->src.byte_level = true;
    d->src.add_prefix_space = tfm_json_bool(j, "add_prefix_space", true);
    /* After a split the space would go before every part, not before the text; and U+2581 that
     * stands for a space would have to be spelled by its bytes. */
    if ((d->src.add_prefix_space && d->src.n_patterns > 0) || d->src.space_to_meta ||
        d->src.add_space_prefix)
        return tfm_hf_refuse(err, "pre_tokenizer", j);
    if (tfm_json_bool(j, "use_regex", true))
        return tfm_draft_pattern(d, BYTE_LEVEL_PATTERN, strlen(BYTE_LEVEL_PATTERN), err);
    return TFM_OK;
}

/* Does a step of the normalizer leave out what a text may begin with? */
static bool takes_beginning(const tfm_draft *d) {
    static const char *const kinds[] = {"strip-left", "strip-accents", "nmt", "bert"};
    for (uint32_t i = 0; i < d->src.n_steps; i++) {
        const tfm_vocab_step *s = &d->src.step[i];
        if (s->b && s->b[0] == '\0') return true; /* what is replaced by nothing */
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (strcmp(s->kind, kinds[k]) == 0) return true;
    }
    return false;
}

/* Older files say add_prefix_space, newer ones prepend_scheme. Unlike Prepend this puts no space
 * before a stretch of text that begins with one. */
static tfm_status metaspace(tfm_draft *d, const json_t *j, tfm_error *err) {
    static const char parts[] = META_SPACE "?[^" META_SPACE "]+|" META_SPACE;
    size_t n;
    const char *scheme = tfm_json_text(j, "prepend_scheme", &n);
    /* After a split the space would go before every part, not before the text. */
    if (!tfm_hf_text_is(j, "replacement", META_SPACE) || d->src.space_to_meta ||
        d->src.n_patterns > 0)
        return tfm_hf_refuse(err, "pre_tokenizer", j);
    d->src.space_to_meta = true;
    d->src.add_prefix_space =
        scheme ? strcmp(scheme, "never") != 0 : tfm_json_bool(j, "add_prefix_space", true);
    d->prefix_always = d->src.add_prefix_space && !(scheme && strcmp(scheme, "first") == 0);
    d->src.add_space_prefix = d->prefix_always;
    /* Whether a word is the first depends on where normalising left it. */
    if ((d->src.split_spaces || takes_beginning(d)) && d->src.add_prefix_space && !d->prefix_always)
        return tfm_hf_refuse(err, "pre_tokenizer", j);
    if (tfm_json_bool(j, "split", true)) return tfm_draft_pattern(d, parts, sizeof parts - 1, err);
    return TFM_OK;
}

tfm_status tfm_hf_pretokenizer(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *members = tfm_hf_sequence(j, "pretokenizers");
    if (!j || json_is_null(j)) return TFM_OK;
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        if (tfm_hf_is_type(m, "Sequence")) return tfm_hf_refuse(err, "pre_tokenizer", m);
        TFM_TRY(tfm_hf_pretokenizer(d, m, err));
    }
    if (members) return TFM_OK;
    if (d->src.byte_level) /* a pattern behind it would see the byte alphabet, not the text */
        return tfm_fail(err, TFM_UNSUPPORTED, "pre_tokenizer %s after ByteLevel", type_of(j));
    if (tfm_hf_is_type(j, "WhitespaceSplit") && !d->src.space_to_meta && d->src.n_patterns == 0) {
        d->src.split_spaces = true;
        return TFM_OK;
    }
    if (tfm_hf_is_type(j, "Split")) return split(d, j, err);
    if (tfm_hf_is_type(j, "ByteLevel") && d->src.type == TFM_VOCAB_BPE && !d->src.split_spaces)
        return byte_level(d, j, err);
    if (tfm_hf_is_type(j, "Metaspace")) return metaspace(d, j, err);
    if (tfm_hf_is_type(j, "Digits")) {
        const char *p = tfm_json_bool(j, "individual_digits", false) ? "\\p{N}" : "\\p{N}+";
        return tfm_draft_pattern(d, p, strlen(p), err);
    }
    return tfm_hf_refuse(err, "pre_tokenizer", j);
}

/* ---- decoder: tfm undoes what it did, so the file must ask for just that ---- */

/* For characters: does tfm, without steps, undo what it did as this decoder would? */
static bool undoes(const tfm_draft *d, const json_t *j) {
    return tfm_hf_is_type(j, "ByteFallback") || tfm_hf_is_type(j, "Fuse") ||
           (d->src.space_to_meta && tfm_hf_is_type(j, "Metaspace")) ||
           (d->src.space_to_meta && tfm_hf_is_type(j, "Replace") &&
            tfm_hf_text_is(j, "content", " ") &&
            tfm_hf_text_is(json_object_get(j, "pattern"), "String", META_SPACE)) ||
           (tfm_hf_is_type(j, "Strip") && tfm_hf_text_is(j, "content", " ") &&
            json_integer_value(json_object_get(j, "start")) <= 1 &&
            json_integer_value(json_object_get(j, "stop")) == 0);
}

static bool all_undo(const tfm_draft *d, const json_t *j) {
    const json_t *members = tfm_hf_sequence(j, "decoders");
    for (size_t i = 0; i < json_array_size(members); i++)
        if (!undoes(d, json_array_get(members, i))) return false;
    return members || undoes(d, j);
}

tfm_status tfm_hf_decoder(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *members = tfm_hf_sequence(j, "decoders");
    if (d->src.byte_level) {
        if (json_array_size(members) == 1) j = json_array_get(members, 0);
        return tfm_hf_is_type(j, "ByteLevel") ? TFM_OK : tfm_hf_refuse(err, "decoder", j);
    }
    if (d->src.type == TFM_VOCAB_BPE && d->src.n_steps == 0 && all_undo(d, j)) return TFM_OK;
    return tfm_hf_decoder_steps(d, j, err);
}

/* ---- post_processor: tokens before and after one text ---- */

/* What is put around a text so far; each further processor puts its tokens outside. */
typedef struct around {
    int32_t before[TFM_VOCAB_AROUND], after[TFM_VOCAB_AROUND];
    uint32_t n_before, n_after;
} around;

static tfm_status push(const tfm_draft *d, const json_t *j, int32_t *list, uint32_t *n,
                       const json_t *id, tfm_error *err) {
    json_int_t v = json_integer_value(id);
    if (!json_is_integer(id) || v < 0 || v >= d->src.n || *n == TFM_VOCAB_AROUND)
        return tfm_hf_refuse(err, "post_processor", j);
    list[(*n)++] = (int32_t)v;
    return TFM_OK;
}

/* The ids that a template's special token stands for. */
static tfm_status template_ids(const tfm_draft *d, const json_t *j, const json_t *part,
                               int32_t *list, uint32_t *n, tfm_error *err) {
    const char *name = tfm_json_text(json_object_get(part, "SpecialToken"), "id", NULL);
    const json_t *token = json_object_get(json_object_get(j, "special_tokens"), name ? name : "");
    const json_t *ids = json_object_get(token, "ids");
    if (!name || json_array_size(ids) == 0) return tfm_hf_refuse(err, "post_processor", j);
    for (size_t i = 0; i < json_array_size(ids); i++)
        TFM_TRY(push(d, j, list, n, json_array_get(ids, i), err));
    return TFM_OK;
}

/* What is in `inner` lies within what is in *a. */
static tfm_status wrap(around *a, const around *inner, const json_t *j, tfm_error *err) {
    if (a->n_before + inner->n_before > TFM_VOCAB_AROUND ||
        a->n_after + inner->n_after > TFM_VOCAB_AROUND)
        return tfm_hf_refuse(err, "post_processor", j);
    memcpy(a->before + a->n_before, inner->before, inner->n_before * sizeof *a->before);
    memmove(a->after + inner->n_after, a->after, a->n_after * sizeof *a->after);
    memcpy(a->after, inner->after, inner->n_after * sizeof *a->after);
    a->n_before += inner->n_before;
    a->n_after += inner->n_after;
    return TFM_OK;
}

static tfm_status template(const tfm_draft *d, const json_t *j, around *a, tfm_error *err) {
    const json_t *single = json_object_get(j, "single");
    bool seen = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i), *text = json_object_get(part, "Sequence");
        if (text) {
            if (seen || !tfm_hf_text_is(text, "id", "A"))
                return tfm_hf_refuse(err, "post_processor", j);
            seen = true;
        } else if (seen) {
            TFM_TRY(template_ids(d, j, part, a->after, &a->n_after, err));
        } else {
            TFM_TRY(template_ids(d, j, part, a->before, &a->n_before, err));
        }
    }
    return seen ? TFM_OK : tfm_hf_refuse(err, "post_processor", j);
}

static tfm_status processor(const tfm_draft *d, const json_t *j, around *a, unsigned depth,
                            tfm_error *err) {
    const json_t *members = tfm_hf_sequence(j, "processors");
    around outer = {.n_before = 0};
    if (tfm_hf_is_type(j, "ByteLevel")) return TFM_OK; /* moves offsets only */
    if (tfm_hf_is_type(j, "Sequence")) {
        if (depth == 0) return tfm_hf_refuse(err, "post_processor", j);
        for (size_t i = 0; i < json_array_size(members); i++)
            TFM_TRY(processor(d, json_array_get(members, i), a, depth - 1, err));
        return TFM_OK;
    }
    if (tfm_hf_is_type(j, "TemplateProcessing")) {
        TFM_TRY(template(d, j, &outer, err));
    } else if (tfm_hf_is_type(j, "RobertaProcessing") || tfm_hf_is_type(j, "BertProcessing")) {
        /* {"cls": ["<s>", 0], "sep": ["</s>", 2]} */
        const json_t *cls = json_object_get(j, "cls"), *sep = json_object_get(j, "sep");
        TFM_TRY(push(d, j, outer.before, &outer.n_before, json_array_get(cls, 1), err));
        TFM_TRY(push(d, j, outer.after, &outer.n_after, json_array_get(sep, 1), err));
    } else {
        return tfm_hf_refuse(err, "post_processor", j);
    }
    TFM_TRY(wrap(&outer, a, j, err));
    *a = outer;
    return TFM_OK;
}

static tfm_status copy_ids(tfm_draft *d, const int32_t *id, uint32_t n, const int32_t **out,
                           tfm_error *err) {
    void *p;
    if (n == 0) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(d->arena, &p, n * sizeof *id, err));
    memcpy(p, id, n * sizeof *id);
    *out = p;
    return TFM_OK;
}

tfm_status tfm_hf_postprocessor(tfm_draft *d, const json_t *j, tfm_error *err) {
    around a = {.n_before = 0};
    if (!j || json_is_null(j)) return TFM_OK;
    TFM_TRY(processor(d, j, &a, 4, err));
    if (a.n_before > 1 || a.n_after > 1) {
        d->src.n_before = a.n_before;
        d->src.n_after = a.n_after;
        TFM_TRY(copy_ids(d, a.before, a.n_before, &d->src.before, err));
        return copy_ids(d, a.after, a.n_after, &d->src.after, err);
    }
    if (a.n_before == 1) d->src.bos = a.before[0];
    if (a.n_after == 1) d->src.eos = a.after[0];
    d->src.add_bos = a.n_before == 1;
    d->src.add_eos = a.n_after == 1;
    return TFM_OK;
}

/* ---- by settings or by steps ---- */

tfm_status tfm_hf_either(tfm_draft *d, const json_t *j, tfm_hf_reader fixed, tfm_hf_reader steps,
                         tfm_error *err) {
    const tfm_draft before = *d;
    void *flags;
    TFM_TRY(tfm_arena_alloc(d->arena, &flags, d->src.n, err));
    memcpy(flags, d->flags, d->src.n);
    tfm_status st = fixed(d, j, err);
    if (st != TFM_UNSUPPORTED) return st;
    *d = before;
    memcpy(d->flags, flags, d->src.n);
    d->exact = true;
    return steps(d, j, err);
}

tfm_status tfm_hf_stages(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *normalizer = json_object_get(j, "normalizer");
    if (normalizer && !json_is_null(normalizer))
        TFM_TRY(tfm_hf_normalizer_steps(d, normalizer, err));
    TFM_TRY(tfm_hf_splitter_steps(d, json_object_get(j, "pre_tokenizer"), err));
    TFM_TRY(tfm_hf_decoder_steps(d, json_object_get(j, "decoder"), err));
    return tfm_hf_take_added(d, json_object_get(j, "added_tokens"), err);
}

/* ---- added tokens and tokenizer_config.json ---- */

/* Control tokens are matched only on request and then as they are written. */
tfm_status tfm_hf_added_flags(const tfm_draft *d, const json_t *token, unsigned *flags,
                              unsigned *matching, tfm_error *err) {
    const char *content = tfm_json_text(token, "content", NULL);
    bool special = tfm_json_bool(token, "special", false);
    bool normalized = !special && tfm_json_bool(token, "normalized", true);
    bool single = tfm_json_bool(token, "single_word", false);
    bool changes =
        strcmp(d->src.normaliser, "none") != 0 || d->src.space_to_meta || d->src.add_space_prefix;
    *flags = special ? TFM_TOKEN_CONTROL : TFM_TOKEN_ADDED;
    if (tfm_json_bool(token, "lstrip", false)) *flags |= TFM_TOKEN_LSTRIP;
    if (tfm_json_bool(token, "rstrip", false)) *flags |= TFM_TOKEN_RSTRIP;
    *matching = single ? TFM_MATCH_WORD : 0;
    if (d->exact) {
        /* Also where nothing is normalised: they are looked for after the others. */
        if (normalized) *matching |= TFM_MATCH_NORMALISED;
        return TFM_OK;
    }
    if (single) return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' with single_word", content);
    /* Without Metaspace tfm puts a space before a text and after control tokens, not after other
     * added ones. */
    if (!special && d->prefix_always && !d->src.add_prefix_space)
        return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' behind which a space is put",
                        content);
    /* What is matched is written with spaces there. */
    bool is_json = d->src.type == TFM_VOCAB_BPE || d->src.wide_score;
    if (!special && is_json && d->src.space_to_meta && content && strstr(content, META_SPACE))
        return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' with U+2581", content);
    if (changes && normalized)
        return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' is matched in the normalized text",
                        content);
    return TFM_OK;
}

/* is_list: the file lists no added tokens of its own, so a token that is named here is special. */
static void named_token(tfm_draft *d, const json_t *config, const char *key, bool is_list,
                        int32_t *id) {
    size_t n;
    const char *name = tfm_json_token(config, key, &n);
    int32_t found = name ? tfm_draft_find(d, name, n) : -1;
    if (found < 0) return;
    *id = found;
    if (is_list) tfm_draft_flag(d, found, TFM_TOKEN_CONTROL);
}

void tfm_hf_config_tokens(tfm_draft *d, const json_t *config, bool is_list) {
    tfm_vocab_source *v = &d->src;
    int32_t bos = v->bos, eos = v->eos;
    named_token(d, config, "bos_token", is_list, &bos);
    named_token(d, config, "eos_token", is_list, &eos);
    named_token(d, config, "unk_token", false, &v->unk);
    named_token(d, config, "pad_token", is_list, &v->pad);
    /* What a template puts around a text is settled there; the name may mean another token. */
    if (!v->add_bos || is_list) v->bos = bos;
    if (!v->add_eos || is_list) v->eos = eos;
    tfm_draft_flag(d, eos, TFM_TOKEN_EOG);
    if (!is_list) return;
    v->add_bos = tfm_json_bool(config, "add_bos_token", v->add_bos);
    v->add_eos = tfm_json_bool(config, "add_eos_token", v->add_eos);
}

/* "added_tokens_decoder": {"32000": {"content": ...}, ...} */
tfm_status tfm_hf_added_list(const json_t *config, json_t **out, tfm_error *err) {
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    json_t *list = json_array();
    *out = list;
    if (!list) return tfm_fail(err, TFM_NOMEM, "out of memory");
    for (void *at = json_object_iter(decoder); at; at = json_object_iter_next(decoder, at)) {
        int64_t id;
        if (!tfm_parse_i64(json_object_iter_key(at), 0, INT32_MAX, &id))
            return tfm_fail(err, TFM_FORMAT, "added token '%s' is no id", json_object_iter_key(at));
        json_t *token = json_copy(json_object_iter_value(at));
        if (!token || json_object_set_new(token, "id", json_integer(id)) != 0 ||
            json_array_append_new(list, token) != 0)
            return tfm_fail(err, TFM_NOMEM, "out of memory, or an added token is no object");
    }
    return TFM_OK;
}

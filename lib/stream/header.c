/* header.c - the text header of a stream: kind, version, key-value lines, CRC.
 *
 * Owns its meaning in memory and its bytes, both ways; does no input or output. Lines are kept in
 * order because provenance is a sequence. */
#include <stdio.h>
#include <string.h>

#include "base/utf8_internal.h"
#include "stream/stream_internal.h"

enum { KEY_MAX = 64, KIND_MAX = 32, END_LINE = 13 /* "end 01234567\n" */ };

struct tfm_header {
    char *kind;
    struct line {
        char *key, *value;
    } * line;
    size_t n, cap;
};

uint64_t tfm_pad64(uint64_t n) {
    return (n + TFM_ALIGN - 1) & ~(uint64_t)(TFM_ALIGN - 1);
}

bool tfm_is_plain_utf8(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        bool ok;
        i += tfm_utf8_decode((const unsigned char *)s + i, n - i, &cp, &ok);
        if (!ok || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) return false;
    }
    return true;
}

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_key(const char *s, size_t n) {
    if (n < 1 || n > KEY_MAX) return false;
    for (size_t i = 0; i < n; i++)
        if (!is_lower(s[i]) && !is_upper(s[i]) && !is_digit(s[i]) && s[i] != '_' && s[i] != '-')
            return false;
    return true;
}

static bool is_kind(const char *s, size_t n) {
    if (n < 1 || n > KIND_MAX) return false;
    for (size_t i = 0; i < n; i++)
        if (!is_lower(s[i]) && !is_digit(s[i]) && s[i] != '-') return false;
    return true;
}

static bool is_reserved(const char *key, size_t n) {
    return (n == 3 && memcmp(key, "end", 3) == 0) || (n == 4 && memcmp(key, "kind", 4) == 0) ||
           (n == 5 && memcmp(key, "needs", 5) == 0);
}

/* ---- in memory ---- */

static tfm_status new_header(tfm_header **out, const char *kind, size_t n, tfm_error *err) {
    void *p;
    *out = NULL;
    if (!is_kind(kind, n))
        return tfm_fail(err, TFM_FORMAT, "'%.*s' is no kind of stream", (int)(n > 40 ? 40 : n),
                        kind);
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_header), err));
    tfm_header *h = p;
    tfm_status st = tfm_strndup(&h->kind, kind, n, err);
    if (st != TFM_OK) {
        tfm_header_free(h);
        return st;
    }
    *out = h;
    return TFM_OK;
}

tfm_status tfm_header_new(tfm_header **out, const char *kind, tfm_error *err) {
    return new_header(out, kind, strlen(kind), err);
}

void tfm_header_free(tfm_header *h) {
    if (!h) return;
    for (size_t i = 0; i < h->n; i++) {
        tfm_free(h->line[i].key);
        tfm_free(h->line[i].value);
    }
    tfm_free(h->line);
    tfm_free(h->kind);
    tfm_free(h);
}

static tfm_status append(tfm_header *h, const char *key, size_t key_len, const char *value,
                         size_t value_len, tfm_error *err) {
    struct line l = {0};
    void *p = h->line;
    tfm_status st = tfm_grow(&p, &h->cap, h->n + 1, sizeof *h->line, err);
    h->line = p;
    if (st == TFM_OK) st = tfm_strndup(&l.key, key, key_len, err);
    if (st == TFM_OK) st = tfm_strndup(&l.value, value, value_len, err);
    if (st != TFM_OK) {
        tfm_free(l.key);
        return st;
    }
    h->line[h->n++] = l;
    return TFM_OK;
}

static tfm_status check_line(const char *key, size_t key_len, const char *value, size_t value_len,
                             tfm_error *err) {
    int shown = (int)(key_len > KEY_MAX ? KEY_MAX : key_len);
    if (!is_key(key, key_len) || is_reserved(key, key_len))
        return tfm_fail(err, TFM_FORMAT, "'%.*s' cannot be a header key", shown, key);
    if (!tfm_is_plain_utf8(value, value_len))
        return tfm_fail(err, TFM_FORMAT,
                        "the value of header key '%.*s' is not UTF-8 without control characters",
                        shown, key);
    return TFM_OK;
}

tfm_status tfm_header_copy(tfm_header **out, const tfm_header *h, tfm_error *err) {
    tfm_header *c;
    *out = NULL;
    TFM_TRY(tfm_header_new(&c, h->kind, err));
    for (size_t i = 0; i < h->n; i++) {
        const struct line *l = &h->line[i];
        tfm_status st = append(c, l->key, strlen(l->key), l->value, strlen(l->value), err);
        if (st != TFM_OK) {
            tfm_header_free(c);
            return st;
        }
    }
    *out = c;
    return TFM_OK;
}

const char *tfm_header_kind(const tfm_header *h) {
    return h->kind;
}

tfm_status tfm_header_expect(const tfm_header *h, const char *kind, tfm_error *err) {
    static const char *const maker[][2] = {{"tokens", "tfm-tokenize"},
                                           {"hidden", "tfm-embed or tfm-attend"},
                                           {"logits", "tfm-unembed"}};
    const char *tool = tfm_header_get(h, "tool"), *cure = NULL;

    if (strcmp(tfm_header_kind(h), kind) == 0) return TFM_OK;
    for (size_t i = 0; i < sizeof maker / sizeof *maker; i++)
        if (strcmp(maker[i][0], kind) == 0) cure = maker[i][1];
    return tfm_fail(err, TFM_MISMATCH, "the stream of %s is of kind %s, %s is wanted%s%s",
                    tool ? tool : "an unnamed tool", tfm_header_kind(h), kind,
                    cure ? ", as from " : "", cure ? cure : "");
}

tfm_status tfm_header_set_kind(tfm_header *h, const char *kind, tfm_error *err) {
    char *copy;
    if (!is_kind(kind, strlen(kind)))
        return tfm_fail(err, TFM_FORMAT, "'%s' is no kind of stream", kind);
    TFM_TRY(tfm_strdup(&copy, kind, err));
    tfm_free(h->kind);
    h->kind = copy;
    return TFM_OK;
}

const char *tfm_header_get(const tfm_header *h, const char *key) {
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->line[i].key, key) == 0) return h->line[i].value;
    return NULL;
}

static void remove_key(tfm_header *h, const char *key) {
    size_t kept = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->line[i].key, key) != 0) {
            h->line[kept++] = h->line[i];
            continue;
        }
        tfm_free(h->line[i].key);
        tfm_free(h->line[i].value);
    }
    h->n = kept;
}

tfm_status tfm_header_set(tfm_header *h, const char *key, const char *value, tfm_error *err) {
    char *copy;
    if (!value) {
        remove_key(h, key);
        return TFM_OK;
    }
    TFM_TRY(check_line(key, strlen(key), value, strlen(value), err));
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->line[i].key, key) != 0) continue;
        TFM_TRY(tfm_strdup(&copy, value, err));
        tfm_free(h->line[i].value);
        h->line[i].value = copy;
        return TFM_OK;
    }
    return append(h, key, strlen(key), value, strlen(value), err);
}

tfm_status tfm_header_add(tfm_header *h, const char *key, const char *value, tfm_error *err) {
    TFM_TRY(check_line(key, strlen(key), value, strlen(value), err));
    return append(h, key, strlen(key), value, strlen(value), err);
}

size_t tfm_header_count(const tfm_header *h) {
    return h->n;
}

const char *tfm_header_key(const tfm_header *h, size_t i) {
    return i < h->n ? h->line[i].key : NULL;
}

const char *tfm_header_value(const tfm_header *h, size_t i) {
    return i < h->n ? h->line[i].value : NULL;
}

/* ---- as bytes ---- */

tfm_status tfm_header_format(const tfm_header *h, tfm_buf *b, tfm_error *err) {
    TFM_TRY(tfm_buf_printf(b, err, TFM_STREAM_MAGIC "kind %s\nneeds %u.%u\n", h->kind,
                           TFM_VERSION_MAJOR, TFM_VERSION_MINOR));
    for (size_t i = 0; i < h->n; i++) {
        TFM_TRY(tfm_buf_printf(b, err, "%s %s\n", h->line[i].key, h->line[i].value));
        if (b->len > TFM_HEADER_MAX) break;
    }
    TFM_TRY(tfm_buf_printf(b, err, "end %08x\n", tfm_crc32(0, b->data, b->len)));
    while (b->len % TFM_ALIGN) TFM_TRY(tfm_buf_byte(b, '\n', err));
    if (b->len > TFM_HEADER_MAX)
        return tfm_fail(err, TFM_LIMIT, "the stream header is longer than %u bytes",
                        TFM_HEADER_MAX);
    return TFM_OK;
}

/* What else the bytes may be, so that the message can name the cure. */
static tfm_status not_a_stream(const unsigned char *p, size_t n, tfm_error *err) {
    static const struct {
        const char *magic, *why;
    } known[] = {{"GGUF", ": it is a GGUF file; tfm-convert makes a model of it"},
                 {"\x28\xb5\x2f\xfd", ": it is compressed by zstd; pipe it through zstd -dc"},
                 {"\xfd\x37zXZ", ": it is compressed by xz; pipe it through xz -dc"},
                 {"PK\x03\x04", ": it is a ZIP archive"},
                 {"TFMSTRM", ": its format version is not 1; a newer tfm is needed"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t len = strlen(known[i].magic);
        if (n >= len && memcmp(p, known[i].magic, len) == 0)
            return tfm_fail(err, known[i].magic[0] == 'T' ? TFM_UNSUPPORTED : TFM_FORMAT,
                            "not a tfm stream%s", known[i].why);
    }
    size_t look = n < 16 ? n : 16;
    bool is_text = tfm_utf8_valid(p, look - tfm_utf8_tail(p, look), NULL);
    return tfm_fail(err, TFM_FORMAT, "not a tfm stream%s",
                    is_text ? " (is it text? tfm-tokenize makes a stream of text)" : "");
}

tfm_status tfm_header_extent(const unsigned char *p, size_t n, size_t from, size_t *total,
                             tfm_error *err) {
    const size_t magic_len = strlen(TFM_STREAM_MAGIC);
    size_t known = n < magic_len ? n : magic_len;
    *total = 0;
    if (memcmp(p, TFM_STREAM_MAGIC, known) != 0) return not_a_stream(p, n, err);
    if (n < magic_len) return TFM_OK;
    /* The end line begins after a newline; a search that goes on steps back over a split "\nend
     * ". */
    from = from > magic_len + 5 ? from - 5 : magic_len - 1;
    const unsigned char *end = from < n ? memmem(p + from, n - from, "\nend ", 5) : NULL;
    if (end) *total = (size_t)tfm_pad64((uint64_t)(end - p) + 1 + END_LINE);
    if (*total > TFM_HEADER_MAX || (!end && n > TFM_HEADER_MAX))
        return tfm_fail(err, TFM_LIMIT, "the stream header is longer than %u bytes",
                        TFM_HEADER_MAX);
    return TFM_OK;
}

/* Checks the end line at p[at..] and the padding to `total`. */
static tfm_status check_end(const unsigned char *p, size_t at, size_t total, tfm_error *err) {
    char line[END_LINE + 1];
    snprintf(line, sizeof line, "end %08x\n", tfm_crc32(0, p, at));
    if (memcmp(p + at, line, END_LINE) != 0)
        return tfm_fail(err, TFM_FORMAT, "the stream header is damaged: its CRC does not match");
    for (size_t i = at + END_LINE; i < total; i++)
        if (p[i] != '\n')
            return tfm_fail(err, TFM_FORMAT, "the stream header is not padded by newlines");
    return TFM_OK;
}

/* "MAJOR.MINOR", decimal, without sign and leading zeros. */
static tfm_status check_needs(const char *s, size_t n, tfm_error *err) {
    const char *dot = memchr(s, '.', n);
    uint64_t v[2] = {0, 0};
    bool ok = dot && dot > s && n < 12 && dot + 1 < s + n && (*s != '0' || dot == s + 1) &&
              (dot[1] != '0' || dot + 2 == s + n);
    for (size_t i = 0; ok && i < n; i++) {
        if (s + i == dot) continue;
        ok = is_digit(s[i]);
        v[s + i > dot] = v[s + i > dot] * 10 + (uint64_t)(s[i] - '0');
    }
    if (!ok) return tfm_fail(err, TFM_FORMAT, "the header's 'needs' line is not MAJOR.MINOR");
    if (v[0] != TFM_VERSION_MAJOR || v[1] > TFM_VERSION_MINOR)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "the stream needs format version %.*s; this tfm reads %u.%u", (int)n, s,
                        TFM_VERSION_MAJOR, TFM_VERSION_MINOR);
    return TFM_OK;
}

/* Takes the line "WORD value\n" at *p; value is borrowed. */
static bool take_line(const char **p, const char *end, const char *word, const char **value,
                      size_t *n) {
    size_t len = strlen(word);
    const char *lf = memchr(*p, '\n', (size_t)(end - *p));
    if (!lf || (size_t)(lf - *p) < len + 1 || memcmp(*p, word, len) != 0 || (*p)[len] != ' ')
        return false;
    *value = *p + len + 1;
    *n = (size_t)(lf - *value);
    *p = lf + 1;
    return true;
}

static tfm_status parse_lines(tfm_header *h, const char *p, const char *end, tfm_error *err) {
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *space = lf ? memchr(p, ' ', (size_t)(lf - p)) : NULL;
        if (!space) return tfm_fail(err, TFM_FORMAT, "a header line is not \"key value\"");
        size_t key_len = (size_t)(space - p), value_len = (size_t)(lf - space - 1);
        TFM_TRY(check_line(p, key_len, space + 1, value_len, err));
        if (is_upper(*p))
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "the stream needs '%.*s', which this tfm does not know; a newer one is "
                            "needed",
                            (int)key_len, p);
        TFM_TRY(append(h, p, key_len, space + 1, value_len, err));
        p = lf + 1;
    }
    return TFM_OK;
}

tfm_status tfm_header_parse(tfm_header **out, const void *p, size_t n, size_t *used,
                            tfm_error *err) {
    const char *s = p, *kind, *needs;
    size_t total, kind_len, needs_len;
    *out = NULL;
    *used = 0;
    TFM_TRY(tfm_header_extent(p, n, 0, &total, err));
    if (total == 0 || total > n) return tfm_fail(err, TFM_TRUNCATED, "ends inside a stream header");
    const char *end = (const char *)memmem(s, n, "\nend ", 5) + 1;
    TFM_TRY(check_end(p, (size_t)(end - s), total, err));
    s += strlen(TFM_STREAM_MAGIC);
    if (!take_line(&s, end, "kind", &kind, &kind_len) ||
        !take_line(&s, end, "needs", &needs, &needs_len))
        return tfm_fail(err, TFM_FORMAT, "the stream header does not begin with kind and needs");
    TFM_TRY(check_needs(needs, needs_len, err));
    tfm_header *h;
    TFM_TRY(new_header(&h, kind, kind_len, err));
    tfm_status st = parse_lines(h, s, end, err);
    if (st != TFM_OK) {
        tfm_header_free(h);
        return st;
    }
    *out = h;
    *used = total;
    return TFM_OK;
}

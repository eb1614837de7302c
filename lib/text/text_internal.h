/* text_internal.h - what the files of the text layer share: the opened vocabulary, its hash tables,
 * and the steps of tokenizing, in the order in which they run:
 *
 *     special.c     added and control tokens are cut out of the text
 *     normalise.c   what is between them is normalised (NFC and relatives)
 *     norm_steps.c  or by a list of steps (step_list.c), as tokenizer.json has them
 *     graphemes.c   one of which goes by grapheme clusters
 *     pretok.c      and split by the pre-tokenizer's patterns (byte-level BPE)
 *     scan.c        by itself where they are of the plain kind
 *     bpe.c, spm.c  each piece becomes symbols, one per byte (bpe) or character (spm)
 *     merge.c       which are merged pair by pair, best pair first
 *     charsmap.c    SentencePiece's own normalisation, by a table
 *     unigram.c     or the best of all ways to cut it into pieces is found, with trie.c
 *     pair.c        or as pieces of another vocabulary, which are looked up in this one
 *     basic.c       or the text is cut into words as BERT does, and each into the longest pieces:
 *     wordpiece.c   with trie.c
 *     characters.c  or each character is a token
 *     split_steps.c or the text is split by a list of steps, as tokenizer.json has them, and
 *     char_bpe.c    each part goes to the model; to this one if it is BPE
 *     pattern.c     how patterns are read
 *     words.c       unless the piece is known from before
 *     ranges.c      tables of characters
 *     cuts.c        where a text without patterns may be cut into pieces, too
 *     run.c         the memory in which all that happens
 *     detok.c       and the way back
 *     decode.c      by a list of steps, where a vocabulary has one
 *
 * Every table of a vocabulary may come from a hostile file and is used in place. What keeps
 * that safe: sizes are checked at open (vocab.c), every value read from a table is checked where it
 * is used (piece(), the probes below), and no loop is bounded by such a value alone. */
#ifndef TFM_TEXT_INTERNAL_H
#define TFM_TEXT_INTERNAL_H

#include <pthread.h>
#include <string.h>

#include "base/base_internal.h"
#include "base/utf8_internal.h"
#include "tfm/tokenizer.h"

#define TFM_META "\xe2\x96\x81" /* U+2581, SentencePiece's visible space */
#define TFM_META_LEN 3

enum {
    TFM_VOCAB_MAX = 1 << 24,    /* pieces; ids stay far from the sign bit */
    TFM_PATTERNS_MAX = 64,      /* pre-tokenizer patterns; known models have up to 6 */
    TFM_PATTERN_MAX = 1 << 16,  /* bytes of one pattern; known ones have up to 700 */
    TFM_PROBE_MAX = 256,        /* probes of a hash table; the builder grows the table to hold it */
    TFM_SPECIAL_LEN_MAX = 1024, /* bytes of an added token; bounds the work per byte of text */
    TFM_TRIE_DEPTH = 1024,      /* bytes of a piece in a trie: bounds the work per character */
    TFM_STRETCH_MAX = 1 << 16,  /* bytes of an unknown stretch that may be a piece (pair.c) */
    TFM_INNER_MAX = 31,         /* bytes of WordPiece's inner prefix; known ones have 2 */
    TFM_AFFIX_MAX = 31,         /* bytes of BPE's affixes; known ones have 4 */
    TFM_SMALL_PIECE = 48,       /* up to here a linear scan beats the heap (merge.c) */
    TFM_WORD_MAX = 46,          /* bytes of a word in the cache, */
    TFM_WORD_IDS = 20,          /* and its ids: 128 bytes in all (words.c) */
    TFM_PAIRS = 1 << 14,      /* slots of the cache of pairs: 256 KiB, which stay in L2 (merge.c) */
    TFM_BOUNDARIES = 1 << 11, /* characters whose place in NFC is kept (normalise.c) */
    TFM_WAITING = 16,         /* pieces whose slots are fetched while others are looked up */
    TFM_STEPS_MAX = 32,       /* of a normaliser or a decoder; real ones have up to 7 */
    TFM_STEP_TEXT_MAX = 1 << 12 /* bytes of a text of a step */
};
#define TFM_TEXT_MAX (1u << 30) /* bytes of one text: symbols are numbered by u32 */

typedef enum tfm_norm {
    TFM_NORM_NONE,
    TFM_NORM_NFC,
    TFM_NORM_NFKC,
    TFM_NORM_NFD,
    TFM_NORM_NFKD,
    TFM_NORM_CHARSMAP, /* the table vocab.charsmap, as SentencePiece uses it */
    TFM_NORM_STEPS     /* settings.steps, one after another */
} tfm_norm;

/* Steps of a normaliser, */
typedef enum tfm_step_kind {
    TFM_STEP_NFC,
    TFM_STEP_NFD,
    TFM_STEP_NFKC,
    TFM_STEP_NFKD,
    TFM_STEP_LOWERCASE,
    TFM_STEP_STRIP_ACCENTS, /* marks are left out */
    TFM_STEP_NMT,           /* controls are left out, odd spaces become spaces */
    TFM_STEP_CHARSMAP,      /* vocab.charsmap as Hugging Face uses it: by grapheme clusters */
    TFM_STEP_STRIP_LEFT,
    TFM_STEP_STRIP_RIGHT,
    TFM_STEP_PREPEND,       /* a, before a text that is not empty */
    TFM_STEP_REPLACE,       /* a by b */
    TFM_STEP_REPLACE_REGEX, /* what matches a by b */
    TFM_STEP_BERT,          /* basic.c, as its letters in a say */
    TFM_STEP_BYTES,         /* each byte by its character of GPT-2's alphabet */
    TFM_STEP_KINDS
} tfm_step_kind;

/* of a splitter: each makes parts of a part, or a part another text, */
typedef enum tfm_split_kind {
    TFM_SPLIT_WHOLE,       /* nothing happens */
    TFM_SPLIT_SPACES,      /* at white space, which is left out */
    TFM_SPLIT_WORDS,       /* \w+ and [^\w\s]+ */
    TFM_SPLIT_PUNCTUATION, /* at each character that BERT takes for punctuation; b: tfm_behaviour */
    TFM_SPLIT_DIGITS,      /* at each number character */
    TFM_SPLIT_TEXT,        /* at each text a */
    TFM_SPLIT_REGEX,       /* at each match of a */
    TFM_SPLIT_REPLACE,     /* a by b */
    TFM_SPLIT_PREFIX,      /* a before a part that does not begin with it; b: "always", "first" */
    TFM_SPLIT_BYTES,       /* each byte by its character of GPT-2's alphabet */
    TFM_SPLIT_SCRIPTS,     /* where the script changes; what comes before the first goes */
    TFM_SPLIT_KINDS
} tfm_split_kind;

/* What becomes of that at which a part is split. */
typedef enum tfm_behaviour {
    TFM_SPLIT_REMOVED,    /* it is left out */
    TFM_SPLIT_ISOLATED,   /* it is a part */
    TFM_SPLIT_CONTIGUOUS, /* ... and so are several in a row together */
    TFM_SPLIT_PREVIOUS,   /* it goes with the part before */
    TFM_SPLIT_NEXT,       /* it goes with the part behind */
    TFM_SPLIT_BEHAVIOURS
} tfm_behaviour;

/* and of a decoder: each is a function from the pieces to as many texts. */
typedef enum tfm_decode_kind {
    TFM_DECODE_REPLACE,       /* a by b in each piece */
    TFM_DECODE_META,          /* a by a space; in the first piece by nothing if b is "first" */
    TFM_DECODE_BYTE_FALLBACK, /* <0x0A> is that byte */
    TFM_DECODE_SUFFIX,        /* a at the end of a piece by a space, in the last one by nothing */
    TFM_DECODE_STRIP,         /* up to b (a number) times the text a at the start of each piece */
    TFM_DECODE_FUSE,          /* what follows sees one piece, the whole text */
    TFM_DECODE_STRIP_END,     /* as strip, at the end */
    TFM_DECODE_BYTES,         /* characters of GPT-2's alphabet are bytes if all of a piece are */
    TFM_DECODE_WORDS,         /* a at the start of a piece goes; without it a space goes before */
    TFM_DECODE_SPACES,        /* a space before each piece but the first */
    TFM_DECODE_CLEAN,         /* no space before punctuation and 's, wordpiece.c */
    TFM_DECODE_DISTINCT,      /* a piece that is the one before is left out */
    TFM_DECODE_SOME,          /* empty pieces are left out */
    TFM_DECODE_REPLACE_REGEX, /* what matches a in each piece by b */
    TFM_DECODE_KINDS
} tfm_decode_kind;

typedef struct tfm_step {
    unsigned kind; /* tfm_step_kind, tfm_decode_kind or tfm_split_kind */
    char *a, *b;   /* owned; NULL where the kind has none */
    size_t a_len, b_len;
    uint64_t number; /* TFM_DECODE_STRIP, TFM_DECODE_STRIP_END: b */
    tfm_behaviour behaviour;
    bool inverse; /* what is split at is what does not match */
} tfm_step;

typedef enum tfm_list { TFM_LIST_NORM, TFM_LIST_DECODE, TFM_LIST_SPLIT, TFM_LIST_KINDS } tfm_list;

typedef struct tfm_steps {
    uint32_t n;
    tfm_step step[TFM_STEPS_MAX];
} tfm_steps;

/* Appends a step; TFM_UNSUPPORTED names a kind that is not known. a, b: NULL for none. */
tfm_status tfm_steps_add(tfm_steps *l, tfm_list list, const char *kind, const char *a,
                         const char *b, tfm_error *err) TFM_MUST_CHECK;
void tfm_steps_clear(tfm_steps *l);
const char *tfm_step_name(tfm_list list, unsigned kind);

/* Ids that are put before or after a text. */
typedef struct tfm_around {
    uint32_t n;
    int32_t id[TFM_VOCAB_AROUND];
} tfm_around;

/* What ordinary text never becomes. */
#define TFM_NOT_TEXT (TFM_TOKEN_CONTROL | TFM_TOKEN_BYTE | TFM_TOKEN_UNKNOWN | TFM_TOKEN_UNUSED)

/* The settings of a vocabulary: everything that is no table. Written as YAML by
 * tfm_vocab_settings_write and read back by tfm_vocab_settings_read. */
typedef struct tfm_vocab_settings {
    tfm_vocab_type type;
    uint32_t n;
    char id[17];
    int32_t bos, eos, unk, pad;
    bool add_bos, add_eos;
    bool add_space_prefix, space_to_meta, remove_extra_spaces;
    bool ignore_merges, byte_level, add_prefix_space;
    tfm_norm norm;
    /* WordPiece only */
    bool clean_text, split_cjk, strip_accents, lowercase, clean_spaces;
    char inner_prefix[TFM_INNER_MAX + 1];
    uint32_t max_word;  /* characters of the longest word that is not unknown */
    uint32_t n_source;  /* unigram: pieces of the model, where these are not the vocabulary's */
    uint32_t max_piece; /* bytes of the longest piece */
    uint32_t n_patterns;
    char *pattern[TFM_PATTERNS_MAX]; /* owned */
    size_t pattern_len[TFM_PATTERNS_MAX];
    bool split_spaces;
    tfm_around before, after; /* if either has any, instead of add_bos and add_eos */
    tfm_steps steps, decoder;
    /* If there is any: normaliser, these, and the model for each part, as tokenizer.json has it
     * (split_steps.c). The fields above, from add_space_prefix to patterns, say nothing then. */
    tfm_steps splitter;
    /* BPE with a splitter (char_bpe.c) */
    char word_suffix[TFM_AFFIX_MAX + 1]; /* of what ends a word: "</w>" */
    char word_prefix[TFM_AFFIX_MAX + 1]; /* of what does not begin one: "##" */
    bool fuse_unknown;                   /* unknown characters in a row are one token */
    bool matching; /* vocab.special_matching says how added tokens are found */
} tfm_vocab_settings;

tfm_status tfm_vocab_settings_read(tfm_vocab_settings *s, const char *yaml, size_t n,
                                   tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_vocab_settings_write(tfm_buf *out, const tfm_vocab_settings *s,
                                    tfm_error *err) TFM_MUST_CHECK;
void tfm_vocab_settings_clear(tfm_vocab_settings *s);
/* "none", "nfc", ...; false if the name is unknown. */
bool tfm_norm_parse(const char *name, tfm_norm *out);
const char *tfm_norm_name(tfm_norm n);

/* One slot of the piece hash: 0 in id1 is empty. */
typedef struct tfm_piece_slot {
    uint32_t id1; /* id + 1 */
    uint32_t tag; /* upper half of the hash: most misses end here */
} tfm_piece_slot;

/* One slot of the merge hash: 0 in rank1 is empty. */
typedef struct tfm_merge_slot {
    int32_t left, right;
    uint32_t rank1; /* rank + 1 */
    int32_t id;     /* what the two become */
} tfm_merge_slot;

/* One edge of the trie: 0 in byte1 is empty. */
typedef struct tfm_trie_slot {
    uint32_t node;
    uint32_t byte1; /* byte + 1 */
    uint32_t child;
    uint32_t id1; /* id + 1 of the piece that ends there; 0: none */
} tfm_trie_slot;

/* SentencePiece's table of replacements; n_units 0: none. */
typedef struct tfm_charsmap {
    const unsigned char *units, *text;
    uint32_t n_units;
    uint64_t text_len;
} tfm_charsmap;

struct tfm_vocab {
    tfm_vocab_settings set;
    const unsigned char *pieces; /* [pieces_len] all pieces, one after another */
    uint64_t pieces_len;
    const uint32_t *offsets;    /* [n + 1] into pieces */
    const uint8_t *flags;       /* [n] TFM_TOKEN_* */
    const float *scores;        /* [n], with a map [n_leaves], NULL for BPE */
    const tfm_piece_slot *hash; /* [hash_mask + 1], NULL for raw-bytes */
    uint32_t hash_mask;
    const tfm_merge_slot *merges; /* [merge_mask + 1] or NULL */
    uint32_t merge_mask;
    const tfm_trie_slot *trie; /* [trie_mask + 1], unigram and WordPiece */
    uint32_t trie_mask;
    uint32_t n_leaves;   /* what the trie numbers: ids, or the pieces of a pair */
    const int32_t *map;  /* [n_leaves] from these pieces to ids (pair.c), or NULL */
    const int32_t *wide; /* [n, 2] the bits of scores in double precision, or NULL */
    tfm_charsmap charsmap;
    const int32_t *bytes; /* [256] the id that spells this byte, -1: none */
    /* Added and control tokens, sorted by their text. */
    uint32_t n_special;
    const int32_t *special_ids;      /* [n_special] */
    const uint32_t *special_offsets; /* [n_special + 1] into special_text */
    const unsigned char *special_text;
    uint64_t special_len;
    const uint8_t *special_matching; /* [n_special] TFM_MATCH_*, or NULL: none */
    void *owned;                     /* tables of raw-bytes */
};

/* ---- hashes: pinned, they stand in files ---- */

static inline uint64_t tfm_hash_mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
    return h ^ h >> 29;
}

/* Of n bytes, read as little-endian words. */
static inline uint64_t tfm_hash_bytes(const unsigned char *p, size_t n) {
    uint64_t h = tfm_hash_mix(0x74666d5f70696563u, n), w;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, 8);
        h = tfm_hash_mix(h, w);
    }
    if (n > 0) {
        w = 0;
        memcpy(&w, p, n);
        h = tfm_hash_mix(h, w);
    }
    return tfm_hash_mix(h, h >> 32);
}

static inline uint64_t tfm_hash_pair(int32_t left, int32_t right) {
    uint64_t h =
        tfm_hash_mix(0x74666d5f6d657267u, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    return tfm_hash_mix(h, h >> 32);
}

/* The bytes of a piece; empty if the table lies about it. id must be < n. */
static inline const unsigned char *tfm_vocab_bytes(const tfm_vocab *v, uint32_t id, size_t *len) {
    uint32_t from = v->offsets[id], to = v->offsets[id + 1];
    if (from > to || to > v->pieces_len) {
        *len = 0;
        return v->pieces;
    }
    *len = to - from;
    return v->pieces + from;
}

/* The id that spells a byte, -1 if there is none. */
static inline int32_t tfm_vocab_byte(const tfm_vocab *v, unsigned byte) {
    int32_t id = v->bytes[byte];
    return id >= 0 && (uint32_t)id < v->set.n ? id : -1;
}

/* The id of these bytes, -1 if there is none. */
int32_t tfm_vocab_lookup(const tfm_vocab *v, const unsigned char *p, size_t n);
/* As above, but only a piece that ordinary text may become: content never turns into control,
 * byte, unknown or unused tokens. */
int32_t tfm_vocab_lookup_text(const tfm_vocab *v, const unsigned char *p, size_t n);
/* What left and right merge to, -1 if they do not; *rank: lower goes first. */
int32_t tfm_vocab_merge(const tfm_vocab *v, int32_t left, int32_t right, uint32_t *rank);

/* All pairs of pieces that text can become and that together are another; its id is their rank.
 * tfm_free(*out), also on failure. */
tfm_status tfm_merge_all(const tfm_vocab *v, tfm_merge_slot **out, uint32_t *n,
                         tfm_error *err) TFM_MUST_CHECK;

/* The edge from *node by this byte: false, or *node moves on and *id is the piece that ends there,
 * -1 if none does. */
bool tfm_trie_step(const tfm_vocab *v, uint32_t *node, unsigned byte, int32_t *id);
/* A piece to be put into the trie. */
typedef struct tfm_trie_key {
    const unsigned char *p;
    uint32_t len, id;
} tfm_trie_key;
/* The pieces that text can become, sorted, and how many edges their trie has. tfm_free(*out). wide:
 * as in tfm_vocab_source. */
tfm_status tfm_trie_keys(const tfm_vocab *v, const double *wide, tfm_trie_key **out, uint32_t *n,
                         uint32_t *edges, tfm_error *err) TFM_MUST_CHECK;
/* Sorts keys and counts the edges of their trie; TFM_LIMIT if one is too long, or all are. */
tfm_status tfm_trie_sort(tfm_trie_key *key, uint32_t n, uint32_t *edges,
                         tfm_error *err) TFM_MUST_CHECK;
/* As tfm_trie_keys, of the source's own pieces (pair.c). */
tfm_status tfm_pair_keys(const tfm_vocab_source *src, tfm_trie_key **out, uint32_t *n,
                         uint32_t *edges, tfm_error *err) TFM_MUST_CHECK;
/* Into a zeroed table; false if an edge finds no place. */
bool tfm_trie_fill(tfm_trie_slot *slots, uint32_t mask, const tfm_trie_key *key, uint32_t n);

/* False if p[0..n) is no such table. */
bool tfm_charsmap_open(tfm_charsmap *m, const unsigned char *p, uint64_t n);
/* Bytes at the start of s[0..n) that are replaced, by text[0..len) (which is the table's); 0: none.
 * The longest such, or the shortest. */
size_t tfm_charsmap_find(const tfm_charsmap *m, const unsigned char *s, size_t n, bool shortest,
                         const unsigned char **text, size_t *len);

/* The byte alphabet of byte-level BPE: a printable character for each byte. */
uint32_t tfm_byte_to_char(unsigned byte);
/* The byte of a character of that alphabet, -1 if it is none. */
int tfm_char_to_byte(uint32_t cp);

/* ---- tokenizing ---- */

typedef struct tfm_pretok tfm_pretok;
typedef struct tfm_cuts tfm_cuts;
typedef struct tfm_tok_run tfm_tok_run;

/* What the calls of one tokenizer leave to the next; behind the lock. */
typedef struct tfm_runs {
    pthread_mutex_t lock;
    tfm_tok_run *idle; /* by next */
    tfm_cuts *cuts;    /* NULL: not yet */
    uint64_t n_bytes;  /* of text so far, until there are cuts */
} tfm_runs;

struct tfm_tokenizer {
    const tfm_vocab *v;
    tfm_pretok *pretok;               /* NULL: no patterns */
    bool spells_bytes;                /* every byte has a token */
    double unknown_score, most_score; /* unigram.c */
    bool has_inner;                   /* wordpiece.c: pieces that go on in a word are */
    uint32_t inner_node;              /* below this node */
    bool meta_by_bytes;               /* a literal U+2581 is spelled by byte tokens */
    uint32_t special_from[257];       /* [256 + 1] range of special tokens by first byte */
    tfm_runs *runs;
};

/* A word and its ids. The first cache line holds all of a short one. */
typedef struct tfm_word {
    uint8_t len, n_ids; /* len 0: empty */
    unsigned char key[TFM_WORD_MAX];
    int32_t id[TFM_WORD_IDS];
} tfm_word;

/* One symbol while merging. */
typedef struct tfm_sym {
    int32_t id;          /* -1: no piece spells it */
    uint32_t start;      /* first byte in the text being merged */
    uint32_t prev, next; /* UINT32_MAX: none */
    int32_t pair_id;     /* what this and the next would become, -1: nothing */
    uint32_t pair_rank;  /* lower goes first */
} tfm_sym;

/* The best way to a place in the text. */
typedef struct tfm_best {
    double score;
    uint32_t from, to; /* its last piece begins at, the next one ends at */
    int32_t id;        /* of its last piece; -1: no way yet */
} tfm_best;

/* A pair of neighbours that was asked for, and what is known about it; left1 0: empty. */
typedef struct tfm_pair {
    uint32_t left1; /* left + 1 */
    int32_t right;
    uint32_t rank;
    int32_t id; /* -1: they do not merge */
} tfm_pair;

/* A piece of the text whose slot in the cache is being fetched. */
typedef struct tfm_waiting {
    const unsigned char *s;
    size_t n;
    tfm_word *home;
} tfm_waiting;

/* All that one call of tfm_tokenize needs. What outlives the call is memory, never a result. */
struct tfm_tok_run {
    tfm_tok_run *next; /* while idle */
    /* set for each call */
    const tfm_tokenizer *t;
    const tfm_vocab *v;
    const tfm_cuts *cuts; /* NULL: none yet */
    unsigned flags;
    const unsigned char
        *marks;         /* [src_len] where control tokens may stand, or NULL: flags say it */
    bool is_utf8;       /* the whole text */
    bool after_unknown; /* spm.c: the last token is unknown */
    tfm_ids *ids;
    uint64_t unknown;
    uint64_t steps, steps_max; /* of the pre-tokenizer, pretok.c; steps_max 0: none yet */
    const unsigned char *src;  /* [src_len] the text given by the caller, for offsets in messages */
    size_t src_len;
    tfm_error *err;
    /* kept */
    tfm_sym *sym; /* [sym_cap] */
    size_t sym_cap;
    tfm_best *best; /* [best_cap] */
    size_t best_cap;
    uint64_t *heap; /* [heap_cap] */
    size_t heap_cap;
    tfm_buf text, word, normal, spare;
    unsigned basic;       /* basic.c: what is to be done, */
    tfm_buf *basic_out;   /* and where the text goes; NULL: into words */
    tfm_buf *part;        /* [TFM_STEPS_MAX] what a step of the splitter made, or NULL */
    uint64_t parts_bytes; /* of all that they made for this text */
    uint32_t boundary[TFM_BOUNDARIES]; /* normalise.c: cp << 1 | answer */
    int32_t *decomposed;               /* [decomposed_cap] code points, normalise.c */
    size_t decomposed_cap;
    void *match, *match_ctx;        /* PCRE2's, pretok.c */
    struct tfm_scan_table **tables; /* [patterns] scan.c */
    tfm_word *words;                /* words.c; NULL before the first */
    void *words_memory;
    bool words_tried;
    tfm_pair *pairs; /* [TFM_PAIRS] merge.c */
    tfm_waiting waiting[TFM_WAITING];
    unsigned n_waiting;
};

tfm_status tfm_runs_new(tfm_tokenizer *t, tfm_error *err) TFM_MUST_CHECK;
void tfm_runs_free(tfm_tokenizer *t);
/* A run for one call on a text of n bytes; tfm_run_give returns it. */
tfm_status tfm_run_take(tfm_tok_run **out, const tfm_tokenizer *t, size_t n,
                        tfm_error *err) TFM_MUST_CHECK;
void tfm_run_give(tfm_tok_run *r);

/* Where the word s[0..n) is kept, which is fetched from memory meanwhile; NULL: not at all. */
tfm_word *tfm_words_home(tfm_tok_run *r, const unsigned char *s, size_t n);
/* Appends the ids of the word if they are known. */
tfm_status tfm_words_find(tfm_tok_run *r, const tfm_word *home, const unsigned char *s, size_t n,
                          bool *found) TFM_MUST_CHECK;
void tfm_words_keep(tfm_word *home, const unsigned char *s, size_t n, const int32_t *ids,
                    size_t n_ids);
void tfm_words_free(tfm_tok_run *r);

tfm_status tfm_cuts_new(tfm_cuts **out, const tfm_vocab *v, tfm_error *err) TFM_MUST_CHECK;
void tfm_cuts_free(tfm_cuts *c);
/* May a text be cut between these two characters, so that no merge is lost? */
bool tfm_cuts_between(const tfm_cuts *c, uint32_t left, uint32_t right);

/* Room for n more ids. */
static inline tfm_status tfm_ids_room(tfm_ids *ids, size_t n, tfm_error *err) {
    if (ids->cap - ids->len >= n) return TFM_OK;
    void *p = ids->data;
    tfm_status st = tfm_grow(&p, &ids->cap, ids->len + n, sizeof *ids->data, err);
    ids->data = p;
    return st;
}

/* Room for n symbols. */
tfm_status tfm_run_syms(tfm_tok_run *r, size_t n) TFM_MUST_CHECK;
/* The byte token of *p, or TFM_RECORD with its offset if the vocabulary has none. */
tfm_status tfm_run_byte(tfm_tok_run *r, const unsigned char *p) TFM_MUST_CHECK;
/* Length of the valid UTF-8 at the start of s[0..n). */
size_t tfm_utf8_span(const unsigned char *s, size_t n);

/* An added or control token in a text, with the white space that it takes along. */
typedef struct tfm_special_hit {
    int32_t id;
    size_t begin, end;
} tfm_special_hit;

/* The next one in s[*at..n), *at moves behind it (and not behind white space); false: none. What
 * stands before `done` is no longer to be had. normal: s is normalised, and only tokens are meant
 * that are looked for there. */
bool tfm_special_next(const tfm_tok_run *r, bool normal, const unsigned char *s, size_t n,
                      size_t done, size_t *at, tfm_special_hit *hit);
void tfm_special_index(tfm_tokenizer *t);

/* *text becomes its normalised form, which lives in r until the next call. */
tfm_status tfm_normalise(tfm_tok_run *r, const unsigned char **text, size_t *n) TFM_MUST_CHECK;
/* Appends the normalised form of s[0..n), as of a whole text. */
tfm_status tfm_normal_text(const tfm_tokenizer *t, const unsigned char *s, size_t n, tfm_buf *out,
                           tfm_error *err) TFM_MUST_CHECK;
bool tfm_is_space(uint32_t cp); /* Unicode White_Space */
/* Appends the normal form of s[0..n), which is UTF-8. */
tfm_status tfm_normal_form(tfm_tok_run *r, tfm_norm form, const unsigned char *s, size_t n,
                           tfm_buf *out) TFM_MUST_CHECK;
/* The steps of the settings, one after another. */
tfm_status tfm_norm_steps(tfm_tok_run *r, const unsigned char **text, size_t *n) TFM_MUST_CHECK;
/* Bytes of the first extended grapheme cluster of s[0..n), which is UTF-8 and not empty. */
size_t tfm_grapheme(const unsigned char *s, size_t n);
/* May a text be cut in front of this character before NFC, whatever surrounds it, and does NFC
 * leave it alone? False where that is not certain. */
bool tfm_nfc_boundary(uint32_t cp);

/* plain: patterns of the plain kind are matched by scan.c, else (for tests) all by PCRE2. */
tfm_status tfm_pretok_new(tfm_pretok **out, const tfm_vocab_settings *s, bool plain,
                          tfm_error *err) TFM_MUST_CHECK;
void tfm_pretok_free(tfm_pretok *p);
typedef tfm_status (*tfm_piece_fn)(tfm_tok_run *r, const unsigned char *piece, size_t n);
/* Splits text[0..n), which must be valid UTF-8, and calls fn for each piece in order. */
tfm_status tfm_pretok_split(tfm_tok_run *r, const unsigned char *text, size_t n,
                            tfm_piece_fn fn) TFM_MUST_CHECK;
/* The first match of the regex of this step of a list in s[from..n). *found false: none. */
tfm_status tfm_pretok_find(tfm_tok_run *r, tfm_list list, uint32_t step, const unsigned char *s,
                           size_t n, size_t from, bool *found, size_t *begin,
                           size_t *end) TFM_MUST_CHECK;
/* Appends what PCRE2 takes for the pattern s[0..n), which is written for Oniguruma. */
tfm_status tfm_pattern_translate(tfm_buf *b, const char *s, size_t n,
                                 tfm_error *err) TFM_MUST_CHECK;
void tfm_pretok_run_free(tfm_tok_run *r);

/* Merges r->sym[0..n) over `text`, text_len being the end of the last symbol. The survivors are
 * linked by next from symbol 0. */
tfm_status tfm_merge(tfm_tok_run *r, const unsigned char *text, size_t text_len,
                     size_t n) TFM_MUST_CHECK;

/* One stretch of text between special tokens, n > 0. `first`: the text starts here or a control
 * token came before, so a space prefix belongs here. */
tfm_status tfm_byte_fragment(tfm_tok_run *r, const unsigned char *text, size_t n,
                             bool first) TFM_MUST_CHECK; /* byte-level BPE */
tfm_status tfm_char_fragment(tfm_tok_run *r, const unsigned char *text, size_t n,
                             bool first) TFM_MUST_CHECK; /* SentencePiece and BPE over characters */
/* Normalises text[0..n) into r->text as SentencePiece does and calls flush, which takes it from
 * there; bytes that are no UTF-8 are spelled by byte tokens between two calls. */
tfm_status tfm_charsmap_fragment(tfm_tok_run *r, const unsigned char *text, size_t n, bool first,
                                 tfm_status (*flush)(tfm_tok_run *r)) TFM_MUST_CHECK;
/* What no piece spells: byte tokens if there are such for all of it, else the unknown token, but
 * not again after_unknown. */
tfm_status tfm_spell(tfm_tok_run *r, const unsigned char *s, size_t n,
                     bool after_unknown) TFM_MUST_CHECK;
/* Each character is a token. */
tfm_status tfm_characters_fragment(tfm_tok_run *r, const unsigned char *s, size_t n) TFM_MUST_CHECK;
/* By the steps of the splitter, each part to the model. */
tfm_status tfm_split_fragment(tfm_tok_run *r, const unsigned char *s, size_t n,
                              bool first) TFM_MUST_CHECK;
/* BPE over characters with all that tokenizer.json may say about it. */
tfm_status tfm_char_bpe(tfm_tok_run *r, const unsigned char *s, size_t n) TFM_MUST_CHECK;
/* Does BERT take it for punctuation? */
bool tfm_basic_is_punctuation(uint32_t cp);
/* Which of n ranges, ascending, holds cp; n: none. A range is `width` numbers, the
 * first two of which are its ends, both included. */
size_t tfm_range_of(uint32_t cp, const uint32_t *range, size_t width, size_t n);
/* Which script, as UnicodeScripts of Hugging Face has them; -1: none. */
int tfm_script_of(uint32_t cp);
bool tfm_is_word(uint32_t cp); /* \w of Rust's regex crate */
/* Appends s[0..n) normalised as BERT does, as far as letters say: c clean-text, j split-cjk, a
 * strip-accents, l lowercase. */
tfm_status tfm_basic_normalise(tfm_tok_run *r, const char *letters, const unsigned char *s,
                               size_t n, tfm_buf *out) TFM_MUST_CHECK;
/* Takes away what clean-up-spaces does from s[0..*n). */
void tfm_wordpiece_clean(char *s, size_t *n);
/* WordPiece: a stretch of text as words, a word as pieces, a piece as text behind others. */
tfm_status tfm_basic_fragment(tfm_tok_run *r, const unsigned char *s, size_t n) TFM_MUST_CHECK;
tfm_status tfm_wordpiece_word(tfm_tok_run *r, const unsigned char *s, size_t n) TFM_MUST_CHECK;
/* The unknown token for all of s[0..n), whose characters are counted. */
tfm_status tfm_unknown_word(tfm_tok_run *r, const unsigned char *s, size_t n) TFM_MUST_CHECK;
tfm_status tfm_wordpiece_add(const tfm_vocab_settings *set, tfm_buf *out, const unsigned char *p,
                             size_t n, bool first, tfm_error *err) TFM_MUST_CHECK;
void tfm_wordpiece_start(tfm_tokenizer *t);
/* The best way to cut s[0..n), which is UTF-8, into pieces. */
tfm_status tfm_unigram_piece(tfm_tok_run *r, const unsigned char *s, size_t n) TFM_MUST_CHECK;
/* Writes out the best way to node `end`, whose nodes are linked by `to`. */
tfm_status tfm_pair_write(tfm_tok_run *r, const unsigned char *s, uint32_t end) TFM_MUST_CHECK;
void tfm_unigram_scores(tfm_tokenizer *t);

/* ---- detokenizing ---- */

/* "<0x0A>": the byte; else -1. */
int tfm_byte_of(const unsigned char *p, size_t n);

/* Where the decoder of a vocabulary stands in a text. {0} before the first start. */
typedef struct tfm_decode {
    bool seen[TFM_STEPS_MAX]; /* there was a piece at this step */
    uint64_t stripped;        /* of the whole text */
    bool strip_over;
    uint64_t held; /* times the text of a step strip-end, behind the whole text so far */
    bool space;    /* before the next piece */
    uint64_t most; /* bytes that a step may make of this piece */
    tfm_buf in, out, last;
} tfm_decode;

void tfm_decode_start(tfm_decode *d, bool continues);
void tfm_decode_free(tfm_decode *d);
/* Appends the text of a piece. */
tfm_status tfm_decode_piece(tfm_decode *d, const tfm_tokenizer *t, const unsigned char *piece,
                            size_t n, tfm_buf *out, tfm_error *err) TFM_MUST_CHECK;

#endif

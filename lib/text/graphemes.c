/* graphemes.c - extended grapheme clusters (Unicode Standard Annex 29, version 15.1), by the
 * properties that utf8proc has.
 *
 * Why not utf8proc's own boundaries: which rules it has depends on its version (rule GB9c, the
 * conjuncts of Indic scripts, came with Unicode 15.1), and ids must not. A cluster begins at a
 * boundary, so nothing before it matters, and one walk forward finds its end. */
#include <utf8proc.h>

#include "text/text_internal.h"

typedef struct cluster {
    int last;        /* class of the last character */
    bool odd_flags;  /* an odd number of regional indicators at the end */
    bool pictograph; /* a pictograph, then extending characters only, */
    bool joined;     /* and a zero width joiner at their end */
    bool consonant;  /* an Indic consonant, then linkers and extending characters only, */
    bool linker;     /* a linker among them */
} cluster;

static int class_of(uint32_t cp) {
    return (int)utf8proc_get_property((utf8proc_int32_t)cp)->boundclass;
}

/* Indic_Conjunct_Break=Linker: the viramas of the scripts that have conjuncts. */
static bool is_linker(uint32_t cp) {
    return cp == 0x94d || cp == 0x9cd || cp == 0xacd || cp == 0xb4d || cp == 0xc4d || cp == 0xd4d;
}

/* Indic_Conjunct_Break=Consonant. */
static bool is_consonant(uint32_t cp) {
    static const uint16_t range[][2] = {
        {0x915, 0x939}, {0x958, 0x95f}, {0x978, 0x97f}, {0x995, 0x9a8}, {0x9aa, 0x9b0},
        {0x9b2, 0x9b2}, {0x9b6, 0x9b9}, {0x9dc, 0x9dd}, {0x9df, 0x9df}, {0x9f0, 0x9f1},
        {0xa95, 0xaa8}, {0xaaa, 0xab0}, {0xab2, 0xab3}, {0xab5, 0xab9}, {0xaf9, 0xaf9},
        {0xb15, 0xb28}, {0xb2a, 0xb30}, {0xb32, 0xb33}, {0xb35, 0xb39}, {0xb5c, 0xb5d},
        {0xb5f, 0xb5f}, {0xb71, 0xb71}, {0xc15, 0xc28}, {0xc2a, 0xc39}, {0xc58, 0xc5a},
        {0xd15, 0xd3a}};
    for (size_t i = 0; i < sizeof range / sizeof *range && cp >= range[i][0]; i++)
        if (cp <= range[i][1]) return true;
    return false;
}

/* Indic_Conjunct_Break=Extend. */
static bool is_conjunct_extend(uint32_t cp, int class) {
    if (class == UTF8PROC_BOUNDCLASS_ZWJ) return true;
    return class == UTF8PROC_BOUNDCLASS_EXTEND && !is_linker(cp) &&
           utf8proc_get_property((utf8proc_int32_t)cp)->combining_class != 0;
}

static bool is_control(int class) {
    return class == UTF8PROC_BOUNDCLASS_CONTROL || class == UTF8PROC_BOUNDCLASS_CR ||
           class == UTF8PROC_BOUNDCLASS_LF;
}

/* Rules GB6 to GB8: syllables of Hangul. */
static bool is_syllable(int left, int right) {
    switch (left) {
    case UTF8PROC_BOUNDCLASS_L:
        return right == UTF8PROC_BOUNDCLASS_L || right == UTF8PROC_BOUNDCLASS_V ||
               right == UTF8PROC_BOUNDCLASS_LV || right == UTF8PROC_BOUNDCLASS_LVT;
    case UTF8PROC_BOUNDCLASS_LV:
    case UTF8PROC_BOUNDCLASS_V:
        return right == UTF8PROC_BOUNDCLASS_V || right == UTF8PROC_BOUNDCLASS_T;
    case UTF8PROC_BOUNDCLASS_LVT:
    case UTF8PROC_BOUNDCLASS_T: return right == UTF8PROC_BOUNDCLASS_T;
    default: return false;
    }
}

/* Does this character belong to the cluster? */
static bool goes_on(const cluster *c, uint32_t cp, int class) {
    if (c->last == UTF8PROC_BOUNDCLASS_CR) return class == UTF8PROC_BOUNDCLASS_LF;
    if (is_control(c->last) || is_control(class)) return false;
    if (is_syllable(c->last, class)) return true;
    if (class == UTF8PROC_BOUNDCLASS_EXTEND || class == UTF8PROC_BOUNDCLASS_ZWJ ||
        class == UTF8PROC_BOUNDCLASS_SPACINGMARK || c->last == UTF8PROC_BOUNDCLASS_PREPEND)
        return true;
    if (c->linker && is_consonant(cp)) return true;
    if (c->joined && class == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC) return true;
    return c->odd_flags && class == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR;
}

static void take(cluster *c, uint32_t cp, int class) {
    bool linker = is_linker(cp);
    c->joined = c->pictograph && class == UTF8PROC_BOUNDCLASS_ZWJ;
    c->pictograph = class == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC ||
                    (c->pictograph && class == UTF8PROC_BOUNDCLASS_EXTEND);
    c->odd_flags = class == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR && !c->odd_flags;
    if (is_consonant(cp)) {
        c->consonant = true;
        c->linker = false;
    } else if (c->consonant && linker) {
        c->linker = true;
    } else if (!is_conjunct_extend(cp, class)) {
        c->consonant = c->linker = false;
    }
    c->last = class;
}

size_t tfm_grapheme(const unsigned char *s, size_t n) {
    cluster c = {0};
    uint32_t cp;
    size_t i;
    if (n == 1 || (s[0] < 0x80 && s[1] < 0x80 && s[0] != '\r')) return 1;
    i = tfm_utf8_decode(s, n, &cp, NULL);
    for (take(&c, cp, class_of(cp)); i < n;) {
        size_t len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        int class = class_of(cp);
        if (!goes_on(&c, cp, class)) break;
        take(&c, cp, class);
        i += len;
    }
    return i;
}

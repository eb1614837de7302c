/* template_internal.h - the parts of the chat template interpreter: source -> tokens -> tree ->
 * text.
 *
 *     template_lex.c        bytes to tokens; white space control
 *     template_parse.c      tokens to expressions
 *     template_statement.c  tokens to statements
 *     template_string.c     strings that remember where each byte came from
 *     template_value.c      values: truth, equality, order, members, str() and repr()
 *     template_json.c       JSON to values and back
 *     template_eval.c       expressions
 *     template_run.c        statements, scopes, output
 *     template_method.c, _filter.c, _select.c, _test.c, _function.c    what templates call
 *     template.c            the public functions
 *
 * The language is Jinja2 with the settings of Hugging Face's apply_chat_template (trim_blocks,
 * lstrip_blocks, no autoescape, loop controls, immutable sandbox). What is not there is an error
 * that names the line and the thing; nothing is approximated.
 *
 * All memory of a run comes from one arena, whose bytes are counted; every step is counted, too. So
 * a hostile template ends by a limit, and nothing has to be freed one by one. */
#ifndef TFM_TEMPLATE_INTERNAL_H
#define TFM_TEMPLATE_INTERNAL_H

#include <string.h>

#include "base/base_internal.h"
#include "tfm/template.h"

/* ---- strings: bytes, and for each byte whether it is the template's own ---- */

typedef struct tp_str {
    const char *p; /* [n] UTF-8 */
    size_t n;
    const unsigned char *mask; /* [n] 1: the template's own; NULL: all bytes are as `own` says */
    bool own;
    bool is_markup; /* came from the filter safe: must not meet an operator that would escape */
} tp_str;

/* ---- values ---- */

typedef enum tp_kind {
    TP_UNDEFINED,
    TP_NONE,
    TP_BOOL,
    TP_INT,
    TP_FLOAT,
    TP_STR,
    TP_LIST, /* list, tuple, range, dict view or generator: tp_list.form */
    TP_DICT,
    TP_NAMESPACE, /* also a dict */
    TP_LOOP,
    TP_MACRO,
    TP_FUNCTION,
    TP_METHOD
} tp_kind;

typedef struct tp_val tp_val;
typedef struct tp_list tp_list;
typedef struct tp_dict tp_dict;
typedef struct tp_loop tp_loop;
typedef struct tp_macro tp_macro;
typedef struct tp_method tp_method;

struct tp_val {
    tp_kind kind;
    bool own; /* numbers and booleans: of the template itself */
    union {
        bool b;
        int64_t i;
        double f;
        const tp_str *s;
        tp_list *list;
        tp_dict *dict;
        tp_loop *loop;
        const tp_macro *macro;
        const tp_method *method;
        int function;
        const char *name; /* undefined: what was asked for, or NULL */
    } u;
};

typedef enum tp_form {
    TP_FORM_LIST,
    TP_FORM_TUPLE,
    TP_FORM_RANGE,
    TP_FORM_VIEW,
    TP_FORM_GENERATOR
} tp_form;
struct tp_list {
    tp_val *item; /* [n] */
    size_t n, cap;
    tp_form form;
    bool is_used; /* a generator gives its items once */
};

typedef struct tp_pair {
    tp_val key, value;
} tp_pair;
struct tp_dict {
    tp_pair *pair; /* [n], in the order of insertion */
    size_t n, cap;
};

struct tp_loop {
    tp_list *list;
    size_t at;
};

struct tp_method {
    tp_val self;
    const char *name; /* static */
};

/* ---- the tree ---- */

typedef enum tp_node_kind {
    /* expressions */
    TP_N_CONST,   /* value */
    TP_N_NAME,    /* text */
    TP_N_LIST,    /* first... */
    TP_N_TUPLE,   /* first... */
    TP_N_DICT,    /* first: key, value, key, value... */
    TP_N_ATTR,    /* a . text */
    TP_N_ITEM,    /* a [b] */
    TP_N_SLICE,   /* a, b, c: from, to, step, each may be NULL */
    TP_N_CALL,    /* a (first...), keyword arguments are TP_N_KEYWORD */
    TP_N_KEYWORD, /* text = a */
    TP_N_FILTER,  /* a | text(first...); a NULL: of a block */
    TP_N_TEST,    /* a is text(first...) */
    TP_N_UNARY,   /* op a */
    TP_N_BINARY,  /* a op b */
    TP_N_COMPARE, /* a, then first...: TP_N_BINARY with op and b only */
    TP_N_AND,
    TP_N_OR,
    TP_N_CONCAT,  /* first... */
    TP_N_IF_ELSE, /* a if b else c (c may be NULL) */
    /* statements */
    TP_N_DATA,         /* value: a string */
    TP_N_OUTPUT,       /* a */
    TP_N_IF,           /* a, body first; c: else (a TP_N_IF for elif, or TP_N_BLOCK) */
    TP_N_BLOCK,        /* first... in the scope around */
    TP_N_SCOPE,        /* first... in a scope of its own: with (assignments in a...), generation */
    TP_N_FOR,          /* a: target, b: iterable, c: filter, first: body, d: else block */
    TP_N_SET,          /* a: target, b: value */
    TP_N_SET_BLOCK,    /* a: target, first: body, b: filters or NULL */
    TP_N_FILTER_BLOCK, /* b: filters, first: body */
    TP_N_MACRO,        /* text; a: parameters (TP_N_KEYWORD, a: default or NULL), first: body */
    TP_N_BREAK,
    TP_N_CONTINUE
} tp_node_kind;

typedef enum tp_op {
    TP_OP_ADD,
    TP_OP_SUB,
    TP_OP_MUL,
    TP_OP_DIV,
    TP_OP_FLOORDIV,
    TP_OP_MOD,
    TP_OP_POW,
    TP_OP_EQ,
    TP_OP_NE,
    TP_OP_LT,
    TP_OP_LE,
    TP_OP_GT,
    TP_OP_GE,
    TP_OP_IN,
    TP_OP_NOT_IN,
    TP_OP_NOT,
    TP_OP_NEG,
    TP_OP_POS
} tp_op;

typedef struct tp_node tp_node;
struct tp_node {
    tp_node_kind kind;
    tp_op op;
    unsigned line, depth; /* depth: of the tree below */
    const char *text;     /* a name: interned, so that names are equal if the pointers are */
    tp_node *a, *b, *c, *d;
    tp_node *first, *next;
    tp_val value;
};

struct tp_macro {
    const tp_node *node;
    struct tp_scope *scope; /* where it was defined */
};

struct tfm_template {
    tfm_arena *arena;
    const char *name;
    tp_node *body;
};

/* ---- from source to tree ---- */

typedef enum tp_tok_kind {
    TP_T_DATA,
    TP_T_VAR_BEGIN,
    TP_T_VAR_END,
    TP_T_BLOCK_BEGIN,
    TP_T_BLOCK_END,
    TP_T_NAME,
    TP_T_STRING,
    TP_T_INT,
    TP_T_FLOAT,
    TP_T_OP,
    TP_T_END
} tp_tok_kind;

typedef struct tp_tok {
    tp_tok_kind kind;
    unsigned line;
    const char *p; /* [n] bytes: of data, name, operator, decoded string */
    size_t n;
    int64_t i;
    double f;
} tp_tok;

enum {
    TP_SOURCE_MAX = 4 << 20, /* bytes of a template; real ones have up to some 100 KB */
    TP_NODES_MAX = 1 << 20,
    TP_TREE_DEPTH = 200,
    TP_EVAL_DEPTH = 1000, /* of expressions, statements and macros within each other */
    TP_VALUE_DEPTH = 200, /* lists and objects within each other */
};

typedef struct tp_parser {
    tfm_arena *arena;
    const char *name; /* of the template, for messages */
    tfm_error *err;
    tp_tok *tok; /* [n] ends with TP_T_END */
    size_t n, cap, at;
    size_t n_nodes;
    unsigned depth, macros, loops;
    const char **names; /* [n_names] interned */
    size_t n_names, cap_names;
} tp_parser;

tfm_status tfm_tp_lex(tp_parser *p, const char *source, size_t n) TFM_MUST_CHECK;
tfm_status tfm_tp_parse(tp_parser *p, tp_node **body) TFM_MUST_CHECK;
/* Expressions, for statements. */
tfm_status tfm_tp_parse_expression(tp_parser *p, bool with_if, tp_node **out) TFM_MUST_CHECK;
/* "a, b" is a tuple. with_if: the expressions may hold an inline if. */
tfm_status tfm_tp_parse_tuple(tp_parser *p, bool with_if, tp_node **out) TFM_MUST_CHECK;
/* What is assigned to: a name, names, or (with_namespace) NAME.ATTRIBUTE. */
tfm_status tfm_tp_parse_target(tp_parser *p, bool with_namespace, tp_node **out) TFM_MUST_CHECK;
/* "| f(x) | g" behind nothing. */
tfm_status tfm_tp_parse_filters(tp_parser *p, tp_node *a, tp_node **out) TFM_MUST_CHECK;
tfm_status tfm_tp_node(tp_parser *p, tp_node_kind kind, tp_node **out) TFM_MUST_CHECK;
/* Notes that child lies below n; TFM_LIMIT if the tree becomes too deep. */
tfm_status tfm_tp_adopt(tp_parser *p, tp_node *n, const tp_node *child) TFM_MUST_CHECK;
tfm_status tfm_tp_intern(tp_parser *p, const char *s, size_t n, const char **out) TFM_MUST_CHECK;
const tp_tok *tfm_tp_peek(const tp_parser *p);
bool tfm_tp_is_op(const tp_parser *p, const char *op);
bool tfm_tp_is_name(const tp_parser *p, const char *name);
bool tfm_tp_skip_op(tp_parser *p, const char *op);
bool tfm_tp_skip_name(tp_parser *p, const char *name);
tfm_status tfm_tp_expect_op(tp_parser *p, const char *op) TFM_MUST_CHECK;
tfm_status tfm_tp_bad(tp_parser *p, tfm_status st, const char *fmt, ...)
    TFM_PRINTF(3, 4) TFM_MUST_CHECK;
/* "unexpected X" at the present token. */
tfm_status tfm_tp_unexpected(tp_parser *p) TFM_MUST_CHECK;

/* ---- a run ---- */

typedef struct tp_binding {
    const char *name; /* interned, or of the input */
    tp_val value;
} tp_binding;

typedef struct tp_scope {
    struct tp_scope *up;
    tp_binding *bound;
    size_t n, cap;
} tp_scope;

typedef struct tp_run {
    tfm_arena *arena;
    const tfm_template *t;
    const tfm_template_input *in;
    tfm_error *err;
    uint64_t steps_left, bytes_left;
    size_t out_max;
    unsigned line, depth;
    tp_scope *scope;
    tfm_buf text, mask; /* the output, and that of blocks that are captured at its end */
} tp_run;

/* Fails with "NAME:LINE: ..."; TFM_RECORD, since other conversations may do. */
tfm_status tfm_tp_fail(tp_run *r, const char *fmt, ...) TFM_PRINTF(2, 3) TFM_MUST_CHECK;
tfm_status tfm_tp_alloc(tp_run *r, void **out, size_t n) TFM_MUST_CHECK;
/* Counts the work on n bytes or items. */
tfm_status tfm_tp_work(tp_run *r, size_t n) TFM_MUST_CHECK;
/* One level deeper; tfm_tp_leave undoes it. */
tfm_status tfm_tp_enter(tp_run *r) TFM_MUST_CHECK;
void tfm_tp_leave(tp_run *r);

/* ---- template_string.c ---- */

static inline bool tfm_tp_own_at(const tp_str *s, size_t i) {
    return s->mask ? s->mask[i] != 0 : s->own;
}
/* A growing string. */
typedef struct tp_text {
    char *p;
    unsigned char *mask;
    size_t n, cap;
} tp_text;
tfm_status tfm_tp_text_bytes(tp_run *r, tp_text *t, const char *p, size_t n,
                             bool own) TFM_MUST_CHECK;
tfm_status tfm_tp_text_str(tp_run *r, tp_text *t, const tp_str *s) TFM_MUST_CHECK;
/* The part s[from..to). */
tfm_status tfm_tp_text_part(tp_run *r, tp_text *t, const tp_str *s, size_t from,
                            size_t to) TFM_MUST_CHECK;
tfm_status tfm_tp_text_done(tp_run *r, const tp_text *t, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_bytes(tp_run *r, const char *p, size_t n, bool own, tp_val *out) TFM_MUST_CHECK;
tp_str tfm_tp_part(const tp_str *s, size_t from, size_t to);
tfm_status tfm_tp_str(tp_run *r, tp_str s, tp_val *out) TFM_MUST_CHECK; /* a value of s */
tfm_status tfm_tp_concat(tp_run *r, const tp_str *a, const tp_str *b, tp_val *out) TFM_MUST_CHECK;
bool tfm_tp_str_equal(const tp_str *a, const tp_str *b);
bool tfm_tp_str_is(const tp_str *s, const char *text);
/* Where `what` begins in s[from..), or SIZE_MAX. */
size_t tfm_tp_find(const tp_str *s, const tp_str *what, size_t from);
size_t tfm_tp_rfind(const tp_str *s, const tp_str *what);
size_t tfm_tp_length(const tp_str *s);                           /* in characters */
size_t tfm_tp_step(const char *p, size_t n);                     /* bytes of the first character */
uint32_t tfm_tp_char(const char *p, size_t n, size_t *len);      /* the first character */
uint32_t tfm_tp_last_char(const char *p, size_t n, size_t *len); /* the last one */
bool tfm_tp_is_space(uint32_t c);                                /* as Python's str.isspace */
enum { TP_LEFT = 1, TP_RIGHT = 2 };
/* Python's strip: white space, or (chars not NULL) those characters. */
tp_str tfm_tp_strip(const tp_str *s, const tp_str *chars, unsigned sides);
typedef enum tp_case { TP_UPPER, TP_LOWER, TP_TITLE, TP_CAPITALIZE, TP_WORDS } tp_case;
/* TP_TITLE: str.title; TP_WORDS: the filter title. Letters that become several are refused. */
tfm_status tfm_tp_case(tp_run *r, const tp_str *s, tp_case how, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_replace(tp_run *r, const tp_str *s, const tp_str *old, const tp_str *with,
                          int64_t most, tp_val *out) TFM_MUST_CHECK;
/* Lists of strings. sep NULL: white space. most < 0: no limit. */
tfm_status tfm_tp_split(tp_run *r, const tp_str *s, const tp_str *sep, int64_t most,
                        tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_rsplit(tp_run *r, const tp_str *s, const tp_str *sep, int64_t most,
                         tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_splitlines(tp_run *r, const tp_str *s, bool keep, tp_val *out) TFM_MUST_CHECK;

/* ---- template_value.c ---- */

tp_val tfm_tp_undefined(const char *name);
tp_val tfm_tp_none(void);
tp_val tfm_tp_bool(bool b);
tp_val tfm_tp_int(int64_t i, bool own);
tp_val tfm_tp_float(double f, bool own);
const char *tfm_tp_kind(const tp_val *v); /* as Python names it, for messages */
bool tfm_tp_is_mapping(const tp_val *v);
bool tfm_tp_is_number(const tp_val *v); /* bool, int, float */
double tfm_tp_number(const tp_val *v);
bool tfm_tp_true(const tp_val *v);
tfm_status tfm_tp_equal(tp_run *r, const tp_val *a, const tp_val *b, bool *out) TFM_MUST_CHECK;
/* < 0, 0, > 0; an error where Python has no order. */
tfm_status tfm_tp_order(tp_run *r, const tp_val *a, const tp_val *b, int *out) TFM_MUST_CHECK;
tfm_status tfm_tp_contains(tp_run *r, const tp_val *in, const tp_val *v, bool *out) TFM_MUST_CHECK;
tfm_status tfm_tp_list_new(tp_run *r, tp_form form, size_t room, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_list_push(tp_run *r, tp_list *l, tp_val v) TFM_MUST_CHECK;
tfm_status tfm_tp_dict_new(tp_run *r, size_t room, tp_val *out) TFM_MUST_CHECK;
/* key is not there yet. */
tfm_status tfm_tp_dict_add(tp_run *r, tp_dict *d, tp_val key, tp_val value) TFM_MUST_CHECK;
tfm_status tfm_tp_dict_set(tp_run *r, tp_dict *d, tp_val key, tp_val value) TFM_MUST_CHECK;
/* NULL in *out: not there. */
tfm_status tfm_tp_dict_get(tp_run *r, const tp_dict *d, const tp_val *key,
                           tp_val **out) TFM_MUST_CHECK;
tfm_status tfm_tp_dict_find(tp_run *r, const tp_dict *d, const char *key,
                            tp_val **out) TFM_MUST_CHECK;
/* What a for loop would give, as a list that must not be changed. */
tfm_status tfm_tp_items(tp_run *r, const tp_val *v, tp_list **out) TFM_MUST_CHECK;
tfm_status tfm_tp_len(tp_run *r, const tp_val *v, int64_t *out) TFM_MUST_CHECK;
/* Python's str(). */
tfm_status tfm_tp_to_str(tp_run *r, const tp_val *v, const tp_str **out) TFM_MUST_CHECK;
tfm_status tfm_tp_repr(tp_run *r, const tp_val *v, tp_text *t) TFM_MUST_CHECK;
/* Python's repr of a float; room for TP_FLOAT_TEXT bytes. */
enum { TP_FLOAT_TEXT = 64 };
void tfm_tp_float_text(double f, char *out);
/* a.name and a[key], with Jinja's rules for what is not there. */
tfm_status tfm_tp_attribute(tp_run *r, const tp_val *a, const char *name,
                            tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_item(tp_run *r, const tp_val *a, const tp_val *key, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_slice(tp_run *r, const tp_val *a, const tp_val *from, const tp_val *to,
                        const tp_val *step, tp_val *out) TFM_MUST_CHECK;

/* ---- template_json.c ---- */

/* own: its strings are the template's. *dates* and other types do not exist in JSON. */
tfm_status tfm_tp_from_json(tp_run *r, const char *text, size_t n, const char *what, bool own,
                            tp_val *out) TFM_MUST_CHECK;
typedef struct tp_json_style {
    bool ascii, sort;
    const tp_str *indent;     /* NULL: all in one line */
    const tp_str *item, *key; /* separators */
} tp_json_style;
tfm_status tfm_tp_to_json(tp_run *r, const tp_val *v, const tp_json_style *style,
                          tp_val *out) TFM_MUST_CHECK;

/* ---- calls ---- */

/* Arguments as they were given. */
typedef struct tp_args {
    const tp_val *pos; /* [n_pos] */
    size_t n_pos;
    const char *const *key; /* [n_key] */
    const tp_val *key_value;
    size_t n_key;
} tp_args;
enum { TP_PARAMS_MAX = 8 };
/* Puts arguments to the parameters of `names` ("a b c"): value[i] with given[i] true. `what` is for
 * messages. */
tfm_status tfm_tp_bind(tp_run *r, const char *what, const tp_args *args, const char *names,
                       tp_val value[TP_PARAMS_MAX], bool given[TP_PARAMS_MAX]) TFM_MUST_CHECK;
/* A call of a filter or a method while it runs. */
typedef struct tp_call {
    tp_run *r;
    const char *name;
    const tp_val *in; /* what it is applied to */
    const tp_args *args;
    tp_val v[TP_PARAMS_MAX];
    bool given[TP_PARAMS_MAX];
} tp_call;
/* tfm_tp_bind of its arguments, to v and given. */
tfm_status tfm_tp_call_bind(tp_call *c, const char *names) TFM_MUST_CHECK;
/* The arguments without the first n. */
tp_args tfm_tp_args_behind(const tp_args *args, size_t n);

tfm_status tfm_tp_eval(tp_run *r, const tp_node *n, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_eval_args(tp_run *r, const tp_node *first, tp_args *out) TFM_MUST_CHECK;
tfm_status tfm_tp_binary(tp_run *r, tp_op op, const tp_val *a, const tp_val *b,
                         tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_compare(tp_run *r, tp_op op, const tp_val *a, const tp_val *b,
                          bool *out) TFM_MUST_CHECK;
tfm_status tfm_tp_lookup(tp_run *r, const char *name, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_filter(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                         tp_val *out) TFM_MUST_CHECK;
/* Filters over the items of a sequence by an attribute, a filter or a test. *known: is it one? */
tfm_status tfm_tp_select_filter(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                                bool *known, tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_test(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                       bool *out) TFM_MUST_CHECK;
/* Static name of the method, or NULL. *elsewhere: Python has it, but it is not supported. */
const char *tfm_tp_method_name(const tp_val *self, const char *name, bool *elsewhere);
tfm_status tfm_tp_call_method(tp_run *r, const tp_method *m, const tp_args *args,
                              tp_val *out) TFM_MUST_CHECK;
/* -1: there is none of that name. */
int tfm_tp_function(const char *name);
tfm_status tfm_tp_call_function(tp_run *r, int function, const tp_args *args,
                                tp_val *out) TFM_MUST_CHECK;
tfm_status tfm_tp_call_macro(tp_run *r, const tp_macro *m, const tp_args *args,
                             tp_val *out) TFM_MUST_CHECK;
/* "%s" % value; is_tuple: value is the list of arguments. */
tfm_status tfm_tp_format(tp_run *r, const tp_str *format, const tp_val *value,
                         tp_val *out) TFM_MUST_CHECK;

/* The whole template into r->text and r->mask. */
tfm_status tfm_tp_run_body(tp_run *r) TFM_MUST_CHECK;
tfm_status tfm_tp_set(tp_run *r, const char *name, tp_val v) TFM_MUST_CHECK;

#endif

/* options.c - the option parser and everything that is read off an option table.
 *
 * Why not getopt_long: it takes abbreviations, writes messages of its own shape and keeps its state
 * in globals. Here one table gives parser, --help and --help-options. Operands may stand between
 * options (`tfm-convert IN -o OUT`); they are gathered at the front of argv, which is safe because
 * there are never more of them than arguments already read. */
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base_internal.h"
#include "cli/cli_internal.h"

enum { MAX_THREADS = 1024 }; /* more than any machine this will meet has, a limit on every count */

static const tfm_option *by_letter(const tfm_program *p, int letter) {
    for (const tfm_option *o = p->options; o->letter != 0; o++)
        if (o->letter == letter) return o;
    return NULL;
}

static const tfm_option *by_name(const tfm_program *p, const char *name, size_t n) {
    for (const tfm_option *o = p->options; o->letter != 0; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    return NULL;
}

bool tfm_cli_has_option(const tfm_program *p, int letter) {
    return by_letter(p, letter) != NULL;
}

/* ---- what is printed from the table ---- */

/* Prints and leaves: 0, or 5 when stdout could not be written. */
static _Noreturn void leave(tfm_cli *c) {
    tfm_error err = {0};
    if (tfm_cli_close_stdout(&err) != TFM_OK) {
        tfm_cli_print(c, err.message);
        exit(5);
    }
    exit(0);
}

enum { HELP_COLUMN = 26, HELP_WIDTH = 80 };

/* Prints `text` from HELP_COLUMN on, broken at spaces; the cursor stands at column `at`. */
static void print_wrapped(const char *text, int at) {
    do {
        size_t room = HELP_WIDTH - HELP_COLUMN, n = strlen(text);
        if (n > room) {
            n = room;
            while (n > 0 && text[n] != ' ') n--;
            if (n == 0) n = strcspn(text, " "); /* one word that is too long */
        }
        printf("%*s%.*s\n", HELP_COLUMN - at, "", (int)n, text);
        text += n + (text[n] == ' ');
        at = 0;
    } while (*text != '\0');
}

static _Noreturn void print_help(tfm_cli *c) {
    const tfm_program *p = c->program;

    printf("Usage: %s %s\n%s\n\nOptions:\n", p->name, p->synopsis, p->about);
    for (const tfm_option *o = p->options; o->letter != 0; o++) {
        int n = o->letter < TFM_LONG ? printf("  -%c, --%s", o->letter, o->name)
                                     : printf("      --%s", o->name);
        if (o->arg != NULL) n += printf(" %s", o->arg);
        if (n >= HELP_COLUMN) {
            printf("\n");
            n = 0;
        }
        print_wrapped(o->help, n);
    }
    printf("\nExit status: 0 good; 1 the answer is no; 2 usage; 3 bad or truncated input;\n"
           "4 complete, but some records failed; 5 system (I/O, memory, device).\n"
           "See %s(1), tfm(7).\n",
           p->name);
    leave(c);
}

static _Noreturn void print_options(tfm_cli *c) {
    for (const tfm_option *o = c->program->options; o->letter != 0; o++) {
        if (o->letter < TFM_LONG) putchar(o->letter);
        printf("\t%s\t%s\t%s\n", o->name, o->arg ? o->arg : "", o->help);
    }
    leave(c);
}

static _Noreturn void print_version(tfm_cli *c) {
    printf("%s (tfm) %s\n", c->program->name, TFM_VERSION);
    leave(c);
}

/* ---- parsing ---- */

static void remember(tfm_cli *c, const tfm_option *o) {
    tfm_error err = {0};
    void *given = c->given;
    tfm_status st = tfm_grow(&given, &c->cap_given, c->n_given + 1, sizeof *c->given, &err);
    c->given = given;
    if (st != TFM_OK) {
        tfm_cli_print(c, err.message);
        exit(5);
    }
    c->given[c->n_given++] = (tfm_cli_given){o, c->arg};
}

/* Takes a common option; false if it is the tool's own. */
static bool take_common(tfm_cli *c, const tfm_option *o) {
    if (o->arg != NULL && strstr(o->arg, "FILE") != NULL && *c->arg == '\0')
        tfm_cli_usage(c, "%s: the name of the file is empty (an unset variable?)", c->option);
    switch (o->letter) {
    case 'o': c->output = strcmp(c->arg, "-") == 0 ? NULL : c->arg; break;
    case 'q': c->quiet = true; break;
    case 'v': c->verbose++; break;
    case 'm': c->model = c->arg; break;
    case 'd': c->device = c->arg; break;
    case 't': c->threads = tfm_cli_u32(c, 1, MAX_THREADS); break;
    case TFM_OPT_NO_PROV: c->no_prov = true; break;
    case TFM_OPT_PROGRESS_SECS: c->progress_s = tfm_cli_u32(c, 1, 86400); break;
    case 'h': print_help(c);
    case 'V': print_version(c);
    default: return false;
    }
    return true;
}

/* "--name", "--name=value", "--name value" */
static const tfm_option *parse_long(tfm_cli *c, const char *word) {
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const tfm_option *o = by_name(c->program, name, n);

    snprintf(c->opt_text, sizeof c->opt_text, "--%.*s", n > 64 ? 64 : (int)n, name);
    if (o == NULL) {
        if (n == strlen("help-options") && memcmp(name, "help-options", n) == 0) print_options(c);
        for (const tfm_option *near = c->program->options; n > 0 && near->letter != 0; near++)
            if (strncmp(near->name, name, n) == 0)
                tfm_cli_usage(c, "%s: unknown option: is --%s meant? (no abbreviations)", c->option,
                              near->name);
        tfm_cli_usage(c, "%s: unknown option: see %s --help", c->option, c->program->name);
    }
    if (o->arg == NULL && equals != NULL) tfm_cli_usage(c, "%s: takes no argument", c->option);
    if (o->arg != NULL && equals != NULL) {
        c->arg = equals + 1;
    } else if (o->arg != NULL) {
        if (c->scan >= c->argc) tfm_cli_usage(c, "%s: needs an argument: %s", c->option, o->arg);
        c->arg = c->argv[c->scan++];
    }
    return o;
}

/* One letter of "-n5", "-n 5", "-qv". */
static const tfm_option *parse_letter(tfm_cli *c) {
    int letter = (unsigned char)*c->cluster++;
    const tfm_option *o = by_letter(c->program, letter);

    snprintf(c->opt_text, sizeof c->opt_text, "-%c", letter);
    if (o == NULL)
        tfm_cli_usage(c, "%s: unknown option: see %s --help", c->option, c->program->name);
    if (o->arg != NULL) {
        if (*c->cluster != '\0')
            c->arg = c->cluster;
        else if (c->scan < c->argc)
            c->arg = c->argv[c->scan++];
        else
            tfm_cli_usage(c, "%s: needs an argument: %s", c->option, o->arg);
        c->cluster = NULL;
    } else if (*c->cluster == '\0') {
        c->cluster = NULL;
    }
    return o;
}

/* All arguments are read: the operands are argv[1..1+n_operands), the defaults are settled. */
static void settle(tfm_cli *c) {
    c->next = 1;
    c->argc = 1 + c->n_operands;
    c->scan = c->argc;
    if (c->device == NULL) c->device = "auto";
    if (c->threads == 0 && c->threads_env != NULL) {
        c->option = "$TFM_THREADS";
        c->arg = c->threads_env;
        c->threads = tfm_cli_u32(c, 1, MAX_THREADS);
    }
    c->arg = NULL;
}

int tfm_cli_next(tfm_cli *c) {
    c->option = c->opt_text;
    while (c->cluster != NULL || c->scan < c->argc) {
        const tfm_option *o;
        c->arg = NULL;
        if (c->cluster != NULL) {
            o = parse_letter(c);
        } else {
            char *word = c->argv[c->scan++];
            if (word[0] != '-' || word[1] == '\0') {
                c->argv[1 + c->n_operands++] = word;
                continue;
            }
            if (strcmp(word, "--") == 0) {
                while (c->scan < c->argc) c->argv[1 + c->n_operands++] = c->argv[c->scan++];
                break;
            }
            if (word[1] == '-') {
                o = parse_long(c, word);
            } else {
                c->cluster = word + 1;
                o = parse_letter(c);
            }
        }
        remember(c, o);
        if (!take_common(c, o)) return o->letter;
    }
    settle(c);
    return 0;
}

int tfm_cli_operands(const tfm_cli *c, char ***args) {
    *args = c->argv + c->next;
    return c->argc - c->next;
}

const char *tfm_cli_second_output(tfm_cli *c) {
    if (strcmp(c->arg, "-") == 0)
        tfm_cli_usage(c, "%s -: stdout is for the other output; name a file (./- for that name)",
                      c->option);
    return c->arg;
}

/* ---- numbers ---- */

uint64_t tfm_cli_u64(tfm_cli *c, uint64_t lo, uint64_t hi) {
    uint64_t value = 0;
    if (!tfm_parse_u64(c->arg, lo, hi, &value))
        tfm_cli_usage(c, "%s: \"%.40s\" is not a whole number from %" PRIu64 " to %" PRIu64,
                      c->option, c->arg, lo, hi);
    return value;
}

uint32_t tfm_cli_u32(tfm_cli *c, uint32_t lo, uint32_t hi) {
    return (uint32_t)tfm_cli_u64(c, lo, hi);
}

double tfm_cli_double(tfm_cli *c, double lo, double hi) {
    double value = 0;
    if (!tfm_parse_double(c->arg, lo, hi, &value)) {
        if (hi >= DBL_MAX)
            tfm_cli_usage(c, "%s: \"%.40s\" is not a number of at least %g", c->option, c->arg, lo);
        tfm_cli_usage(c, "%s: \"%.40s\" is not a number from %g to %g", c->option, c->arg, lo, hi);
    }
    return value;
}

/* cli.h - what every program shares: options, messages, signals, input and output files.
 *
 *     static const tfm_option options[] = {
 *         TFM_OPT_COMMON, TFM_OPT_MODEL,
 *         {'n', "max-tokens", "N", "stop after N new tokens (default: no limit)"},
 *         TFM_OPT_END};
 *     static const tfm_program program = {"tfm-run", "[options] [FILE]", "generate ...", options};
 *
 *     int main(int argc, char **argv) {
 *         tfm_cli cli;
 *         tfm_cli_start(&cli, &program, argc, argv);        // handles --help, --version, SIGPIPE
 *         for (int c; (c = tfm_cli_next(&cli)) != 0;)       // common options are taken inside
 *             switch (c) { case 'n': max = tfm_cli_u32(&cli, 1, UINT32_MAX); break; }
 *         ...
 *         return tfm_cli_finish(&cli, status, &err);        // closes stdout, maps to the exit code
 *     }
 *
 * Only tools include this. Messages have one shape: "tfm-tool: what: why" on stderr, one line.
 * One option table is the source of usage, --help, completions and the man-page check
 * (`tfm-X --help-options` prints the table, one "LETTER<TAB>LONG<TAB>ARG<TAB>HELP" line each).
 * An option's letter has one meaning over all tools; abbreviated long options are refused.
 */
#ifndef TFM_CLI_H
#define TFM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tfm/infer.h"
#include "tfm/load.h"
#include "tfm/probe.h"
#include "tfm/prompts.h"
#include "tfm/stage.h"
#include "tfm/status.h"
#include "tfm/stream.h"

typedef struct tfm_option {
    int letter;       /* 'n', or a value > 255 for a long-only option; 0 ends the table */
    const char *name; /* "max-tokens" */
    const char *arg;  /* "N", or NULL for a flag */
    const char *help; /* one line, with the default */
} tfm_option;

enum { TFM_LONG = 256 }; /* long-only options of a tool: TFM_LONG + 0, + 1, ...; below 0x1000 */

/* A macro of rows of a table stays a table: the formatter would take it for code. */
/* clang-format off */

/* -o -q -v -h -V (and --no-prov); every tool has these. */
#define TFM_OPT_COMMON                                                                            \
    {'o', "output", "FILE", "write to FILE, whole or not at all (default: stdout)"},              \
        {'q', "quiet", NULL, "no warnings"}, {'v', "verbose", NULL, "say what is done on stderr"}, \
        {0x1001, "no-prov", NULL, "write no provenance line ($TFM_NO_PROV)"},                     \
        {'h', "help", NULL, "show this help and exit"},                                           \
        {'V', "version", NULL, "show the version and exit"}
#define TFM_OPT_MODEL {'m', "model", "FILE", "the model (default: $TFM_MODEL)"}
#define TFM_OPT_DEVICE                                                                            \
    {'d', "device", "DEV",                                                                        \
     "auto, ref, cpu, cpu:generic, cpu:avx2, cpu:avx512 (default: $TFM_DEVICE, auto)"}
#define TFM_OPT_THREADS {'t', "threads", "N", "threads (default: $TFM_THREADS, what is allowed)"}
#define TFM_OPT_PROGRESS                                                                          \
    {0x1002, "progress", "SECS",                                                                  \
     "say how far it is every SECS seconds (default: on a terminal; SIGUSR1)"}
#define TFM_OPT_END {0, NULL, NULL, NULL}
/* clang-format on */

typedef struct tfm_program {
    const char *name;     /* "tfm-run" */
    const char *synopsis; /* "[options] [FILE]" */
    const char *about;    /* one line for --help and NAME */
    const tfm_option *options;
} tfm_program;

/* One option as it was given, for provenance. */
typedef struct tfm_cli_given {
    const tfm_option *option;
    const char *arg; /* NULL for a flag */
} tfm_cli_given;

typedef struct tfm_cli_probe tfm_cli_probe; /* the options of TFM_OPT_PROBE */

/* A file being written. */
typedef struct tfm_cli_aside {
    int fd;      /* -1: not open */
    char *temp;  /* the temporary beside `final`, or NULL */
    char *final; /* symbolic links followed */
} tfm_cli_aside;

typedef struct tfm_cli {
    const tfm_program *program;
    int argc;
    char **argv;        /* operands are gathered in argv[next..argc) as options are parsed */
    int next;           /* argv index of the first operand once tfm_cli_next gave 0 */
    const char *arg;    /* argument of the present option */
    const char *option; /* the option as typed, for messages: "-n", "--max-tokens" */
    /* common options and environment */
    bool quiet, no_prov;
    int verbose;
    const char *output;      /* -o, or NULL */
    const char *model;       /* -m, else $TFM_MODEL, else NULL */
    const char *device;      /* -d, else $TFM_DEVICE, else "auto" */
    unsigned threads;        /* -t, else $TFM_THREADS, else 0 = default */
    tfm_cli_probe *probe;    /* NULL: none of its options was given */
    tfm_cli_aside out;       /* being written: stdout or -o */
    bool any_failed;         /* a record failed: exit 4 when all else is good */
    double start_s, shown_s; /* of progress.c: CLOCK_MONOTONIC */
    uint32_t progress_s;     /* --progress, 0: none */
    bool is_terminal;        /* is stderr one? */
    int worst;               /* exit status asked for so far: 1 after tfm_cli_answer_no */
    /* the parser's own */
    const char *threads_env; /* $TFM_THREADS, read when the options are known */
    int scan, n_operands;
    const char *cluster; /* the rest of "-qv" */
    tfm_cli_given *given;
    size_t n_given, cap_given;
    char opt_text[80];
} tfm_cli;

/* Never returns on --help, --version, --help-options (it is tfm_cli_next that meets them). Restores
 * SIGPIPE to default; puts /dev/null on missing fds 0-2, opened the wrong way round on 0 and 1 so
 * that their use is still an error; installs handlers that remove the temporary of -o on INT, TERM,
 * HUP, QUIT, PIPE and re-raise. Reads the TFM_ variables: the only place that does. */
void tfm_cli_start(tfm_cli *c, const tfm_program *p, int argc, char **argv);
/* The letter of the next option that is not a common one; 0 when options are done. Options and
 * operands may be mixed; "--" ends the options. Usage errors exit 2 with one line. */
int tfm_cli_next(tfm_cli *c);
/* The operands: their number; *args points at argv[next..argc). */
int tfm_cli_operands(const tfm_cli *c, char ***args);

/* The present option's argument as the name of a file that is written beside the output; "-" exits
 * 2. (That a FILE is not the empty name is seen to for every option.) */
const char *tfm_cli_second_output(tfm_cli *c);
/* The present option's argument as a number; anything else, or out of range, exits 2 with a line
 * that names the option and the range. */
uint32_t tfm_cli_u32(tfm_cli *c, uint32_t lo, uint32_t hi);
uint64_t tfm_cli_u64(tfm_cli *c, uint64_t lo, uint64_t hi);
double tfm_cli_double(tfm_cli *c, double lo, double hi);

/* A warning line unless -q. It does not exit. */
void tfm_cli_warn(tfm_cli *c, const char *fmt, ...) TFM_PRINTF(2, 3);
void tfm_cli_say(tfm_cli *c, const char *fmt, ...) TFM_PRINTF(2, 3); /* only with -v */
/* "s" behind a noun, but for one: "%llu record%s failed", n, tfm_cli_plural(n). */
const char *tfm_cli_plural(uint64_t n);
/* Prints one line and exits 2. */
_Noreturn void tfm_cli_usage(tfm_cli *c, const char *fmt, ...) TFM_PRINTF(2, 3);

/* Opens FILE for writing: a temporary beside it, removed when a signal ends the program, so that
 * FILE is the old one or the whole new one. What is no regular file (a FIFO, a device) is written
 * directly. */
tfm_status tfm_cli_aside_open(tfm_cli_aside *a, const char *path, tfm_error *err) TFM_MUST_CHECK;
/* keep: the temporary takes FILE's place; else it is removed. A second call does nothing. */
tfm_status tfm_cli_aside_close(tfm_cli_aside *a, bool keep, tfm_error *err) TFM_MUST_CHECK;
/* The file as a stdio stream, on a descriptor of its own; tfm_cli_text_end closes that and reports
 * what could not be written. name: for messages. */
tfm_status tfm_cli_aside_text(const tfm_cli_aside *a, const char *name, FILE **out,
                              tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_cli_text_end(FILE *out, const char *name, tfm_error *err) TFM_MUST_CHECK;
/* Opens an input: NULL or "-" is stdin (fd 0, name "stdin"). Closing is the caller's. */
tfm_status tfm_cli_open_input(tfm_cli *c, const char *path, int *fd, const char **name,
                              tfm_error *err) TFM_MUST_CHECK;
/* fn for every stream of every file (none: stdin): its header has been read, its records are fn's,
 * who reads them to the end. writer: who writes such streams as a rule, or NULL. */
typedef tfm_status (*tfm_cli_stream_fn)(void *ctx, tfm_reader *r, tfm_error *err);
tfm_status tfm_cli_streams(tfm_cli *c, char **files, int n_files, const char *writer,
                           tfm_cli_stream_fn fn, void *ctx, tfm_error *err) TFM_MUST_CHECK;
/* Opens the output: stdout, or a temporary beside -o FILE that tfm_cli_finish renames when the exit
 * status is 0, 1 or 4. A FILE that is no regular file (a FIFO, a device) is written directly.
 * binary: refuses to write to a terminal. */
tfm_status tfm_cli_open_output(tfm_cli *c, bool binary, int *fd, const char **name,
                               tfm_error *err) TFM_MUST_CHECK;
/* The same for a text output, as a stdio stream; closed by tfm_cli_close_text, which reports what
 * could not be written. */
tfm_status tfm_cli_open_text(tfm_cli *c, FILE **out, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_cli_close_text(tfm_cli *c, FILE *out, tfm_error *err) TFM_MUST_CHECK;
/* Writes bytes from a stream so that a line stays a line and a terminal is safe: \n, \t, \\ and
 * \xHH for what is no printable UTF-8. */
void tfm_cli_escaped(FILE *out, const char *text, size_t n);
/* Writes text as a JSON string with its quotes. Broken UTF-8 cannot stand there: U+FFFD for each of
 * its bytes. */
void tfm_cli_json_string(FILE *out, const char *text, size_t n);
/* Length of the UTF-8 character at p (0: broken, or a control character). */
size_t tfm_cli_printable(const unsigned char *p, size_t n);
/* Sets `tool` and (unless switched off) adds one `prov` line to h: JSON with tool, version, options
 * and operands that change results (not -t -b -q -o -v; files as base names, free text, i.e. an
 * option whose argument is called TEXT, as the first 16 hex digits of its SHA-256). Notes whether h
 * was salvaged. */
tfm_status tfm_cli_provenance(tfm_cli *c, tfm_header *h, tfm_error *err) TFM_MUST_CHECK;

/* ---- records.c, tokens.c: programs that make prompts of text ---- */

typedef enum tfm_cli_frame {
    TFM_FRAME_WHOLE, /* a file is a record */
    TFM_FRAME_LINE,  /* -l */
    TFM_FRAME_NUL,   /* -0 */
    TFM_FRAME_JSONL  /* -j */
} tfm_cli_frame;
const char *tfm_cli_frame_name(tfm_cli_frame f); /* as the header's `frame` has it */
/* The present option asks for frame f; a second frame exits 2. */
void tfm_cli_frame_take(tfm_cli *c, tfm_cli_frame *frame, tfm_cli_frame f);

/* The input files as records. */
typedef struct tfm_cli_records {
    tfm_cli *cli;
    tfm_cli_frame frame;
    size_t most; /* bytes of a record */
    char **files;
    int n_files;
    const char *name; /* of the present file */
    int file, fd;     /* its number; -1: none is open */
    bool at_end, skipping;
    char *buf;
    size_t start, scanned, end, cap; /* buf[start..end) is not yet taken */
} tfm_cli_records;

/* One of them, its terminator taken off. */
typedef struct tfm_cli_record {
    const char *text;
    size_t n;
    bool has_tail; /* whole: the file ended with LF */
    bool is_last;  /* whole: of the last file */
    bool is_long;  /* longer than `most`: the text is a part of it */
} tfm_cli_record;

/* Files are the operands, none: stdin; borrowed. */
void tfm_cli_records_start(tfm_cli_records *in, tfm_cli *c, tfm_cli_frame frame, size_t most,
                           char **files, int n_files);
/* A record that is there already. Its text is valid until tfm_cli_records_more. */
bool tfm_cli_records_take(tfm_cli_records *in, tfm_cli_record *out);
/* Reads on; may block. TFM_DONE: there are no more. TFM_LIMIT: a whole file is too long. */
tfm_status tfm_cli_records_more(tfm_cli_records *in, tfm_error *err) TFM_MUST_CHECK;
void tfm_cli_records_close(tfm_cli_records *in);
/* A file of at most `most` bytes; *text is the caller's to free(), NULL of an empty file. */
tfm_status tfm_cli_read_file(tfm_cli *c, const char *path, size_t most, char **text, size_t *n,
                             tfm_error *err) TFM_MUST_CHECK;

/* *out = the header of a stream of tokens, but for provenance; model: may be NULL. On failure too
 * it is the caller's to free. */
tfm_status tfm_cli_tokens_header(tfm_cli *c, const tfm_model *model, const tfm_vocab *v,
                                 tfm_cli_frame frame, uint64_t first, tfm_header **out,
                                 tfm_error *err) TFM_MUST_CHECK;
/* The ids of a group from position 0, as one record or several; flags: of the last one. */
tfm_status tfm_cli_write_tokens(tfm_writer *w, uint32_t group, const tfm_ids *ids, unsigned flags,
                                tfm_error *err) TFM_MUST_CHECK;
/* One line if n characters were not in the vocabulary. */
void tfm_cli_warn_unknown(tfm_cli *c, uint64_t n);

/* ---- what else is shared ---- */

/* Parses JSON text with jansson (flags as for json_loadb, the result is json_decref'd by the
 * caller). TFM_FORMAT: not JSON, *why (may be NULL, a json_error_t) says where; TFM_NOMEM. Tools
 * use this and not json_loadb, which mistakes a lack of memory for bad JSON, or worse. */
struct json_t;
struct json_error_t;
tfm_status tfm_cli_json(struct json_t **out, const char *text, size_t n, size_t flags,
                        struct json_error_t *why, tfm_error *err) TFM_MUST_CHECK;
/* *out = the JSON of j, the caller's to free(); for the same reason instead of json_dumps. */
tfm_status tfm_cli_json_dump(char **out, const struct json_t *j, size_t flags,
                             tfm_error *err) TFM_MUST_CHECK;
/* Says how far the work is, if it is time to: done of total (0: not known) units. Cheap, so that it
 * can be called for every record or token. For tools with TFM_OPT_PROGRESS. */
void tfm_cli_progress(tfm_cli *c, const char *unit, uint64_t done, uint64_t total);
/* Notes that a record failed (exit 4 if nothing worse happens). */
void tfm_cli_record_failed(tfm_cli *c);
/* The same, and warns of it: a group that fails here, why. What failed before was told there. */
void tfm_cli_group_failed(tfm_cli *c, uint32_t group, const char *why);
/* Notes that a record failed if h is the header of a salvaged stream: whatever was lost with its
 * end left no error record, and the last stage's status must tell all the same. */
void tfm_cli_note_salvaged(tfm_cli *c, const tfm_header *h);
/* Notes that the answer is no (exit 1 if nothing worse happens): cmp, check. */
void tfm_cli_answer_no(tfm_cli *c);
/* Prints err (unless the status is OK or DONE), completes or removes -o, closes stdout with a
 * check, and returns the exit status. On failure a stream ERROR is written to `w` (if not NULL), in
 * its open stream or in one of kind error, so that the next stage names us (or the stage before us,
 * when it was that one that failed). A reader that left ends the program quietly by SIGPIPE. */
int tfm_cli_finish(tfm_cli *c, tfm_status status, tfm_writer *w, const tfm_error *err);

/* ---- options about a model ---- */

enum { TFM_OPTION_KV = 0x900, TFM_OPTION_KV_MEMORY, TFM_OPTION_PREFIX_CACHE };
/* clang-format off */
#define TFM_OPT_KV                                                                                \
    {TFM_OPTION_KV, "kv", "TYPE",                                                                 \
     "type of the cache: f16, f32 or q8_0 (default: f32 for f32 weights, else f16)"}
#define TFM_OPT_KV_MEMORY                                                                         \
    {TFM_OPTION_KV_MEMORY, "kv-memory", "SIZE",                                                   \
     "most memory of the cache, as 512M or 4G (default: half of what is free)"}
tfm_dtype tfm_cli_kv(tfm_cli *c); /* the present option's argument; else exits 2 */
/* A size with K, M, G or T (powers of 1024, "B" or "iB" may follow) as bytes, at least 1. */
uint64_t tfm_cli_size(tfm_cli *c);
/* Bytes that this process may still take as kernel and control groups say, UINT64_MAX: nobody
 * knows. */
uint64_t tfm_cli_available_memory(void);
/* What --kv-memory is by default for c->model; 0: no limit is known. */
uint64_t tfm_cli_default_kv_memory(const tfm_cli *c);
/* "A-B", both included, or "A": *end is one past B. */
void tfm_cli_layers(tfm_cli *c, uint32_t *first, uint32_t *end);
/* clang-format on */

/* ---- one stage of the model as a program: embed, attend, unembed ---- */

/* The rest of main, once the options are parsed: every stream of every operand through the stage.
 * Returns the exit status. */
int tfm_cli_stage(tfm_cli *c, tfm_stage_options *o);
/* The same for an embedding stage that gets whole prompts: run (may be NULL: they go through once)
 * takes one stream of them, END included. */
typedef tfm_status tfm_cli_prompts_run(void *ctx, tfm_stage *s, tfm_prompts *prompts, tfm_writer *w,
                                       tfm_error *err);
int tfm_cli_stage_prompts(tfm_cli *c, tfm_stage_options *o, tfm_cli_prompts_run *run, void *ctx);

/* ---- taps and interventions: the same options in every tool that runs a model ---- */

enum {
    TFM_OPTION_TAP = 0xa00,
    TFM_OPTION_TAP_OUT,
    TFM_OPTION_LIST_TAPS, /* up to here what changes no result */
    TFM_OPTION_ABLATE,
    TFM_OPTION_MEAN,
    TFM_OPTION_SKIP,
    TFM_OPTION_PATCH,
    TFM_OPTION_STEER,
    TFM_OPTION_SCALE,
    TFM_OPTION_AT
};
#define TFM_OPT_TAPS                                                                               \
    {TFM_OPTION_TAP, "tap", "GLOB", "write these values of the model to --tap-out; may repeat"},   \
        {TFM_OPTION_TAP_OUT, "tap-out", "FILE|FD",                                                 \
         "where taps go: a file, or an open descriptor"},                                          \
    {                                                                                              \
        TFM_OPTION_LIST_TAPS, "list-taps", NULL, "list the values that have a name, and exit"      \
    }
#define TFM_OPT_EDITS                                                                              \
    {TFM_OPTION_ABLATE, "ablate", "GLOB",                                                          \
     "set these values, or blk.N.head.H, to zero; may repeat"},                                    \
        {TFM_OPTION_MEAN, "mean", "FILE",                                                          \
         "--ablate sets the mean of FILE's rows instead of zero"},                                 \
        {TFM_OPTION_SKIP, "skip", "GLOB", "leave out blk.N, blk.N.attn or blk.N.ffn; may repeat"}, \
        {TFM_OPTION_PATCH, "patch", "FILE",                                                        \
         "put FILE's rows in place of the model's own; may repeat"},                               \
        {TFM_OPTION_STEER, "steer", "FILE",                                                        \
         "add FILE's vectors to the values they name; may repeat"},                                \
        {TFM_OPTION_SCALE, "scale", "X", "multiply the vectors of --steer by X (default: 1)"}, {   \
        TFM_OPTION_AT, "at", "A-B",                                                                \
            "--ablate and --steer act on positions A to B only (default: all)"                     \
    }

#define TFM_OPT_PROBE TFM_OPT_TAPS, TFM_OPT_EDITS

/* Takes the present option if it is one of TFM_OPT_PROBE. */
bool tfm_cli_probe_take(tfm_cli *c, int option);
/* Checks the options, reads their files, opens the stream of taps. *probe and *taps are for the
 * library's options, alive until tfm_cli_probe_close; NULL where there is none. */
tfm_status tfm_cli_probe_open(tfm_cli *c, tfm_probe **probe, tfm_writer **taps,
                              tfm_error *err) TFM_MUST_CHECK;
/* Starts and ends a stream of taps, if they go anywhere. output: the header of the tool's own
 * output, complete. */
tfm_status tfm_cli_taps_header(tfm_cli *c, const tfm_header *output, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_cli_taps_end(tfm_cli *c, tfm_error *err) TFM_MUST_CHECK;
/* After the engine is gone: closes and frees everything. On failure (st) the taps end with a stream
 * ERROR. Returns st, or why the taps could not be closed. */
tfm_status tfm_cli_probe_close(tfm_cli *c, tfm_status st, tfm_error *err) TFM_MUST_CHECK;
/* --list-taps: was it given; then the rest of main, which returns the exit status. */
bool tfm_cli_lists_taps(const tfm_cli *c);
int tfm_cli_list_taps(tfm_cli *c, const tfm_model_range *range);

/* ---- sampling: the same options in every tool that draws ---- */

enum {
    TFM_OPTION_MIN_P = 0x800,
    TFM_OPTION_REPEAT,
    TFM_OPTION_PRESENCE,
    TFM_OPTION_FREQUENCY,
    TFM_OPTION_LAST
};
/* clang-format off */
#define TFM_OPT_SAMPLING                                                                          \
    {'s', "seed", "N", "seed of the random numbers (default: 0)"},                                \
        {'T', "temp", "X",                                                                        \
         "temperature; 0 takes the most likely (default: 0, or 1 with -k, -p, --min-p)"},         \
        {'k', "top-k", "N", "draw from the N most likely (default: 0, all)"},                     \
        {'p', "top-p", "X", "draw from the fewest whose probability reaches X (default: 1, all)"}, \
        {TFM_OPTION_MIN_P, "min-p", "X", "drop those below X times the most likely (default: 0)"}, \
        {TFM_OPTION_REPEAT, "repeat-penalty", "X",                                                \
         "divide the logits of ids that occurred (default: 1)"},                                  \
        {TFM_OPTION_PRESENCE, "presence-penalty", "X", "lower ids that occurred (default: 0)"},   \
        {TFM_OPTION_FREQUENCY, "frequency-penalty", "X",                                          \
         "lower ids by each occurrence (default: 0)"},                                            \
        {TFM_OPTION_LAST, "penalty-last", "N",                                                    \
         "ids that the penalties look back on (default: 0, all)"}
/* clang-format on */

/* Greedy unless -k, -p or --min-p is given (then the temperature is 1) or -T says otherwise. */
typedef struct tfm_cli_sampling {
    tfm_sampling sampling;
    bool has_temperature, is_drawn;
} tfm_cli_sampling;
void tfm_cli_sampling_start(tfm_cli_sampling *s);
/* Takes the present option if it is one of TFM_OPT_SAMPLING. */
bool tfm_cli_sampling_take(tfm_cli *c, int option, tfm_cli_sampling *s);
tfm_sampling tfm_cli_sampling_end(const tfm_cli_sampling *s);

/* The folder of arch/ and models/: ../share/tfm beside the program's folder, or ../../share (the
 * build tree); the first, for messages, when neither is there. Static. */
const char *tfm_cli_share_dir(void);

#endif

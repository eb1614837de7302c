/* test_cli.c - options, numbers, the output file, the exit status, provenance: what every program
 * shares, tested in children of one program. What the programs themselves must do with it is in
 * tests/contract.bats. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "unit.h"

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {'n', "max-tokens", "N", "stop after N"},
    {TFM_LONG, "stop", "TEXT", "end before TEXT"},
    {TFM_LONG + 1, "echo", NULL, "write the prompt too"},
    {TFM_LONG + 2, "temp", "X", "temperature"},
    TFM_OPT_END,
};
static const tfm_program program = {"tfm-test", "[options] [FILE...]", "a program of the tests",
                                    options};

/* The end of the arguments: a bare NULL may be an int. */
#define END ((char *)NULL)

/* What a child does after its options are parsed; the result is its exit status. */
typedef int (*body)(tfm_cli *c);

static char said[4096]; /* stdout and stderr of the last child, as text */
static char folder[] = "/tmp/tfm-test-cli-XXXXXX";

static int wait_for(pid_t pid, int from) {
    size_t n = 0;
    ssize_t got;
    int status = 0;
    while (n < sizeof said - 1 && (got = read(from, said + n, sizeof said - 1 - n)) > 0)
        n += (size_t)got;
    said[n] = '\0';
    close(from);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs the program with these arguments (up to END) in a child; gives its exit status, 128 + n
 * for a signal. */
static int run(body then, ...) {
    char *args[32];
    int n = 0, ends[2];
    va_list ap;
    pid_t pid;

    args[n++] = (char *)(uintptr_t) "tfm-test";
    va_start(ap, then);
    while (n < 31 && (args[n] = va_arg(ap, char *)) != NULL) n++;
    va_end(ap);
    args[n] = NULL;
    fflush(stdout);
    if (pipe(ends) != 0) return -1;
    pid = fork();
    if (pid == 0) {
        tfm_cli c;
        int option;
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        if (chdir(folder) != 0) _exit(99);
        tfm_cli_start(&c, &program, n, args);
        while ((option = tfm_cli_next(&c)) != 0) {
            if (option == 'n') dprintf(2, "n=%u ", tfm_cli_u32(&c, 1, 100));
            if (option == TFM_LONG + 2) dprintf(2, "temp=%g ", tfm_cli_double(&c, 0, 10));
            if (option == TFM_LONG + 1) dprintf(2, "echo ");
        }
        _exit(then(&c));
    }
    close(ends[1]);
    return wait_for(pid, ends[0]);
}

static int show(tfm_cli *c) {
    char **operands;
    int n = tfm_cli_operands(c, &operands);
    for (int i = 0; i < n; i++) dprintf(1, "[%s]", operands[i]);
    dprintf(1, " m=%s d=%s t=%u q=%d v=%d o=%s\n", c->model ? c->model : "-", c->device, c->threads,
            c->quiet, c->verbose, c->output ? c->output : "-");
    return tfm_cli_finish(c, TFM_OK, NULL, NULL);
}

static void options_and_operands_mix(void) {
    CHECK_INT(run(show, "a", "-n5", "b", "-qvv", "--echo", "-m", "M", "--device=cpu", "-t", "3",
                  "--", "-z", END),
              0);
    CHECK_STR(said, "n=5 echo [a][b][-z] m=M d=cpu t=3 q=1 v=2 o=-\n");
    CHECK_INT(run(show, "-", "--temp", "-0", "--temp=1e-3", "-o", "-", END), 0);
    CHECK_STR(said, "temp=-0 temp=0.001 [-] m=- d=auto t=0 q=0 v=0 o=-\n");
    CHECK_INT(run(show, "--", END), 0);
    CHECK_STR(said, " m=- d=auto t=0 q=0 v=0 o=-\n");
}

static void environment_is_a_default(void) {
    setenv("TFM_MODEL", "E", 1);
    setenv("TFM_DEVICE", "ref", 1);
    setenv("TFM_THREADS", "2", 1);
    CHECK_INT(run(show, END), 0);
    CHECK_STR(said, " m=E d=ref t=2 q=0 v=0 o=-\n");
    CHECK_INT(run(show, "-m", "M", "-d", "cpu", "-t1", END), 0);
    CHECK_STR(said, " m=M d=cpu t=1 q=0 v=0 o=-\n");
    setenv("TFM_THREADS", "many", 1);
    CHECK_INT(run(show, END), 2);
    CHECK_STR(said, "tfm-test: $TFM_THREADS: \"many\" is not a whole number from 1 to 1024\n");
    CHECK_INT(run(show, "-t", "1", END), 0); /* overridden, so never looked at */
    setenv("TFM_MODEL", "", 1);
    CHECK_INT(run(show, "-t", "1", END), 0); /* empty is not set */
    CHECK_STR(said, " m=- d=ref t=1 q=0 v=0 o=-\n");
    unsetenv("TFM_MODEL");
    unsetenv("TFM_DEVICE");
    unsetenv("TFM_THREADS");
}

static void usage_errors_are_one_line(void) {
    CHECK_INT(run(show, "--max", END), 2);
    CHECK_STR(said, "tfm-test: --max: unknown option: is --max-tokens meant? (no abbreviations)\n");
    CHECK_INT(run(show, "--bogus=3", END), 2);
    CHECK_STR(said, "tfm-test: --bogus: unknown option: see tfm-test --help\n");
    CHECK_INT(run(show, "-Z", END), 2);
    CHECK_STR(said, "tfm-test: -Z: unknown option: see tfm-test --help\n");
    CHECK_INT(run(show, "-qn", END), 2);
    CHECK_STR(said, "tfm-test: -n: needs an argument: N\n");
    CHECK_INT(run(show, "--stop", END), 2);
    CHECK_STR(said, "tfm-test: --stop: needs an argument: TEXT\n");
    CHECK_INT(run(show, "--echo=1", END), 2);
    CHECK_STR(said, "tfm-test: --echo: takes no argument\n");
    CHECK_INT(run(show, "-n", "101", END), 2);
    CHECK_STR(said, "tfm-test: -n: \"101\" is not a whole number from 1 to 100\n");
    static const char *const bad[] = {"",  " 1", "1 ", "0x1", "1e1", "+", "99999999999999999999",
                                      "-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(run(show, "--max-tokens", bad[i], END), 2);
    static const char *const bad_real[] = {"", "nan", "inf", "1,5", "0x1p3", "10.1", "1e999"};
    for (size_t i = 0; i < sizeof bad_real / sizeof *bad_real; i++)
        CHECK_INT(run(show, "--temp", bad_real[i], END), 2);
    CHECK_INT(run(show, "--\x1b[2J", END), 2); /* no control character reaches a terminal */
    CHECK(strchr(said, '\x1b') == NULL);
}

static void help_and_version(void) {
    CHECK_INT(run(show, "-n", "1", "--help", END), 0);
    CHECK(strstr(said, "Usage: tfm-test [options] [FILE...]\n") != NULL);
    CHECK(strstr(said, "  -n, --max-tokens N      stop after N\n") != NULL);
    CHECK_INT(run(show, "-V", END), 0);
    CHECK(strncmp(said, "tfm-test (tfm) ", 15) == 0);
    CHECK_INT(run(show, "--help-options", END), 0);
    CHECK(strstr(said, "n\tmax-tokens\tN\tstop after N\n\tstop\tTEXT\tend before TEXT\n") != NULL);
}

/* ---- the output file ---- */

static int write_and_finish(tfm_cli *c, tfm_status status, const char *message) {
    tfm_error err = {0};
    const char *name;
    int fd;
    tfm_status st = tfm_cli_open_output(c, true, &fd, &name, &err);
    if (st == TFM_OK && write(fd, "new", 3) != 3) st = tfm_fail_errno(&err, TFM_IO, "%s", name);
    if (st == TFM_OK && status != TFM_OK) st = tfm_fail(&err, status, "%s", message);
    return tfm_cli_finish(c, st, NULL, &err);
}
static int write_well(tfm_cli *c) {
    return write_and_finish(c, TFM_OK, "");
}
static int write_badly(tfm_cli *c) {
    return write_and_finish(c, TFM_FORMAT, "in: not a stream");
}
static int write_and_record_failed(tfm_cli *c) {
    tfm_cli_record_failed(c);
    return write_well(c);
}
static int write_and_say_no(tfm_cli *c) {
    tfm_cli_answer_no(c);
    return write_well(c);
}
static int write_and_usage(tfm_cli *c) {
    tfm_error err = {0};
    const char *name;
    int fd;
    if (tfm_cli_open_output(c, true, &fd, &name, &err) != TFM_OK) return 99;
    tfm_cli_usage(c, "too late");
}
static int write_and_die(tfm_cli *c) {
    tfm_error err = {0};
    const char *name;
    int fd;
    if (tfm_cli_open_output(c, true, &fd, &name, &err) != TFM_OK) return 99;
    raise(SIGTERM);
    return 98;
}

/* The contents of `name` in the folder; "" if it is not there. */
static const char *contents(const char *name) {
    static char text[64];
    char path[128];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    text[0] = '\0';
    if (f != NULL) {
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
    }
    return text;
}

static void put(const char *name, const char *text) {
    char path[128];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    if (CHECK(f != NULL)) {
        fputs(text, f);
        fclose(f);
    }
}

static int n_files(void) {
    char command[128], text[16] = "";
    FILE *f;
    snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    f = popen(command, "r");
    if (f == NULL) return -1;
    if (fgets(text, sizeof text, f) == NULL) text[0] = '\0';
    pclose(f);
    return atoi(text);
}

static void output_is_old_or_whole(void) {
    struct stat st;
    char path[128];

    CHECK_INT(run(write_well, "-o", "out", END), 0);
    CHECK_STR(said, "");
    CHECK_STR(contents("out"), "new");
    put("out", "old");
    snprintf(path, sizeof path, "%s/out", folder);
    chmod(path, 0640);
    CHECK_INT(run(write_badly, "-o", "out", END), 3);
    CHECK_STR(said, "tfm-test: in: not a stream\n");
    CHECK_STR(contents("out"), "old");
    CHECK_INT(run(write_and_usage, "-o", "out", END), 2);
    CHECK_STR(contents("out"), "old");
    CHECK_INT(run(write_and_die, "-o", "out", END), 128 + SIGTERM);
    CHECK_STR(contents("out"), "old");
    CHECK_INT(run(write_and_record_failed, "-o", "out", END), 4);
    CHECK_STR(contents("out"), "new");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0640);
    put("out", "old");
    CHECK_INT(run(write_and_say_no, "-o", "out", END), 1);
    CHECK_STR(contents("out"), "new");
    CHECK_INT(n_files(), 1); /* no temporary is left by any of these */
    CHECK_INT(run(write_well, "-o", "no/such", END), 5);
    CHECK_STR(said,
              "tfm-test: no/such: cannot create a file beside it: No such file or directory\n");
    CHECK_INT(run(write_well, "-o", ".", END), 5);
    CHECK_INT(run(write_well, "-o", "/dev/null", END), 0);
    CHECK_INT(run(write_well, "-o", "/dev/full", END), 5);
    CHECK_STR(said, "tfm-test: /dev/full: No space left on device\n");
}

static void a_link_is_followed(void) {
    char from[128], to[128];
    struct stat st;
    put("target", "old");
    snprintf(from, sizeof from, "%s/link", folder);
    snprintf(to, sizeof to, "%s/target", folder);
    CHECK(symlink("target", from) == 0);
    CHECK_INT(run(write_well, "-o", "link", END), 0);
    CHECK_STR(contents("target"), "new");
    CHECK(lstat(from, &st) == 0 && S_ISLNK(st.st_mode));
}

/* ---- missing file descriptors, provenance, share ---- */

static void a_missing_stdout_is_an_error(void) {
    int ends[2];
    pid_t pid;
    if (!CHECK(pipe(ends) == 0)) return;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        char *args[] = {(char *)(uintptr_t) "tfm-test", NULL};
        tfm_cli c;
        dup2(ends[1], 2);
        close(0);
        close(1);
        tfm_cli_start(&c, &program, 1, args);
        while (tfm_cli_next(&c) != 0) {
        }
        _exit(write_well(&c));
    }
    close(ends[1]);
    CHECK_INT(wait_for(pid, ends[0]), 5);
    CHECK_STR(said, "tfm-test: stdout: Bad file descriptor\n");
}

static int provenance(tfm_cli *c) {
    tfm_header *h = NULL;
    tfm_error err = {0};
    const char *prov;
    if (tfm_header_new(&h, "tokens", &err) != TFM_OK || tfm_cli_provenance(c, h, &err) != TFM_OK)
        return tfm_cli_finish(c, TFM_FORMAT, NULL, &err);
    prov = tfm_header_get(h, "prov");
    dprintf(1, "%s %s\n", tfm_header_get(h, "tool"), prov ? prov : "-");
    tfm_header_free(h);
    return tfm_cli_finish(c, TFM_OK, NULL, NULL);
}

static void provenance_has_what_changes_results(void) {
    CHECK_INT(run(provenance, "-q", "-v", "-t2", "-m", "/secret/folder/m.tfms", "-n", "7", "--echo",
                  "--stop", "a prompt", "--stop", "b", "-o", "x", "/secret/in.txt", END),
              0);
    CHECK(strstr(said, "secret") == NULL && strstr(said, "a prompt") == NULL);
    CHECK(strstr(said, "\"model\":\"m.tfms\",\"device\":\"auto\"") != NULL);
    CHECK(strstr(said, "\"max-tokens\":\"7\",\"echo\":true,\"stop\":[\"sha256:") != NULL);
    CHECK(strstr(said, "\"inputs\":[\"in.txt\"]") != NULL);
    CHECK(strstr(said, "threads") == NULL && strstr(said, "output") == NULL);
    CHECK_INT(run(provenance, "\xff\xfe", END), 0); /* a file name need not be UTF-8 */
    CHECK(strstr(said, "\"inputs\":[\"sha256:") != NULL);
    CHECK_INT(run(provenance, "--no-prov", END), 0);
    CHECK_STR(said, "tfm-test -\n");
    setenv("TFM_NO_PROV", "1", 1);
    CHECK_INT(run(provenance, END), 0);
    CHECK_STR(said, "tfm-test -\n");
    unsetenv("TFM_NO_PROV");
}

int main(void) {
    static const char *const ours[] = {"TFM_MODEL", "TFM_DEVICE", "TFM_THREADS", "TFM_NO_PROV"};
    char command[128];
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) unsetenv(ours[i]);
    if (!CHECK(mkdtemp(folder) != NULL)) return unit_done();
    UNIT_RUN(options_and_operands_mix);
    UNIT_RUN(environment_is_a_default);
    UNIT_RUN(usage_errors_are_one_line);
    UNIT_RUN(help_and_version);
    UNIT_RUN(output_is_old_or_whole);
    UNIT_RUN(a_link_is_followed);
    UNIT_RUN(a_missing_stdout_is_an_error);
    UNIT_RUN(provenance_has_what_changes_results);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_INT(system(command), 0);
    return unit_done();
}

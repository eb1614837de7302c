/* available.c - how much memory this process may still take, and sizes on the command line.
 *
 * The library takes what it is told to; how much of the machine that should be is decided here. The
 * least of what the kernel calls available and what each control group (version 1 or 2) leaves,
 * where cached pages of files count as free. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base_internal.h"
#include "cli/cli.h"

/* The first number of a small file, or the one behind `key` in it; false if there is none. */
static bool number_in(const char *dir, const char *file, const char *key, uint64_t *out) {
    char path[600], line[256];
    bool found = false;

    if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path) return false;
    FILE *f = fopen(path, "re");
    if (!f) return false;
    while (!found && fgets(line, sizeof line, f)) {
        const char *at = line;
        if (key && strncmp(line, key, strlen(key)) != 0) continue;
        if (key) at += strlen(key) + strspn(line + strlen(key), " ");
        found = *at >= '0' && *at <= '9'; /* not "max" */
        if (found) *out = strtoull(at, NULL, 10);
    }
    fclose(f);
    return found;
}

/* Lowers *left to what the group at `dir` leaves. */
static void apply_group(const char *dir, uint64_t *left) {
    uint64_t limit, used, idle = 0, active = 0;

    if (!number_in(dir, "memory.max", NULL, &limit) &&
        !number_in(dir, "memory.limit_in_bytes", NULL, &limit))
        return;
    if (!number_in(dir, "memory.current", NULL, &used) &&
        !number_in(dir, "memory.usage_in_bytes", NULL, &used))
        return;
    number_in(dir, "memory.stat", "inactive_file ", &idle);
    number_in(dir, "memory.stat", "active_file ", &active);
    used = used > idle ? used - idle : 0;
    used = used > active ? used - active : 0;
    uint64_t rest = limit > used ? limit - used : 0;
    if (rest < *left) *left = rest;
}

/* The group `root` + `path` and every one above it. `path` is eaten. */
static void apply_groups(const char *root, char *path, uint64_t *left) {
    char dir[560];

    for (char *slash; (slash = strrchr(path, '/')) != NULL; *slash = '\0')
        if (snprintf(dir, sizeof dir, "%s%s", root, path) < (int)sizeof dir) apply_group(dir, left);
    apply_group(root, left);
}

uint64_t tfm_cli_available_memory(void) {
    uint64_t left = UINT64_MAX, kib;
    char line[512];

    if (number_in("/proc", "meminfo", "MemAvailable:", &kib) && kib <= UINT64_MAX / 1024)
        left = kib * 1024;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) { /* "0::/path" (v2) or "4:memory:/path" (v1) */
        line[strcspn(line, "\n")] = '\0';
        char *path = strrchr(line, ':');
        if (!path) continue;
        *path++ = '\0';
        if (strcmp(line, "0:") == 0)
            apply_groups("/sys/fs/cgroup", path, &left);
        else if (strstr(line, ":memory"))
            apply_groups("/sys/fs/cgroup/memory", path, &left);
    }
    if (f) fclose(f);
    return left;
}

/* Half of what is left beside the model's file, which wants to stay in memory, too. */
uint64_t tfm_cli_default_kv_memory(const tfm_cli *c) {
    uint64_t left = tfm_cli_available_memory();
    struct stat info;

    if (left == UINT64_MAX) return 0;
    uint64_t model =
        stat(c->model, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    uint64_t share = left > model ? (left - model) / 2 : 0;
    if (share < left / 8) share = left / 8;
    return share ? share : 1; /* nothing is left: 0 would mean no limit */
}

uint64_t tfm_cli_size(tfm_cli *c) {
    static const char units[] = "KMGT";
    size_t n = strcspn(c->arg, units);
    const char *unit = c->arg[n] ? strchr(units, c->arg[n]) : NULL;
    const char *rest = unit ? c->arg + n + 1 : "";
    char digits[24] = "";
    uint64_t value = 0;

    if (n < sizeof digits) memcpy(digits, c->arg, n);
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (!tfm_parse_u64(digits, 1, UINT64_MAX >> shift, &value) ||
        (*rest && strcmp(rest, "B") != 0 && strcmp(rest, "iB") != 0))
        tfm_cli_usage(c, "%s: \"%.40s\" is no size: give bytes, or as 512M or 4G", c->option,
                      c->arg);
    return value << shift;
}

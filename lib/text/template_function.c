/* template_function.c - the functions that a template finds: range, namespace, dict, and the two of
 * apply_chat_template, raise_exception and strftime_now. */
#include <stdio.h>

#include "text/template_internal.h"

enum { RANGE_MAX = 100000 }; /* as Jinja's sandbox */

static const char *const names[] = {"range",        "namespace", "dict",   "raise_exception",
                                    "strftime_now", "lipsum",    "cycler", "joiner"};
enum { RANGE, NAMESPACE, DICT, RAISE, STRFTIME }; /* the rest is known, but not supported */

int tfm_tp_function(const char *name) {
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) return i;
    return -1;
}

static tfm_status range(tp_run *r, const tp_args *args, tp_val *out) {
    int64_t v[3] = {0, 0, 1};
    if (args->n_key || args->n_pos < 1 || args->n_pos > 3)
        return tfm_tp_fail(r, "range takes one to three numbers");
    for (size_t i = 0; i < args->n_pos; i++) {
        const tp_val *a = &args->pos[i];
        if (a->kind != TP_INT && a->kind != TP_BOOL)
            return tfm_tp_fail(r, "range: of %s", tfm_tp_kind(a));
        v[args->n_pos == 1 ? 1 : i] = a->kind == TP_INT ? a->u.i : a->u.b;
    }
    if (v[2] == 0) return tfm_tp_fail(r, "range: a step of 0");
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_RANGE, 0, out));
    for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1];) {
        if (out->u.list->n == RANGE_MAX)
            return tfm_tp_fail(r, "range: more than %d numbers", RANGE_MAX);
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, tfm_tp_int(i, true)));
        if (__builtin_add_overflow(i, v[2], &i)) break;
    }
    return TFM_OK;
}

/* namespace(a=1), dict(a=1), either of a dict first. */
static tfm_status make_dict(tp_run *r, const char *name, const tp_args *args, tp_val *out) {
    TFM_TRY(tfm_tp_dict_new(r, args->n_key, out));
    if (args->n_pos > 1 || (args->n_pos == 1 && args->pos[0].kind != TP_DICT))
        return tfm_tp_fail(r, "%s takes named values", name);
    if (args->n_pos == 1) {
        const tp_dict *d = args->pos[0].u.dict;
        TFM_TRY(tfm_tp_work(r, d->n));
        for (size_t i = 0; i < d->n; i++)
            TFM_TRY(tfm_tp_dict_add(r, out->u.dict, d->pair[i].key, d->pair[i].value));
    }
    for (size_t i = 0; i < args->n_key; i++) {
        tp_val key;
        TFM_TRY(tfm_tp_bytes(r, args->key[i], strlen(args->key[i]), true, &key));
        TFM_TRY(tfm_tp_dict_set(r, out->u.dict, key, args->key_value[i]));
    }
    return TFM_OK;
}

static tfm_status raise_exception(tp_run *r, const tp_args *args) {
    const tp_str *s;
    tp_val v = args->n_pos ? args->pos[0] : args->n_key ? args->key_value[0] : tfm_tp_none();
    TFM_TRY(tfm_tp_to_str(r, &v, &s));
    return tfm_tp_fail(r, "the template refuses: %.*s", (int)(s->n < 400 ? s->n : 400), s->p);
}

/* ---- strftime_now ---- */

static bool is_leap(int y) {
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static int day_of_year(const tfm_template_time *t) {
    return days_before[t->month - 1] + t->day + (t->month > 2 && is_leap(t->year));
}

static int days_of(int year, int month) {
    return days_before[month] - days_before[month - 1] + (month == 2 && is_leap(year));
}

/* 0: Sunday */
static int weekday(const tfm_template_time *t) {
    int y = t->year - 1;
    return (y + y / 4 - y / 100 + y / 400 + day_of_year(t)) % 7;
}

bool tfm_template_is_time(const tfm_template_time *t) {
    return t->year >= 1 && t->year <= 9999 && t->month >= 1 && t->month <= 12 && t->day >= 1 &&
           t->day <= days_of(t->year, t->month) && t->hour >= 0 && t->hour <= 23 &&
           t->minute >= 0 && t->minute <= 59 && t->second >= 0 && t->second <= 60;
}

/* One conversion of strftime in the C locale; "" if it is not supported. */
static void convert(const tfm_template_time *t, char c, char out[32]) {
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    const char *month = months[t->month - 1], *day = days[weekday(t)];
    int hour12 = t->hour % 12 ? t->hour % 12 : 12;
    const size_t n = 32;
    out[0] = '\0';
    switch (c) {
    case 'Y': snprintf(out, n, "%d", t->year); break;
    case 'y': snprintf(out, n, "%02d", t->year % 100); break;
    case 'm': snprintf(out, n, "%02d", t->month); break;
    case 'd': snprintf(out, n, "%02d", t->day); break;
    case 'e': snprintf(out, n, "%2d", t->day); break;
    case 'B': snprintf(out, n, "%s", month); break;
    case 'b':
    case 'h': snprintf(out, n, "%.3s", month); break;
    case 'A': snprintf(out, n, "%s", day); break;
    case 'a': snprintf(out, n, "%.3s", day); break;
    case 'j': snprintf(out, n, "%03d", day_of_year(t)); break;
    case 'H': snprintf(out, n, "%02d", t->hour); break;
    case 'I': snprintf(out, n, "%02d", hour12); break;
    case 'M': snprintf(out, n, "%02d", t->minute); break;
    case 'S': snprintf(out, n, "%02d", t->second); break;
    case 'p': snprintf(out, n, "%s", t->hour < 12 ? "AM" : "PM"); break;
    case 'F': snprintf(out, n, "%d-%02d-%02d", t->year, t->month, t->day); break;
    case 'T': snprintf(out, n, "%02d:%02d:%02d", t->hour, t->minute, t->second); break;
    case '%': snprintf(out, n, "%%"); break;
    default: break;
    }
}

static tfm_status strftime_now(tp_run *r, const tp_args *args, tp_val *out) {
    const tfm_template_time *now = r->in->now;
    tp_text t = {0};
    if (now == NULL || !tfm_template_is_time(now))
        return tfm_tp_fail(r, "strftime_now: no date was given");
    if (args->n_pos != 1 || args->n_key || args->pos[0].kind != TP_STR)
        return tfm_tp_fail(r, "strftime_now takes one string");
    const tp_str *s = args->pos[0].u.s;
    for (size_t i = 0; i < s->n; i++) {
        char text[32];
        if (s->p[i] != '%') {
            TFM_TRY(tfm_tp_text_part(r, &t, s, i, i + 1));
            continue;
        }
        bool plain = i + 1 < s->n && s->p[i + 1] == '-'; /* no zero in front */
        i += 1 + plain;
        convert(now, i < s->n ? s->p[i] : '\0', text);
        if (text[0] == '\0')
            return tfm_tp_fail(r, "strftime_now: a conversion that is not supported");
        const char *p = text;
        while (plain && (*p == '0' || *p == ' ') && p[1]) p++;
        TFM_TRY(tfm_tp_text_bytes(r, &t, p, strlen(p), false));
    }
    return tfm_tp_text_done(r, &t, out);
}

tfm_status tfm_tp_call_function(tp_run *r, int function, const tp_args *args, tp_val *out) {
    switch (function) {
    case RANGE: return range(r, args, out);
    case NAMESPACE:
        TFM_TRY(make_dict(r, "namespace", args, out));
        out->kind = TP_NAMESPACE;
        return TFM_OK;
    case DICT: return make_dict(r, "dict", args, out);
    case RAISE: return raise_exception(r, args);
    case STRFTIME: return strftime_now(r, args, out);
    default: return tfm_tp_fail(r, "the function %s is not supported", names[function]);
    }
}

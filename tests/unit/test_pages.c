/* test_pages.c - page tables: what a fork shares, when a page is copied, the budget. */
#include "infer/infer_internal.h"
#include "unit.h"

/* A backend that only counts: pages are numbers, copies are noted. */
static uint32_t copies, reserved;
static tfm_status count_reserve(tfm_kv *kv, uint32_t n, tfm_error *err) {
    (void)kv;
    (void)err;
    reserved = n;
    return TFM_OK;
}
static void count_copy(tfm_kv *kv, uint32_t to, uint32_t from) {
    (void)kv;
    CHECK(to != from);
    copies++;
}
static uint64_t page_bytes(const tfm_kv *kv) {
    (void)kv;
    return 1000;
}
static const tfm_backend_ops ops = {.name = "count",
                                    .kv_reserve = count_reserve,
                                    .kv_copy_page = count_copy,
                                    .kv_page_bytes = page_bytes};
static const tfm_backend backend = {.ops = &ops};
static char some_kv;
#define KV ((tfm_kv *)(void *)&some_kv)

static void fork_shares_and_copies_on_write(void) {
    tfm_pages *p;
    tfm_seq a = {0}, b = {0};

    copies = 0;
    CHECK_INT(tfm_pages_new(&p, &backend, KV, 0, NULL), TFM_OK);
    CHECK_INT(tfm_seq_extend(p, &a, 100, NULL), TFM_OK); /* pages 0 and 1, the second part full */
    CHECK_INT(a.n_pages, 2);
    CHECK(reserved >= 2);
    CHECK_INT(tfm_seq_fork(p, &b, &a, 100, NULL), TFM_OK);
    CHECK(b.page[0] == a.page[0] && b.page[1] == a.page[1]);
    CHECK_INT(copies, 0);
    CHECK_INT(tfm_seq_extend(p, &b, 101, NULL), TFM_OK); /* b writes to the shared second page */
    CHECK_INT(copies, 1);
    CHECK(b.page[0] == a.page[0] && b.page[1] != a.page[1]);
    CHECK_INT(tfm_seq_extend(p, &a, 101, NULL), TFM_OK); /* a has it alone now */
    CHECK_INT(copies, 1);
    tfm_seq_release(p, &a);
    CHECK_INT(tfm_seq_extend(p, &b, 129, NULL), TFM_OK); /* a page that a gave back */
    CHECK_INT(b.n_pages, 3);
    tfm_seq_release(p, &b);
    tfm_pages_free(p);
}

static void a_fork_at_a_page_edge_copies_nothing(void) {
    tfm_pages *p;
    tfm_seq a = {0}, b = {0};

    copies = 0;
    CHECK_INT(tfm_pages_new(&p, &backend, KV, 0, NULL), TFM_OK);
    CHECK_INT(tfm_seq_extend(p, &a, TFM_KV_PAGE, NULL), TFM_OK);
    CHECK_INT(tfm_seq_fork(p, &b, &a, TFM_KV_PAGE, NULL), TFM_OK);
    CHECK_INT(tfm_seq_extend(p, &b, TFM_KV_PAGE + 1, NULL), TFM_OK);
    CHECK_INT(tfm_seq_extend(p, &a, TFM_KV_PAGE + 1, NULL), TFM_OK);
    CHECK_INT(copies, 0);
    CHECK(a.page[1] != b.page[1]);
    tfm_seq_truncate(p, &a, 1);
    CHECK_INT(a.n_pages, 1);
    CHECK_INT(tfm_seq_extend(p, &a, 2, NULL), TFM_OK); /* cut into the page that b still reads */
    CHECK_INT(copies, 1);
    CHECK(a.page[0] != b.page[0]);
    tfm_seq_release(p, &a);
    tfm_seq_release(p, &b);
    tfm_pages_free(p);
}

static void the_budget_holds(void) {
    tfm_pages *p;
    tfm_seq a = {0}, b = {0};

    CHECK_INT(tfm_pages_new(&p, &backend, KV, 3500, NULL), TFM_OK); /* three pages */
    CHECK_INT(tfm_pages_limit(p), 3);
    CHECK_INT(tfm_seq_extend(p, &a, 2 * TFM_KV_PAGE, NULL), TFM_OK);
    CHECK_INT(tfm_seq_extend(p, &b, 2 * TFM_KV_PAGE, NULL), TFM_LIMIT);
    tfm_seq_release(p, &a);
    CHECK_INT(tfm_seq_extend(p, &b, 2 * TFM_KV_PAGE, NULL), TFM_OK);
    CHECK(reserved <= 3);
    tfm_seq_release(p, &b);
    tfm_pages_free(p);
}

int main(void) {
    UNIT_RUN(fork_shares_and_copies_on_write);
    UNIT_RUN(a_fork_at_a_page_edge_copies_nothing);
    UNIT_RUN(the_budget_holds);
    return unit_done();
}

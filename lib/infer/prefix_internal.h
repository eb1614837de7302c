/* prefix_internal.h - full pages of token sequences, to be shared by all that begin alike.
 *
 *     tfm_prefix_node *n = tfm_prefix_find(px, NULL, ids);      // the first TFM_KV_PAGE ids
 *     if (n && tfm_prefix_page(n) != TFM_NO_PAGE) ...           // its page can be used as it is
 *     TFM_TRY(tfm_prefix_announce(px, NULL, ids, me, &n, err)); // or: I compute it
 *     tfm_prefix_fill(px, n, page);                             // it is there
 *
 * A node is one page and says: these ids, behind the ids of my parent. It is found by a hash of
 * both and believed only after both were compared. The rows of a page are a function of the ids up
 * to its end, so whoever begins with them may read the page, and no result changes.
 *
 * A node that is announced has no page yet: whoever needs it waits for its owner instead of
 * computing the same rows. Announced nodes belong to their owner, who fills or withdraws them;
 * filled ones hold a reference to their page and can be evicted while nobody else has one. */
#ifndef TFM_PREFIX_INTERNAL_H
#define TFM_PREFIX_INTERNAL_H

#include "infer/infer_internal.h"

#define TFM_NO_PAGE UINT32_MAX

typedef struct tfm_prefix tfm_prefix;
typedef struct tfm_prefix_node tfm_prefix_node;

tfm_status tfm_prefix_new(tfm_prefix **out, tfm_pages *pages, tfm_error *err) TFM_MUST_CHECK;
/* Gives its pages back; nobody may be waiting. */
void tfm_prefix_free(tfm_prefix *px);
/* The node of ids [TFM_KV_PAGE] behind `parent` (NULL: at the beginning), or NULL. */
tfm_prefix_node *tfm_prefix_find(tfm_prefix *px, tfm_prefix_node *parent, const int32_t *ids);
/* A new node there, of this owner; there must be none. */
tfm_status tfm_prefix_announce(tfm_prefix *px, tfm_prefix_node *parent, const int32_t *ids,
                               const void *owner, tfm_prefix_node **out,
                               tfm_error *err) TFM_MUST_CHECK;
uint32_t tfm_prefix_page(const tfm_prefix_node *n);     /* TFM_NO_PAGE: only announced */
const void *tfm_prefix_owner(const tfm_prefix_node *n); /* of an announced one */
/* The announced node gets its page, of which the table takes a reference. */
void tfm_prefix_fill(tfm_prefix *px, tfm_prefix_node *n, uint32_t page);
/* Takes back what the owner of `last` has announced, from there towards the beginning. */
void tfm_prefix_withdraw(tfm_prefix *px, tfm_prefix_node *last);
/* The nodes from n to the beginning were used just now. */
void tfm_prefix_touch(tfm_prefix *px, tfm_prefix_node *n);
/* Gives back the page that was used longest ago, of those that nobody else holds; false if none. */
bool tfm_prefix_evict(tfm_prefix *px);
uint32_t tfm_prefix_count(const tfm_prefix *px); /* filled nodes */

#endif

/* probe.h - looking into a running model and changing what happens there.
 *
 *     tfm_probe *p;
 *     TFM_TRY(tfm_probe_new(&p, err));
 *     TFM_TRY(tfm_probe_tap(p, "blk.*.resid", err));            // look
 *     TFM_TRY(tfm_probe_ablate(p, "blk.3.head.5", err));        // change
 *     tfm_engine_options eo = {.probe = p};                     // alive as long as the engine
 *     tfm_generate_options go = {.tap_out = writer};            // records of kind tensor
 *
 * A value is known by the block and the name of the step that writes it (`blk.2.ffn_down`; of a
 * step with several outputs `blk.2.attn_split.q`), and some by what they are in any architecture:
 *
 *     embedding         the residual stream before block 0
 *     blk.N.q .k .v     as attention reads them, after the rotation      [heads, head width]
 *     blk.N.pattern     the probabilities of attention                   [heads, keys]
 *     blk.N.heads       what the heads give                              [heads, value width]
 *     blk.N.attn_out    what attention adds to the residual stream
 *     blk.N.ffn_in      what the feed-forward part reads
 *     blk.N.ffn_out     what it adds
 *     blk.N.resid       the residual stream after the block
 *     logits
 *
 * A pattern can be patched or ablated to zero; as its rows differ in length, no vector steers it
 * and it has no mean. Globs have * ? and [...]; a * matches dots too. A tap is seen after every
 * change of its value. What changes a row depends on its group and position alone, so laws of
 * batch, threads and cuts hold with a probe as they do without; taps change no bit of a result.
 */
#ifndef TFM_PROBE_H
#define TFM_PROBE_H

#include <stdint.h>

#include "tfm/infer.h"
#include "tfm/model.h"
#include "tfm/status.h"
#include "tfm/stream.h"

typedef struct tfm_probe tfm_probe;

TFM_API tfm_status tfm_probe_new(tfm_probe **out, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_probe_free(tfm_probe *p);

/* Names are looked up when an engine is made; one that matches nothing in the engine's range is
 * TFM_USAGE with the nearest names. */

/* Values to be written. */
TFM_API tfm_status tfm_probe_tap(tfm_probe *p, const char *glob, tfm_error *err) TFM_MUST_CHECK;
/* Sets values to zero, or to their mean (below). Besides the names of values: blk.N.head.H, the
 * output of one head. */
TFM_API tfm_status tfm_probe_ablate(tfm_probe *p, const char *glob, tfm_error *err) TFM_MUST_CHECK;
/* blk.N.attn, blk.N.ffn: the part adds nothing; blk.N: the block is not there. */
TFM_API tfm_status tfm_probe_skip(tfm_probe *p, const char *glob, tfm_error *err) TFM_MUST_CHECK;

/* Files are streams whose TENSOR records are named as values (f32, f16 or bf16; rank 1 is one row).
 * Names of the model outside the engine's range are left out; others are TFM_MISMATCH. `name` is
 * for messages. Each reads r to its end. */

/* What tfm_probe_ablate sets instead of zero: the mean over all rows of the value's name. */
TFM_API tfm_status tfm_probe_mean(tfm_probe *p, tfm_reader *r, const char *name,
                                  tfm_error *err) TFM_MUST_CHECK;
/* Rows that take the place of the model's own in the same group at the same position. */
TFM_API tfm_status tfm_probe_patch(tfm_probe *p, tfm_reader *r, const char *name,
                                   tfm_error *err) TFM_MUST_CHECK;
/* After a run: a name of which no row was met, because the input has none of their groups at their
 * positions. Sets the file and the name, owned by p; false if there is none. */
TFM_API bool tfm_probe_unmet(const tfm_probe *p, const char **file, const char **name);
/* One row a name, times scale, is added to the value. */
TFM_API tfm_status tfm_probe_steer(tfm_probe *p, tfm_reader *r, const char *name, double scale,
                                   tfm_error *err) TFM_MUST_CHECK;
/* Ablation and steering act on positions first..last only, both included. */
TFM_API void tfm_probe_positions(tfm_probe *p, uint32_t first, uint32_t last);

/* Calls fn for every value of the range with the shape of one row ("[64]", "[4, 16]"). Block
 * numbers past the model's last are cut. */
typedef tfm_status (*tfm_probe_name_fn)(void *ctx, const char *name, const char *shape,
                                        tfm_error *err);
TFM_API tfm_status tfm_probe_list(tfm_model *m, const tfm_model_range *range, tfm_probe_name_fn fn,
                                  void *ctx, tfm_error *err) TFM_MUST_CHECK;

#endif

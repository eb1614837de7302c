/* turn.c - what is written for one record that came in: FLUSH in is FLUSH out, once, on the last.
 *
 * The generation loop lives on it: tfm-embed reads the loop until FLUSH has come round. */
#include "sample.h"

static tfm_status write_last(turn *t, uint16_t flags, tfm_error *err) {
    if (!t->has_last) return TFM_OK;
    t->has_last = false;
    t->last.flags = (uint16_t)(t->last.flags | flags);
    return tfm_writer_record(t->w, &t->last, t->payload, err);
}

tfm_status turn_add(turn *t, const tfm_record *rec, const void *payload, tfm_error *err) {
    TFM_TRY(write_last(t, 0, err));
    t->last = *rec;
    t->last.flags &= (uint16_t)~TFM_FLAG_FLUSH;
    t->payload = payload;
    t->has_last = true;
    return TFM_OK;
}

tfm_status turn_end(turn *t, uint16_t flags, tfm_error *err) {
    const tfm_record note = TFM_FLUSH_NOTE;
    bool flush = flags & TFM_FLAG_FLUSH;

    if (flush && !t->has_last) TFM_TRY(turn_add(t, &note, NULL, err));
    return write_last(t, flush ? TFM_FLAG_FLUSH : 0, err);
}

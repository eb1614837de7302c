/* heap.h - how much memory is allocated, counted at malloc: what was asked for, touched or not. */
#ifndef TFM_TESTS_HEAP_H
#define TFM_TESTS_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Begins to count (a sanitizer must be told); false where nothing can be counted. */
bool heap_start(void);
size_t heap_live(void);
/* The highest heap_live since the last call of heap_mark, which forgets it. */
size_t heap_peak(void);
void heap_mark(void);

#endif

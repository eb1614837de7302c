/* rng_internal.h - counter-based random numbers: Philox 4x32-10 (Salmon et al., 2011).
 *
 * No state: the number is a pure function of key and counter, so sampling depends on (seed, group,
 * sample number, position) and on nothing else (DESIGN 3). */
#ifndef TFM_RNG_INTERNAL_H
#define TFM_RNG_INTERNAL_H

#include <stdint.h>

/* 4 random words for (key, counter). */
void tfm_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* Uniform double in [0, 1) from two words, 53 bits. */
double tfm_uniform53(uint32_t hi, uint32_t lo);
/* The one uniform number for sampling: key = seed, counter = (group, sample, position, stream). */
double tfm_rng_uniform(uint64_t seed, uint32_t group, uint32_t sample, uint32_t position,
                       uint32_t stream);

#endif

/* limits_x86_internal.h - the limits of an instruction set of x86, whatever its width; included
 * once by limits_avx2.c and limits_avx512.c, which have defined TARGET, VECTOR_BITS, the types VF
 * and VI of vectors, NEXT_INT8(x), and NEXT_BF16(x) where there are dot products of bf16.
 *
 * Leaves f32, int8, read_all, bf16 and the products of a round: TFM_LIMIT_CHAINS vectors, each of
 * VECTOR_BITS / 32 lanes and a multiply and an add in a lane. */
#include "backend/cpu/limits_internal.h"

#define MM_OF(bits, op) _mm##bits##_##op
#define MM_WITH(bits, op) MM_OF(bits, op)
#define MM(op) MM_WITH(VECTOR_BITS, op)

enum { ROUND_F32 = TFM_LIMIT_CHAINS * VECTOR_BITS / 32 * 2, ROUND_BF16 = 2 * ROUND_F32 };
enum { ROUND_INT8 = 4 * ROUND_F32 };

#define FIRST_F32(i) MM(set1_ps)((float)(i))
#define NEXT_F32(x) MM(fmadd_ps)(x, MM(set1_ps)(0.5f), MM(set1_ps)(1.0f))
TFM_LIMIT_LOOP(TARGET, f32, VF, FIRST_F32, NEXT_F32, MM(add_ps))
#ifdef NEXT_BF16
TFM_LIMIT_LOOP(TARGET, bf16, VF, FIRST_F32, NEXT_BF16, MM(add_ps))
#endif
TFM_LIMIT_LOOP(TARGET, int8, VI, MM(set1_epi32), NEXT_INT8, MM(add_epi32))
TFM_LIMIT_READ(TARGET, read_all, VI, MM(add_epi64))

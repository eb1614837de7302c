/* test_bits_ref.c - the determinism harness on ref. It has no fusion and no threads; what can go
 * wrong is who sees which key, and everything between the backend and the pipes. */
#include "bits.h"

int main(int argc, char **argv) {
    return bits_main(argc, argv, "ref");
}

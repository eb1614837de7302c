/* bytes.c - the byte alphabet: a printable character for each of the 256 bytes, so that byte
 * strings can be written as text. The bytes that Latin-1 prints stand for themselves; the others
 * are numbered from U+0100 in order. (Radford et al., 2019, encoder.py, bytes_to_unicode.) */
#include "text/text_internal.h"

static bool stands_for_itself(unsigned c) {
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* The others in order: 00-20, 7f-a0, ad. */
uint32_t tfm_byte_to_char(unsigned byte) {
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100 + byte;
    if (byte <= 0xa0) return 0x121 + (byte - 0x7f);
    return 0x143;
}

int tfm_char_to_byte(uint32_t cp) {
    if (cp < 0x100) return stands_for_itself(cp) ? (int)cp : -1;
    if (cp <= 0x120) return (int)(cp - 0x100);
    if (cp <= 0x142) return (int)(cp - 0x121 + 0x7f);
    return cp == 0x143 ? 0xad : -1;
}

#!/usr/bin/env python3
"""Makes quant.bin: blocks of every quantised type and what an independent reader makes of them.

Run as `python3 tests/golden/quant/make.py` with the packages of MANIFEST; the result is the same
bytes every time. The file is a list of cases, all little-endian:

    u32 tfm dtype | u32 direction (0: blocks -> f32, 1: f32 -> blocks) | u32 elements
    | u32 input bytes | u32 output bytes | input | output

Scales are drawn from all finite halves (subnormals, zeros of both signs and the largest among
them), quants and packed scale bits are uniform.
"""
import os
import struct

import gguf
import numpy as np

TYPES = {  # tfm dtype number, offsets of the f16 fields in a block
    "Q4_0": (16, [0]), "Q4_1": (17, [0, 2]), "Q5_0": (18, [0]), "Q5_1": (19, [0, 2]),
    "Q8_0": (20, [0]), "Q2_K": (24, [80, 82]), "Q3_K": (25, [108]), "Q4_K": (26, [0, 2]),
    "Q5_K": (27, [0, 2]), "Q6_K": (28, [208]),
}
TABLES = {"IQ4_NL": (21, [0]), "MXFP4": (22, []), "IQ4_XS": (29, [0])}
EDGE = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF]


def random_halves(rng, n):
    bits = rng.integers(0, 1 << 16, n * 2, dtype=np.uint16)
    return bits[(bits & 0x7C00) != 0x7C00][:n]


def blocks(rng, qtype, fields, n):
    _, size = gguf.GGML_QUANT_SIZES[qtype]
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for i, at in enumerate(fields):
        half = random_halves(rng, n)
        half[: len(EDGE)] = EDGE if i == 0 else EDGE[::-1]
        raw[:, at : at + 2] = half.view(np.uint8).reshape(n, 2)
    return raw


def floats(rng, n):
    """Rows of 32: normal numbers at many scales, ties, one sign only, constants, zeros."""
    x = rng.standard_normal((n, 32)).astype(np.float32)
    x *= np.exp2(rng.integers(-30, 14, (n, 1))).astype(np.float32)
    x[0] = 0
    x[1, 1:] = -0.0  # after a +0, because the package takes the sign of a first -0 into q4_0's d
    x[1, 0] = 0
    x[2] = np.arange(32) - 16
    x[3] = (np.arange(32) - 16) / np.float32(2)
    x[4] = 1
    x[5] = -1
    x[6, 3], x[6, 9] = 7.5, -7.5  # the first of two equal magnitudes decides the sign
    x[7, 3], x[7, 9] = -7.5, 7.5
    x[8] = np.abs(x[8])
    x[9] = 127 * np.sign(x[9])
    x[9, :16] = np.arange(16) + np.float32(0.5)  # halves: away from zero in q8_0
    return x


def main():
    rng = np.random.default_rng(20240229)
    cases = []
    for name, (number, fields) in TYPES.items():
        qtype = gguf.GGMLQuantizationType[name]
        raw = blocks(rng, qtype, fields, 12 if name.endswith("_K") else 24)
        out = np.stack([gguf.quants.dequantize(row, qtype) for row in raw]).astype("<f4")
        assert np.isfinite(out).all()
        cases.append((number, 0, out.size, raw.tobytes(), out.tobytes()))
    for name in ("Q8_0", "Q4_0"):
        x = floats(rng, 40)
        out = gguf.quants.quantize(x, gguf.GGMLQuantizationType[name])
        cases.append((TYPES[name][0], 1, x.size, x.astype("<f4").tobytes(), out.tobytes()))
    for name, (number, fields) in TABLES.items():  # after the others, whose bytes stay so
        qtype = gguf.GGMLQuantizationType[name]
        raw = blocks(rng, qtype, fields, 24)
        if name == "MXFP4":  # every kind of exponent: subnormal, common, beyond f32
            raw[:10, 0] = [0, 1, 2, 3, 120, 127, 128, 253, 254, 255]
        out = np.stack([gguf.quants.dequantize(row, qtype) for row in raw]).astype("<f4")
        assert not np.isnan(out).any()
        cases.append((number, 0, out.size, raw.tobytes(), out.tobytes()))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "quant.bin")
    with open(path, "wb") as f:
        for number, direction, count, source, result in cases:
            f.write(struct.pack("<5I", number, direction, count, len(source), len(result)))
            f.write(source + result)


if __name__ == "__main__":
    main()

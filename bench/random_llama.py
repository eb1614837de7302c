#!/usr/bin/env python3
"""random_llama.py [--shape 110m|1.1b|tiny|least] [--type TYPE] OUT - writes a random Llama.

For speed, which does not depend on what the weights say. OUT ending in .gguf is a GGUF file whose
weights are of TYPE (f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 iq4_nl iq4_xs mxfp4 q2_K q3_K q4_K q5_K q6_K, or q4_K_M,
the usual mixture of q4_K and q6_K; default f16), with a vocabulary of bytes and invented words; anything else is
a folder as Hugging Face writes it (f16, f32 or bf16), without a tokenizer. Blocks are random bytes but
for their scales, which are such that nothing overflows; norms are 1. The same bytes each time;
`tfm-convert OUT -o FILE` makes the model.

Shapes: 110m is 12 blocks of width 768, 12 heads, ff 2048, embedding and head tied; 1.1b is 22 blocks of
width 2048, 32 heads over 4, ff 5632; tiny is for tests; least is 5 blocks of
width 32, with next to nothing to compute. Needs nothing but Python.
"""
import argparse
import json
import os
import random
import struct

# blocks, width, heads, key heads, ff, vocabulary, context, is the head the embedding
SHAPES = {
    "least": (5, 32, 4, 4, 32, 512, 2048, True),
    "tiny": (2, 256, 4, 2, 512, 1000, 2048, False),
    "110m": (12, 768, 12, 12, 2048, 32000, 2048, True),
    "1.1b": (22, 2048, 32, 4, 5632, 32000, 32768, False),
}

# Of a little-endian f16 every second byte is sign, exponent and two bits of mantissa: +-(1 + m) *
# 2^-6.
HIGH_F16 = bytes((b & 0x83) | (9 << 2) for b in range(256))
# Of bf16, and of f32's upper half, the exponent is 121: its upper bits, then its lowest.
HIGH_BF16 = bytes((b & 0x80) | (121 >> 1) for b in range(256))
LOW_BF16 = bytes(b | 0x80 for b in range(256))

# GGUF: number of the type, elements and bytes of a block, and [offset of an f16 field, or of a byte
# if its value is an int, and that value]: scales that give weights a standard deviation of about
# 0.02.
BLOCKS = {
    "q4_0": (2, 32, 18, [(0, 0.0045)]),
    "q4_1": (3, 32, 20, [(0, 0.0045), (2, -0.034)]),
    "q5_0": (6, 32, 22, [(0, 0.0022)]),
    "q5_1": (7, 32, 24, [(0, 0.0022), (2, -0.034)]),
    "q8_0": (8, 32, 34, [(0, 0.00028)]),
    "iq4_nl": (20, 32, 18, [(0, 0.0003)]),
    "iq4_xs": (23, 256, 136, [(0, 0.000016)]),
    "mxfp4": (39, 32, 17, [(0, 120)]),
    "q2_K": (10, 256, 84, [(80, 0.0022), (82, 0.0033)]),
    "q3_K": (11, 256, 110, [(108, 0.0004)]),
    "q4_K": (12, 256, 144, [(0, 0.00013), (2, 0.001)]),
    "q5_K": (13, 256, 176, [(0, 0.00007), (2, 0.001)]),
    "q6_K": (14, 256, 210, [(208, 0.000016)]),
}
PLAIN = {"f32": (0, 4), "f16": (1, 2), "bf16": (30, 2)}
FILE_TYPE = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_K": 10,
             "q3_K": 12, "q4_K": 14, "q4_K_M": 15, "q5_K": 16, "q6_K": 18, "iq4_nl": 25, "iq4_xs": 30, "bf16": 32, "mxfp4": 38}
SAFETENSORS = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


def plain(n, type_, rng):
    """n random elements of an unquantised type."""
    size = PLAIN[type_][1]
    out = bytearray(rng.randbytes(size * n))
    if type_ == "f16":
        out[1::2] = bytes(out[1::2]).translate(HIGH_F16)
    else:
        out[size - 1::size] = bytes(out[size - 1::size]).translate(HIGH_BF16)
        out[size - 2::size] = bytes(out[size - 2::size]).translate(LOW_BF16)
    return out


def quantised(n, type_, rng):
    """n random elements of a type of blocks."""
    _, elements, size, fields = BLOCKS[type_]
    count = n // elements
    out = bytearray(rng.randbytes(size * count))
    for offset, value in fields:
        field = bytes([value]) if isinstance(value, int) else struct.pack("<e", value)
        for i in range(len(field)):
            out[offset + i::size] = field[i:i + 1] * count
    return out


def one(n, type_):
    return {"f32": struct.pack("<f", 1), "f16": b"\0\x3c", "bf16": b"\x80\x3f"}[type_] * n


def chunks(shape, type_, rng):
    """The bytes of a tensor, some million at a time."""
    n = shape[0]
    if len(shape) == 1:
        yield one(n, type_)
        return
    n *= shape[1]
    most = 1 << 22
    for at in range(0, n, most):
        part = min(most, n - at)
        yield plain(part, type_, rng) if type_ in PLAIN else quantised(part, type_, rng)


def n_bytes(shape, type_):
    n = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if type_ in PLAIN:
        return n * PLAIN[type_][1]
    _, elements, size, _ = BLOCKS[type_]
    assert shape[-1] % elements == 0, f"a row of {shape[-1]} is not a whole number of blocks"
    return n // elements * size


def write_folder(folder, dims, type_, rng):
    blocks, width, heads, kv_heads, ff, vocab, ctx, tied = dims
    kv = width // heads * kv_heads
    os.makedirs(folder, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
        "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "intermediate_size": ff, "vocab_size": vocab, "max_position_embeddings": ctx,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": tied,
        "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[type_],
    }
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)
    tensors = [("model.embed_tokens.weight", (vocab, width))]
    for i in range(blocks):
        name = f"model.layers.{i}."
        tensors += [
            (name + "self_attn.q_proj.weight", (width, width)),
            (name + "self_attn.k_proj.weight", (kv, width)),
            (name + "self_attn.v_proj.weight", (kv, width)),
            (name + "self_attn.o_proj.weight", (width, width)),
            (name + "mlp.gate_proj.weight", (ff, width)),
            (name + "mlp.up_proj.weight", (ff, width)),
            (name + "mlp.down_proj.weight", (width, ff)),
            (name + "input_layernorm.weight", (width,)),
            (name + "post_attention_layernorm.weight", (width,)),
        ]
    tensors += [("model.norm.weight", (width,))]
    if not tied:
        tensors += [("lm_head.weight", (vocab, width))]
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = n_bytes(shape, type_)
        head[name] = {"dtype": SAFETENSORS[type_], "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors:
            f.writelines(chunks(shape, type_, rng))


def gguf_string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def vocabulary(n):
    """Pieces, scores and types of a SentencePiece vocabulary of n: bytes, letters, invented words."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    letters = "\u2581etaoinshrdlucmfwypvbgkjxqz"
    pieces += [(c, -1e6, 1) for c in letters]
    level = list(letters)
    while len(pieces) < n:
        level = [a + b for a in level for b in letters[1:]]
        pieces += [(w, -float(len(pieces) + i), 1) for i, w in enumerate(level[:n - len(pieces)])]
    return pieces


def gguf_types(type_, blocks, i, name):
    """The type of matrix `name` in block i (None: outside)."""
    if type_ != "q4_K_M":
        return type_
    more = i is not None and (i < blocks // 8 or i >= 7 * blocks // 8 or (i - blocks // 8) % 3 == 2)
    wide = name == "output" or (more and name in ("attn_v", "ffn_down"))
    return "q6_K" if wide else "q4_K"


def write_gguf(path, dims, type_, rng):
    blocks, width, heads, kv_heads, ff, vocab, ctx, tied = dims
    kv = width // heads * kv_heads
    tensors = [("token_embd", None, (vocab, width))]
    for i in range(blocks):
        tensors += [
            ("attn_norm", i, (width,)), ("attn_q", i, (width, width)), ("attn_k", i, (kv, width)),
            ("attn_v", i, (kv, width)), ("attn_output", i, (width, width)), ("ffn_norm", i, (width,)),
            ("ffn_gate", i, (ff, width)), ("ffn_up", i, (ff, width)), ("ffn_down", i, (width, ff)),
        ]
    tensors += [("output_norm", None, (width,))]
    if not tied:
        tensors += [("output", None, (vocab, width))]
    pieces = vocabulary(vocab)
    u32, f32, text, array = 4, 6, 8, 9
    meta = [("general.architecture", text, gguf_string("llama")),
            ("general.name", text, gguf_string("random llama")),
            ("general.file_type", u32, struct.pack("<I", FILE_TYPE[type_])),
            ("general.quantization_version", u32, struct.pack("<I", 2)),
            ("tokenizer.ggml.model", text, gguf_string("llama")),
            ("tokenizer.ggml.tokens", array, gguf_array(text, [gguf_string(p[0]) for p in pieces])),
            ("tokenizer.ggml.scores", array, gguf_array(f32, [struct.pack("<f", p[1]) for p in pieces])),
            ("tokenizer.ggml.token_type", array, gguf_array(5, [struct.pack("<i", p[2]) for p in pieces])),
            ("tokenizer.ggml.bos_token_id", u32, struct.pack("<I", 1)),
            ("tokenizer.ggml.eos_token_id", u32, struct.pack("<I", 2)),
            ("llama.attention.layer_norm_rms_epsilon", f32, struct.pack("<f", 1e-5)),
            ("llama.rope.freq_base", f32, struct.pack("<f", 10000))]
    for key, value in {"block_count": blocks, "context_length": ctx, "embedding_length": width,
                       "feed_forward_length": ff, "attention.head_count": heads,
                       "attention.head_count_kv": kv_heads, "vocab_size": vocab,
                       "rope.dimension_count": width // heads}.items():
        meta.append((f"llama.{key}", u32, struct.pack("<I", value)))
    out = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(meta))]
    out += [gguf_string(k) + struct.pack("<I", kind) + value for k, kind, value in meta]
    plan, at = [], 0
    for name, i, shape in tensors:
        kind = gguf_types(type_, blocks, i, name) if len(shape) == 2 else "f32"
        number = PLAIN[kind][0] if kind in PLAIN else BLOCKS[kind][0]
        full = name + ".weight" if i is None else f"blk.{i}.{name}.weight"
        fastest_first = shape[::-1]
        out.append(gguf_string(full) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *fastest_first,
                                                   number, at))
        plan.append((shape, kind))
        at += -(-n_bytes(shape, kind) // 32) * 32
    head = b"".join(out)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for shape, kind in plan:
            f.writelines(chunks(shape, kind, rng))
            f.write(b"\0" * (-n_bytes(shape, kind) % 32))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", choices=SHAPES, default="110m")
    p.add_argument("--type", choices=FILE_TYPE, default="f16")
    p.add_argument("out")
    a = p.parse_args()
    rng = random.Random(1)
    if a.out.endswith(".gguf"):
        write_gguf(a.out, SHAPES[a.shape], a.type, rng)
    elif a.type in SAFETENSORS:
        write_folder(a.out, SHAPES[a.shape], a.type, rng)
    else:
        p.error(f"--type {a.type}: a folder holds f32, f16 or bf16")


if __name__ == "__main__":
    main()

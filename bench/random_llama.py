#!/usr/bin/env python3
"""random_llama.py FOLDER - writes a random Llama of 110 million parameters as a Hugging Face folder.

12 blocks, width 768, 12 heads, 32,000 tokens, no tokenizer: for speed, which does not depend on what
the weights say. Every weight is +-(1 + m/1024) * 2^-6, norms are 1, so that nothing overflows. The
same bytes each time; `tfm-convert FOLDER --type q8_0 -o FILE` makes the model.
"""
import json
import os
import random
import struct
import sys

BLOCKS, WIDTH, HEADS, FFN, VOCAB = 12, 768, 12, 2048, 32000
# Of a little-endian f16 every second byte is sign, exponent and two bits of mantissa.
HIGH = bytes((b & 0x83) | (9 << 2) for b in range(256))
ONE = struct.pack("<e", 1.0)


def tensors():
    yield "model.embed_tokens.weight", (VOCAB, WIDTH)
    for i in range(BLOCKS):
        for name in "qkvo":
            yield f"model.layers.{i}.self_attn.{name}_proj.weight", (WIDTH, WIDTH)
        yield f"model.layers.{i}.mlp.gate_proj.weight", (FFN, WIDTH)
        yield f"model.layers.{i}.mlp.up_proj.weight", (FFN, WIDTH)
        yield f"model.layers.{i}.mlp.down_proj.weight", (WIDTH, FFN)
        yield f"model.layers.{i}.input_layernorm.weight", (WIDTH,)
        yield f"model.layers.{i}.post_attention_layernorm.weight", (WIDTH,)
    yield "model.norm.weight", (WIDTH,)


def values(shape, rng):
    n = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if len(shape) == 1:
        return ONE * n
    out = bytearray(rng.randbytes(2 * n))
    out[1::2] = bytes(out[1::2]).translate(HIGH)
    return out


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
        "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "intermediate_size": FFN, "vocab_size": VOCAB, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "hidden_act": "silu", "torch_dtype": "float16",
    }
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)
    head, at = {}, 0
    for name, shape in tensors():
        size = 2
        for d in shape:
            size *= d
        head[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    rng = random.Random(1)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors():
            f.write(values(shape, rng))


if __name__ == "__main__":
    main()

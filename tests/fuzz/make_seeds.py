#!/usr/bin/env python3
"""Makes the foreign seed files tests/fuzz/corpus/*/seed-*: small valid checkpoints and vocabularies.

Run as `python3 tests/fuzz/make_seeds.py` with gguf, numpy, safetensors, sentencepiece and tokenizers
from PyPI (made with gguf 0.19.0, numpy 2.4.6, safetensors 0.8.0, tokenizers 0.20.3,
sentencepiece 0.2.3). The seeds of the model target, which tfm-convert writes, are not made here but
by make_model_seeds.sh.
Everything here is random or invented; the models are shapes, they say nothing.
"""
import gzip
import json
import os
import struct
import zlib

import gguf
import numpy as np
import sentencepiece
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
RNG = np.random.default_rng(7)
SAMPLES = ["the cat sat on the mat", "a man, a plan, a canal", "to be or not to be 1234", "Ünïcödé ça va"]


def path(target, name):
    os.makedirs(os.path.join(HERE, target), exist_ok=True)
    return os.path.join(HERE, target, name)


def weights(*shape):
    return (RNG.standard_normal(shape) * 0.05).astype(np.float32)


def spm_pieces():
    """(piece, score, type) of a SentencePiece BPE vocabulary with byte fallback, 300 pieces."""
    out = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    out += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    words = ["\u2581t", "he", "\u2581the", "at", "\u2581a", "an", "in", "\u2581b", "\u2581c", "\u2581to"]
    letters = ["\u2581"] + list("abcdefghilmnoprstuvwxyz,.")
    out += [(w, -float(i), 1) for i, w in enumerate((words + letters)[: 300 - len(out)])]
    out += [(f"\u2581word{i}", -100.0 - i, 1) for i in range(300 - len(out))]
    return out


def llama_names(gg):
    """Names and shapes of one block; dim 32, 2 heads of 16, 1 key-value head, ffn 64, 300 pieces."""
    pairs = [
        ("token_embd.weight", "model.embed_tokens.weight", (300, 32)),
        ("output_norm.weight", "model.norm.weight", (32,)),
        ("output.weight", "lm_head.weight", (300, 32)),
    ]
    block = [
        ("attn_norm", "input_layernorm", (32,)), ("attn_q", "self_attn.q_proj", (32, 32)),
        ("attn_k", "self_attn.k_proj", (16, 32)), ("attn_v", "self_attn.v_proj", (16, 32)),
        ("attn_output", "self_attn.o_proj", (32, 32)),
        ("ffn_norm", "post_attention_layernorm", (32,)), ("ffn_gate", "mlp.gate_proj", (64, 32)),
        ("ffn_up", "mlp.up_proj", (64, 32)), ("ffn_down", "mlp.down_proj", (32, 64)),
    ]
    pairs += [(f"blk.0.{g}.weight", f"model.layers.0.{h}.weight", s) for g, h, s in block]
    return [(g if gg else h, s) for g, h, s in pairs]


def add_spm(w):
    pieces = spm_pieces()
    w.add_tokenizer_model("llama")
    w.add_token_list([p for p, _, _ in pieces])
    w.add_token_scores([s for _, s, _ in pieces])
    w.add_token_types([t for _, _, t in pieces])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def gguf_llama(name, qtype):
    w = gguf.GGUFWriter(path("gguf", name), "llama")
    w.add_name("seed")
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_block_count(1)
    w.add_feed_forward_length(64)
    w.add_head_count(2)
    w.add_head_count_kv(1)
    w.add_rope_dimension_count(16)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(300)
    add_spm(w)
    for tensor, shape in llama_names(True):
        x = weights(*shape)
        if len(shape) == 1:
            w.add_tensor(tensor, x)
        else:
            w.add_tensor(tensor, gguf.quants.quantize(x, qtype), raw_dtype=qtype)
    finish(w)


def gguf_types():
    """One row of every type; no architecture that anybody knows."""
    w = gguf.GGUFWriter(path("gguf", "seed-types.gguf"), "seed")
    w.add_array("seed.strings", ["a", "", "ccc"])
    w.add_array("seed.floats", [1.0, 2.5])
    w.add_bool("seed.flag", True)
    w.add_uint64("seed.big", 1 << 63)
    for t in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K",
              "Q5_K", "Q6_K"):
        qtype = gguf.GGMLQuantizationType[t]
        _, size = gguf.GGML_QUANT_SIZES[qtype]
        per_block = gguf.GGML_QUANT_SIZES[qtype][0]
        raw = RNG.integers(0, 256, (2, 256 // per_block * size), dtype=np.uint8)
        w.add_tensor(f"t.{t}", raw, raw_dtype=qtype)
    finish(w)


def gguf_table_types():
    """As gguf_types, of the types whose codes number a table of values."""
    w = gguf.GGUFWriter(path("gguf", "seed-table-types.gguf"), "seed")
    rng = np.random.default_rng(4)
    for t in ("IQ4_NL", "MXFP4", "IQ4_XS"):
        qtype = gguf.GGMLQuantizationType[t]
        per_block, size = gguf.GGML_QUANT_SIZES[qtype]
        raw = rng.integers(0, 256, (2, max(64 // per_block, 1) * size), dtype=np.uint8)
        w.add_tensor(f"t.{t}", raw, raw_dtype=qtype)
    finish(w)


def bpe_tokenizer():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(SAMPLES * 4, trainer)
    return t


def gguf_bpe(t):
    w = gguf.GGUFWriter(path("gguf", "seed-bpe-vocab.gguf"), "gpt2")
    w.add_context_length(64)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    data = json.loads(t.to_str())["model"]
    tokens = sorted(data["vocab"], key=data["vocab"].get)
    w.add_token_list(tokens)
    w.add_token_types([3 if p == "<|end|>" else 1 for p in tokens])
    w.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in data["merges"]])
    w.add_eos_token_id(tokens.index("<|end|>"))
    finish(w)


def tokenizer_json(t):
    t.save(path("tokenizer_json", "seed-byte-level.json"), pretty=False)
    x = json.loads(t.to_str())
    x["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{L}+| ?\d{1,3}|\s+(?!\S)|\s+|[^\s\p{L}\d]+"},
         "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    x["post_processor"] = {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                                      {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [], "special_tokens": {
                               "<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}}
    with open(path("tokenizer_json", "seed-split.json"), "w", encoding="utf-8") as f:
        json.dump(x, f, ensure_ascii=False)
    metaspace = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": p, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}
                         for i, p in enumerate(["<unk>", "<s>", "</s>"])],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": True, "vocab": {p: i for i, (p, _, _) in enumerate(spm_pieces())},
                  "merges": ["h e", "a t", "\u2581 t", "\u2581t he", "a n", "i n"]},
    }
    with open(path("tokenizer_json", "seed-metaspace.json"), "w", encoding="utf-8") as f:
        json.dump(metaspace, f, ensure_ascii=False)


def tokenizer_model():
    with open(path("tokenizer_model", "seed-bpe.model"), "wb") as f:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SAMPLES * 4), model_writer=f, model_type="bpe", vocab_size=300,
            byte_fallback=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, minloglevel=2)


def hugging_face():
    tensors = {name: weights(*shape) for name, shape in llama_names(False)}
    tensors = {k: v.astype(np.float16) if v.ndim == 2 else v for k, v in tensors.items()}
    save_file(tensors, path("safetensors", "seed-llama.safetensors"), metadata={"format": "pt"})
    tiny = {"a": weights(2, 3), "b.f16": weights(4).astype(np.float16),
            "c.i64": np.arange(3, dtype=np.int64), "d.u8": np.arange(5, dtype=np.uint8),
            "e.empty": weights(0, 4), "f.scalar": np.array(1.5, dtype=np.float32)}
    save_file(tiny, path("safetensors", "seed-tiny.safetensors"))
    where = {name: f"model-{1 + i % 2:05}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for i in (1, 2):
        part = {name: tensors[name] for name in tensors if f"-0000{i}-" in where[name]}
        save_file(part, path("safetensors", f"seed-shard-{i}.safetensors"))
    index = {"metadata": {"total_size": 58000}, "weight_map": where}
    with open(path("index_json", "seed-index.json"), "w") as f:
        json.dump(index, f, indent=1)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None, "vocab_size": 300,
        "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": [2],
        "attention_bias": False, "torch_dtype": "float16",
    }
    with open(path("config_json", "seed-llama.json"), "w") as f:
        json.dump(config, f, indent=1)


def llama2c():
    dim, hidden, layers, heads, kv, vocab, seq = 8, 16, 1, 2, 1, 300, 8
    head = struct.pack("<7i", dim, hidden, layers, heads, kv, vocab, seq)
    kv_dim = dim // heads * kv
    embed, norm = weights(vocab, dim), weights(dim)
    attn = [weights(dim, dim), weights(kv_dim, dim), weights(kv_dim, dim), weights(dim, dim)]
    ffn = [weights(hidden, dim), weights(dim, hidden), weights(hidden, dim)]
    rope = [weights(seq, dim // heads // 2)] * 2
    v0 = [embed, norm, *attn, norm, *ffn, norm, *rope]
    v1 = [norm, norm, norm, embed, *attn, *ffn]
    with open(path("llama2c", "seed-v0.bin"), "wb") as f:
        f.write(head + b"".join(x.tobytes() for x in v0))
    with open(path("llama2c", "seed-v1.bin"), "wb") as f:
        f.write((struct.pack("<Ii", 0x616B3432, 1) + head + b"\1").ljust(256, b"\0"))
        f.write(b"".join(x.tobytes() for x in v1))
    with open(path("tokenizer_bin", "seed-tokenizer.bin"), "wb") as f:
        pieces = [(p.replace("\u2581", " ").encode(), s) for p, s, _ in spm_pieces()]
        f.write(struct.pack("<I", max(len(p) for p, _ in pieces)))
        for piece, score in pieces:
            f.write(struct.pack("<fi", score, len(piece)) + piece)


TENSOR, TEXT, META, GROUP_END, ERROR, FORK, _, END = range(1, 9)
F32, U8, I32, I64 = 1, 5, 6, 7
ALL = 0xFFFFFFFF


def padded(b):
    return b + b"\0" * (-len(b) % 64)


def stream(kind, keys, records):
    """A tensor stream (tfm-stream(5)); a record is (type, dtype, dims, group, position, name, flags,
    status, payload). END is added unless the last record ends the stream by an ERROR."""
    head = f"TFMSTRM1\nkind {kind}\nneeds 1.0\n" + "".join(f"{k} {v}\n" for k, v in keys)
    head = head.encode()
    head += b"end %08x\n" % zlib.crc32(head)
    out = head + b"\n" * (-len(head) % 64)
    if not (records and records[-1][0] == ERROR and records[-1][3] == ALL):
        ends = sum(r[0] == GROUP_END for r in records)
        payload = struct.pack("<2q", len(records), ends)
        records = records + [(END, I64, [2], 0, 0, "", 0, 0, payload)]
    for seq, (kind_, dtype, dims, group, position, name, flags, status, payload) in enumerate(records):
        name = name.encode()
        fields = struct.pack("<4s4B2H3IQ4I12x", b"\x89TFR", kind_, dtype, len(dims), len(name), flags,
                             status, group, position, seq, len(payload),
                             *(dims + [1] * (4 - len(dims))))
        name = padded(name)
        out += fields + struct.pack("<I", zlib.crc32(fields + name)) + name
        out += padded(payload + struct.pack("<I", zlib.crc32(payload)))
    return out


def text(kind, group, s, name=""):
    return (kind, U8, [len(s)], group, 0, name, 0, 0, s)


def streams():
    def ids(group, position, values, flags=0):
        return (TENSOR, I32, [len(values)], group, position, "tokens", flags, 0,
                struct.pack(f"<{len(values)}i", *values))

    def end(group, position, how):
        return (GROUP_END, 0, [], group, position, "", 0, how, b"")

    keys = [("tool", "tfm-tokenize"), ("vocab", "raw-bytes"), ("frame", "whole"), ("x-own", "a b c"),
            ("tokenize", "special=add parse-special=no"), ("prov", '{"tool":"tfm-tokenize"}')]
    tokens = stream("tokens", keys, [
        ids(0, 0, [72, 105]), ids(0, 2, [33], 3), end(0, 3, 2),
        text(TEXT, 1, b'{"prompt": "a"}', "line"), ids(1, 0, list(range(40))), end(1, 40, 3),
        text(ERROR, 2, b"bad UTF-8 at byte 3", "tfm-tokenize"), end(2, 0, 5),
        (FORK, I32, [2], 4, 0, "", 0, 0, struct.pack("<2i", 3, 1)), end(4, 0, 0),
    ])
    rows = RNG.standard_normal((3, 8)).astype("<f4")
    hidden = stream("hidden", [("tool", "tfm-embed"), ("next-block", "0")], [
        text(META, 0, b"width: 8\n"), (0x81, U8, [5], 0, 0, "note", 0, 0, b"hello"),
        (TENSOR, F32, [3, 8], 0, 0, "hidden", 1, 0, rows.tobytes()), end(0, 3, 0)])
    failed = stream("tokens", keys[:1], [ids(0, 0, [1]), text(ERROR, ALL, b"no memory", "tfm-run")])
    for name, data in (("seed-tokens", tokens), ("seed-two", tokens + hidden),
                       ("seed-failed", failed), ("seed-gzip", gzip.compress(hidden, mtime=0))):
        with open(path("stream", name + ".tfms"), "wb") as f:
            f.write(data)


def main():
    t = bpe_tokenizer()
    gguf_llama("seed-llama-q8_0.gguf", gguf.GGMLQuantizationType.Q8_0)
    gguf_llama("seed-llama-f16.gguf", gguf.GGMLQuantizationType.F16)
    gguf_types()
    gguf_table_types()
    gguf_bpe(t)
    tokenizer_json(t)
    tokenizer_model()
    hugging_face()
    llama2c()
    streams()


if __name__ == "__main__":
    main()

"""Makes the golden models and their expected logits: see MANIFEST.md.

    python make_logits.py          rewrites hf/ gguf/ expected/ and cases.txt beside this file

Tiny random models go through Hugging Face transformers, which is the reference. Each model has the
options of its family switched on, and `prove_options` shows that every one of them matters: the
reference with the option off must differ by far more than the tolerance. GGUF files hold the same
kind of model with quantised weights; the reference then runs on the dequantised weights.
"""

import copy
import json
import pathlib
import shutil
import string

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig,
                          MixtralConfig, Qwen2Config)

HERE = pathlib.Path(__file__).resolve().parent
ROWS = 40     # ids of a case
PROMPT = 10   # of these, the first so many are the prompt of the greedy case
GREEDY = 24   # new ids of the greedy case
EXACT = 1e-4  # max|a-b| <= EXACT * max|b| per row: MANIFEST.md says why
SPECIAL = ["<s>", "</s>"]
cases, worst_noise = [], []


# ---- reference ----


def randomise(model, seed):
    """Weights that make every part count: activations stay near unit size, attention is neither
    flat nor a hard maximum, norms and biases are not their neutral values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 1 and "bias" not in name:
                p.copy_(1 + 0.2 * noise)
            elif p.dim() == 1:
                p.copy_(0.3 * noise)
            elif "wpe" in name:
                p.copy_(0.5 * noise)
            elif "embed_tokens" in name or "wte" in name:
                p.copy_(noise if not model.config.tie_word_embeddings else 0.3 * noise)
            else:
                fan_in = p.shape[0] if type_of(model, name) == "Conv1D" else p.shape[1]
                sharp = 1.4 if any(s in name for s in ("q_proj", "k_proj", "c_attn")) else 1.0
                p.copy_(sharp * noise / fan_in**0.5)


def type_of(model, parameter):
    return type(model.get_submodule(parameter.rpartition(".")[0])).__name__


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy()


def double_logits(model, ids):
    model.double()
    with torch.no_grad():
        result = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    model.float()
    return result


def build(config, seed):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    randomise(model, seed)
    return model


def row_error(a, b):
    return float((np.abs(a - b).max(1) / np.abs(b).max(1)).max())


def prove_options(config, model, ids, off):
    """`off`: {option: value that switches it off}; "zero:PART" sets parameters named so to 0."""
    b = logits(model, ids)
    for option, value in off.items():
        other = type(config)(**{**config.to_dict(), option: value} if ":" not in option
                             else config.to_dict())
        changed = AutoModelForCausalLM.from_config(other, attn_implementation="eager").eval()
        state = model.state_dict()
        if ":" in option:
            part = option.split(":")[1]
            state = {n: torch.zeros_like(t) if part in n else t for n, t in state.items()}
        changed.load_state_dict(state, strict=False)
        error = row_error(logits(changed, ids), b)
        assert error > 100 * EXACT, f"{option} makes no difference: {error}"


def pick_ids(model, vocabulary, seed, kinds=None):
    """Random ids, and a greedy continuation whose every choice is clear (so that an error within
    the tolerance can't change it) and which holds no end token.

    Where activations are rounded (see emulate), one that lies near the middle of two steps makes an
    error of 1e-7 a whole step: such a flip must not happen between float and double here."""
    for attempt in range(1000):
        rng = np.random.default_rng([seed, attempt])
        ids = rng.integers(len(SPECIAL), vocabulary, ROWS).tolist()
        ids[0] = model.config.bos_token_id
        ids[20:24] = ids[2:6]  # a repeated stretch
        greedy, clear = ids[:PROMPT], True
        while clear and len(greedy) < PROMPT + GREEDY:
            last = logits(model, greedy)[-1]
            first, second = np.sort(last)[::-1][:2]
            clear = first - second > 100 * EXACT * np.abs(last).max()
            greedy.append(int(last.argmax()))
            clear = clear and greedy[-1] >= len(SPECIAL)
        if not clear or len(set(greedy[PROMPT:])) <= 4:
            continue
        hooks = emulate(model, kinds or {})
        flips = row_error(double_logits(model, ids), logits(model, ids)) if hooks else 0
        for hook in hooks:
            hook.remove()
        if flips < EXACT:
            return ids, greedy
    raise SystemExit("no clear greedy continuation")


def emulate(model, kinds):
    """Makes the linear steps round their input as the toolkit does for that weight type: int8 per
    block of the weights for quantised ones, bfloat16 for bf16. kinds: {module name: kind}; "int8 32
    120": blocks of 32, of which the largest becomes 120."""

    def int8(x, block, most):
        blocks = x.unflatten(-1, (-1, block))
        scale = blocks.abs().amax(-1, keepdim=True) / most
        quant = torch.where(scale > 0, (blocks / scale).round(), 0)
        return (quant * scale).flatten(-2)

    hooks = []
    for name, kind in kinds.items():
        if kind == "bf16" or kind.startswith("int8"):
            def hook(_module, args, numbers=[int(n) for n in kind.split()[1:]]):
                x = args[0]
                return (int8(x, *numbers) if numbers else x.bfloat16().to(x.dtype),) + args[1:]
            hooks.append(model.get_submodule(name).register_forward_pre_hook(hook))
    return hooks


def expect(name, path, model, ids, greedy, kinds=None):
    """Writes expected/NAME and the lines of cases.txt. kinds (see emulate): the file's weights are
    not f32, so the case runs twice: converted to f32, and as it is."""
    out = HERE / "expected" / name
    out.mkdir(parents=True)
    b = logits(model, ids)
    b.astype("<f4").tofile(out / "logits.f32")
    (out / "ids.txt").write_text(" ".join(map(str, ids)) + "\n")
    (out / "greedy.txt").write_text(" ".join(map(str, greedy)) + "\n")
    noise = row_error(double_logits(model, ids), b)
    assert noise < EXACT / 10, f"{name}: the reference itself is only good to {noise}"
    worst_noise.append(noise)
    cases.append((name, path, "f32" if kinds else "-", "logits.f32", EXACT, EXACT))
    if not kinds or not set(kinds.values()) - {"f32", "f16"}:
        if kinds:
            cases.append((name, path, "-", "logits.f32", EXACT, EXACT))
        return
    hooks = emulate(model, kinds)
    rounded = logits(model, ids)
    for hook in hooks:
        hook.remove()
    # Another order of additions may still make some activation flip (see pick_ids). So the bounds
    # are shares of what rounding does at all: a run that rounds otherwise, or not, fails.
    whole = row_error(b, rounded)
    print(f"{name}: rounding the activations changes rows by up to {whole:.1e}")
    rounded.astype("<f4").tofile(out / "logits_as_is.f32")
    cases.append((name, path, "-", "logits_as_is.f32", f"{whole / 2:.1e}", f"{whole / 10:.1e}"))


# ---- vocabularies: 128 pieces, byte-level ----


def tokenizer():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    ascii_text = "".join(chr(c) for c in range(32, 127)) + "\n"
    text = [c for c in ascii_text] + [
        "the quick brown fox jumps over the lazy dog and the other thing on the other hand",
        "in the beginning there was one thing after another, and then it went on and on",
    ]
    t.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=128, special_tokens=SPECIAL, show_progress=False)
    )
    assert t.get_vocab_size() == 128
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return t


def tokenizer_files(folder, form):
    """form: "json" (merges as pairs), "json-old" (merges as strings, before tokenizers 0.20),
    "vocab" (vocab.json and merges.txt)."""
    t = tokenizer()
    document = json.loads(t.to_str())
    merges = [" ".join(m) for m in document["model"]["merges"]]
    if form == "vocab":
        (folder / "vocab.json").write_text(json.dumps(document["model"]["vocab"]))
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2"] + merges) + "\n")
    else:
        if form == "json-old":
            document["model"]["merges"] = merges
        (folder / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False))
    kind = "GPT2Tokenizer" if form == "vocab" else "PreTrainedTokenizerFast"
    settings = {"tokenizer_class": kind, "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


# ---- Hugging Face folders ----


def hf(name, config, seed, off=None, store=torch.float32, tokens="json", shard="1GB", bare=False):
    config.bos_token_id, config.eos_token_id = 0, 1
    model = build(config, seed)
    with torch.no_grad():  # the reference runs on the stored numbers
        for p in model.parameters():
            p.copy_(p.to(store).float())
    kinds = None
    if store != torch.float32:
        kind = {torch.bfloat16: "bf16", torch.float16: "f16"}[store]
        kinds = {n: kind for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    ids, greedy = pick_ids(model, config.vocab_size, seed, kinds)
    prove_options(config, model, ids, off or {})
    folder = HERE / "hf" / name
    # A copy is stored: .to() and back would round the rotary frequencies, which nobody stores.
    stored = copy.deepcopy(model).to(store)
    stored.config.torch_dtype = store
    stored.save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink()
    if bare:  # as the first GPT-2 files were: no prefix, and the causal masks as tensors
        state = load_file(folder / "model.safetensors")
        state = {n.removeprefix("transformer."): t for n, t in state.items()}
        size = config.n_positions
        for i in range(config.n_layer):
            state[f"h.{i}.attn.bias"] = torch.tril(torch.ones(1, 1, size, size))
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer_files(folder, tokens)
    expect(name, f"hf/{name}", model, ids, greedy, kinds)


def hf_cases():
    # Head width 16; tied. The activation is the tanh form of GELU.
    hf("gpt2", GPT2Config(vocab_size=128, n_positions=64, n_embd=48, n_layer=2, n_head=3,
                          n_inner=56),
       1, {"activation_function": "relu", "zero:c_attn.bias": 0, "zero:c_fc.bias": 0,
           "zero:wpe": 0, "zero:ln_f.bias": 0})
    # Tensor names without a prefix, vocab.json + merges.txt, the exact GELU, heads of width 10.
    hf("gpt2-bare", GPT2Config(vocab_size=128, n_positions=64, n_embd=40, n_layer=2, n_head=4,
                               activation_function="gelu", n_inner=72),
       2, {"activation_function": "relu"}, tokens="vocab", bare=True)
    llama = dict(vocab_size=128, hidden_size=48, intermediate_size=56, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256)
    # One K/V head per query head, tied, another base and epsilon; merges written as strings.
    hf("llama-tied", LlamaConfig(**{**llama, "num_key_value_heads": 4}, tie_word_embeddings=True,
                                 rope_theta=500.0, rms_norm_eps=1e-3),
       3, {"rope_theta": 10000.0, "rms_norm_eps": 1e-6}, tokens="json-old")
    # Grouped heads and the frequency bands of Llama 3.1 (all three bands are met: wave lengths
    # below 8, between, and above 32 positions).
    hf("llama-llama3", LlamaConfig(**llama, head_dim=16, rope_theta=100.0, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}), 4, {"rope_scaling": None})
    # Linear scaling, every bias, a head width that is not width / heads.
    hf("llama-linear-bias", LlamaConfig(**llama, head_dim=20, attention_bias=True, mlp_bias=True,
                                        rope_scaling={"type": "linear", "factor": 4.0}),
       5, {"rope_scaling": None, "zero:q_proj.bias": 0, "zero:k_proj.bias": 0,
           "zero:v_proj.bias": 0, "zero:o_proj.bias": 0, "zero:gate_proj.bias": 0,
           "zero:up_proj.bias": 0, "zero:down_proj.bias": 0})
    # Three shards and an index; f16.
    hf("llama-sharded-f16", LlamaConfig(**{**llama, "num_key_value_heads": 1}), 6,
       store=torch.float16, shard="45KB")
    # A window of 9 positions.
    hf("mistral-window", MistralConfig(**llama, head_dim=12, sliding_window=9, rope_theta=10000.0),
       7, {"sliding_window": None})
    # Biases on q, k, v only; more embedding rows than pieces, as Qwen ships; bf16.
    hf("qwen2", Qwen2Config(**{**llama, "vocab_size": 133}, tie_word_embeddings=False,
                            use_sliding_window=False), 8,
       {"zero:q_proj.bias": 0, "zero:k_proj.bias": 0, "zero:v_proj.bias": 0})
    hf("qwen2-tied-bf16", Qwen2Config(**{**llama, "vocab_size": 133, "hidden_size": 64},
                                      tie_word_embeddings=True, use_sliding_window=False,
                                      sliding_window=5, max_window_layers=1), 9,
       store=torch.bfloat16)
    # Five experts, of which a row takes two.
    hf("mixtral", MixtralConfig(**{**llama, "intermediate_size": 40}, num_local_experts=5,
                                num_experts_per_tok=2, sliding_window=None, rope_theta=1000.0),
       10, {"num_experts_per_tok": 1, "rope_theta": 10000.0, "zero:block_sparse_moe.gate": 0})


# ---- GGUF ----

# Byte offsets of d and dmin in a block, and dmin / d such that weights average to zero.
SUPER_BLOCKS = {
    Q.Q2_K: (80, 82, 1.5), Q.Q3_K: (108, None, 0), Q.Q4_K: (0, 2, 7.5), Q.Q5_K: (0, 2, 15.5),
    Q.Q6_K: (208, None, 0), Q.IQ4_NL: (0, None, 0),
}


def quantised(kind, shape, scale, rng):
    """(bytes as the file has them, the weights they mean), standard deviation about `scale`."""
    if kind in SUPER_BLOCKS:  # random bytes are valid blocks once d and dmin are finite
        at_d, at_min, ratio = SUPER_BLOCKS[kind]
        count, size = gguf.GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, (shape[0], shape[1] // count, size), dtype=np.uint8)

        def put(d):
            for at, value in ((at_d, d), (at_min, d * ratio)):
                if at is not None:
                    raw[..., at : at + 2] = value.astype("<f2")[..., None].view(np.uint8)

        put(np.ones(raw.shape[:2]))
        spread = gguf.quants.dequantize(raw.reshape(shape[0], -1), kind).std()
        put(scale / spread * rng.uniform(0.5, 1.5, raw.shape[:2]))
        raw = raw.reshape(shape[0], -1)
    else:
        weights = (rng.standard_normal(shape) * scale).astype(np.float32)
        raw = gguf.quants.quantize(weights, kind)
    return raw, np.ascontiguousarray(gguf.quants.dequantize(raw, kind), dtype=np.float32)


def interleaved_to_halves(w, heads):
    """GGUF's llama stores the rows of q and k such that rotated pairs are neighbours; Hugging Face
    has them half a head apart."""
    return w.reshape(heads, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


class Gguf:
    """One file: tensors are written as they are made and kept, dequantised, for the reference."""

    def __init__(self, name, arch, seed):
        self.name, self.arch = name, arch
        self.path = HERE / "gguf" / f"{name}.gguf"
        self.path.parent.mkdir(exist_ok=True)
        self.writer = gguf.GGUFWriter(str(self.path), arch)
        self.writer.add_name(name)
        self.rng = np.random.default_rng(seed)
        self.state, self.kinds = {}, {}

    def matrix(self, name, to, shape, kind, scale=None, turn=None):
        raw, weights = quantised(kind, shape, scale or shape[1] ** -0.5, self.rng)
        self.writer.add_tensor(name, raw, raw_dtype=kind)
        self.state[to + ".weight"] = torch.from_numpy(turn(weights) if turn else weights)
        most = 120 if kind in (Q.Q4_0, Q.Q4_1, Q.Q4_K) else 127
        self.kinds[to] = {Q.F32: "f32", Q.F16: "f16", Q.BF16: "bf16"}.get(
            kind, f"int8 {gguf.GGML_QUANT_SIZES[kind][0]} {most}")

    def vector(self, name, to, n, mean, spread, turn=None):
        v = (mean + spread * self.rng.standard_normal(n)).astype(np.float32)
        self.writer.add_tensor(name, v)
        self.state[to] = torch.from_numpy(turn(v) if turn else v)

    def common(self, c):
        w = self.writer
        w.add_context_length(c.max_position_embeddings)
        w.add_embedding_length(c.hidden_size)
        w.add_block_count(c.num_hidden_layers)
        w.add_feed_forward_length(c.intermediate_size)
        w.add_head_count(c.num_attention_heads)
        w.add_head_count_kv(c.num_key_value_heads)
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
        w.add_rope_freq_base(c.rope_theta)

    def byte_level(self):
        t = json.loads(tokenizer().to_str())["model"]
        w = self.writer
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("gpt-2")
        w.add_token_list(sorted(t["vocab"], key=t["vocab"].get))
        w.add_token_types([3] * len(SPECIAL) + [1] * (128 - len(SPECIAL)))
        w.add_token_merges([" ".join(m) for m in t["merges"]])
        self.ends()

    def sentencepiece(self, n):
        """<unk>, <s>, </s>, 256 bytes, then pieces by falling score."""
        pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
        pieces += ["\u2581th", "\u2581the", "th", "he", "an", "and", "\u2581and", "\u2581"]
        pieces += list(string.ascii_letters)
        pieces = pieces[:n]
        types = [2, 3, 3] + [6] * 256 + [1] * (n - 259)
        w = self.writer
        w.add_tokenizer_model("llama")
        w.add_token_list(pieces)
        w.add_token_scores([0.0] * 259 + [-float(i) for i in range(n - 259)])
        w.add_token_types(types)
        w.add_unk_token_id(0)
        self.ends(1, 2)
        w.add_add_space_prefix(True)

    def ends(self, bos=0, eos=1):
        self.writer.add_bos_token_id(bos)
        self.writer.add_eos_token_id(eos)
        self.writer.add_add_bos_token(True)
        self.writer.add_add_eos_token(False)

    def close(self, config, seed):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        missing, unexpected = model.load_state_dict(self.state, strict=False)
        tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
        buffers = {n for n in missing if n.endswith((".attn.bias", ".attn.masked_bias"))}
        assert set(missing) - tied - buffers == set() and not unexpected, (missing, unexpected)
        model.tie_weights()
        kinds = dict(self.kinds)
        kinds.pop("model.embed_tokens", None)
        kinds.pop("transformer.wte", None)
        kinds.pop("transformer.wpe", None)
        if config.tie_word_embeddings:
            kinds["lm_head"] = self.kinds.get("model.embed_tokens",
                                              self.kinds.get("transformer.wte"))
        ids, greedy = pick_ids(model, config.vocab_size, seed, kinds)
        expect(self.name, f"gguf/{self.name}.gguf", model, ids, greedy, kinds)


def gguf_llama(name, config, kinds, seed, arch="llama", sentencepiece=False):
    """kinds: types of embedding and output, then those that the matrices of the layers take in
    turn."""
    g = Gguf(name, arch, seed)
    g.common(config)
    width, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    head, ff = width // heads, config.intermediate_size
    g.writer.add_vocab_size(config.vocab_size)
    g.writer.add_rope_dimension_count(head)
    if sentencepiece:
        g.sentencepiece(config.vocab_size)
    else:
        g.byte_level()
    turn = interleaved_to_halves if arch == "llama" else lambda w, _heads: w
    scaling = getattr(config, "rope_scaling", None)
    if scaling and scaling["rope_type"] == "linear":
        g.writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        g.writer.add_rope_scaling_factor(scaling["factor"])
    if scaling and scaling["rope_type"] == "llama3":
        g.writer.add_tensor("rope_freqs.weight", llama3_factors(config, head))
    g.matrix("token_embd.weight", "model.embed_tokens", (config.vocab_size, width), kinds[0],
             0.1 if config.tie_word_embeddings else 1.0)
    at = 2
    for i in range(config.num_hidden_layers):
        for there, here, shape, heads_of in (
            ("attn_q", "self_attn.q_proj", (heads * head, width), heads),
            ("attn_k", "self_attn.k_proj", (kv * head, width), kv),
            ("attn_v", "self_attn.v_proj", (kv * head, width), None),
            ("attn_output", "self_attn.o_proj", (width, heads * head), None),
            ("ffn_gate", "mlp.gate_proj", (ff, width), None),
            ("ffn_up", "mlp.up_proj", (ff, width), None),
            ("ffn_down", "mlp.down_proj", (width, ff), None),
        ):
            sharp = 1.4 if heads_of else 1.0
            g.matrix(f"blk.{i}.{there}.weight", f"model.layers.{i}.{here}", shape, kinds[at],
                     sharp * shape[1] ** -0.5,
                     (lambda w, n=heads_of: turn(w, n)) if heads_of else None)
            if arch == "qwen2" and there in ("attn_q", "attn_k", "attn_v"):
                g.vector(f"blk.{i}.{there}.bias", f"model.layers.{i}.{here}.bias", shape[0], 0, 0.3)
            at = at + 1 if at + 1 < len(kinds) else 2
        g.vector(f"blk.{i}.attn_norm.weight", f"model.layers.{i}.input_layernorm.weight", width,
                 1, 0.2)
        g.vector(f"blk.{i}.ffn_norm.weight", f"model.layers.{i}.post_attention_layernorm.weight",
                 width, 1, 0.2)
    g.vector("output_norm.weight", "model.norm.weight", width, 1, 0.2)
    if not config.tie_word_embeddings:
        g.matrix("output.weight", "lm_head", (config.vocab_size, width), kinds[1])
    g.close(config, seed)


def llama3_factors(config, head):
    """What llama.cpp's converter stores: by how much each frequency is divided."""
    s = config.rope_scaling
    low = s["original_max_position_embeddings"] / s["low_freq_factor"]
    high = s["original_max_position_embeddings"] / s["high_freq_factor"]
    factors = []
    for i in range(0, head, 2):
        wave = 2 * np.pi * config.rope_theta ** (i / head)
        smooth = (s["original_max_position_embeddings"] / wave - s["low_freq_factor"]) / (
            s["high_freq_factor"] - s["low_freq_factor"])
        factors.append(1.0 if wave < high else s["factor"] if wave > low
                       else 1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def gguf_gpt2(name, config, kind, seed):
    """GGUF has the transpose of Hugging Face's Conv1D weights, as it has of all others."""
    g = Gguf(name, "gpt2", seed)
    w, width = g.writer, config.n_embd
    w.add_context_length(config.n_positions)
    w.add_embedding_length(width)
    w.add_feed_forward_length(config.n_inner)
    w.add_block_count(config.n_layer)
    w.add_head_count(config.n_head)
    w.add_layer_norm_eps(config.layer_norm_epsilon)
    g.byte_level()
    g.matrix("token_embd.weight", "transformer.wte", (config.vocab_size, width), kind, 0.3)
    g.matrix("position_embd.weight", "transformer.wpe", (config.n_positions, width), Q.F32, 0.5)
    for i in range(config.n_layer):
        here = f"transformer.h.{i}"
        for there, to, shape in (
            ("attn_qkv", "attn.c_attn", (3 * width, width)),
            ("attn_output", "attn.c_proj", (width, width)),
            ("ffn_up", "mlp.c_fc", (config.n_inner, width)),
            ("ffn_down", "mlp.c_proj", (width, config.n_inner)),
        ):
            g.matrix(f"blk.{i}.{there}.weight", f"{here}.{to}", shape, kind,
                     turn=lambda x: np.ascontiguousarray(x.T))
            g.vector(f"blk.{i}.{there}.bias", f"{here}.{to}.bias", shape[0], 0, 0.3)
        for there, to in (("attn_norm", "ln_1"), ("ffn_norm", "ln_2")):
            g.vector(f"blk.{i}.{there}.weight", f"{here}.{to}.weight", width, 1, 0.2)
            g.vector(f"blk.{i}.{there}.bias", f"{here}.{to}.bias", width, 0, 0.3)
    g.vector("output_norm.weight", "transformer.ln_f.weight", width, 1, 0.2)
    g.vector("output_norm.bias", "transformer.ln_f.bias", width, 0, 0.3)
    g.close(config, seed)


def gguf_cases():
    small = dict(vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
                 rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1)
    # Every type of 32-element blocks, and rope_freqs.weight as Llama 3.1 files have it.
    legacy = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
    gguf_llama("llama-blocks32", LlamaConfig(**small, rope_theta=100.0, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}), [Q.Q8_0, Q.Q5_1] + legacy, 21)
    # Those whose codes number a table of values.
    gguf_llama("llama-tables", LlamaConfig(**small, rope_theta=1000.0),
               [Q.MXFP4, Q.IQ4_NL, Q.IQ4_NL, Q.MXFP4], 40)
    # Every type of 256-element blocks; a SentencePiece vocabulary; linear scaling; tied.
    big = {**small, "vocab_size": 304, "hidden_size": 256, "intermediate_size": 256,
           "num_key_value_heads": 1, "num_hidden_layers": 1, "bos_token_id": 1, "eos_token_id": 2}
    gguf_llama("llama-blocks256", LlamaConfig(**big, rope_scaling={"rope_type": "linear",
               "factor": 2.0}, tie_word_embeddings=True),
               [Q.Q6_K, None, Q.Q4_K, Q.Q6_K, Q.Q3_K, Q.Q5_K, Q.Q2_K, Q.Q4_K, Q.Q6_K], 22,
               sentencepiece=True)
    gguf_llama("llama-f16", LlamaConfig(**small), [Q.F16, Q.F16, Q.F16], 24)
    gguf_llama("qwen2-bf16", Qwen2Config(**small, tie_word_embeddings=False,
               use_sliding_window=False), [Q.BF16, Q.BF16, Q.BF16], 25, arch="qwen2")
    gguf_llama("qwen2-q4_0", Qwen2Config(**small, tie_word_embeddings=True,
               use_sliding_window=False), [Q.Q8_0, None, Q.Q4_0], 36, arch="qwen2")
    gpt2 = dict(vocab_size=128, n_positions=64, n_embd=64, n_layer=2, n_head=4, n_inner=96,
                bos_token_id=0, eos_token_id=1)
    gguf_gpt2("gpt2-f32", GPT2Config(**{**gpt2, "n_embd": 40, "n_inner": 72}), Q.F32, 27)
    gguf_gpt2("gpt2-q8_0", GPT2Config(**gpt2), Q.Q8_0, 28)


def main():
    torch.set_num_threads(1)
    for folder in ("hf", "gguf", "expected"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    hf_cases()
    gguf_cases()
    with open(HERE / "cases.txt", "w") as f:
        f.write("# name, file, type converted to (-: as it is), expected logits, largest error\n"
                "# of a row and of the middle row, as shares of the row's largest logit\n")
        for case in cases:
            f.write(" ".join(map(str, case)) + "\n")
    print(f"{len(cases)} cases; reference in float against double: at most {max(worst_noise):.1e}")


main()

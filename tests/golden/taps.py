#!/usr/bin/env python3
"""taps.py - taps and interventions against a forward pass written in NumPy, in double.

    taps.py MODEL_DIR taps.npz [INTERVENTION ...]

MODEL_DIR is a small Hugging Face checkpoint (GPT-2 or Llama, f32), taps.npz what tfm-export made of
`tfm-run -n 0 --tap '*'` on one text with the same interventions:

    ablate NAME | skip PART | patch FILE.npz | steer FILE.npz SCALE | mean NAME FILE.npz

The names and what they mean are those of tfm-run(1); nothing here comes from the toolkit's code. Every
value that has a name of that page, and the norms, must be there, with its shape, for every position.

Tolerance: 2e-5 of the largest absolute value of the array. The toolkit computes in f32 (u = 6e-8); the
longest chain to a value of these models is some 20 steps with sums of at most 56 products, each worth
at most 56 u = 3.4e-6 of its terms' size where all err alike, and sqrt(56) u = 4.5e-7 where they do not:
20 of the latter are 9e-6. A wrong position, head, order or scale is off by 1e-2 and more.
"""
import json
import sys

import numpy as np


def weights(path):
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = (8 + n + x for x in t["data_offsets"])
        out[name] = np.frombuffer(raw[a:b], "<f4").reshape(t["shape"]).astype(float)
    return out


def load(path):
    """Name -> {position: row}, of one group."""
    z = np.load(path)
    out = {}
    for line in bytes(z["tfm.jsonl"]).decode().splitlines():
        r = json.loads(line)
        if r["type"] != "tensor":
            continue
        rows = z[r["array"]][r["row"]:r["row"] + r["shape"][0]]
        for i, row in enumerate(rows):
            out.setdefault(r["name"], {})[r["position"] + i] = row.astype(float)
    return out


class Run:
    """Collects values, and changes them as they come: ablation, patches, steering."""

    def __init__(self, words):
        self.got, self.edits, self.skip = {}, [], set()
        while words:
            kind = words.pop(0)
            if kind == "ablate":
                self.edits.append((0, words.pop(0), None, 0))
            elif kind == "mean":
                name, rows = words.pop(0), load(words.pop(0))
                self.edits += [(0, name, np.mean(list(rows[name].values()), 0), 0)]
            elif kind == "patch":
                self.edits += [(1, name, rows, 0) for name, rows in load(words.pop(0)).items()]
            elif kind == "steer":
                rows, scale = load(words.pop(0)), float(words.pop(0))
                self.edits += [(2, n, next(iter(r.values())), scale) for n, r in rows.items()]
            elif kind == "skip":
                self.skip.add(words.pop(0))
            else:
                sys.exit(f"taps.py: what is {kind}?")

    def __call__(self, name, x):
        """x [T, ...]; a pattern is [T, heads, T] with zeroes for keys to come."""
        x = x.copy()
        for kind, what, data, scale in sorted(self.edits, key=lambda e: e[0]):
            head = name.replace(".heads", ".head.")
            if name.endswith(".heads") and what.startswith(head):
                x[:, int(what[len(head):])] = 0 if data is None else data
            if what != name:
                continue
            if kind == 0:
                x[:] = 0 if data is None else data
            for at, row in data.items() if kind == 1 else ():
                x[at] = 0
                x[at][..., :row.shape[-1]] = row
            if kind == 2:
                x += scale * data
        self.got[name] = x
        return x

    def part(self, name, x):
        return np.zeros_like(x) if name in self.skip else x


def layer_norm(x, w, b, eps):
    m = x.mean(-1, keepdims=True)
    return (x - m) / np.sqrt(((x - m) ** 2).mean(-1, keepdims=True) + eps) * w + b


def rms_norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def attention(run, blk, q, k, v):
    """q [T, H, d], k and v [T, K, d] -> [T, H * d]"""
    q, k, v = (run(blk + n, x) for n, x in (("q", q), ("k", k), ("v", v)))
    n, heads, dim = q.shape
    k, v = (np.repeat(x, heads // x.shape[1], 1) for x in (k, v))
    s = np.einsum("ihd,jhd->ihj", q, k) / np.sqrt(dim)
    s = np.where(np.tril(np.ones((n, n), bool))[:, None, :], s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    p = run(blk + "pattern", p / p.sum(-1, keepdims=True))
    return run(blk + "heads", np.einsum("ihj,jhd->ihd", p, v)).reshape(n, -1)


def gpt2(run, ids, w, c):
    n, heads, eps = len(ids), c["n_head"], c["layer_norm_epsilon"]
    x = run("embedding", w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:n])
    for b in range(c["n_layer"]):
        if f"blk.{b}" in run.skip:
            continue
        blk, p = f"blk.{b}.", f"transformer.h.{b}."
        lin = lambda y, name: y @ w[p + name + ".weight"] + w[p + name + ".bias"]
        norm = lambda y, name: layer_norm(y, w[p + name + ".weight"], w[p + name + ".bias"], eps)
        h = run(blk + "attn_norm", norm(x, "ln_1"))
        q, k, v = (y.reshape(n, heads, -1) for y in np.split(lin(h, "attn.c_attn"), 3, -1))
        a = lin(attention(run, blk, q, k, v), "attn.c_proj")
        x = x + run(blk + "attn_out", run.part(blk + "attn", a))
        h = run(blk + "ffn_in", norm(x, "ln_2"))
        u = lin(h, "mlp.c_fc")
        u = u / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
        x = x + run(blk + "ffn_out", run.part(blk + "ffn", lin(u, "mlp.c_proj")))
        x = run(blk + "resid", x)
    x = layer_norm(x, w["transformer.ln_f.weight"], w["transformer.ln_f.bias"], eps)
    run("logits", run("output_norm", x) @ w["transformer.wte.weight"].T)


def rope(x, theta, factor):
    """x [T, H, d]: pair (i, i + d/2) turns by position / factor * theta^(-2i/d). The checkpoint has
    the halves of a head one after the other; the toolkit, as GGUF, has the numbers of a pair side by
    side: result 2i, 2i + 1."""
    n, _, d = x.shape
    a = (np.arange(n) / factor)[:, None] * theta ** (-np.arange(0, d, 2) / d)
    cos, sin = np.cos(a)[:, None], np.sin(a)[:, None]
    lo, hi = x[..., :d // 2], x[..., d // 2:]
    return np.stack([lo * cos - hi * sin, hi * cos + lo * sin], -1).reshape(x.shape)


def llama(run, ids, w, c):
    n, eps, d = len(ids), c["rms_norm_eps"], c["head_dim"]
    factor = (c["rope_scaling"] or {}).get("factor", 1.0)
    x = run("embedding", w["model.embed_tokens.weight"][ids])
    for b in range(c["num_hidden_layers"]):
        if f"blk.{b}" in run.skip:
            continue
        blk, p = f"blk.{b}.", f"model.layers.{b}."
        lin = lambda y, name: y @ w[p + name + ".weight"].T + w.get(p + name + ".bias", 0)
        h = run(blk + "attn_norm", rms_norm(x, w[p + "input_layernorm.weight"], eps))
        q, k, v = (lin(h, f"self_attn.{y}_proj").reshape(n, -1, d) for y in "qkv")
        q, k = (rope(y, c["rope_theta"], factor) for y in (q, k))
        a = lin(attention(run, blk, q, k, v), "self_attn.o_proj")
        x = x + run(blk + "attn_out", run.part(blk + "attn", a))
        h = run(blk + "ffn_in", rms_norm(x, w[p + "post_attention_layernorm.weight"], eps))
        g = lin(h, "mlp.gate_proj")
        u = g / (1 + np.exp(-g)) * lin(h, "mlp.up_proj")
        x = x + run(blk + "ffn_out", run.part(blk + "ffn", lin(u, "mlp.down_proj")))
        x = run(blk + "resid", x)
    x = run("output_norm", rms_norm(x, w["model.norm.weight"], eps))
    run("logits", x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T)


def main():
    folder, taps = sys.argv[1], load(sys.argv[2])
    ids = [int(x) for x in sys.stdin.read().split()]
    run = Run(sys.argv[3:])
    config = json.load(open(f"{folder}/config.json"))
    forward = {"gpt2": gpt2, "llama": llama}[config["model_type"]]
    forward(run, ids, weights(f"{folder}/model.safetensors"), config)
    bad = 0
    for name, want in run.got.items():
        worst, size = 0.0, np.abs(want).max()
        rows = taps.get(name) or taps[name.replace("ffn_in", "ffn_norm")]
        if sorted(rows) != list(range(len(ids))):
            sys.exit(f"{name}: rows at {sorted(rows)}")
        for at, row in rows.items():
            expect = want[at][..., :at + 1] if name.endswith("pattern") else want[at]
            if row.shape != expect.shape:
                sys.exit(f"{name} at {at}: shape {row.shape}, expected {expect.shape}")
            worst = max(worst, np.abs(row - expect).max())
        if not worst <= 2e-5 * size:
            print(f"{name}: off by {worst:.3g}, the largest is {size:.3g}")
            bad += 1
    if bad:
        sys.exit(1)
    print(f"{len(run.got)} values of {len(ids)} rows")


main()

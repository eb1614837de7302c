"""Makes families/: a tiny random model of every architecture, its expected logits. See MANIFEST.md.

    python make_families.py [NAME...]     all of them, or those named

Weights are not stored but made by a rule that test_families.c knows, too: element i of a tensor is
mean + spread * u, u from splitmix64 of the tensor's name and i. families/NAME holds config.json,
tensors.txt (name, type, mean, spread, dims) and logits.f32; families/ids.txt the ids of all.
"""

import json
import pathlib
import re
import sys

import numpy as np
import torch
from families import CASES
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import no_init_weights

HERE = pathlib.Path(__file__).resolve().parent / "families"
ROWS, VOCAB, EXACT = 40, 96, 1e-4
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(name, n):
    """n numbers in [-1, 1), multiples of 2^-23."""
    seed = np.uint64(0xCBF29CE484222325)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = (seed ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        z = seed + (np.arange(n, dtype=np.uint64) + np.uint64(1)) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1


def rule(model, name, p):
    """(mean, spread) such that every part counts: activations near unit size, attention neither flat
    nor a hard maximum, norms and biases not neutral."""
    module = type(model.get_submodule(name.rpartition(".")[0])).__name__
    last = name.rpartition(".")[2]
    shifted = "Norm" in module and ("1P" in module or "Gemma" in module or "Helium1" in module)
    if "sinks" in last or "correction_bias" in last:
        return 0, 0.8
    if p.dim() == 1 and "bias" in last:
        return 0, 0.5
    if "norm" in name.lower() or re.search(r"(^|\.)ln_?\w*\.weight$", name) or p.dim() == 1:
        return (0 if shifted else 1), 0.35
    if "bias" in last:
        return 0, 0.5
    if module.endswith("Embedding") or "embed" in name.lower() and "project" not in name:
        tied = getattr(model.config, "tie_word_embeddings", False)
        scaled = "Scaled" in module or getattr(model, "_tfm_scaled", False)
        return 0, (0.35 if scaled else 0.8 if tied else 1.6)
    turned = module == "Conv1D" or (p.dim() == 3 and last in model._tfm_turned)
    fan_in = p.shape[-2] if turned else p.shape[-1]
    sharp = 1.5 if re.search(r"q_proj|k_proj|qkv|c_attn|query|Wqkv", name, re.I) else 1.0
    return 0, sharp * 1.7 / fan_in**0.5


def packed(name, p):
    """An expert parameter [experts, in, out] as published: codes and scales, a line of tensors.txt for
    each. Sets p to what transformers makes of them."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    def draw(what, mean, spread, *dims):
        u = (uniform(f"{name}_{what}", int(np.prod(dims))) + 1) / 2
        lines.append(f"{name}_{what} u8 {mean} {spread} " + " ".join(map(str, dims)))
        return torch.from_numpy((mean + u * spread).astype(np.uint8).reshape(dims))

    experts, wide, rows = p.shape
    lines = []
    codes = draw("blocks", 0, 256, experts, rows, wide // 32, 16)
    scales = draw("scales", 121, 3, experts, rows, wide // 32)
    p.copy_(convert_moe_packed_tensors(codes, scales, dtype=torch.float32))
    return lines


def short(x):
    return float(f"{x:.4g}")


def logits(model, ids, double=False):
    model = model.double() if double else model
    with torch.no_grad():
        result = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    if double:
        model.float()
    return result


def fresh(config, case):
    with no_init_weights():  # some models cannot initialise what they have
        kind = case.get("attention", "eager")
        model = AutoModelForCausalLM.from_config(config, attn_implementation=kind).eval().float()
    model.tie_weights()
    return model


def row_error(a, b):
    return float((np.abs(a - b).max(1) / np.abs(b).max(1)).max())


def prove(case, config, model, ids, b):
    """Every tensor counts, and so does every option that the case names."""
    state = {n: p.detach().clone() for n, p in model.named_parameters()}
    for part in sorted({re.sub(r"\.\d+\.", ".*.", n) for n in state}):
        if any(s in part for s in case.get("idle", [])):
            continue
        hit = {n: t for n, t in state.items() if re.sub(r"\.\d+\.", ".*.", n) == part}
        with torch.no_grad():
            for n in hit:
                model.get_parameter(n).zero_()
            error = row_error(logits(model, ids), b)
            for n, t in hit.items():
                model.get_parameter(n).copy_(t)
        assert error > 20 * EXACT, f"{part} makes no difference: {error}"
    for option, value in case.get("off", {}).items():
        other = AutoConfig.for_model(**{**config.to_dict(), option: value})
        changed = fresh(other, case)
        changed.load_state_dict({**model.state_dict(), **state}, strict=False)
        error = row_error(logits(changed, ids), b)
        assert error > 100 * EXACT, f"{option} makes no difference: {error}"


def make(name, case):
    common = dict(vocab_size=VOCAB, bos_token_id=0, eos_token_id=1, pad_token_id=None)
    config = AutoConfig.for_model(**{**common, **case["config"]})
    model = fresh(config, case)
    model._tfm_turned = case.get("turned", [])
    model._tfm_scaled = case.get("scaled", False)
    config.architectures = [type(model).__name__]
    prefix, outer, outer_class, lines = case.get("inside", ("", None, None, []))
    lines = list(lines)
    with torch.no_grad():
        stored = [b for b in model.named_buffers() if "correction_bias" in b[0] or ".act_fn." in b[0]]
        for n, p in list(model.named_parameters()) + stored:
            if n.rpartition(".")[2] in case.get("packed", []):
                lines += packed(n, p)
                continue
            mean, spread = map(short, case.get("rules", {}).get(re.sub(r"\.\d+\.", ".*.", n)) or rule(model, n, p))
            v = (mean + spread * uniform(prefix + n, p.numel())).astype(np.float32).reshape(p.shape)
            p.copy_(torch.from_numpy(v))
            dims = " ".join(map(str, p.shape))
            lines.append(f"{prefix}{n} f32 {mean:g} {spread:g} {dims}")
    rng = np.random.default_rng(5)
    ids = rng.integers(2, VOCAB, ROWS).tolist()
    ids[20:24] = ids[2:6]
    (HERE / "ids.txt").write_text(" ".join(map(str, ids)) + "\n")
    b = logits(model, ids)
    noise = 0 if case.get("single") else row_error(logits(model, ids, double=True), b)
    assert noise < EXACT / 5, f"the reference itself is only good to {noise}"
    prove(case, config, model, ids, b)
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    text = {k: v for k, v in config.to_dict().items() if k not in ("transformers_version",)}
    diff = json.loads(config.to_json_string(use_diff=True))
    keep = {k: text[k] for k in sorted(text) if k in diff or k in case["config"] or k in
            ("model_type", "architectures", "layer_types", "tie_word_embeddings", "hidden_act")}
    keep.pop("transformers_version", None)
    keep = {k: v for k, v in keep.items() if k not in case.get("dropped", [])}
    keep.update(case.get("stored", {}))
    if outer:  # as published: what is as usual is left out
        keep = {k: v for k, v in keep.items() if k in common or k in case["config"]}
        keep = {"architectures": [outer_class], "model_type": outer, "text_config": keep}
    (folder / "config.json").write_text(json.dumps(keep, indent=1) + "\n")
    (folder / "tensors.txt").write_text("\n".join(lines) + "\n")
    b.astype("<f4").tofile(folder / "logits.f32")
    top = np.sort(b, 1)
    print(f"{name}: noise {noise:.1e}, largest {np.abs(b).max():.2f}, "
          f"least margin {(top[:, -1] - top[:, -2]).min():.1e}")


def main():
    torch.set_num_threads(1)
    HERE.mkdir(exist_ok=True)
    failed = 0
    for name, case in CASES.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        try:
            make(name, case)
        except Exception as e:  # the others are made all the same
            failed += 1
            print(f"{name}: FAILED: {type(e).__name__}: {e}")
    with open(HERE / "cases.txt", "w") as f:
        f.write("# name, context (0: the model's), can it be written as GGUF, type it is compared in (-: its own)\n")
        for name, case in CASES.items():
            f.write(f"{name} {case.get('ctx', 0)} {int(case.get('gguf', True))} "
                    f"{'f32' if 'packed' in case else '-'}\n")
    sys.exit(failed > 0)


main()

#!/usr/bin/env python3
"""Makes the checkpoints in this folder: one tiny random llama (bf16, 1 block of width 16) in every form in
which torch.save writes it, and as safetensors.

Run as `python3 tests/pytorch/make.py` with torch and safetensors from PyPI (made with torch 2.5.1,
safetensors 0.8.0). A second run gives the same tensors; torch writes a serial number of its own into
each archive's name table, so the bytes of the archives may differ.

  model.safetensors            what all the others must convert to
  plain.bin                    torch.save(state_dict), protocol 2, parameters, as save_pretrained does
  wrapped.pt                   protocol 5: {"model": ..., "optimizer": ..., "step": ...}; all matrices in
                               one storage, two of them transposed (strides)
  shard-1.bin, shard-2.bin     with index.json
  legacy.bin                   the format from before 1.6: refused
  double.bin                   a f64 weight: refused
  evil.bin                     a pickle that would call os.system: refused
"""
import collections
import json
import os
import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.manual_seed(5)
WIDTH, HIDDEN, VOCABULARY = 16, 32, 32


def weights():
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    block = "model.layers.0."
    for name in "qkvo":
        shapes[f"{block}self_attn.{name}_proj.weight"] = (WIDTH, WIDTH)
    for name, shape in {"gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}.items():
        shapes[f"{block}mlp.{name}_proj.weight"] = shape
    for name in ("input_layernorm", "post_attention_layernorm"):
        shapes[f"{block}{name}.weight"] = (WIDTH,)
    return {name: torch.randn(shape).to(torch.bfloat16) for name, shape in shapes.items()}


def flat(state):
    """The same tensors as views of one storage, the matrices of wq and wk stored transposed."""
    turned = [n for n in state if ".q_proj" in n or ".k_proj" in n]
    parts = [(t.t().contiguous() if n in turned else t).reshape(-1) for n, t in state.items()]
    whole, out, at = torch.cat(parts), {}, 0
    for name, t in state.items():
        view = whole[at : at + t.numel()]
        out[name] = view.view(t.shape[1], t.shape[0]).t() if name in turned else view.view(t.shape)
        at += t.numel()
    return out


class Evil:
    def __reduce__(self):
        return (os.system, ("touch evil-was-here",))


def main():
    state = weights()
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
              "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
              "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 64,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
              "hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
    (HERE / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(state, HERE / "model.safetensors", metadata={"format": "pt"})
    plain = collections.OrderedDict((n, torch.nn.Parameter(t)) for n, t in state.items())
    plain._metadata = collections.OrderedDict({"": {"version": 1}})
    torch.save(plain, HERE / "plain.bin")
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3, dtype=torch.float64)}}, "param_groups": [{"lr": 1e-3}]}
    wrapped = {"step": 12, "optimizer": optimizer, "model": flat(state), "betas": (0.9, 0.95), "done": {1, 2}}
    torch.save(wrapped, HERE / "wrapped.pt", pickle_protocol=5)
    names = sorted(state)
    shards = {"shard-1.bin": names[:6], "shard-2.bin": names[6:]}
    for file, members in shards.items():
        torch.save({n: state[n] for n in members}, HERE / file, pickle_protocol=4)
    index = {"metadata": {}, "weight_map": {n: f for f, ns in shards.items() for n in ns}}
    (HERE / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    small = {"model.norm.weight": state["model.norm.weight"]}
    torch.save(small, HERE / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({n: t.double() for n, t in small.items()}, HERE / "double.bin")
    torch.save({"model.norm.weight": Evil()}, HERE / "evil.bin")


if __name__ == "__main__":
    main()

"""Trains the story model: a small Llama shape on public-domain text, on one CPU thread.

    nice -n 19 python train.py ASSETS OUT [--steps N]

OUT must hold the vocabulary made by tokenizer.py. Writes OUT/config.json, generation_config.json
and model.safetensors (a Hugging Face folder that tfm-convert reads), and OUT/train.log. A checkpoint
is written every minute to OUT/checkpoint.pt; the same command resumes a stopped run, and batches
depend only on the seed and the step, so a resumed run sees what an uninterrupted one would.

The learning rate is warm-up, constant, then a linear fall to zero over the last DECAY_SHARE of the
steps (Hu et al. 2024, arXiv:2404.06395): until the fall begins, --steps may still be changed.
"""

import argparse
import json
import math
import os
import pathlib
import random
import time

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

import corpus

SEED = 1611  # the King James Version's year
CONTEXT = 512
BATCH = 16  # windows of CONTEXT tokens a step
PEAK_RATE = 3e-3
WARM_UP = 100
DECAY_SHARE = 0.2
REPEAT = {"plays": 2, "scripture": 1}  # the plays are a fifth of the text: each is seen twice
SAVE_SECONDS = 60
EVAL_STEPS = 200


def model_config(vocabulary):
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        torch_dtype="float32",
    )


class Data:
    """Documents as ids, each between <|begin|> and <|end|>; windows of a shuffled epoch."""

    def __init__(self, assets, tokenizer):
        self.train, self.held_out = [], {}
        for name, (train, held_out) in corpus.load(assets).items():
            self.train += self.encode(tokenizer, train) * REPEAT[name]
            self.held_out[name] = [
                (ids, len(text.encode())) for ids, text in
                zip(self.encode(tokenizer, held_out), held_out)
            ]
        self.windows = sum(len(d) for d in self.train) // (CONTEXT + 1)
        self.epoch = None

    @staticmethod
    def encode(tokenizer, documents):
        encoded = tokenizer.encode_batch(documents, add_special_tokens=False)
        return [[0] + e.ids + [1] for e in encoded]

    def batch(self, step):
        """[BATCH, CONTEXT + 1] ids; a function of the seed and the step only."""
        rows = []
        for window in range(step * BATCH, (step + 1) * BATCH):
            epoch, index = divmod(window, self.windows)
            if self.epoch != epoch:
                order = self.train[:]
                random.Random(SEED * 1000 + epoch).shuffle(order)
                self.stream = torch.tensor([i for d in order for i in d])
                self.epoch = epoch
            start = index * (CONTEXT + 1)
            rows.append(self.stream[start : start + CONTEXT + 1])
        return torch.stack(rows)


def learning_rate(step, steps):
    fall = int(steps * DECAY_SHARE)
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    if step < steps - fall:
        return PEAK_RATE
    return PEAK_RATE * (steps - step) / fall


@torch.no_grad()
def held_out_loss(model, documents):
    """(nats a token, bits a byte); a document longer than the context is cut to it. The bytes of
    a cut document are counted in proportion to its tokens."""
    nats = tokens = size = 0.0
    for ids, n_bytes in documents:
        kept = ids[: CONTEXT + 1]
        ids_in = torch.tensor([kept])
        logits = model(ids_in[:, :-1]).logits[0]
        nats += torch.nn.functional.cross_entropy(logits, ids_in[0, 1:], reduction="sum").item()
        tokens += len(kept) - 1
        size += n_bytes * (len(kept) - 1) / (len(ids) - 1)
    return nats / tokens, nats / math.log(2) / size


def save(path, state):
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("assets")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--stop", type=int, help="stop after this step, for timing")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
    data = Data(options.assets, tokenizer)
    model = LlamaForCausalLM(model_config(tokenizer.get_vocab_size()))
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
    )
    checkpoint = options.out / "checkpoint.pt"
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, seconds = state["step"], state["seconds"]

    log = open(options.out / "train.log", "a", buffering=1)

    def note(**fields):
        log.write(json.dumps(fields) + "\n")

    note(parameters=sum(p.numel() for p in model.parameters()), windows_an_epoch=data.windows,
         from_step=step, steps=options.steps)
    began = saved = time.monotonic()
    stop = min(options.steps, options.stop or options.steps)
    while step < stop:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, options.steps)
        ids = data.batch(step)
        # bfloat16 in the matrix products only: weights, sums of gradients and optimiser stay f32.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model.model(ids[:, :-1], use_cache=False).last_hidden_state
            logits = model.lm_head(logits)
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        now = time.monotonic()
        if step % 10 == 0:
            note(step=step, loss=round(loss.item(), 4), seconds=round(seconds + now - began))
        if step % EVAL_STEPS == 0 and step < options.steps:
            few = [d for documents in data.held_out.values() for d in documents[:40]]
            note(step=step, held_out=held_out_loss(model, few))
        if now - saved > SAVE_SECONDS or step == stop:
            save(checkpoint, {"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                              "step": step, "seconds": seconds + now - began})
            saved = now
    if step == options.steps:
        # The figures are those of the weights as they ship: rounded to f16.
        model.half().float()
        note(final={n: held_out_loss(model, d) for n, d in data.held_out.items()},
             all=held_out_loss(model, sum(data.held_out.values(), [])),
             seconds=round(seconds + time.monotonic() - began))
        model.generation_config.eos_token_id = 1
        model.half().save_pretrained(options.out)


main()

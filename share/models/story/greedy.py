"""Greedy continuations of the story model by transformers: what the toolkit must also say.

    python greedy.py OUT >../../../tests/golden/story.txt

OUT is the folder that train.py wrote. One line a prompt: the prompt as a JSON string, TAB, ids of
<|begin|> and prompt and of the continuation after `|`. A continuation stops before a choice that is
not clear (the best logit ahead by less than MARGIN of the largest), since another order of additions
may turn it.
"""

import json
import sys

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

PROMPTS = [
    "ROMEO:",
    "Genesis 1:1\nIn the beginning",
    "KING RICHARD III:\nWhat, is the",
    "And it came to pass",
    "To be, or not to be",
]
NEW = 80
END = 1
MARGIN = 1e-3


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
    model = LlamaForCausalLM.from_pretrained(
        sys.argv[1], torch_dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        new = []
        while len(new) < NEW and (not new or new[-1] != END):
            logits = model(torch.tensor([ids + new]), use_cache=False).logits[0, -1]
            best = logits.topk(2)
            if best.values[0] - best.values[1] < MARGIN * logits.abs().max():
                break
            new.append(int(best.indices[0]))
        print(json.dumps(prompt), " ".join(map(str, ids)) + " | " + " ".join(map(str, new)), sep="\t")
        print(tokenizer.decode(ids + new), file=sys.stderr)


main()

"""Trains the story model's vocabulary: byte-level BPE, so that every byte string can be spelled.

    python tokenizer.py ASSETS OUT          writes OUT/tokenizer.json, OUT/tokenizer_config.json
"""

import json
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import corpus

# 1,536 pieces: with width 192 the (tied) embedding is 15 % of the model; a larger vocabulary would
# make texts shorter, but take weights from the layers (the file must stay under 4 MB).
PIECES = 1536
BEGIN, END = "<|begin|>", "<|end|>"  # ids 0 and 1: every document stands between them


def main():
    assets, out = sys.argv[1], pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    train = [d for documents, _ in corpus.load(assets).values() for d in documents]
    tokenizer.train_from_iterator(train, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": BEGIN,
                "eos_token": END,
                "add_bos_token": True,
                "add_eos_token": False,
                "clean_up_tokenization_spaces": False,
                "model_max_length": 512,
            },
            indent=1,
        )
        + "\n"
    )
    ids = tokenizer.encode_batch(train, add_special_tokens=False)
    count = sum(len(e.ids) for e in ids)
    size = sum(len(d.encode()) for d in train)
    print(f"{tokenizer.get_vocab_size()} pieces, {count} tokens, {size / count:.3f} bytes a token")


main()

#!/usr/bin/env python3
"""Small tokenizer.json files whose added tokens are looked for as words or in the normalised text, with
scripts, extended patterns and decoders that replace by a regex, and what Hugging Face's tokenizers
makes of texts with them: matching.txt, in the form of cases.txt. Packages: MANIFEST.md beside this
folder. Run it here."""

import json
import random

from tokenizers import Tokenizer

WORDS = """the cat Cat CAT don't new New York york a b ab É é e\u0301 ß İ i ı ﬁ fi Ω д Д 漢字 かな カナ ー 한국 नि 😀 👍🏽 12 ½ _ - ... ! [A] <x>
\u2581the \u2581 ＡＢ""".split()
TEXTS = ["", " ", "cat", "cats cat", "a cat.", "CAT Cat cat", "catcat", "cat_cat cat-cat", "  New York  ", "new york!", "newyork new  york",
         "New\nYork", "don't Don't", "É é E\u0301 e\u0301", "écat caté", "İ ı i", "ﬁ fi ﬁfi", "ＡＢ ab AB", "漢字かなカナー abc", "한국 cat한국",
         "дД Д д", " 12½ a12", "[A] [a] x[A]y", "<x><x> <X>", "\u2581the \u2581", "a\u200bb cat\u200bcat", "cat\u0301 cat", "\u00a0cat\u3000",
         "\ta\tb", "кошка 猫 cat", "\u0378a\u0378б", "🙂cat🙂", "cat" * 30, "\x01cat\x01", "the the the", "ab aab abab ba"]


def added(vocab, tokens):
    """Flags: w single_word, l lstrip, r rstrip, n normalized, s special."""
    out = []
    for content, flags in tokens:
        out.append({"id": vocab.setdefault(content, len(vocab)), "content": content, "single_word": "w" in flags,
                    "lstrip": "l" in flags, "rstrip": "r" in flags, "normalized": "n" in flags, "special": "s" in flags})
    return sorted(out, key=lambda t: t["id"])


def pieces(*more):
    chars = sorted({c for w in WORDS for c in w} | set("abcdefghijklmnopqrstuvwxyzкошаб.,?' "))
    return list(dict.fromkeys(["[UNK]", *more, *chars, *WORDS]))


def ids(names):
    return {w: i for i, w in enumerate(names)}


def sequence(key, *members):
    return {"type": "Sequence", key: list(members)}


def kinds():
    """Name: model, added tokens with flags, normalizer, pre_tokenizer, decoder."""
    replace = lambda a, b: {"type": "Replace", "pattern": a, "content": b}
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    inner = pieces() + ["##" + w for w in pieces()[1:]]
    yield ("match-bert", {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                          "max_input_chars_per_word": 100, "vocab": ids(inner)},
           [("[UNK]", "s"), ("CAT", "n"), ("New York", "nw"), ("É", "nlr"), ("newtoken", "n"), ("the", "wr"), ("!", "lw")],
           bert, {"type": "BertPreTokenizer"}, {"type": "WordPiece", "prefix": "##", "cleanup": True})
    spell = [f"<0x{i:02X}>" for i in range(256)]
    yield ("match-llama", {"type": "BPE", "unk_token": "[UNK]", "fuse_unk": True, "byte_fallback": True, "dropout": None,
                           "vocab": ids(pieces(*spell, "\u2581")), "merges": [["a", "b"]]},
           [("[UNK]", "s"), ("<x>", "n"), ("cat", "nw"), ("York", "nlr"), ("[A]", "w"), ("ß", "r")],
           sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"}, replace({"String": " "}, "\u2581")), None,
           sequence("decoders", replace({"Regex": "\u2581+"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 0}))
    yield ("match-scripts", {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                             "vocab": [[w, -1.0 - len(w) / 16 if i else 0.0] for i, w in enumerate(pieces())]},
           [("[UNK]", "s"), ("cat", "w"), ("ab", "n"), ("かな", "nwl"), ("New York", "n"), ("  ", "n")],
           sequence("normalizers", {"type": "NFKC"}, {"type": "Lowercase"}), {"type": "UnicodeScripts"},
           sequence("decoders", replace({"Regex": "[aeiou]|(?=t)"}, "*"), replace({"String": "c"}, "[c]")))
    yield ("match-extended", {"type": "WordLevel", "unk_token": "[UNK]", "vocab": ids(pieces("cats", ".", "the cat"))},
           [("[UNK]", "s"), ("don't", "nw"), ("York", "wlr")], {"type": "NFD"},
           {"type": "Split", "behavior": "Removed", "invert": True, "pattern": {"Regex":
            "(?x) cats? # [ a class that is none (\n | (?-x:New York)(?#[ neither) \n | \\p{L} \\p{M}* \\ ? # last"}},
           replace({"Regex": "(?i)C(?m:.)|^t"}, "<>"))


def main():
    lines = []
    for name, model, tokens, normalizer, cutter, decoder in kinds():
        vocab = ids([w for w, _ in model["vocab"]]) if isinstance(model["vocab"], list) else dict(model["vocab"])
        whole = {"version": "1.0", "added_tokens": added(vocab, tokens), "normalizer": normalizer, "pre_tokenizer": cutter,
                 "post_processor": None, "decoder": decoder, "model": model}
        with open(name + ".json", "w", encoding="utf-8") as f:
            json.dump(whole, f, ensure_ascii=False, separators=(",", ":"))
        t = Tokenizer.from_file(name + ".json")
        draw = random.Random(1)
        more = ["".join(draw.choice(WORDS + TEXTS[:20] + [" ", " ", "s"]) for _ in range(6)) for _ in range(30)]
        for case in TEXTS + more:
            got = t.encode(case).ids
            back = t.decode(got) if got else ""
            if 0 in got or "\ufffd" in back:
                back = None  # unknown tokens, and bytes that are no text, are printed otherwise
            lines.append("\t".join([name + ".json", json.dumps(case), " ".join(map(str, got)), json.dumps(back)]))
    with open("matching.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


main()

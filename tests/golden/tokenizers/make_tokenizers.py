#!/usr/bin/env python3
"""Small unigram tokenizer.json files (and a GGUF), trained here on the text below, and what Hugging
Face's tokenizers (SentencePiece) makes of hard texts with them: cases.txt, a line each of FILE, text, ids, text again (the
texts as JSON strings), tabs between. Packages: MANIFEST.md beside this folder. Run it here."""

import base64
import io
import json
import random

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import Tokenizer

TEXT = """the cat sat on the mat and the dog ran after the cat
she sells sea shells by the sea shore where the water is warm
a small house with a red door stands near the old stone bridge
numbers like one two three and seventy seven are words as well
le café est près de l'école où les élèves étudient déjà
wir gehen über die Brücke zum größten Haus der Straße
кошка сидит на окне и смотрит на улицу где идёт дождь
猫は窓の上に座って雨を見ている 犬は外で走る"""

# What SentencePiece's table has of every kind: one to one, to many, to a space, to nothing, from two.
RULES = {"Ａ": "A", "ａ": "a", "ﬁ": "fi", "①": "1", "㍿": "株式会社", "\u00a0": " ", "\u3000": " ",
         "\t": " ", "\n": " ", "\r": " ", "\u200b": "", "\u0007": "", "e\u0301": "é", "a\u0300": "à",
         "u\u0308": "ü", "\u2581": " ", "が": "か", "x\u20dd": "ⓧ"}

TEXTS = ["", " ", "   ", "the cat sat on the mat", "  the  cat ", "the\tcat\nsat\r\non", "THE CAT", "ＡａＡ ﬁne ①",
         "㍿の猫", "cafe\u0301 e\u0301\u0302 xe\u0301y", "a\u0300 a\u0300\u0323 A\u0300", "u\u0308ber über ÜBER",
         "İstanbul ΑΣ ǅ", "``sea'' 'shells'", "\u2581the\u2581\u2581cat \u2581", "\u200bcat\u200b \u0007dog",
         "猫は窓の上に座って", "ので　ある", "кошка сидит", "🙂🙂 cat🙂", "👩\u200d👩\u200d👧 🇩🇪🇫🇷 👍🏽",
         "क्षि \u0958\u0300", "각 각", "x\u20dd x\u20dd\u0301", "qqqq zzzz", "sea" * 60, "é" * 50,
         "e" + "\u0301" * 12, "\u0301e", "\u07fd\u0301a e\u07fd\u0301 \u0898 \ua7f2", "\u1cf2 \U000111c9",
         "a\u00a0b\u2003c\u2028d\u0085e", "\x01\x02x\x7f\x9f", "<extra>cat<extra> dog", "tail \u3000", ".,;:!?- --",
         "\U0010ffff\ue000\ufffd\ufeff", "the\u00adcat", "½ ² ℌ ﷺ", "㎏ ｶﾞ ｶ\u3099"]


def train(bytes_too, rules):
    out = io.BytesIO()
    with open("rules.tmp", "w", encoding="utf-8") as f:
        for key, value in rules.items():
            f.write(" ".join(f"{ord(c):X}" for c in key) + "\t" + " ".join(f"{ord(c):X}" for c in value) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split("\n")), model_writer=out, vocab_size=420 if bytes_too else 170,
        model_type="unigram", normalization_rule_tsv="rules.tmp", byte_fallback=bytes_too, num_threads=1,
        hard_vocab_limit=False, character_coverage=0.98, minloglevel=2)
    model = proto.ModelProto()
    model.ParseFromString(out.getvalue())
    return model


def special(i, text, **more):
    return {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True, **more}


def precompiled(model):
    table = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    return {"type": "Precompiled", "precompiled_charsmap": table}


def replace(pattern, content, regex=False):
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": pattern}, "content": content}


def meta(scheme, split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def sequence(key, *members):
    return {"type": "Sequence", key: list(members)}


def around(before, after):
    def parts(names):
        return [{"SpecialToken": {"id": n, "type_id": 0}} for n in names]
    ids = {"<s>": 1, "</s>": 2, "<lang>": None}
    return {"type": "TemplateProcessing", "single": parts(before) + [{"Sequence": {"id": "A", "type_id": 0}}] +
            parts(after), "pair": [], "special_tokens": {n: {"id": n, "ids": [ids[n]], "tokens": [n]}
                                                         for n in before + after}}, ids


def as_gguf(model):
    """The same model as GGUF's "t5", whose ids are SentencePiece's own."""
    w = gguf.GGUFWriter("t5.gguf", "t5")
    w.add_tokenizer_model("t5")
    w.add_token_list([p.piece.encode() for p in model.pieces])
    w.add_token_scores([p.score for p in model.pieces])
    w.add_token_types([p.type for p in model.pieces])
    w.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
    w.add_add_space_prefix(True)
    w.add_remove_extra_whitespaces(True)
    w.add_unk_token_id(0)
    w.add_eos_token_id(2)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    own = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    return ["\t".join(["t5.gguf", json.dumps(t), " ".join(map(str, own.encode(t) + [2])),
                       json.dumps(own.decode(own.encode(t)))]) for t in TEXTS]


def main():
    plain, fallback = train(False, RULES), train(True, {"Ａ": "A"})
    mark, after = [("<extra>", -1.0)], len(plain.pieces)
    templates = {"t5": ([], ["</s>"]), "lang": ([], ["</s>", "<lang>"]), "albert": (["<s>"], ["</s>"]),
                 "words": (["<s>", "<lang>"], ["</s>"])}
    steps = {
        "t5": (plain, sequence("normalizers", precompiled(plain), {"type": "Strip", "strip_left": False,
               "strip_right": True}, replace(" {2,}", "▁", True)), meta("always"), meta("always")),
        "lang": (plain, precompiled(plain), meta("first"), meta("first")),
        "albert": (plain, sequence("normalizers", replace("``", '"'), replace("''", '"'), {"type": "NFKD"},
                   {"type": "StripAccents"}, {"type": "Lowercase"}, precompiled(plain),
                   replace(" {2,}", " ", True)), meta("always"), meta("always")),
        "words": (plain, sequence("normalizers", {"type": "Nmt"}, {"type": "NFKC"}, replace(" {2,}", " ", True)),
                  sequence("pretokenizers", {"type": "WhitespaceSplit"}, meta("always")), meta("always")),
        "bytes": (fallback, sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")), None,
                  sequence("decoders", replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                           {"type": "Strip", "content": " ", "start": 1, "stop": 0})),
        "plain": (plain, None, meta("never", False), {"type": "Fuse"}),
    }
    lines = []
    for name, (model, normalizer, cutter, decoder) in steps.items():
        vocab = [(p.piece, p.score) for p in model.pieces] + mark
        added = [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"),
                 special(len(vocab) - 1, "<extra>", special=False), special(len(vocab), "<lang>", lstrip=True)]
        post = None
        if name in templates:
            post, _ = around(*templates[name])
            if "<lang>" in post["special_tokens"]:
                post["special_tokens"]["<lang>"]["ids"] = [len(vocab)]
        text = json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                           "normalizer": normalizer, "pre_tokenizer": cutter, "post_processor": post,
                           "decoder": decoder, "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab,
                                                         "byte_fallback": name == "bytes"}}, ensure_ascii=False)
        with open(name + ".json", "w", encoding="utf-8") as f:
            f.write(text)
        tokenizer = Tokenizer.from_str(text)
        draw = random.Random(1)
        more = ["".join(draw.choice(TEXTS + TEXT.split()) for _ in range(4)) for _ in range(20)]
        for case in TEXTS + more:
            ids = tokenizer.encode(case).ids
            back = tokenizer.decode(ids) if ids else ""
            lines.append("\t".join([name + ".json", json.dumps(case), " ".join(map(str, ids)), json.dumps(back)]))
    lines += as_gguf(plain)
    with open("cases.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


main()

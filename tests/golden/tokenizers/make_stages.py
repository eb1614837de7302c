#!/usr/bin/env python3
"""Small tokenizer.json files of the other models and stages, trained here on the text below, and what
Hugging Face's tokenizers makes of hard texts with them: stages.txt, in the form of cases.txt.
Packages: MANIFEST.md beside this folder. Run it here."""

import json
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = """the cat sat on the mat and the dog ran after the cat
she sells sea shells by the sea shore, isn't it? Don't!
a small house (number 42) stands near the old stone bridge -- built in 1999.
le café est près de l'école où les élèves étudient déjà
кошка сидит на окне и смотрит на улицу, где идёт дождь
猫は窓の上に座って雨を見ている。犬は外で走る 👍🏽 🙂""".split("\n")

TEXTS = ["", " ", "the cat sat on the mat", "  the  CAT ", "the\tcat\nsat\r\non", "isn't don't, 'tis", "cafe\u0301 É",
         "İstanbul ΑΣ ß", "\u2581the\u2581cat \u2581", "\u200bcat\u200b \u0007dog", "猫は窓の上に座って", "ので　ある", "🙂🙂 cat🙂",
         "👩\u200d👩\u200d👧 👍🏽", "क्षि \u0958\u0300", "qqqq zzzz", "e" + "\u0301" * 5, "\u0301e", "a\u00a0b\u2003c\u0085e",
         "\x01x\x7f", "tail \u3000", ".,;:!?- -- ...", "\ue000\ufffd\ufeff", "½ ² ﷺ 12³ ৪২ Ⅷ", "a+b=c $5 <x> ^_^", "a\u180eb\u200cc",
         "1,234.56 3rd", "under_score a‿b", "ⓐ🄰", "ßß</w> ##", "кошка 42-мат", "word" * 40, "－ー・「猫」"]


def bpe(names, **more):
    return models.BPE(unk_token=names[0], **more), trainers.BpeTrainer(
        vocab_size=320, special_tokens=names, show_progress=False, limit_alphabet=60,
        **{k: v for k, v in more.items() if k != "fuse_unk"})


def template(before, after):
    return lambda t: processors.TemplateProcessing(
        single=f"{before} $A {after}", special_tokens=[(x, t.token_to_id(x)) for x in (before, after)])


def kinds():
    """Name: model, trainer, normalizer, pre-tokenizer, decoder, post-processor."""
    n, p, d = normalizers, pre_tokenizers, decoders
    clip = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    yield ("clip", *bpe(["<end>", "<start>"], end_of_word_suffix="</w>"),
           n.Sequence([n.NFC(), n.Replace(Regex(r"\s+"), " "), n.Lowercase()]),
           p.Sequence([p.Split(clip, "removed", invert=True), p.ByteLevel(add_prefix_space=False)]), d.ByteLevel(),
           template("<start>", "<end>"))
    yield ("gpt1", *bpe(["<unk>"], end_of_word_suffix="</w>"), n.BertNormalizer(), p.BertPreTokenizer(),
           d.BPEDecoder(suffix="</w>"), None)
    yield ("inner", *bpe(["<unk>", "<s>"], continuing_subword_prefix="##", fuse_unk=True), n.BertNormalizer(lowercase=False),
           p.Sequence([p.Whitespace(), p.Punctuation("contiguous"), p.Digits(individual_digits=True)]), d.WordPiece(), None)
    yield ("split", *bpe(["<unk>", "<s>"]), None,
           p.Sequence([p.Split(" ", "merged_with_next"), p.Split(Regex(r"\b"), "isolated"), p.CharDelimiterSplit("-"),
                       p.Punctuation("merged_with_previous"), p.Split(Regex(r"[[:alpha:]]+|\p{Han}"), "contiguous")]),
           d.Sequence([d.Fuse(), d.Strip(" ", 1, 2)]), None)
    yield ("wordlevel", models.WordLevel(unk_token="[UNK]"),
           trainers.WordLevelTrainer(vocab_size=60, special_tokens=["[UNK]", "<s>", "</s>"], show_progress=False),
           n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()]), p.Whitespace(), None, template("<s>", "</s>"))
    yield ("ctc", models.WordLevel(unk_token="<unk>"),
           trainers.WordLevelTrainer(vocab_size=40, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], show_progress=False),
           n.Sequence([n.Lowercase(), n.Replace(" ", "|")]), p.Split(Regex("."), "isolated"), d.CTC(pad_token="<pad>"), None)
    yield ("wordpiece", models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30),
           trainers.WordPieceTrainer(vocab_size=220, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False),
           n.NFKC(), p.Sequence([p.ByteLevel(), p.WhitespaceSplit()]), d.Sequence([d.WordPiece(), d.Replace("e", "E")]), None)


def decode(t, ids, **more):
    try:
        return t.decode(ids, **more) if ids else ""
    except BaseException as e:  # Strip(stop=2) of a text of one character
        assert "index out of bounds" in str(e), e
        return None


def main():
    lines = []
    for name, model, trainer, normalizer, cutter, decoder, post in kinds():
        t = Tokenizer(model)
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer = cutter
        t.train_from_iterator(TEXT * 3, trainer)
        if decoder:
            t.decoder = decoder
        if post:
            t.post_processor = post(t)
        t.save(name + ".json", pretty=False)
        draw = random.Random(1)
        more = ["".join(draw.choice(TEXTS + " ".join(TEXT).split()) for _ in range(4)) for _ in range(12)]
        hidden = {t.token_to_id(x) for x in ("[CLS]", "[SEP]")}
        for case in TEXTS + more:
            ids = t.encode(case).ids
            if name == "wordpiece":  # its unknown token is printed
                back = decode(t, [i for i in ids if i not in hidden], skip_special_tokens=False)
            else:
                back = decode(t, ids)
            if back and "\ufffd" in back:
                back = None  # bytes that are no text are decoded as they are, not as U+FFFD
            lines.append("\t".join([name + ".json", json.dumps(case), " ".join(map(str, ids)), json.dumps(back)]))
    with open("stages.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


main()

"""Corpus of the story model: two public-domain texts cut into short documents.

What this file owns: how text becomes documents and how documents are split into training and
held-out ones. It does no tokenizing. Documents are kept to a few hundred bytes, so that most of
them fit whole in the model's context and generation learns where to end.
"""

import gzip
import pathlib

SPEECH_BYTES = 500  # a play document closes with the first speech that reaches this size
VERSE_BYTES = 600   # a scripture document closes with the first verse that reaches this size
HELD_OUT_EVERY = 20  # documents 0, 20, 40, ... of each text are held out: 5 %


def plays(path):
    """tinyshakespeare's input.txt: speeches are separated by an empty line."""
    speeches = path.read_text(encoding="utf-8").strip().split("\n\n")
    documents, open_document = [], ""
    for speech in speeches:
        open_document += ("\n\n" if open_document else "") + speech.strip()
        if len(open_document) >= SPEECH_BYTES:
            documents.append(open_document)
            open_document = ""
    if open_document:
        documents.append(open_document)
    return documents


def scripture(path):
    """`Genesis 1:1<TAB>King James<TAB>Spanish`, gzipped. A document is a run of verses of one
    chapter, headed by the reference of the first: "Genesis 1:1\\nIn the beginning ...\\nAnd ..."."""
    documents, open_document, open_chapter = [], "", None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            reference, verse = line.rstrip("\n").split("\t")[:2]
            chapter = reference.rsplit(":", 1)[0]
            if open_document and (chapter != open_chapter or len(open_document) >= VERSE_BYTES):
                documents.append(open_document)
                open_document = ""
            if not open_document:
                open_document = reference
                open_chapter = chapter
            open_document += "\n" + verse.strip()
    documents.append(open_document)
    return documents


def load(assets):
    """{name: (training documents, held-out documents)}"""
    assets = pathlib.Path(assets)
    texts = {
        "plays": plays(assets / "tinyshakespeare" / "input.txt"),
        "scripture": scripture(assets / "bible" / "kjv-rv1909.tsv.gz"),
    }
    return {
        name: (
            [d for i, d in enumerate(documents) if i % HELD_OUT_EVERY != 0],
            [d for i, d in enumerate(documents) if i % HELD_OUT_EVERY == 0],
        )
        for name, documents in texts.items()
    }

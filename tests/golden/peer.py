#!/usr/bin/env python3
"""peer.py - a GGUF file through tfm and through llama.cpp: the same tokens, the same perplexity?

    pip install -r requirements-peer.txt; export PATH=build/bin:$PATH
    peer.py greedy MODEL.gguf                  32 greedy tokens of five prompts
    peer.py perplexity MODEL.gguf TEXT         of the first 64 KiB of a text
    peer.py quantise F16.gguf TEXT --work DIR  each type by our search and by llama.cpp's

Exit status: 0 if what is demanded holds, 1 if not.

greedy: ids must be equal, or first differ where the two largest logits of BOTH engines are less than
0.05 apart, in one prompt of the five at most. llama.cpp is given the ids of its own tokenizer, which
must be those of tfm-tokenize; margins of ours are those of tfm-score --distributions. Both engines round what
quantised weights are multiplied with to 8 bits, in blocks as long as those of the weights. A difference far below
the step of this rounding, as between any two orders of a sum, sends some numbers to the other side, and from
there on the two are as far apart as if each had rounded in its own way. Their logits differ by more than that
margin (the last lines say by how much), and of prompts that can go on in many ways some do: so they do with
llama.cpp given a prompt in one batch and llama.cpp given it token by token. This is demanded,
therefore, of prompts that can't, and, with the weights dequantised to f16 (kept in --work), of others too;
how these fare with the file as it is, is only shown, beside how llama.cpp fares with itself.

perplexity: the text's ids are cut into windows of --window tokens, the begin token in front of each;
every token but that is scored, by a softmax in double. The two may differ by 0.5 %.

quantise: F16.gguf in each type by our quantiser and by llama.cpp's (--pure; without an importance
matrix), files of the same size, or it is said. What is compared is perplexity (--bytes of the text),
with the standard error of the mean of the tokens' differences, and, far less noisy, the divergence of
the distributions from those of F16.gguf (--divergence: so many of its tokens). All is computed by
tfm-score, so that only the weights differ, and with these dequantised to f16 first, so that no
rounding of what they are multiplied with comes in between (--as-is: with it). Demanded: a perplexity
no higher, or higher by less than twice its error with a divergence that is no higher. Quantised files
and results are kept in --work; a second run computes what is missing.
"""
import argparse
import ctypes
import importlib.metadata
import io
import math
import os
import subprocess
import sys

import llama_cpp as lib
import numpy as np

CERTAIN = [  # what comes next is not in doubt: the two largest logits are far apart
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "We hold these truths to be self-evident, that all men are created",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, Monday, Tuesday,",
    "The cat sat on the mat. The dog lay by the door. " * 3,
    "2 4 8 16 32 64 128 256 512 1024\n" * 3,
]
OPEN = [  # it is
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived",
    "def fibonacci(n):\n    if n < 2:\n",
    "Die Geschichte der Eisenbahn in Deutschland beginnt",
    "To make bread you need flour, water, salt and yeast. First,",
]
TOKENS, MARGIN, MOST_DIFFERENT = 32, 0.05, 1
PPL_BOUND = 0.005
PIECE = 256  # rows of logits in memory at once

# ours: (llama.cpp's file type, every matrix of that type?)
TYPES = {
    "q3_K": (lib.LLAMA_FTYPE_MOSTLY_Q3_K_S, True),
    "q4_K": (lib.LLAMA_FTYPE_MOSTLY_Q4_K_S, True),
    "q5_K": (lib.LLAMA_FTYPE_MOSTLY_Q5_K_S, True),
    "q6_K": (lib.LLAMA_FTYPE_MOSTLY_Q6_K, True),
    "mixed": (lib.LLAMA_FTYPE_MOSTLY_Q4_K_M, False),
}


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max()
    return x - math.log(np.exp(x).sum())


# ---- llama.cpp ----


@lib.llama_log_callback
def silent(level, text, user):
    pass


class Llama:
    def __init__(self, path, n_ctx, threads):
        lib.llama_log_set(silent, ctypes.c_void_p(0))
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        if not self.model:
            sys.exit(f"{path}: llama.cpp cannot load it")
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.n_vocab = lib.llama_vocab_n_tokens(self.vocab)
        p = lib.llama_context_default_params()
        p.n_ctx = n_ctx
        p.n_batch = p.n_ubatch = PIECE
        p.n_threads = p.n_threads_batch = threads
        self.ctx = lib.llama_init_from_model(self.model, p)
        self.batch = lib.llama_batch_init(PIECE, 0, 1)

    def close(self):
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.ctx)
        lib.llama_model_free(self.model)

    def ids(self, text):
        room = len(text) + 8
        out = (lib.llama_token * room)()
        n = lib.llama_tokenize(self.vocab, text, len(text), out, room, True, False)
        return list(out[:n])

    def clear(self):
        lib.llama_memory_clear(lib.llama_get_memory(self.ctx), True)

    def rows(self, ids, at=0):
        """The logits behind each of the ids, the first of which stands at position `at`: [n_vocab] each,
        valid until the next is asked for."""
        for first in range(0, len(ids), PIECE):
            piece = ids[first:first + PIECE]
            b = self.batch
            b.n_tokens = len(piece)
            for i, t in enumerate(piece):
                b.token[i], b.pos[i], b.n_seq_id[i] = t, at + first + i, 1
                b.seq_id[i][0], b.logits[i] = 0, 1
            if lib.llama_decode(self.ctx, b) != 0:
                sys.exit("llama_decode failed")
            for i in range(len(piece)):
                yield np.ctypeslib.as_array(lib.llama_get_logits_ith(self.ctx, i), (self.n_vocab,))

    def greedy(self, prompt, n, one_by_one=False):
        """n ids, and before each of them the distance of the two largest logits."""
        self.clear()
        ids, margins, given = [], [], prompt
        if one_by_one:
            given = prompt[-1:]
            for i, t in enumerate(prompt[:-1]):
                list(self.rows([t], i))
        while len(ids) < n:
            for x in self.rows(given, len(prompt) + len(ids) - len(given)):
                pass
            low, high = np.partition(x, -2)[-2:]
            ids.append(int(x.argmax()))
            margins.append(float(high - low))
            if lib.llama_vocab_is_eog(self.vocab, ids[-1]):
                break
            given = ids[-1:]
        return ids, margins

    def distributions(self, windows):
        for w in windows:
            self.clear()
            for x in self.rows(w[:-1]):
                yield log_softmax(x)


# ---- tfm ----


def tfm(*args, stdin=b""):
    r = subprocess.run(args, input=stdin, stdout=subprocess.PIPE)
    if r.returncode:
        sys.exit(f"{args[0]}: exit status {r.returncode}")
    return r.stdout


def id_lines(data):
    return [[int(i) for i in line.split()] for line in tfm("tfm-show", "--ids", stdin=data).splitlines()]


def as_tokens(model, windows):
    text = "".join(" ".join(map(str, w)) + "\n" for w in windows)
    return tfm("tfm-tokenize", "-l", "-m", model, "--from-ids", "--no-special", stdin=text.encode())


def our_distributions(model, windows):
    """[n_vocab] for every token of every window."""
    out = tfm("tfm-score", "-m", model, "--distributions", stdin=as_tokens(model, windows))
    data = tfm("tfm-select", "--name", "logits", stdin=out)
    return [json_row for w in range(len(windows)) for json_row in np.load(io.BytesIO(tfm(
        "tfm-export", "--to", "npy", stdin=tfm("tfm-select", "-g", str(w), stdin=data)))).reshape(len(windows[w]), -1)]


def our_margin(model, ids):
    """Of the row behind the last id, which foretells one more."""
    low, high = np.partition(our_distributions(model, [ids])[-1], -2)[-2:]
    return float(high - low)


def our_perplexity(model, windows):
    total = tfm("tfm-score", "-m", model, "--ppl", stdin=as_tokens(model, windows)).splitlines()[-1].split()
    return int(total[1]), float(total[3])


# ---- what is asked ----


def windows_of(ids, size):
    """ids[0] is the begin token: in front of every window."""
    return [ids[:1] + ids[i:i + size - 1] for i in range(1, len(ids), size - 1)]


def greedy_of(model, prompts, threads):
    """Prints a line a prompt; how many differ, and whether at a small margin only."""
    theirs, different, small = Llama(model, 512, threads), 0, True
    print("prompt\tsame\tour margin\ttheir margin\tleast margin\ttext")
    for text in prompts:
        prompt = theirs.ids(text.encode())
        data = tfm("tfm-tokenize", "-m", model, stdin=text.encode() + b"\n")  # whose last LF is no text
        if id_lines(data) != [prompt]:
            sys.exit(f"{text!r}: the tokenizers differ")
        run = tfm("tfm-run", "-m", model, "-n", str(TOKENS), stdin=data)
        ours = id_lines(run)[0]
        want, margins = theirs.greedy(prompt, TOKENS)
        if lib.llama_vocab_is_eog(theirs.vocab, want[-1]):  # not written by tfm-run
            want.pop()
        same = next((i for i, (x, y) in enumerate(zip(ours, want)) if x != y), min(len(ours), len(want)))
        shown = "-\t-"
        if ours != want:
            different += 1
            m = our_margin(model, prompt + want[:same])
            shown = f"{m:.4f}\t{margins[same]:.4f}"
            small = small and m < MARGIN and margins[same] < MARGIN
        out = tfm("tfm-detok", "-m", model, stdin=run).decode(errors="replace").rstrip("\n")
        print(f"{text!r}\t{same} of {len(want)}\t{shown}\t{min(margins):.4f}\t{out!r}", flush=True)
    theirs.close()
    return different, small


def greedy(a):
    f16 = os.path.join(a.work, "dequantised.gguf")
    if not os.path.exists(f16):
        tfm("tfm-convert", "-q", "--type", "f16", "--to", "gguf", "-o", f16, a.model)
    good = True
    for what, model, prompts, judged in [("certain prompts, as it is", a.model, CERTAIN, True),
                                         ("open prompts, dequantised", f16, OPEN, True),
                                         ("open prompts, as it is", a.model, OPEN, False)]:
        print(f"# {what}")
        different, small = greedy_of(model, prompts, a.threads)
        ok = different <= MOST_DIFFERENT and small
        verdict = 'good' if ok else 'BAD' if judged else 'see above'
        print(f"# {len(prompts) - different} of {len(prompts)} equal: {verdict}")
        good = good and (ok or not judged)
    itself(a.model, a.threads)
    rounding(a.model, f16, a.threads)
    return good


def itself(model, threads):
    """How many open prompts llama.cpp continues alike, whether it is given them whole or token by token."""
    theirs, same = Llama(model, 512, threads), 0
    for text in OPEN:
        prompt = theirs.ids(text.encode())
        same += theirs.greedy(prompt, TOKENS)[0] == theirs.greedy(prompt, TOKENS, one_by_one=True)[0]
    theirs.close()
    print(f"# open prompts, as it is, llama.cpp with itself, whole or token by token: {same} of {len(OPEN)} equal")


def rounding(model, f16, threads):
    """How far each engine is from what the weights stand for, because it rounds what they are multiplied with."""
    theirs = Llama(model, 512, threads)
    windows = [theirs.ids(text.encode()) for text in OPEN]
    files = {"exact": f16, "as it is": model}
    p = {name: our_distributions(f, windows) for name, f in files.items()}
    other = [x for w in windows for x in (theirs.clear(), [log_softmax(x) for x in theirs.rows(w)])[1]]
    theirs.close()
    for a, b, x, y in [("dequantised, tfm", "as it is, tfm", p["exact"], p["as it is"]),
                       ("dequantised, tfm", "as it is, llama.cpp", p["exact"], other),
                       ("as it is, tfm", "as it is, llama.cpp", p["as it is"], other)]:
        kl = [float((np.exp(u) * (u - v)).sum()) for u, v in zip(x, y)]
        rms = [float(np.sqrt(np.mean((u - v)[u > u.max() - 8] ** 2))) for u, v in zip(x, y)]
        print(f"# {a} | {b}: KL {np.mean(kl):.2e}, log-probabilities near the top differ by {np.median(rms):.4f} (rms)")


def perplexity(a):
    text = open(a.text, "rb").read(a.bytes)
    theirs = Llama(a.model, a.window, a.threads)
    ids = theirs.ids(text)
    if id_lines(tfm("tfm-tokenize", "-m", a.model, stdin=text)) != [ids]:
        sys.exit("the tokenizers differ")
    windows = windows_of(ids, a.window)
    n, ours = our_perplexity(a.model, windows)
    next_ids = [t for w in windows for t in w[1:]]
    nll = [-p[t] for p, t in zip(theirs.distributions(windows), next_ids)]
    want = math.exp(sum(nll) / len(nll))
    good = n == len(nll) and abs(ours / want - 1) <= PPL_BOUND
    print(f"{n} tokens in windows of {a.window}: tfm {ours:.5f}, llama.cpp {want:.5f}, "
          f"{(ours / want - 1) * 100:+.3f} %: {'good' if good else 'BAD'}")
    return good


def quantise_by_llama(f16, out, ftype, pure, threads):
    p = lib.llama_model_quantize_default_params()
    p.ftype, p.pure, p.nthread = ftype, pure, threads
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    if lib.llama_model_quantize(f16.encode(), out.encode(), ctypes.byref(p)):
        sys.exit(f"{out}: llama.cpp cannot make it")


def measure(a, reference, path, windows, few):
    """Negative log-probability of every token of windows, the mean divergence and the share of equal likeliest
    tokens over few. Kept in a file."""
    kept = os.path.join(a.work, f"{os.path.basename(path)}.{a.bytes}.{a.divergence}{'.as-is' if a.as_is else ''}.npz")
    if os.path.exists(kept) and os.path.getmtime(kept) > os.path.getmtime(path):
        r = np.load(kept)
        return r["nll"], float(r["kl"]), float(r["same"])
    model = path
    if not a.as_is:
        model = os.path.join(a.work, "f16.gguf")
        tfm("tfm-convert", "-q", "--type", "f16", "--to", "gguf", "-o", model, path)
    rows = tfm("tfm-score", "-t", str(a.threads), "-m", model, stdin=as_tokens(model, windows)).splitlines()[1:]
    nll = np.array([-float(row.split(b"\t")[-1]) for row in rows])
    out = tfm("tfm-score", "-t", str(a.threads), "-m", model, "--distributions", stdin=as_tokens(model, few))
    r = subprocess.run(["tfm-cmp", "--stats", reference, "-"], input=out, stdout=subprocess.PIPE)
    kl, same = map(float, r.stdout.decode().splitlines()[-1].split("\t")[-2:])
    if model != path:
        os.remove(model)
    np.savez(kept, nll=nll, kl=kl, same=same)
    return nll, kl, same


def quantise(a):
    text = open(a.text, "rb").read(a.bytes)
    ids = id_lines(tfm("tfm-tokenize", "-m", a.model, stdin=text))[0]
    windows = windows_of(ids, a.window)
    few = windows_of(ids[:a.divergence + 1], a.window)
    reference = os.path.join(a.work, f"reference.{a.divergence}.tfms")
    if not os.path.exists(reference):
        tfm("tfm-score", "-t", str(a.threads), "-m", a.model, "--distributions", "-o", reference,
            stdin=as_tokens(a.model, few))
    print(f"# {len(ids) - 1} tokens, divergence over {sum(len(w) for w in few)}, "
          f"{'as it is' if a.as_is else 'weights dequantised to f16'}\n"
          "type\tbytes\ttheirs\tperplexity\ttheirs\tlog ratio\terror\tKL\ttheirs\tverdict", flush=True)
    good = True
    for name in a.types.split(","):
        ours, theirs = (os.path.join(a.work, f"{by}-{name}.gguf") for by in ["tfm", "llama.cpp"])
        if not os.path.exists(ours):
            tfm("tfm-convert", "-q", "--type", name, "--to", "gguf", "-o", ours, a.model)
        if not os.path.exists(theirs):
            quantise_by_llama(a.model, theirs, *TYPES[name], a.threads)
        (p, kl, _), (q, their_kl, _) = (measure(a, reference, f, windows, few) for f in [ours, theirs])
        sizes = [os.path.getsize(f) for f in [ours, theirs]]
        ratio, error = float(np.mean(p - q)), float(np.std(p - q) / math.sqrt(len(p)))
        ok = ratio <= 0 or (ratio < 2 * error and kl <= their_kl)
        verdict = ("good" if ok else "BAD") + ("" if sizes[0] == sizes[1] else ", other size")
        print(f"{name}\t{sizes[0]}\t{sizes[1]}\t{math.exp(p.mean()):.4f}\t{math.exp(q.mean()):.4f}\t"
              f"{ratio:+.5f}\t{error:.5f}\t{kl:.5f}\t{their_kl:.5f}\t{verdict}", flush=True)
        good = good and ok and sizes[0] == sizes[1]
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["greedy", "perplexity", "quantise"])
    p.add_argument("model")
    p.add_argument("text", nargs="?")
    p.add_argument("--bytes", type=int, default=65536, help="of the text (default: 65536)")
    p.add_argument("--divergence", type=int, default=1024, help="tokens of the text for it (default: 1024)")
    p.add_argument("--window", type=int, default=2048, help="tokens (default: 2048)")
    p.add_argument("--threads", type=int, default=2, help="of llama.cpp (default: 2)")
    p.add_argument("--types", default=",".join(TYPES), help="for quantise (default: all)")
    p.add_argument("--as-is", action="store_true", help="quantise: measure files without dequantising them")
    p.add_argument("--work", default=".", help="folder for quantised files, which are kept")
    a = p.parse_args()
    if a.what != "greedy" and not a.text:
        p.error(f"{a.what} needs a text")
    version = tfm("tfm-run", "--version").decode().split("\n")[0]
    print(f"# {version}; llama-cpp-python {importlib.metadata.version('llama-cpp-python')}: "
          f"{lib.llama_print_system_info().decode().strip()}", flush=True)
    sys.exit(0 if {"greedy": greedy, "perplexity": perplexity, "quantise": quantise}[a.what](a) else 1)


if __name__ == "__main__":
    main()

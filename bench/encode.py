#!/usr/bin/env python3
"""encode.py BUILD [--pairs N] [--mb N] [--work DIR] [--only NAME,...] [--how both|whole|lines]

Encoding speed: the library and tfm-tokenize -t 1 against Hugging Face's `tokenizers` (PyPI) on one thread,
on mixed text. Interleaved runs: each pair is one run of ours and one of theirs, right after each other,
the order swapped every time; what counts is the median of the pairs' ratios. Times are processor time of the
one thread (user and system), which a busy neighbour changes least; wall time is printed beside it, and all raw.

Needs $TFM_ASSETS, python3 with tokenizers==0.20.3 and transformers==4.46.3 (which turns SentencePiece's
file into a `tokenizers` one). The text is put together, the same every time, from the assets and from
this repository; its SHA-256 is printed.

    in process   ours: tfm_tokenize() by ctypes, theirs: Tokenizer.encode() with what it makes (ids,
                 offsets, pieces); the text whole, and line by line (theirs: encode_batch of all lines,
                 encode_batch_fast where there is one)
    tfm-tokenize  ours: the program, start to exit, from a file to a stream in /dev/null; theirs: their
                 in-process time alone, so the start of Python and the parse of tokenizer.json are a
                 present to them
"""
import argparse
import ctypes
import gzip
import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# ---- the text ----

# A few sentences each, whose words are shuffled: scripts that the assets lack.
SCRIPTS = """
Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью.
Усі люди народжуються вільними і рівними у своїй гідності та правах, і мають діяти в дусі братерства.
Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα, έχουν λογική και συνείδηση.
يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق، وقد وهبوا عقلًا وضميرًا وعليهم أن يعامل بعضهم بعضًا بروح الإخاء.
כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם, כולם חוננו בתבונה ובמצפון.
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।
সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।
மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர், உரிமைகளும் சமமானவர்கள்.
มนุษย์ทั้งหลาย เกิดมามี อิสระและ เสมอภาคกัน ในเกียรติศักดิ์ และสิทธิ ต่างมีเหตุผล และมโนธรรม
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았다.
人人生而自由, 在尊严 和权利上 一律平等。 他们赋有 理性和良心, 并应以 兄弟关系的 精神相对待。
Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi, mọi con người đều được tạo hoá ban cho lý trí.
Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar; akıl ve vicdana sahiptirler.
Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw, są oni obdarzeni rozumem i sumieniem.
ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.
Բոլոր մարդիկ ծնվում են ազատ ու հավասար՝ իրենց արժանապատվությամբ ու իրավունքներով։
"""


def read(path):
    full = os.path.join(os.environ["TFM_ASSETS"], path)
    if path.endswith(".gz"):
        return gzip.open(full, "rt", encoding="utf-8").read()
    if path.endswith(".zip"):
        with zipfile.ZipFile(full) as z:
            return z.read([n for n in z.namelist() if n.startswith("fra")][0]).decode()
    return open(full, encoding="utf-8", newline="").read()


def code():
    out = []
    for folder in ("lib", "include", "tools", "tests", "bench", "scripts", "share/arch"):
        for root, dirs, files in os.walk(os.path.join(TOP, folder)):
            dirs.sort()
            for f in sorted(files):
                if f.endswith((".c", ".h", ".py", ".yaml", ".sh", ".bats")):
                    out.append(open(os.path.join(root, f), encoding="utf-8").read())
    return "".join(out)


def scripts(n):
    rng = random.Random(1)
    lines = [line.split() for line in SCRIPTS.strip().split("\n")]
    out, size = [], 0
    while size < n:
        words = rng.choice(lines)
        line = " ".join(rng.choices(words, k=rng.randint(4, 20))) + "\n"
        out.append(line)
        size += len(line.encode())
    return "".join(out)


def emoji(n, words):
    rng = random.Random(2)
    out, size = [], 0
    while size < n:
        line = " ".join(rng.choices(words, k=rng.randint(1, 8)))
        for _ in range(rng.randint(1, 6)):
            line += chr(rng.randint(0x1F300, 0x1F64F))
            line += rng.choice(["", "", " ", "\u200d\u2642\ufe0f", "\U0001F3FD", "!!", "\ufe0f"])
        out.append(line + "\n")
        size += len(line.encode()) + 1
    return "".join(out)


def records(n, words):
    rng = random.Random(3)
    out, size = [], 0
    while size < n:
        line = '{"id": %d, "score": %.6g, "tags": ["%s", "%s"], "text": "%s\\n", "user": {"name": "%s_%d", "at": "%04d-%02d-%02dT%02d:%02d:%02dZ"}}\n' % (
            rng.randint(0, 10**9), rng.gauss(0, 100), rng.choice(words), rng.choice(words),
            " ".join(rng.choices(words, k=rng.randint(3, 30))).replace("\\", "").replace('"', "'"),
            rng.choice(words), rng.randint(0, 9999), rng.randint(1990, 2026), rng.randint(1, 12),
            rng.randint(1, 28), rng.randint(0, 23), rng.randint(0, 59), rng.randint(0, 59))
        out.append(line)
        size += len(line.encode())
    return "".join(out)


def mixed(n):
    """n bytes: pieces of about 8 kB of every kind in turn, each kind with its share."""
    wiki = read("wikitext-2/wiki.test.raw") + read("wikitext-2/wiki.valid.raw")
    words = wiki.split()[:200000]
    kinds = [ # text, share
        (wiki, 24), (code(), 18), (read("tinystories/tinystories_1000.json"), 8),
        (records(n * 6 // 100, words), 6), (read("sentencepiece/wagahaiwa_nekodearu.txt"), 11),
        (read("multi30k/train.de.gz"), 6), (read("multi30k/train.fr.gz"), 6),
        (read("bible/kjv-rv1909.tsv.gz"), 8), (read("tatoeba-fra-eng/fra-eng.zip"), 3),
        (scripts(n * 7 // 100), 7), (emoji(n * 3 // 100, words), 3)]
    share = sum(k[1] for k in kinds)
    kinds = [(text.encode(), s) for text, s in kinds]
    at, out, size = [0] * len(kinds), [], 0
    while size < n:
        for i, (text, s) in enumerate(kinds):
            want = 8192 * s * len(kinds) // share
            if at[i] >= len(text):
                at[i] = 0 # from the beginning: only past 10 MB
            end = text.find(b"\n", min(at[i] + want, len(text)))
            end = len(text) if end < 0 else end + 1
            if end - at[i] > 4 * want: # a file of one line: cut at a space
                end = text.rfind(b" ", at[i], at[i] + want) + 1 or at[i] + want
                while end < len(text) and text[end] & 0xC0 == 0x80:
                    end += 1
            out.append(text[at[i]:end])
            size += end - at[i]
            at[i] = end
    data = b"".join(out)[:n]
    return data[:data.rfind(b"\n") + 1]


# ---- theirs ----

def hf_tokenizer(name):
    import tokenizers
    assets = os.environ["TFM_ASSETS"]
    if name == "gpt2":
        t = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(
            assets + "/gpt2/encoder.json", assets + "/gpt2/vocab.bpe"))
        t.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        return t
    if name == "llama-spm":
        import transformers
        return transformers.LlamaTokenizerFast(
            vocab_file=assets + "/llama2-tokenizer/tokenizer.model", legacy=True).backend_tokenizer
    return tokenizers.Tokenizer.from_file(assets + "/tokenizers/" + name + "/tokenizer.json")


SOURCES = {"gpt2": "vocabs/ggml-vocab-gpt-2.gguf", "llama3": "tokenizers/llama3",
           "qwen3": "tokenizers/qwen3", "llama-spm": "llama2-tokenizer/tokenizer.model"}


# ---- ours ----

class Ids(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_int32)), ("len", ctypes.c_size_t), ("cap", ctypes.c_size_t)]


class Ours:
    """tfm_load_vocab, tfm_tokenizer_new, tfm_tokenize of libtfm.so."""

    def __init__(self, build, model):
        lib = self.lib = ctypes.CDLL(os.path.join(build, "lib/libtfm.so"))
        self.model, vocab, self.tok = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        for st in (lambda: lib.tfm_load_vocab(model.encode(), None, ctypes.byref(self.model), None),
                   lambda: lib.tfm_model_vocab(self.model, ctypes.byref(vocab), None),
                   lambda: lib.tfm_tokenizer_new(ctypes.byref(self.tok), vocab, None)):
            if st() != 0:
                sys.exit("cannot open " + model)

    def encode(self, data, ids):
        if self.lib.tfm_tokenize(self.tok, data, ctypes.c_size_t(len(data)), 0, ctypes.byref(ids), None, None) != 0:
            sys.exit("tfm_tokenize failed")


def ids_of(ids):
    return list(ctypes.cast(ids.data, ctypes.POINTER(ctypes.c_int32 * ids.len)).contents) if ids.len else []


def cost(f):
    """Wall time and processor time, that of child processes included, in seconds."""
    c, start = os.times(), time.perf_counter()
    before = c.children_user + c.children_system + time.process_time()
    f()
    wall, c = time.perf_counter() - start, os.times()
    return wall, c.children_user + c.children_system + time.process_time() - before


# ---- pairs ----

def compare(titles, mb, pairs, ours, theirs):
    """Each of ours against the one run of theirs beside it."""
    for f in ours + [theirs]:
        f() # warm: files read, memory had
    a, b = [[] for _ in ours], []
    for i in range(pairs):
        if i % 2:
            b.append(cost(theirs))
        for times, f in zip(a, ours):
            times.append(cost(f))
        if i % 2 == 0:
            b.append(cost(theirs))
    for title, times in zip(titles, a):
        line = "%-34s" % title
        for name, k in (("cpu", 1), ("wall", 0)):
            ratio = [y[k] / x[k] for x, y in zip(times, b)]
            line += "  %s: ours %6.1f MB/s, theirs %5.2f, ratio %5.1f (%.1f-%.1f)" % (
                name, mb / statistics.median(x[k] for x in times), mb / statistics.median(x[k] for x in b),
                statistics.median(ratio), min(ratio), max(ratio))
        print(line)
        print("    ours   cpu s: " + " ".join("%.3f" % x[1] for x in times))
    print("    theirs cpu s: " + " ".join("%.3f" % x[1] for x in b), flush=True)


def same(title, got, want):
    """How far the ids agree: our own rules differ from theirs in a few known places."""
    if got == want:
        print("%-34s the same %d ids" % (title, len(got)))
        return
    n = next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), min(len(got), len(want)))
    print("%-34s %d ids, theirs %d; first difference at %d: %s / %s" % (
        title, len(got), len(want), n, got[n:n + 8], want[n:n + 8]))


def bench(name, build, work, data, lines, pairs, how):
    import tokenizers
    model = os.path.join(work, name + ".tfms")
    subprocess.run([build + "/bin/tfm-convert", "-q", os.path.join(os.environ["TFM_ASSETS"], SOURCES[name]),
                    "-o", model], check=True)
    ours, theirs = Ours(build, model), hf_tokenizer(name)
    text, line_texts = data.decode(), [line.decode() for line in lines]
    mb = len(data) / 1e6
    path = os.path.join(work, "text")
    ids = Ids()

    def whole():
        ids.len = 0
        ours.encode(data, ids)

    def by_line():
        for line in lines:
            ids.len = 0
            ours.encode(line, ids)

    def program(*options):
        subprocess.run([build + "/bin/tfm-tokenize", "-q", "-t", "1", "-m", model, "--no-special", *options, path],
                       stdout=subprocess.DEVNULL, check=True)

    batch = getattr(theirs, "encode_batch_fast", theirs.encode_batch)
    encode = lambda: theirs.encode(text, add_special_tokens=False)
    encode_lines = lambda: batch(line_texts, add_special_tokens=False)
    print("\n%s: %.1f MB, %d lines, tokenizers %s" % (name, mb, len(lines), tokenizers.__version__))
    whole()
    same("ids of the whole text", ids_of(ids), encode().ids)
    if how != "lines":
        compare(["in process, whole text", "tfm-tokenize, whole text"], mb, pairs, [whole, program], encode)
    if how != "whole":
        compare(["in process, line by line", "tfm-tokenize -l"], mb, pairs, [by_line, lambda: program("-l")],
                encode_lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--pairs", type=int, default=9)
    p.add_argument("--mb", type=float, default=10)
    p.add_argument("--work")
    p.add_argument("--only", default=",".join(SOURCES))
    p.add_argument("--how", choices=("both", "whole", "lines"), default="both")
    p.add_argument("--text-only", action="store_true", help="write WORK/text and stop")
    o = p.parse_args()
    o.build = os.path.abspath(o.build)
    with tempfile.TemporaryDirectory() as temporary:
        work = o.work or temporary
        data = mixed(int(o.mb * 1e6))
        with open(os.path.join(work, "text"), "wb") as f:
            f.write(data)
        cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        print("%s, %d cores, load %.1f; text of %d bytes, SHA-256 %s" % (
            cpu[0] if cpu else "?", os.cpu_count(), os.getloadavg()[0], len(data),
            hashlib.sha256(data).hexdigest()[:16]))
        if o.text_only:
            return
        lines = data.split(b"\n")[:-1]
        for name in o.only.split(","):
            bench(name, o.build, work, data, lines, o.pairs, o.how)


if __name__ == "__main__":
    main()

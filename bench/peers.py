#!/usr/bin/env python3
"""peers.py [options] --work DIR - tfm-bench beside other engines, on the same files and tokens.

    peers.py --work /tmp/models --shape 1.1b --types q8_0,q4_0 --cases prompt,generate,batch --log raw.jsonl

Engines from PyPI (bench/requirements.txt); one that is not installed is left out, and named:
    llama   llama-cpp-python, its low-level interface (llama_batch, llama_decode), the same GGUF
    ct2     ctranslate2, int8 beside q8_0, f32 beside f32, the same weights, converted by it
    torch   torch and transformers, f32 and bf16, the same weights
    tokenizers  one text with the vocabulary of a tokenizer.json (--tokenizer FILE --text FILE), one thread

Cases: prompt (512 tokens, the logits of the last), generate (64 tokens behind 128, one sequence), batch
(the same for 32 sequences at once), tokenizer. Ids are given, nobody samples (ct2 can only generate, and
takes the most likely; its time for one token is taken off).

What is compared: pairs of runs, one of ours and one of theirs right after each other, the order swapped
each time, at least nine; the ratio of a pair is ours / theirs in tokens a second, and its median counts.
A peer keeps its model open and has run the case before; tfm-bench is started for each run, runs the case
once unmeasured, and measures the machine's limits before and after. All processes have the same
processors (--cpus) and the same number of threads; none binds threads further. Every run goes to --log.
Files that DIR lacks are made there (llama-SHAPE-TYPE.gguf and .tfms, llama-SHAPE-hf,
llama-SHAPE-hf-TYPE.tfms, llama-SHAPE-ct2-TYPE).
"""
import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VOCAB = 32000
PACKAGES = {"llama": ["llama-cpp-python"], "ct2": ["ctranslate2"], "torch": ["torch", "transformers"],
            "tokenizers": ["tokenizers"]}
# The type of ours that a peer's is held against.
PEER_TYPES = {"llama": None, "ct2": {"q8_0": "int8", "f32": "float32"},
              "torch": {"f32": "float32", "bf16": "bfloat16"}}


def ids(n):
    """The ids of tfm-bench."""
    return [(i * 7919 + 3) % VOCAB for i in range(n)]


# ---- the peers: each a process that answers one JSON line with one ----


class Llama:
    def __init__(self, a):
        import llama_cpp as lib
        self.lib, self.a = lib, a
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(a.model.encode(), lib.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"{a.model}: llama.cpp cannot load it")
        self.batch = lib.llama_batch_init(max(512, a.batch), 0, 1)
        self.sequences = 0
        self.open(1)

    def open(self, sequences):
        """A context for so many; one for many divides its length among them."""
        if self.sequences == sequences:
            return
        lib, a = self.lib, self.a
        if self.sequences:
            lib.llama_free(self.ctx)
        p = lib.llama_context_default_params()
        p.n_ctx = max(a.prompt, a.context + a.generate) * sequences
        p.n_batch = p.n_ubatch = 512
        p.n_seq_max = sequences
        p.n_threads = p.n_threads_batch = a.threads
        self.ctx = lib.llama_init_from_model(self.model, p)
        self.memory = lib.llama_get_memory(self.ctx)
        self.sequences, self.filled = sequences, 0

    def info(self):
        return self.lib.llama_print_system_info().decode().strip()

    def decode(self, rows):
        """rows: (id, position, sequence, are logits wanted)"""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i] = token, position, 1
            b.seq_id[i][0], b.logits[i] = sequence, wanted
        if self.lib.llama_decode(self.ctx, b) != 0:
            raise RuntimeError("llama_decode failed")
        self.lib.llama_synchronize(self.ctx)

    def prompt(self, n, sequence=0):
        for at in range(0, n, 512):
            part = ids(n)[at:at + 512]
            self.decode([(t, at + i, sequence, at + i == n - 1) for i, t in enumerate(part)])

    def fill(self, n):
        if self.filled != n:
            self.lib.llama_memory_clear(self.memory, True)
            for s in range(n):
                self.prompt(self.a.context, s)
            self.filled = n

    def run(self, case):
        a = self.a
        n = a.batch if case == "batch" else 1
        self.open(n)
        if case == "prompt":
            self.lib.llama_memory_clear(self.memory, True)
            self.filled = 0
            start = time.perf_counter()
            self.prompt(a.prompt)
            return time.perf_counter() - start
        self.fill(n)
        start = time.perf_counter()
        for i in range(a.generate):
            self.decode([(t, a.context + i, s, True) for s, t in enumerate(ids(n + i)[i:])])
        took = time.perf_counter() - start
        for s in range(n):
            self.lib.llama_memory_seq_rm(self.memory, s, a.context, -1)
        return took

    def next(self, n):
        self.open(1)
        self.lib.llama_memory_clear(self.memory, True)
        self.filled = 0
        self.prompt(n)
        logits = self.lib.llama_get_logits_ith(self.ctx, -1)
        return max(range(VOCAB), key=lambda i: logits[i])


class Torch:
    def __init__(self, a):
        import torch
        import transformers
        torch.set_num_threads(a.threads)
        self.torch, self.a = torch, a
        self.cache_of = transformers.DynamicCache
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            a.model, dtype=getattr(torch, a.type)).eval()
        self.filled, self.cache = 0, None

    def info(self):
        t = self.torch
        wanted = ("MKL", "CPU capability", "OpenMP")
        lines = [s.strip(" -") for s in t.__config__.show().split("\n")[1:]]
        return "; ".join([f"capability {t.backends.cpu.get_cpu_capability()}"] +
                         [s for s in lines if any(w in s for w in wanted) and "Build settings" not in s])

    def forward(self, rows, cache):
        with self.torch.inference_mode():
            return self.model(self.torch.tensor(rows), past_key_values=cache, use_cache=True,
                              logits_to_keep=1).logits

    def run(self, case):
        a = self.a
        if case == "prompt":
            start = time.perf_counter()
            self.forward([ids(a.prompt)], self.cache_of())
            return time.perf_counter() - start
        n = a.batch if case == "batch" else 1
        if self.filled != n:
            self.cache = self.cache_of()
            self.forward([ids(a.context)] * n, self.cache)
            self.filled = n
        start = time.perf_counter()
        for i in range(a.generate):
            self.forward([[t] for t in ids(n + i)[i:]], self.cache)
        took = time.perf_counter() - start
        self.cache.crop(a.context)
        return took

    def next(self, n):
        return int(self.forward([ids(n)], self.cache_of())[0, -1].argmax())


class Ct2:
    def __init__(self, a):
        import ctranslate2
        self.lib, self.a = ctranslate2, a
        self.model = ctranslate2.Generator(a.model, device="cpu", compute_type=a.type,
                                           intra_threads=a.threads, inter_threads=1)

    def info(self):
        return f"compute types {sorted(self.lib.get_supported_compute_types('cpu'))}"

    def generate(self, n, length, tokens):
        start = time.perf_counter()
        out = self.model.generate_batch([[f"t{i}" for i in ids(length)]] * n, max_length=tokens,
                                        min_length=tokens, include_prompt_in_result=False,
                                        sampling_topk=1, max_batch_size=0)
        return time.perf_counter() - start, out

    def run(self, case):
        a = self.a
        if case == "prompt":
            return self.generate(1, a.prompt, 1)[0]
        n = a.batch if case == "batch" else 1
        one = self.generate(n, a.context, 1)[0]
        return self.generate(n, a.context, a.generate + 1)[0] - one

    def next(self, n):
        return self.generate(1, n, 1)[1][0].sequences_ids[0][0]


class Tokenizers:
    def __init__(self, a):
        import tokenizers
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self.tokenizer = tokenizers.Tokenizer.from_file(a.model)
        with open(a.text, encoding="utf-8", newline="") as f:
            self.lines = f.read().splitlines()

    def info(self):
        return "one thread"

    def run(self, _):
        start = time.perf_counter()
        for line in self.lines:
            self.tokenizer.encode(line)
        return time.perf_counter() - start

    def next(self, _):
        return -1


PEERS = {"llama": Llama, "torch": Torch, "ct2": Ct2, "tokenizers": Tokenizers}


def serve(a):
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = PEERS[a.worker](a)
    print(json.dumps({"info": peer.info()}), file=answers, flush=True)
    for line in sys.stdin:
        case = line.strip()
        value = peer.next(64) if case == "next" else peer.run(case)
        print(json.dumps({"value": value}), file=answers, flush=True)


class Worker:
    def __init__(self, name, model, kind, a):
        command = [sys.executable, __file__, "--worker", name, "--model", model, "--type", kind or "",
                   "--threads", str(a.threads), "--prompt", str(a.prompt), "--generate",
                   str(a.generate), "--context", str(a.context), "--batch", str(a.batch), "--text",
                   a.text or ""]
        env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), TOKENIZERS_PARALLELISM="false",
                   RAYON_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
        self.errors = open(a.log + ".stderr", "a", encoding="utf-8")
        self.process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        self.info = self.answer()["info"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer has ended; see {self.errors.name}")
        return json.loads(line)

    def ask(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return self.answer()["value"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


# ---- files ----


def make(command):
    print("making:", " ".join(command[1:]), file=sys.stderr, flush=True)
    subprocess.run(command, check=True)


def tool(a, name):
    return os.path.join(a.build, "bin", name)


def our_file(a, kind):
    base = os.path.join(a.work, f"llama-{a.shape}-{kind}")
    if not os.path.exists(base + ".gguf"):
        make([sys.executable, os.path.join(TOP, "bench", "random_llama.py"), "--shape", a.shape, "--type",
              kind, base + ".gguf"])
    if not os.path.exists(base + ".tfms"):
        make([tool(a, "tfm-convert"), base + ".gguf", "-o", base + ".tfms"])
    return base


def hf_folder(a):
    folder = os.path.join(a.work, f"llama-{a.shape}-hf")
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        make([sys.executable, os.path.join(TOP, "bench", "random_llama.py"), "--shape", a.shape, folder])
    return folder


def ct2_folder(a, kind):
    """Converted by ctranslate2 itself, which wants a tokenizer: words t0, t1, ..."""
    folder = os.path.join(a.work, f"llama-{a.shape}-ct2-{kind}")
    if os.path.exists(os.path.join(folder, "model.bin")):
        return folder
    import tokenizers
    import transformers
    source = folder + "-source"
    os.makedirs(source, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        if not os.path.lexists(os.path.join(source, name)):
            os.symlink(os.path.abspath(os.path.join(hf_folder(a), name)), os.path.join(source, name))
    words = {f"t{i}": i for i in range(VOCAB)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="t0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="t1", eos_token="t2",
                                         unk_token="t0").save_pretrained(source)
    make([sys.executable, "-m", "ctranslate2.converters.transformers", "--model", source, "--output_dir",
          folder, "--quantization", kind])
    return folder


def our_file_for(a, peer, kind):
    """llama.cpp reads our GGUF; for the others their folder is converted, so the weights are the same."""
    if peer == "llama":
        return our_file(a, kind) + ".tfms"
    path = os.path.join(a.work, f"llama-{a.shape}-hf-{kind}.tfms")
    if not os.path.exists(path):
        make([tool(a, "tfm-convert"), hf_folder(a), "--type", kind, "-o", path])
    return path


def peer_file(a, peer, kind):
    if peer == "llama":
        return our_file(a, kind) + ".gguf"
    return hf_folder(a) if peer == "torch" else ct2_folder(a, PEER_TYPES[peer][kind])


# ---- ours ----


def bench(a, model, case):
    """One measured run: the JSON line of the case, with the limits around it."""
    what = {"prompt": ["--prompt", a.prompt, "--generate", 0],
            "generate": ["--prompt", 0, "--generate", a.generate, "-b", 1],
            "batch": ["--prompt", 0, "--generate", a.generate, "-b", a.batch]}[case]
    command = [tool(a, "tfm-bench"), "-m", model, "-d", a.device, "-t", a.threads, "--context", a.context,
               "--repeat", 1, "--no-start", "--json"] + what
    out = subprocess.run([str(x) for x in command], check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in out.splitlines()]
    run = next(line for line in lines if line["type"] == "case")
    run["limits"] = [line for line in lines if line["type"] == "limits"]
    run["numerics"] = lines[0]["numerics"]
    return run


def our_next(a, model, n):
    """The most likely id behind n; the stream is made by hand, since a model may have no vocabulary."""
    lines = [{"type": "header", "kind": "tokens", "header": [["frame", "line"]]},
             {"type": "tensor", "name": "tokens", "group": 0, "position": 0, "flags": ["last"],
              "dtype": "i32", "shape": [n], "data": ids(n)},
             {"type": "group-end", "group": 0, "position": n, "status": "open"},
             {"type": "end", "records": 2, "groups": 1}]
    command = 'set -o pipefail; "$0" | "$1" -m "$2" -n 1 -t "$4" -d "$5" --ignore-end | "$3" --ids'
    out = subprocess.run(["bash", "-c", command, tool(a, "tfm-import"), tool(a, "tfm-run"), model,
                          tool(a, "tfm-show"), str(a.threads), a.device], check=True,
                         input="".join(json.dumps(line) + "\n" for line in lines), capture_output=True,
                         text=True).stdout
    return int(out.split()[-1])


def encode(a):
    """Seconds of the whole program, start to end, with the tokens going nowhere."""
    start = time.perf_counter()
    subprocess.run([tool(a, "tfm-tokenize"), "-l", "-t", "1", "-m", a.tokenizer_model, a.text, "-o",
                    "/dev/null"], check=True)
    return time.perf_counter() - start


# ---- pairs ----


def pairs(a, log, key, ours, theirs):
    """Interleaved; the medians and the spread of ours, theirs, and the ratio in favour of ours."""
    theirs() # once unmeasured, as ours does by itself
    x, y = [], []
    for i in range(a.pairs):
        for mine in ((True, False) if i % 2 == 0 else (False, True)):
            if mine:
                run = ours()
                x.append(run["seconds"][0])
                print(json.dumps(dict(key, engine="tfm", pair=i, **run)), file=log)
            else:
                y.append(theirs())
                print(json.dumps(dict(key, engine=key["peer"], pair=i, seconds=[y[-1]])), file=log)
            log.flush()
    ratio = sorted(t / m for m, t in zip(x, y))
    return x, y, ratio


def report(key, amount, unit, x, y, ratio, last=""):
    print(f"{key['case']:9} {key['type']:7} {key['peer']:10} {amount / statistics.median(x):10.2f} "
          f"{amount / statistics.median(y):10.2f} {statistics.median(ratio):7.2f} "
          f"({ratio[0]:.2f} to {ratio[-1]:.2f}) {unit} {last}", flush=True)


def run_type(a, log, kind, peers):
    amount = {"prompt": a.prompt, "generate": a.generate, "batch": a.generate * a.batch}
    cases = [c for c in a.cases if c in amount]
    for peer in [p for p in peers if p != "tokenizers"]:
        types = PEER_TYPES[peer]
        if types is not None and kind not in types:
            continue
        model = our_file_for(a, peer, kind)
        worker = Worker(peer, peer_file(a, peer, kind), types and types[kind], a)
        same = "" if a.skip_next else worker.ask("next") == our_next(a, model, 64)
        for case in cases:
            key = {"case": case, "type": kind, "peer": peer, "shape": a.shape, "threads": a.threads}
            x, y, ratio = pairs(a, log, key, lambda c=case, m=model: bench(a, m, c),
                                lambda c=case, w=worker: w.ask(c))
            word = {True: "same next token", False: "another next token"}.get(same, "")
            report(key, amount[case], "tokens/s", x, y, ratio, word)
        worker.stop()


def run_tokenizer(a, log):
    if not a.tokenizer_model:
        a.tokenizer_model = a.log + ".vocabulary.tfms"
        make([tool(a, "tfm-convert"), "-q", a.tokenizer, "-o", a.tokenizer_model])
    worker = Worker("tokenizers", a.tokenizer, None, a)
    key = {"case": "tokenizer", "type": "-", "peer": "tokenizers", "threads": 1}
    x, y, ratio = pairs(a, log, key, lambda: {"seconds": [encode(a)]}, lambda: worker.ask("encode"))
    report(key, os.path.getsize(a.text) / 1e6, "MB/s", x, y, ratio)
    worker.stop()


def machine():
    info = {"machine": platform.machine(), "kernel": platform.release(), "processors": os.cpu_count()}
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        lines = dict(line.split(":", 1) for line in f.read().split("\n\n")[0].split("\n") if ":" in line)
    lines = {k.strip(): v.strip() for k, v in lines.items()}
    info["processor"] = ", ".join(f"{k} {lines[k]}" for k in ("model name", "cpu family", "model") if k in lines)
    wanted = ("avx", "fma", "f16c", "amx", "sse4", "vnni", "bf16")
    info["features"] = " ".join(f for f in lines.get("flags", "").split() if any(w in f for w in wanted))
    info["load"] = os.getloadavg()
    return info


def installed(wanted):
    """The peers that are there, with versions; the others are named."""
    found = {}
    for peer in wanted:
        try:
            found[peer] = " ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES[peer])
        except importlib.metadata.PackageNotFoundError as e:
            print(f"peers: {peer}: {e.name or e} is not installed: skipped", flush=True)
    return found


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commas = lambda s: s.split(",")
    p.add_argument("--build", default=os.path.join(TOP, "build"))
    p.add_argument("--work", help="folder of the model files")
    p.add_argument("--shape", default="110m", choices=("110m", "1.1b"))
    p.add_argument("--types", type=commas, default=commas("f32,f16,bf16,q8_0,q4_0,q4_K"))
    p.add_argument("--cases", type=commas, default=commas("prompt,generate,batch"))
    p.add_argument("--peers", type=commas, default=list(PEERS))
    p.add_argument("--pairs", type=int, default=9)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--cpus", type=commas, help="processors of all processes (default: those of this one)")
    p.add_argument("--device", default="cpu", help="of tfm-bench")
    p.add_argument("--log", default="peers.jsonl")
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--generate", type=int, default=64)
    p.add_argument("--context", type=int, default=128)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--tokenizer", help="tokenizer.json; case tokenizer")
    p.add_argument("--tokenizer-model", help="the same for tfm-tokenize -m (default: converted)")
    p.add_argument("--text", help="UTF-8 file; case tokenizer")
    p.add_argument("--skip-next", action="store_true", help="do not compare the next token first")
    p.add_argument("--worker", choices=list(PEERS), help=argparse.SUPPRESS)
    p.add_argument("--model", help=argparse.SUPPRESS)
    p.add_argument("--type", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        return a
    unknown = [c for c in a.cases if c not in ("prompt", "generate", "batch", "tokenizer")]
    if unknown or [x for x in a.peers if x not in PEERS]:
        p.error("--cases are prompt, generate, batch, tokenizer; --peers are " + ", ".join(PEERS))
    if "tokenizer" in a.cases and not (a.tokenizer and a.text):
        p.error("the case tokenizer needs --tokenizer and --text")
    if set(a.cases) != {"tokenizer"} and not a.work:
        p.error("--work DIR is needed")
    return a


def main():
    a = parse()
    if a.worker:
        return serve(a)
    if a.cpus:
        os.sched_setaffinity(0, {int(c) for c in a.cpus})
    peers = installed(a.peers)
    head = {"machine": machine(), "peers": peers, "argv": sys.argv[1:], "python": platform.python_version(),
            "tfm": subprocess.run([tool(a, "tfm-bench"), "-V"], check=True, capture_output=True,
                                  text=True).stdout.strip()}
    with open(a.log, "a", encoding="utf-8") as log:
        for peer in [p for p in peers if p == "llama"]: # the only one whose build is its user's
            import llama_cpp
            head["llama_build"] = llama_cpp.llama_print_system_info().decode().strip()
        if "torch" in peers:
            import torch
            head["torch_build"] = torch.__config__.show()
        print(json.dumps(head), file=log, flush=True)
        print(json.dumps(head, indent=1), flush=True)
        if head["machine"]["load"][0] > 0.5:
            print("peers: this machine has other work: rates are too low, and lowest for those whose threads "
                  "wait for each other by spinning", flush=True)
        print(f"{'case':9} {'type':7} {'peer':10} {'tfm':>10} {'peer':>10} {'ratio':>7} (lowest to highest)")
        if set(a.cases) - {"tokenizer"}:
            for kind in a.types:
                run_type(a, log, kind, peers)
        if "tokenizer" in a.cases and "tokenizers" in peers:
            run_tokenizer(a, log)
    return 0


if __name__ == "__main__":
    sys.exit(main())

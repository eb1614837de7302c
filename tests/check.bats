# check.bats - tfm-check: verdicts and their status. Its judgement of the corpus is in stream.bats.
load helper

streams=$top/tests/streams

@test "good files: nothing is printed, or a line each" {
    pipe "tfm-check '$streams'/good-*.tfms"
    status_is 0
    [ ! -s "$out" ]
    [ ! -s "$err" ]
    pipe "tfm-check -v '$streams/good-joined.tfms' - <'$streams/good-empty.tfms'"
    status_is 0
    printf '%s: good: streams 3, records %d, bytes %d\n' \
        "$streams/good-joined.tfms" 12 "$(stat -c %s "$streams/good-joined.tfms")" \
        stdin 0 0 | sed -n 1p | same - <(head -n 1 "$out")
    grep -q '^stdin: good: streams 1, records 0,' "$out"
}

@test "a bad file among good ones: its line, status 1" {
    pipe "tfm-check '$streams/good-tokens.tfms' '$streams/bad-seq.tfms' '$streams/bad-rank.tfms'"
    status_is 1
    [ "$(wc -l <"$out")" -eq 2 ]
    [ ! -s "$err" ]
    grep -qF 'bad-seq.tfms: record 0 at byte 128: has sequence number 1' "$out"
    pipe "tfm-check -q '$streams/bad-seq.tfms'"
    status_is 1
    [ ! -s "$out" ]
}

# tamper FROM TO: model.tfms with a line of its index changed, and the CRC of the index made right.
tamper() {
    python3 - "$1" "$2" <<'END'
import struct, sys, zlib
b = bytearray(open("model.tfms", "rb").read())
head = b.index(b"\x89TFR\x07")
at, n = head + 128, struct.unpack_from("<Q", b, head + 24)[0]
index = bytes(b[at:at + n]).replace(*(x.encode() for x in sys.argv[1:]), 1)
assert len(index) == n and index != b[at:at + n]
b[at:at + n] = index
struct.pack_into("<I", b, at + n, zlib.crc32(index))
open("bad.tfms", "wb").write(b)
END
}

# without NAME: model.tfms less the record of that name, numbers and CRCs made right.
without() {
    python3 - "$1" <<'END'
import struct, sys, zlib
b = open("model.tfms", "rb").read()
at = b.index(b"\x89TFR")
out, n = [b[:at]], 0
while at < len(b):
    name, size = b[at + 7], struct.unpack_from("<Q", b, at + 24)[0]
    body = at + 64 + (name + 63) // 64 * 64
    head, payload = bytearray(b[at:body]), b[body:body + size]
    at = body + (size + 4 + 63) // 64 * 64
    if head[64:64 + name] == sys.argv[1].encode():
        continue
    struct.pack_into("<I", head, 20, n)
    struct.pack_into("<I", head, 60, zlib.crc32(head[:60] + head[64:]))
    if at == len(b):
        payload = struct.pack("<Q", n) + payload[8:]
    payload += struct.pack("<I", zlib.crc32(payload))
    out += [head, payload, bytes(-len(payload) % 64)]
    n += 1
open("bad.tfms", "wb").write(b"".join(out))
END
}

# differs WHAT: bad.tfms is no model, because of WHAT, out of a file and out of a pipe.
differs() {
    pipe 'tfm-check bad.tfms'
    status_is 1
    [ ! -s "$err" ]
    printf 'bad.tfms: a stream, but no model: %s; make it anew with tfm-convert\n' "$1" | same - "$out"
    gzip -c bad.tfms >bad.gz
    pipe 'tfm-check <bad.gz'
    status_is 1
    grep -qF "stdin: a stream, but no model: $1;" "$out"
}

@test "a model whose index is not that of its records, every CRC right: which record, and the cure" {
    cd "$tmp"
    tfm-convert "$top/tests/golden/gguf/llama-f16.gguf" -o model.tfms
    tfm-check model.tfms
    cat "$streams/good-tokens.tfms" model.tfms | gzip -c | tfm-check
    tamper 'blk.0.attn_k.weight' 'blk.0.attn_K.weight'
    differs 'tensor blk.0.attn_k.weight stands where the index has blk.0.attn_K.weight'
    tamper 'blk.0.attn_norm.weight f32' 'blk.0.attn_norm.weight i32'
    differs 'tensor blk.0.attn_norm.weight is f32 64, in the index i32 64'
    tamper 'blk.0.ffn_gate.weight f16 p16 2 96 64' 'blk.0.ffn_gate.weight f16 p16 2 64 96'
    differs 'tensor blk.0.ffn_gate.weight is f16 96x64, in the index f16 64x96'
    at=$(tfm-show --json model.tfms | jq -r 'select(.name == "index").text' | sed -n 's/^source.gguf .* 0*\([0-9]*\) [0-9]*$/\1/p')
    tamper "$at" "$((at + 64))"
    differs "tensor source.gguf is at byte $at, in the index at $((at + 64))"
    tamper 'output_norm.weight f32' 'output_norm.weight f33'
    differs 'the index is wrong in line 29'
}

@test "a model that lost records" {
    cd "$tmp"
    tfm-convert "$top/tests/golden/gguf/llama-f16.gguf" -o model.tfms
    for lost in 'source.gguf:tensor source.gguf of the index is not there' \
        'blk.1.ffn_up.weight:tensor blk.0.ffn_down.weight stands where the index has blk.1.ffn_up.weight' \
        "index:record 1 ('vocab.pieces') stands where a model has its index" \
        "description:record 0 ('index') stands where a model has its description"; do
        without "${lost%%:*}"
        differs "${lost#*:}"
    done
}

@test "a file that cannot be read has no answer" {
    pipe "tfm-check no-such-file"
    status_is 5
    one_line "$err"
    pipe "tfm-check ."
    status_is 5
}

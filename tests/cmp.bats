# cmp.bats - tfm-cmp: what is the same, what differs and by how much.
load helper

streams=$top/tests/streams

# A tensor stream of one f32 record with the values given, by patching the payload of a good file:
# the CRC is computed here, so that only values differ.
make_values() { # FILE VALUE...
    python3 - "$@" <<'END'
import struct, sys, zlib
values = [float(v) for v in sys.argv[2:]]
out = b'TFMSTRM1\nkind tensor\nneeds 1.0\n'
out += b'end %08x\n' % zlib.crc32(out)
out += b'\n' * (-len(out) % 64)
def record(seq, type, dtype, rank, dims, payload, name=b''):
    head = b'\x89TFR' + struct.pack('<BBBBHHIIIQ4I12x', type, dtype, rank, len(name), 0, 0, 0, 0,
                                    seq, len(payload), *dims)
    name += b'\0' * (-len(name) % 64)
    head += struct.pack('<I', zlib.crc32(head + name)) + name
    tail = struct.pack('<I', zlib.crc32(payload))
    return head + payload + tail + b'\0' * (-len(payload + tail) % 64)
out += record(0, 1, 1, 1, (len(values), 1, 1, 1), struct.pack('<%df' % len(values), *values), b'x')
out += record(1, 8, 7, 1, (2, 1, 1, 1), struct.pack('<2q', 1, 0))
open(sys.argv[1], 'wb').write(out)
END
}

# The records of the file that has one of each type and rank.
n_dtypes() { tfm-show "$streams/good-dtypes.tfms" | grep -c '^ *[0-9]* tensor '; }

@test "a stream is the same as itself, gzipped or by way of other programs" {
    pipe "tfm-cmp '$streams/good-groups.tfms' '$streams/good-gzip.tfms'"
    status_is 0
    [ ! -s "$out" ]
    pipe "tfm-cat '$streams/good-dtypes.tfms' | tfm-cmp -v - '$streams/good-dtypes.tfms'"
    status_is 0 0
    [ "$(n_dtypes)" -ge 23 ]
    err_is "tfm-cmp: the same: $(n_dtypes) records"
}

@test "differences of structure" {
    pipe "tfm-cmp '$streams/good-tokens.tfms' '$streams/good-model.tfms'"
    status_is 1
    out_is 'kind tokens and model'
    pipe "tfm-cmp '$streams/good-tokens.tfms' '$streams/good-fork.tfms'"
    status_is 1
    out_is "record 1 'tail' of group 0 at 0: type 2 and 6"
    pipe "tfm-head -g 1 '$streams/good-fork.tfms' | tfm-cmp - '$streams/good-fork.tfms'"
    last_is 1
    pipe "tfm-cmp '$streams/good-tokens.tfms' '$streams/good-joined.tfms'"
    last_is 1
    one_line "$out"
}

@test "values: counted, with the largest differences and the first" {
    needs_program python3
    cd "$tmp"
    make_values a 1 2 4 8
    make_values b 1 2.5 4 8.5
    pipe 'tfm-cmp a b'
    status_is 1
    out_is "record 0 'x' of group 0 at 0: 2 of 4 values differ: max abs 0.5, max rel 0.2, first at 1: 2 and 2.5"
    pipe 'tfm-cmp -q a b'
    status_is 1
    [ ! -s "$out" ]
}

@test "tolerances" {
    needs_program python3
    cd "$tmp"
    make_values a 1 2 4 8
    make_values b 1 2.5 4 8.5
    local options want
    while read -r want options; do
        pipe "tfm-cmp $options a b"
        echo "$options"
        status_is "$want"
    done <<'END'
0 --abs 0.5
1 --abs 0.49
0 --rel 0.2
1 --rel 0.19
0 --abs 0.49 --rel 0.2
END
}

@test "zeros, infinities and what is not a number" {
    needs_program python3
    cd "$tmp"
    make_values zero 0 nan inf
    make_values minus -0.0 nan inf
    make_values other 0 nan -inf
    make_values one 0 1 inf
    pipe 'tfm-cmp zero minus'
    status_is 1
    grep -q 'the values are equal, their bits are not' "$out"
    pipe 'tfm-cmp --abs 1e-9 zero minus'
    status_is 0
    pipe 'tfm-cmp --abs 1e300 --rel 1e300 zero other'
    status_is 1
    pipe 'tfm-cmp --abs 1e300 zero one'
    status_is 1
}

@test "a broken input is no answer" {
    pipe "head -c -1 '$streams/good-tokens.tfms' | tfm-cmp '$streams/good-tokens.tfms' -"
    last_is 3
    pipe "tfm-cmp '$streams/good-tokens.tfms' no-such-file"
    status_is 5
    pipe "tfm-cmp '$streams/good-tokens.tfms'"
    status_is 2
    pipe 'tfm-cmp - -'
    status_is 2
}

@test "statistics: NMSE, divergence and agreement of logits" {
    cd "$tmp"
    logits() { # FILE DATA
        printf '%s\n' "{\"type\":\"tensor\",\"name\":\"logits\",\"dtype\":\"f32\",\"shape\":[2,2],\"data\":$2}" |
            tfm-import --kind logits -o "$1"
    }
    # Row 0: p = (1/2, 1/2), q = (3/4, 1/4): KL = ln 2 - ln 3 / 2. Row 1: the same, top 1 differs.
    logits a '[[0,0],[0,2]]'
    logits b '[[1.09861229,0],[2,0]]'
    pipe 'tfm-cmp --stats a b'
    status_is 1
    # KL of row 1: p = softmax(0, 2), q the same the other way round: 2 (1 - 2 / (1 + e^2)).
    awk 'BEGIN { kl = (log(2) - log(3) / 2 + 2 * (1 - 2 / (1 + exp(2)))) / 2
                 printf "total 1 4 0 2 %.6g 2 %.6g 0.5\n", (log(3) ^ 2 + 8) / 4, kl }' >want
    awk '$1 == "total" { printf "%s %d %d %d %g %.6g %d %.6g %g\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }' "$out" |
        same - want
    pipe 'tfm-cmp --stats a a'
    status_is 0
    [ "$(sed -n 2p "$out")" = $'logits\t1\t4\t0\t0\t0\t2\t0\t1' ]
    # Minus infinity has no weight; NaN leaves its row out; a tolerance only changes the status.
    logits c '[["-inf",0],["nan",2]]'
    logits d '[["-inf",0],["nan",1]]'
    pipe 'tfm-cmp --stats --abs 1 c d'
    status_is 0
    [ "$(sed -n 2p "$out")" = $'logits\t1\t4\t1\t1\t0.25\t2\t0\t1' ]
    pipe 'tfm-cmp -q --stats a b'
    status_is 1
    [ ! -s "$out" ]
}

@test "statistics are per name, and only logits have rows" {
    pipe "tfm-cmp --stats '$streams/good-dtypes.tfms' '$streams/good-dtypes.tfms'"
    status_is 0
    [ "$(grep -c . "$out")" -eq $(($(n_dtypes) + 2)) ]
    grep -q "^q4_K	1	256	0	0	0			$" "$out"
}

@test "statistics are what NumPy computes; ids that travel with logits are none" {
    needs_numpy
    cd "$tmp"
    "$python" - <<'END'
import numpy as np
r = np.random.default_rng(1)
a = (r.normal(size=(20, 300)) * 3).astype('f4')
b = (a + r.normal(size=a.shape) / 2).astype('f4')
a[3, 7] = np.nan
b[4] = np.nan
a[5, 9] = b[5, 9] = -np.inf
a[6, 2] = a[6, 3] = 99
np.save('a.npy', a)
np.save('b.npy', b)
END
    tfm-import --kind logits a.npy -o a
    tfm-import --kind logits b.npy -o b
    pipe 'tfm-cmp --stats a b'
    status_is 1
    "$python" - "$out" <<'END'
import sys
import numpy as np
a, b = np.load('a.npy').astype(float), np.load('b.npy').astype(float)
got = open(sys.argv[1]).read().splitlines()[1].split('\t')
real = np.isfinite(a) & np.isfinite(b)
d, x = (a - b)[real], a[real]
rows = ~np.isnan(a + b).any(1)
def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))
p, q = log_softmax(a[rows]), log_softmax(b[rows])
kl = np.where(np.isinf(p), 0, np.exp(p) * np.where(np.isinf(p), 0, p - np.where(np.isinf(q), 0, q)))
want = [1, 6000, 301, np.abs(d).max(), (d @ d) / (x @ x), 20, kl.sum(1).mean(),
        (a[rows].argmax(1) == b[rows].argmax(1)).mean()]
assert got[0] == 'logits', got
for g, w in zip(got[1:], want):
    assert abs(float(g) - w) <= 1e-8 * abs(w), (g, w)
END
    # tfm-unembed passes the ids on: they have no distribution
    printf 'abc abc' | tfm-tokenize -m "$top/tests/golden/gguf/llama-f16.gguf" |
        tfm-embed -m "$top/tests/golden/gguf/llama-f16.gguf" |
        tfm-unembed -m "$top/tests/golden/gguf/llama-f16.gguf" --lens --all -o l
    pipe 'tfm-cmp --stats l l'
    status_is 0
    [ "$(sed -n 's/^tokens\t.*\(\t[^\t]*\t[^\t]*\t[^\t]*\)$/\1/p' "$out")" = $'\t\t\t' ]
    [ "$(tail -n 1 "$out" | cut -f 7)" = "$(grep ^logits "$out" | cut -f 7)" ]
}

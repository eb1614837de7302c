# quantise.bats - tfm-convert --type of 2 to 6 bits, mixed, --imatrix. How good the search is, is
# judged by tests/unit/test_quant_search.c; here is what tensors get which type, and that nothing
# else decides.
load helper

setup() { cd "$tmp"; }

story=$top/share/models/story.tfms
wide=$top/tests/golden/gguf/llama-blocks256.gguf # width 256: every type fits

types() { tfm-show "$1" | awk '$2 == "tensor" && $3 ~ /weight/ { print $3, $4 }'; }

@test "every type is made where the width fits, and computes something near" {
    tfm-convert -q --type f16 "$wide" -o f16.tfms
    printf '3 5 8 13 21' | tfm-tokenize -m f16.tfms --from-ids --no-special >ids
    tfm-score -m f16.tfms --distributions ids >want.tfms
    local type
    for type in q2_K q3_K q4_K q5_K q6_K q4_1 q5_0 q5_1 iq4_nl iq4_xs mxfp4; do
        tfm-convert --type $type f16.tfms -o $type.tfms
        tfm-check $type.tfms
        types $type.tfms | grep -q "blk.0.ffn_up.weight $type"
        types $type.tfms | grep -q "token_embd.weight $type"
        tfm-score -m $type.tfms --distributions ids >got.tfms
        tfm-cmp --stats want.tfms got.tfms >$type.stats || true
        [ -s $type.stats ]
    done
}

@test "the same bytes at any -t, as rows and as panels, and from the same numbers as f32" {
    tfm-convert -q --type f16 "$wide" -o f16.tfms
    tfm-convert -q --type f32 f16.tfms -o f32.tfms
    local type
    for type in q3_K q4_K mixed; do
        tfm-convert --no-prov -t 1 --type $type f16.tfms -o one.tfms
        tfm-convert --no-prov -t 3 --type $type f16.tfms -o three.tfms
        same one.tfms three.tfms
        tfm-convert --no-prov -t 2 --portable --type $type f16.tfms -o rows.tfms
        tfm-convert --no-prov --layout p16 rows.tfms -o again.tfms
        same one.tfms again.tfms
        tfm-convert --to gguf --type $type f32.tfms -o from32.gguf
        tfm-convert --to gguf one.tfms -o one.gguf
        same one.gguf from32.gguf
    done
}

@test "mixed: six bits for the output and half of attn_v and ffn_down, four for the rest" {
    tfm-convert -q --type f16 "$wide" -o f16.tfms
    tfm-convert --type mixed f16.tfms -o mixed.tfms
    types mixed.tfms >got
    grep -q '^blk.0.attn_q.weight q4_K$' got
    grep -q '^blk.0.ffn_up.weight q4_K$' got
    grep -q '^blk.0.attn_v.weight q6_K$' got
    grep -q '^blk.0.ffn_down.weight q6_K$' got
    grep -qE '^(output|token_embd).weight q6_K$' got
}

@test "a width that is no multiple of 256 gets the nearest type of 32: one line, each with -v" {
    pipe "tfm-convert --type q4_K $story -o q.tfms"
    status_is 0
    one_line "$err"
    err_has 'no multiple of 256 (192, say): q5_0 instead of q4_K'
    types q.tfms | grep -q '^blk.0.attn_q.weight q5_0$'
    types q.tfms | grep -q '^blk.0.ffn_down.weight q4_K$' # 512 columns
    pipe "tfm-convert -v --type q6_K $story -o q.tfms"
    status_is 0
    err_has 'blk.2.attn_k.weight: 192 columns, q8_0 instead of q6_K'
    types q.tfms | grep -q '^blk.2.attn_k.weight q8_0$'
    pipe "tfm-convert -q --type q3_K $story -o q.tfms"
    status_is 0
    [ ! -s "$err" ]
    types q.tfms | grep -q '^blk.0.attn_q.weight iq4_nl$'
}

# taps FILE GLOB...: what flows into the matrices while the model reads its prompts.
taps() {
    local file=$1 globs=()
    shift
    for glob; do globs+=(--tap "$glob"); done
    printf 'In the beginning\nO Romeo, Romeo!\nAnd the king said\n' | tfm-tokenize -l -m "$story" |
        tfm-run -m "$story" -n 1 "${globs[@]}" --tap-out "$file" >/dev/null
}

@test "from one quantised type to another: one line counts the matrices, -v names each" {
    tfm-convert -q --type q8_0 "$wide" -o q8.tfms
    pipe 'tfm-convert --type q4_0 q8.tfms | tfm-check'
    status_is 0 0
    one_line "$err"
    err_has 'matrices go from one quantised type to another (token_embd.weight: q8_0 to q4_0), which rounds a second time'
    n=$(sed -n 's/.*warning: \([0-9]*\) matrices.*/\1/p' "$err")
    pipe 'tfm-convert -v --type q4_0 q8.tfms | tfm-check'
    [ "$(grep -c 'from q8_0 to q4_0, which rounds' "$err")" = "$n" ]
    pipe 'tfm-convert --type f16 q8.tfms | tfm-check'
    [ ! -s "$err" ]
}

@test "--imatrix: taps of a run weigh the columns; another id, other bytes, the same twice" {
    taps t.tfms 'blk.*.attn_norm' 'blk.*.heads' 'blk.*.ffn_norm' 'blk.*.ffn_mul' output_norm
    pipe "tfm-convert --no-prov --type q4_K --imatrix t.tfms $story -o a.tfms"
    status_is 0
    one_line "$err" # of the width
    tfm-convert -q --no-prov --type q4_K --imatrix - "$story" -o b.tfms <t.tfms
    same a.tfms b.tfms
    tfm-convert -q --no-prov --type q4_K "$story" -o plain.tfms
    run ! cmp -s a.tfms plain.tfms
    [ "$(grep -am1 '^model ' a.tfms)" != "$(grep -am1 '^model ' plain.tfms)" ]
    # q4_0 is the reference formula, unless it is weighed.
    tfm-convert -q --no-prov --type q4_0 "$story" -o a.tfms
    tfm-convert -q --no-prov --type q4_0 --imatrix t.tfms "$story" -o b.tfms
    run ! cmp -s a.tfms b.tfms
    # The other names of the same values.
    taps t2.tfms 'blk.*.attn_norm' 'blk.*.attn' 'blk.*.ffn_in' 'blk.*.ffn_mul' output_norm
    tfm-convert -q --no-prov --type q4_0 --imatrix t2.tfms "$story" -o c.tfms
    same b.tfms c.tfms
}

@test "--imatrix: what was not tapped is told with its name; what is no taps is refused" {
    taps t.tfms 'blk.*.attn_norm' 'blk.*.heads'
    pipe "tfm-convert --type q5_0 --imatrix t.tfms $story -o a.tfms"
    status_is 0
    err_has 'no taps for 13 matrices'
    err_has "tap '"
    taps none.tfms 'blk.*.resid'
    pipe "tfm-convert -q --type q5_0 --imatrix none.tfms $story -o x.tfms"
    status_is 3
    one_line "$err"
    err_has 'none of its taps feeds a matrix'
    pipe "tfm-convert -q --type q5_0 --imatrix $story $story -o x.tfms"
    status_is 3
    err_has 'not taps'
    taps t.tfms 'blk.*.attn_norm'
    head -c 3000 t.tfms >cut.tfms
    pipe "tfm-convert -q --type q5_0 --imatrix cut.tfms $story -o x.tfms"
    status_is 3
    one_line "$err"
    [ ! -e x.tfms ]
    tfm-convert -q --type f16 "$wide" -o f16.tfms
    pipe "tfm-convert -q --type q5_0 --imatrix t.tfms f16.tfms -o x.tfms"
    status_is 3
    err_has 'taps of another model'
}

@test "calibration: a begin token that the model has no row for is left out" {
    { seq -f 'w%g' 200; printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]'; } >vocab.txt
    cp "$top/tests/golden/gguf/llama-f16.gguf" in.gguf
    pipe "tfm-convert -q --type q5_0 --tokenizer vocab.txt in.gguf -o x.tfms"
    status_is 0
    tfm-check x.tfms
}

# divergence FILE: of its distributions from those in want.tfms.
divergence() {
    tfm-score -m "$1" --distributions ids >got.tfms
    tfm-cmp --stats want.tfms got.tfms | tail -n 1 | cut -f 6
}

# What calibration is worth on a model with columns that stand out stands in
# tests/golden/MANIFEST.md; here there are none, and it must not hurt.
@test "without --imatrix a model calibrates itself: -t changes nothing, none switches it off" {
    printf 'In the beginning\nO Romeo, Romeo!\nAnd the king said\n' | tfm-tokenize -l -m "$story" |
        tfm-run -m "$story" -n 60 --echo --ignore-end >ids
    tfm-score -m "$story" --distributions ids >want.tfms
    tfm-convert -q --no-prov --type q4_0 --imatrix none "$story" -o formula.tfms
    tfm-convert -q --no-prov --type q4_0 "$story" -o q.tfms
    same formula.tfms q.tfms
    tfm-convert -q --no-prov -t 1 --type q3_K "$story" -o self.tfms
    tfm-convert -q --no-prov -t 3 --type q3_K "$story" -o again.tfms
    same self.tfms again.tfms
    tfm-convert -q --no-prov --type q3_K --imatrix none "$story" -o none.tfms
    run ! cmp -s self.tfms none.tfms
    awk -v a="$(divergence self.tfms)" -v b="$(divergence none.tfms)" \
        'BEGIN { print a, b; exit !(a > 0 && a < 1.1 * b) }'
}

@test "rows at position 0 do not count: a text of one token calibrates nothing" {
    printf '5\n' | tfm-tokenize -m "$story" --from-ids --no-special |
        tfm-run -m "$story" -n 1 --tap 'blk.*.attn_norm' --tap-out one.tfms >/dev/null
    pipe "tfm-convert -q --type q5_0 --imatrix one.tfms $story -o x.tfms"
    status_is 3
    err_has 'none of its taps feeds'
}

@test "rows at position 0 do not count, in a record of many rows neither" {
    taps t.tfms 'blk.*.attn_norm'
    tfm-export --to npz t.tfms -o t.npz
    tfm-import --kind tensor t.npz -o joined.tfms
    tfm-convert -q --no-prov --type q5_0 --imatrix t.tfms "$story" -o a.tfms
    tfm-convert -q --no-prov --type q5_0 --imatrix joined.tfms "$story" -o b.tfms
    same a.tfms b.tfms
}

@test "what a block cannot hold is an error" {
    needs_program python3
    cp -r "$top/tests/golden/hf/qwen2-tied-bf16" folder
    chmod -R u+w folder
    python3 - folder/model.safetensors <<'END'
import json, struct, sys
data = bytearray(open(sys.argv[1], 'rb').read())
n, = struct.unpack('<Q', data[:8])
at = json.loads(data[8:8 + n])['model.layers.1.mlp.up_proj.weight']['data_offsets'][0]
data[8 + n + at : 8 + n + at + 2] = b'\xc0\x7f' # bf16
open(sys.argv[1], 'wb').write(data)
END
    pipe 'tfm-convert -q -t 3 --type q4_1 folder -o x.tfms'
    status_is 3
    one_line "$err"
    err_has 'blk.1.ffn_up.weight'
    err_has 'not finite'
    [ ! -e x.tfms ]
}

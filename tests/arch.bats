# arch.bats - architectures are data: nothing in the library knows a name, and the messages about a
# file or a checkpoint that does not fit say where and what.
load helper

golden=$top/tests/golden

setup() { cd "$tmp"; }

@test "no architecture's name stands in the library" {
    run bash "$top/scripts/check-names" "$top"
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

@test "a name that is put into the library is found, however it is written" {
    local line
    mkdir -p copy/lib/text copy/share
    cp -r "$top/share/arch" copy/share
    for line in 'if (is(name, "gpt2"))' '/* as Falcon does */' 'int opt = 1;' '"phi2 other"' \
        '/* llama.cpp */' 'case QWEN3_MOE:' '{"command-r", 0}' '#define MPT 1'; do
        echo "$line" >copy/lib/text/x.c
        run bash "$top/scripts/check-names" copy
        [ "$status" -eq 1 ]
        [ "$output" = "lib/text/x.c:1:$line" ]
    done
    echo 'options, llama2c.c, dolphin, GPT2x' >copy/lib/text/x.c
    run bash "$top/scripts/check-names" copy
    [ "$status" -eq 0 ] && [ -z "$output" ]
    sed -i 's/^match: .*/match: {gguf: none,\n  hf: [novel,\n  nova]}/' copy/share/arch/mpt.yaml
    echo 'nova' >copy/lib/text/x.c
    run bash "$top/scripts/check-names" copy
    [ "$status" -eq 1 ]
}

@test "every shipped file is about ten lines and says what it is" {
    local file lines
    for file in "$top"/share/arch/*.yaml; do
        [ "${file##*/}" != macros.yaml ] || continue
        grep -q '^architecture: ' "$file"
        grep -q '^about: ' "$file"
        grep -q '^match: ' "$file"
    done
    lines=$(wc -l <"$top/share/arch/llama.yaml")
    [ "$lines" -le 15 ]
}

@test "--arch: an own file is used, for a checkpoint that no shipped file matches" {
    cp -r "$golden/hf/llama-tied" folder
    chmod -R u+w folder
    sed -i 's/"model_type": "llama"/"model_type": "novel"/' folder/config.json
    pipe 'tfm-convert folder -o m.tfms'
    status_is 3
    one_line "$err"
    err_has "is for architecture 'novel'; --arch FILE"
    tfm-convert --arch "$top/share/arch/llama.yaml" folder -o m.tfms
    tfm-convert "$golden/hf/llama-tied" -o n.tfms
    printf '3 5 8' | tfm-tokenize -m m.tfms --from-ids --no-special >p.tfms
    tfm-run -m m.tfms -n 5 --ignore-end p.tfms | tfm-show --ids >m.ids
    tfm-run -m n.tfms -n 5 --ignore-end p.tfms | tfm-show --ids >n.ids
    [ -s m.ids ]
    same m.ids n.ids
}

@test "a computed matrix: the identity changes nothing" {
    sed -e 's/^tensors: .*/tensors:\n  use: [llama, experts, rope]\n  eye.weight: {hf: {fill: i % (width + 1) == 0, shape: [width, width]}}/' \
        -e 's/^head: .*/head:\n  - {linear: eye, in: x, out: y}\n  - {scale: back, in: y, out: x, by: 1}\n  - lm_head:/' \
        "$top/share/arch/llama.yaml" >own.yaml
    printf '3 5 8' >"$in"
    for file in own.yaml "$top/share/arch/llama.yaml"; do
        tfm-convert --arch "$file" "$golden/hf/llama-tied" -o m.tfms
        pipe 'tfm-tokenize -m m.tfms --from-ids --no-special | tfm-run -m m.tfms -n 5 --ignore-end |
            tfm-show --ids'
        status_is 0 0 0
        cp "$out" "${file##*/}.ids"
    done
    [ -s own.yaml.ids ]
    same own.yaml.ids llama.yaml.ids
    tfm-convert --arch own.yaml "$golden/hf/llama-tied" -o m.tfms
    tfm-show --meta m.tfms | grep -q 'linear: eye, in: x, out: y, weight: eye.weight'
}

@test "generation: an end token of the file ends a text, others are refused until they work" {
    local end
    tfm-convert "$golden/hf/llama-tied" -o m.tfms
    printf '3 5 8' | tfm-tokenize -m m.tfms --from-ids --no-special >p.tfms
    tfm-run -m m.tfms -n 8 --ignore-end p.tfms | tfm-show --ids >ids
    end=$(awk '{print $5}' ids)
    sed "s/^generation: .*/generation: {end: $end}/" "$top/share/arch/llama.yaml" >own.yaml
    tfm-convert --arch own.yaml "$golden/hf/llama-tied" -o e.tfms
    tfm-run -m e.tfms -n 8 p.tfms | tfm-show --ids >ended
    [ "$(wc -w <ids)" -eq 8 ]
    awk -v last="$end" '{for (i = 1; $i != last; i++) printf "%s%s", (i == 1 ? "" : " "), $i}
        END {print ""}' ids >want
    [ -s want ]
    same ended want
    sed "s/^generation: .*/generation: {start: 1}/" "$top/share/arch/llama.yaml" >own.yaml
    tfm-convert --arch own.yaml "$golden/hf/llama-tied" -o s.tfms
    pipe 'tfm-run -m s.tfms -n 8 p.tfms'
    status_is 3
    err_has 'start, forced or suppressed'
}

@test "a mistake in a file: exit 3, one line with file, line and what is wrong" {
    sed 's/^  rope_mode:.*/  rope_mode: nobody/' "$top/share/arch/llama.yaml" >own.yaml
    pipe 'tfm-convert --arch own.yaml "$golden/hf/llama-tied" -o m.tfms'
    status_is 3
    one_line "$err"
    grep -qE 'own\.yaml:6: .*no parameter of that name' "$err"
    [ ! -e m.tfms ]
    echo '{' >own.yaml
    pipe 'tfm-convert --arch own.yaml "$golden/hf/llama-tied"'
    status_is 3
    err_has 'own.yaml:2: not YAML'
    pipe 'tfm-convert --arch there-is-none.yaml "$golden/hf/llama-tied"'
    status_is 5
    err_has 'there-is-none.yaml'
}

@test "a checkpoint for another task is not taken for a language model" {
    cp -r "$golden/hf/llama-tied" folder
    chmod -R u+w folder
    sed -i 's/LlamaForCausalLM/LlamaForSequenceClassification/' folder/config.json
    pipe 'tfm-convert folder -o m.tfms'
    status_is 3
    err_has 'LlamaForSequenceClassification'
}

@test "a setting that the file knows and cannot do is refused" {
    cp -r "$golden/hf/gpt2" folder
    chmod -R u+w folder
    sed -i 's/"scale_attn_by_inverse_layer_idx": false/"add_cross_attention": true/' folder/config.json
    pipe 'tfm-convert folder -o m.tfms'
    status_is 3
    err_has 'gpt2.yaml:'
    err_has 'not supported'
    sed -i 's/"activation_function": "[a-z_]*"/"activation_function": "swoosh"/' folder/config.json
    pipe 'tfm-convert folder -o m.tfms'
    status_is 3
    err_has "'swoosh'; supported:"
}

@test "a tensor too many or too few is named" {
    needs_program python3
    cat >rename.py <<'END'
import json, struct, sys
path, old, new = sys.argv[1:]
data = open(path, 'rb').read()
n, = struct.unpack('<Q', data[:8])
head = json.loads(data[8:8 + n])
head[new] = head.pop(old)
text = json.dumps(head).encode()
open(path, 'wb').write(struct.pack('<Q', len(text)) + text + data[8 + n:])
END
    cp -r "$golden/hf/qwen2" folder
    chmod -R u+w folder
    python3 rename.py folder/model.safetensors model.layers.1.self_attn.k_proj.bias adapter.weight
    pipe 'tfm-convert folder -o m.tfms'
    status_is 3
    err_has "qwen2.yaml does not know 1 tensor of the checkpoint, the first is 'adapter.weight'"
    python3 rename.py folder/model.safetensors model.norm.weight other.weight
    pipe 'tfm-convert folder -o m.tfms'
    status_is 3
    err_has "no tensor 'model.norm.weight', which is needed"
}

# pytorch.bats - checkpoints of torch.save: the same model as from safetensors, and never code.
# tests/pytorch/make.py says how the files were made.
load helper

files=$top/tests/pytorch

setup() { cd "$tmp"; }

# folder NAME FILE AS: NAME/ with config.json and FILE named AS.
folder() {
    mkdir -p "$1"
    cp "$files/config.json" "$1"
    cp "$files/$2" "$1/$3"
}

@test "each form of torch.save converts to the model that safetensors give, bit for bit" {
    folder safe model.safetensors model.safetensors
    folder plain plain.bin pytorch_model.bin
    folder wrapped wrapped.pt model.pt
    folder shards index.json pytorch_model.bin.index.json
    cp "$files"/shard-?.bin shards
    tfm-convert -q --no-prov safe -o safe.tfms
    local form
    for form in plain wrapped shards; do
        tfm-convert -q --no-prov $form -o $form.tfms
        tfm-check $form.tfms
        tfm-cmp safe.tfms $form.tfms
        [ "$(wc -c <safe.tfms)" -eq "$(wc -c <$form.tfms)" ]
    done
    # Two files differ in the source's digest: the id (64 digits), and the header's CRC.
    [ "$(cmp -l safe.tfms plain.tfms | wc -l)" -le 72 ]
}

@test "a file of torch.save by its own name, config.json beside it" {
    folder safe model.safetensors model.safetensors
    folder any plain.bin any-name.pth
    tfm-convert -q --no-prov safe -o safe.tfms
    tfm-convert -q --no-prov any/any-name.pth -o any.tfms
    tfm-cmp safe.tfms any.tfms
}

@test "safetensors go before pytorch_model.bin" {
    folder both model.safetensors model.safetensors
    cp "$files/evil.bin" both/pytorch_model.bin
    tfm-convert -q both -o both.tfms
}

@test "a pickle that would call os.system is exit 3, named, and was not run" {
    folder evil evil.bin pytorch_model.bin
    local path
    for path in evil evil/pytorch_model.bin; do
        pipe "tfm-convert $path -o x.tfms"
        status_is 3
        one_line "$err"
        err_has 'posix.system'
        err_has 'evil/pytorch_model.bin'
        [ ! -e x.tfms ]
    done
    [ -z "$(find . -name 'evil-was-here')" ]
}

@test "what cannot be read says why, and the cure" {
    folder legacy legacy.bin pytorch_model.bin
    pipe 'tfm-convert legacy'
    status_is 3
    one_line "$err"
    err_has 'before 1.6'
    err_has 'save it again with torch.save'
    folder double double.bin pytorch_model.bin
    pipe 'tfm-convert double'
    status_is 3
    one_line "$err"
    err_has 'DoubleStorage'
    folder cut plain.bin pytorch_model.bin
    head -c 5000 "$files/plain.bin" >cut/pytorch_model.bin
    pipe 'tfm-convert cut'
    status_is 3
    one_line "$err"
    err_has 'cut'
}

@test "a file that was zipped again says so" {
    needs_program python3
    folder packed plain.bin pytorch_model.bin
    python3 - "$files/plain.bin" <<'END'
import sys, zipfile
was = zipfile.ZipFile(sys.argv[1])
with zipfile.ZipFile('packed/pytorch_model.bin', 'w', zipfile.ZIP_DEFLATED) as z:
    for name in was.namelist():
        z.writestr(name, was.read(name))
END
    pipe 'tfm-convert packed'
    status_is 3
    one_line "$err"
    err_has 'data.pkl is compressed'
}

@test "a cut or damaged file never crashes" {
    needs_program python3
    folder bad plain.bin pytorch_model.bin
    python3 - "$files/plain.bin" <<'END'
import random, subprocess, sys
whole = open(sys.argv[1], 'rb').read()
r = random.Random(1)
for i in range(60):
    b = bytearray(whole)
    for _ in range(1 + i % 3):
        b[r.choice([r.randrange(1500), r.randrange(len(b) - 2500, len(b))])] = r.randrange(256)
    if i % 5 == 0:
        b = b[: r.randrange(len(b))]
    open('bad/pytorch_model.bin', 'wb').write(b)
    p = subprocess.run(['tfm-convert', '-q', 'bad'], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert p.returncode in (0, 3), (i, p)
    assert p.returncode == 0 or p.stderr.count(b'\n') == 1, p.stderr
END
}

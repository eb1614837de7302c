# probe.bash - what taps.bats and interventions.bats share: a small model, three prompts, how the
# values that a run wrote are read, and the comparison with a forward pass in NumPy.

load helper

setup() {
    g=$top/tests/golden/gguf
    m=$g/llama-f16.gguf
    cd "$tmp" || return
    printf 'abc\nhello world, hello\nxy zz\n' >lines
    tfm-tokenize -l -m "$m" lines >tokens
}

# The records of a stream of taps with all their bits, header and how groups ended aside.
values() { tfm-export --to jsonl --base64 "$1" | grep '"type":"tensor"'; }
# The same for people: "tensor NAME f32 [dims] group G at P: ..."
records() { tfm-show "$1" | grep -E '^ +[0-9]+ tensor' | sed 's/^ *[0-9]* //'; }

# numpy_model NAME: the checkpoint that numpy_agrees uses, and two texts of it, `text` and `other`,
# with all values of the latter in `other.taps`.
numpy_model() {
    needs_numpy
    checkpoint=$top/tests/golden/hf/$1
    printf 'hello world, hello' | tfm-tokenize -m "$checkpoint" >text
    printf 'xello borld, h' | tfm-tokenize -m "$checkpoint" >other
    tfm-run -m "$checkpoint" -n 0 --tap '*' --tap-out other.taps other >none
}

# numpy_agrees DEVICE "OPTIONS" WORDS...: all values of `text`, computed with the options, are those
# that golden/taps.py computes with the words.
numpy_agrees() {
    tfm-run -m "$checkpoint" -d "$1" -n 0 --tap '*' --tap-out numpy.taps $2 text >none
    tfm-export numpy.taps -o numpy.npz
    tfm-show --ids text | "$python" "$top/tests/golden/taps.py" "$checkpoint" numpy.npz "${@:3}"
}

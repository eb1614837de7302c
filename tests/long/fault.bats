# fault.bats - tests/fault.bats with every open, read, write and mmap made to fail and 200 allocations of
# each program (they are in the thousands; tests/fault/test_nomem.c fails every one of the library's), and
# with a sample of failures that last: the Nth call and all later ones of its kind.
LIMIT=${LIMIT:-1200}
load ../helper
load ../fault/cases.bash

fault_args=(-s 200)

@test "convert: GGUF to a file" { convert_gguf; }
@test "convert: another type" { convert_type; }
@test "convert: model to stdout" { convert_stdout; }
@test "convert: model to GGUF" { convert_to_gguf; }
@test "convert: Hugging Face folder" { convert_folder; }
@test "convert: llama2.c" { convert_llama2c; }
@test "tokenize" { stage_tokenize; }
@test "tokenize: raw bytes" { stage_tokenize_raw; }
@test "tokenize: JSON lines" { stage_tokenize_jsonl; }
@test "run" { stage_run; }
@test "run: ref, two threads, sampling, stop" { stage_run_ref; }
@test "run: taps and interventions" { stage_run_probe; }
@test "run: GGUF in place" { stage_run_gguf; }
@test "run: to a file" { stage_run_output; }
@test "detok" { stage_detok; }
@test "detok: to a file" { stage_detok_output; }
@test "embed" { stage_embed; }
@test "attend" { stage_attend; }
@test "unembed" { stage_unembed; }
@test "sample" { stage_sample; }
@test "score" { stage_score; }
@test "score: a stream" { stage_score_stream; }
@test "pool" { stage_pool; }
@test "run: caches from and to files" { stage_run_caches; }
@test "stream tools" { stream_tools; }
@test "failures that last: convert" {
    fault_args=(-a -s 60)
    convert_gguf
}
@test "failures that last: tokenize" {
    fault_args=(-a -s 60)
    stage_tokenize
}
@test "failures that last: run" {
    fault_args=(-a -s 60)
    stage_run
}
@test "failures that last: detok" {
    fault_args=(-a -s 60)
    stage_detok
}

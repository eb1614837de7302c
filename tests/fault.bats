# fault.bats - a call that fails (open, read, write, mmap, malloc) never gives a crash, a partial
# file, silence or a wrong result: exit 5 or 3, one line, and the next stage fails too. A sample of
# the calls here, nearly all of them in tests/long/fault.bats.
load helper
load fault/cases.bash

fault_args=(-s 10)

@test "the driver notices what is wrong" { driver_complains; }
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

"""The tiny models of make_families.py. `off`: options which, set to that value, must change the
logits; `idle`: tensors that cannot change them; `ctx`: the context that the logits are computed for;
`attention`: not eager; `single`: not computed in double; `inside`: prefix, type, class and other tensors of the checkpoint that it is a part of;
`packed`: parameters that the checkpoint has as blocks of mxfp4, so that it is compared in f32;
`dropped`, `stored`: what config.json leaves out and has besides;
`gguf`: False where GGUF has no such architecture or cannot express the options."""

SMALL = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256)
GPT = dict(n_embd=32, n_layer=2, n_head=4, n_inner=40, n_positions=64)
CASES = {}


def case(name, model_type, config, **rest):
    CASES[name] = dict(config=dict(model_type=model_type, **config), **rest)


SW = {"layer_types": ["full_attention"] * 4}
case("gemma", "gemma", dict(SMALL, head_dim=12, num_key_value_heads=1, rope_theta=500.0),
     scaled=True, off={"rope_theta": 10000.0})
case("gemma2", "gemma2", dict(SMALL, num_hidden_layers=4, head_dim=12, query_pre_attn_scalar=12,
     sliding_window=9, attn_logit_softcapping=1.5, final_logit_softcapping=4.0), scaled=True,
     off={"attn_logit_softcapping": None, "final_logit_softcapping": None, **SW,
          "query_pre_attn_scalar": 20})
case("gemma3", "gemma3_text", dict(SMALL, num_hidden_layers=7, head_dim=12,
     query_pre_attn_scalar=12, sliding_window=9, rope_theta=1000.0, rope_local_base_freq=10000.0,
     rope_scaling={"rope_type": "linear", "factor": 4.0}), scaled=True,
     off={"layer_types": ["full_attention"] * 7, "rope_theta": 10000.0,
          "rope_scaling": None})
# What scales the layers that see all positions must leave those with a window alone.
GEMMA3 = dict(SMALL, num_hidden_layers=4, head_dim=12, query_pre_attn_scalar=12, sliding_window=9,
     layer_types=["sliding_attention", "full_attention"] * 2, rope_theta=1000.0)
case("gemma3-yarn", "gemma3_text", dict(GEMMA3, rope_scaling={"rope_type": "yarn", "factor": 8.0,
     "original_max_position_embeddings": 32, "attention_factor": 1.3}), scaled=True, gguf=False,
     off={"rope_scaling": None})
case("gemma3-llama3", "gemma3_text", dict(GEMMA3, rope_scaling={"rope_type": "llama3",
     "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 32}), scaled=True, gguf=False, off={"rope_scaling": None})
case("gemma3-longrope", "gemma3_text", dict(GEMMA3, original_max_position_embeddings=32,
     rope_scaling={"rope_type": "longrope", "long_factor": [1.5, 2.0, 3.0, 4.0, 5.0, 6.0],
     "short_factor": [1.0, 1.1, 1.3, 1.5, 1.7, 2.0]}), scaled=True, gguf=False,
     off={"rope_scaling": None})
# The language model within one that reads images: its configuration leaves out what is as usual.
case("gemma3-images", "gemma3_text", dict(hidden_size=32, intermediate_size=40, num_hidden_layers=7,
     sliding_window=9, query_pre_attn_scalar=16), scaled=True, gguf=False,
     inside=("language_model.", "gemma3", "Gemma3ForConditionalGeneration",
             ["vision_tower.vision_model.post_layernorm.weight f32 0 1 16",
              "multi_modal_projector.mm_input_projection_weight f32 0 1 16 32"]),
     off={"layer_types": ["full_attention"] * 7, "query_pre_attn_scalar": 64})
case("gpt_neox", "gpt_neox", dict(SMALL, rotary_pct=0.5, rotary_emb_base=500, hidden_act="gelu"),
     off={"use_parallel_residual": False, "rotary_pct": 1.0, "rotary_emb_base": 10000})
case("gpt_neox-serial", "gpt_neox", dict(SMALL, rotary_pct=0.25, use_parallel_residual=False),
     off={"use_parallel_residual": True})
case("gptj", "gptj", dict(GPT, rotary_dim=4, tie_word_embeddings=False), gguf=False,
     off={"rotary_dim": 8, "activation_function": "relu"})
OPT = dict(hidden_size=32, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4,
           max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.02)
case("opt", "opt", OPT, gguf=False, off={"activation_function": "gelu"}, idle=["k_proj.bias"])
case("opt-350m", "opt", dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=24),
     gguf=False, off={"do_layer_norm_before": True}, idle=["k_proj.bias"])
BLOOM = dict(hidden_size=30, n_layer=2, n_head=5)
case("bloom", "bloom", BLOOM, off={"n_head": 3})
case("bloom-from-norm", "bloom", dict(BLOOM, apply_residual_connection_post_layernorm=True),
     gguf=False, off={"apply_residual_connection_post_layernorm": False})
FALCON = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_hidden_size=40,
              max_position_embeddings=256, bias=False, rope_theta=1000.0)
case("falcon-7b", "falcon", FALCON, off={"rope_theta": 10000.0})
case("falcon-40b", "falcon", dict(FALCON, new_decoder_architecture=True, num_kv_heads=2))
case("falcon-11b", "falcon", dict(FALCON, new_decoder_architecture=True, num_kv_heads=2,
     num_ln_in_parallel_attn=1, tie_word_embeddings=False))
case("falcon-rw", "falcon", dict(FALCON, alibi=True, multi_query=False, parallel_attn=False,
     bias=True), gguf=False, off={"alibi": False, "parallel_attn": True}, attention="sdpa")  # eager adds alibi twice
MPT = dict(d_model=30, n_layers=2, n_heads=5, max_seq_len=64)
case("mpt", "mpt", dict(MPT, attn_config={"clip_qkv": 0.9}),
     single=True, off={"attn_config": {"clip_qkv": None}})
case("mpt-scale", "mpt", dict(MPT, attn_config={"softmax_scale": 0.7}), gguf=False,
     single=True, off={"attn_config": {"softmax_scale": None}})
LLAMA = dict(SMALL, rope_theta=1000.0)
case("llama-dynamic", "llama", dict(LLAMA, max_position_embeddings=16,
     rope_scaling={"rope_type": "dynamic", "factor": 3.0}), ctx=40, gguf=False, off={"rope_scaling": None})
case("llama-yarn", "llama", dict(LLAMA, rope_scaling={"rope_type": "yarn", "factor": 8.0,
     "original_max_position_embeddings": 32, "beta_fast": 4.0, "beta_slow": 1.0}),
     off={"rope_scaling": None})
case("llama-yarn-mscale", "llama", dict(LLAMA, rope_scaling={"rope_type": "yarn", "factor": 8.0,
     "original_max_position_embeddings": 32, "mscale": 2.0, "mscale_all_dim": 0.5}),
     off={"rope_scaling": None})
LONG = {"rope_type": "longrope", "long_factor": [1.5, 2.0, 3.0, 4.0],
        "short_factor": [1.0, 1.1, 1.3, 1.7]}
case("llama-longrope", "llama", dict(LLAMA, original_max_position_embeddings=32,
     rope_scaling=LONG), off={"rope_scaling": None})
case("llama-shortrope", "llama", dict(LLAMA, original_max_position_embeddings=64,
     rope_scaling=LONG), ctx=40, off={"rope_scaling": None})
LONG3 = {"type" if k == "rope_type" else k: v for k, v in LONG.items()}
MOE = dict(SMALL, moe_intermediate_size=24, num_experts=5, num_experts_per_tok=2)
case("qwen2_moe", "qwen2_moe", dict(MOE, shared_expert_intermediate_size=28),
     off={"norm_topk_prob": True, "num_experts_per_tok": 1})
case("qwen2_moe-mixed", "qwen2_moe", dict(MOE, num_hidden_layers=4, decoder_sparse_step=2,
     mlp_only_layers=[1], shared_expert_intermediate_size=28, norm_topk_prob=True), gguf=False)
case("qwen3", "qwen3", dict(SMALL, head_dim=12, tie_word_embeddings=False))
case("qwen3-window", "qwen3", dict(SMALL, head_dim=12, attention_bias=True, num_hidden_layers=3,
     use_sliding_window=True, sliding_window=9, max_window_layers=1), gguf=False,
     off={"layer_types": ["full_attention"] * 3})
case("qwen3_moe", "qwen3_moe", dict(MOE, head_dim=12, norm_topk_prob=True),
     off={"norm_topk_prob": False})
case("qwen3_moe-mixed", "qwen3_moe", dict(MOE, head_dim=12, num_hidden_layers=3,
     mlp_only_layers=[1]), gguf=False, off={"norm_topk_prob": True})
PHI = {k: v for k, v in SMALL.items()}
case("phi", "phi", dict(PHI, partial_rotary_factor=0.5, hidden_act="gelu_new"),
     off={"partial_rotary_factor": 1.0})
case("phi-norms", "phi", dict(PHI, qk_layernorm=True, partial_rotary_factor=0.5), gguf=False,
     off={"qk_layernorm": False})
case("phi3", "phi3", dict(SMALL, original_max_position_embeddings=32, sliding_window=None,
     rope_scaling=LONG3), off={"rope_scaling": None})
case("phi3-part", "phi3", dict(SMALL, num_attention_heads=2, partial_rotary_factor=0.5,
     original_max_position_embeddings=64, sliding_window=9, num_key_value_heads=1,
     rope_scaling=LONG3), ctx=40,
     off={"rope_scaling": None, "sliding_window": None})
case("starcoder2", "starcoder2", dict(SMALL, use_bias=True))
case("starcoder2-window", "starcoder2", dict(SMALL, sliding_window=9, use_bias=False),
     gguf=False, off={"sliding_window": None})
case("stablelm", "stablelm", dict(SMALL, use_qkv_bias=True, partial_rotary_factor=0.5),
     off={"use_parallel_residual": True, "partial_rotary_factor": 1.0})
case("stablelm-norms", "stablelm", dict(SMALL, qk_layernorm=True, use_parallel_residual=True),
     off={"qk_layernorm": False})
case("olmo2", "olmo2", SMALL)
OLMO3 = dict(SMALL, num_hidden_layers=4, sliding_window=9, rope_theta=1000.0)
case("olmo3", "olmo3", OLMO3, off={"sliding_window": 64, "layer_types": ["full_attention"] * 4})
case("olmo3-yarn", "olmo3", dict(OLMO3, rope_scaling={"rope_type": "yarn",
     "factor": 8.0, "original_max_position_embeddings": 32, "attention_factor": 1.3}),
     off={"rope_scaling": None})
case("olmo3-llama3", "olmo3", dict(OLMO3, attention_bias=True,
     layer_types=["full_attention", "sliding_attention"] * 2,
     rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
     "high_freq_factor": 4.0, "original_max_position_embeddings": 32}), gguf=False,
     off={"rope_scaling": None})
case("granite", "granite", dict(SMALL, embedding_multiplier=2.0, residual_multiplier=0.6,
     attention_multiplier=0.2, logits_scaling=3.0, attention_bias=True, mlp_bias=True),
     off={"embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 0.35,
          "logits_scaling": 1.0})
case("cohere", "cohere", dict(SMALL, logit_scale=0.3, use_qk_norm=True), gguf=False,
     off={"logit_scale": 1.0, "use_qk_norm": False})
case("cohere-bias", "cohere", dict(SMALL, attention_bias=True), gguf=False)
case("cohere-plain", "cohere", SMALL)
case("cohere2-wide", "cohere2", dict(SMALL, head_dim=12), gguf=False)
case("cohere2", "cohere2", dict(SMALL, num_hidden_layers=4, sliding_window=9, logit_scale=0.3),
     off={"sliding_window": 64, "layer_types": ["full_attention"] * 4})
case("smollm3", "smollm3", dict(SMALL, num_hidden_layers=4, rope_theta=1000.0),
     off={"no_rope_layers": [1, 1, 1, 1]})
case("smollm3-window", "smollm3", dict(SMALL, num_hidden_layers=3, no_rope_layers=[1, 0, 1],
     use_sliding_window=True, sliding_window=9, layer_types=None), gguf=False,
     off={"layer_types": ["full_attention"] * 3})
case("gpt_oss", "gpt_oss", dict(SMALL, head_dim=12, num_local_experts=5, num_experts_per_tok=2,
     sliding_window=9, rope_scaling={"rope_type": "yarn", "factor": 8.0, "truncate": False,
     "original_max_position_embeddings": 32, "beta_fast": 4.0, "beta_slow": 1.0}),
     turned=["gate_up_proj", "down_proj"],
     off={"rope_scaling": None, "num_experts_per_tok": 1, "layer_types": ["full_attention"] * 2})
# As published: codes and scales of the experts apart.
case("gpt_oss-mxfp4", "gpt_oss", dict(SMALL, hidden_size=64, intermediate_size=96, head_dim=12,
     num_local_experts=4, num_experts_per_tok=2, sliding_window=9, rope_scaling=None),
     packed=["gate_up_proj", "down_proj"], stored={"quantization_config": {
         "quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}})
case("gpt2-inverse", "gpt2", dict(GPT, scale_attn_by_inverse_layer_idx=True), gguf=False,
     off={"scale_attn_by_inverse_layer_idx": False})
case("gpt2-unscaled", "gpt2", dict(GPT, scale_attn_weights=False), gguf=False,
     off={"scale_attn_weights": True})
# A correction so small that p + choose stays above 0: the reference gives experts of other groups 0.
CHOICE = {"model.layers.*.mlp.gate.e_score_correction_bias": (0.3, 0.3)}
# Three that were drawn by lot, written from tfm-arch(5).
case("glm4", "glm4", dict(SMALL, head_dim=12, partial_rotary_factor=0.5, rope_theta=500.0,
     attention_bias=True), off={"partial_rotary_factor": 1.0, "rope_theta": 10000.0})
case("olmoe", "olmoe", dict(SMALL, num_key_value_heads=4, num_experts=5, num_experts_per_tok=2, clip_qkv=1.1),
     gguf=False, off={"clip_qkv": None, "norm_topk_prob": True})
case("olmoe-plain", "olmoe", dict(SMALL, num_key_value_heads=4, num_experts=5,
     num_experts_per_tok=2))
case("seed_oss", "seed_oss", dict(SMALL, head_dim=12, attention_bias=True,
     attention_out_bias=True, mlp_bias=True, rope_scaling={"rope_type": "yarn", "factor": 8.0,
     "original_max_position_embeddings": 32}), gguf=False, off={"rope_scaling": None})
case("glm4_moe", "glm4_moe", dict(SMALL, num_hidden_layers=3, head_dim=12, moe_intermediate_size=24,
     n_routed_experts=5, num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1,
     norm_topk_prob=True, routed_scaling_factor=1.5, use_qk_norm=True, attention_bias=True,
     partial_rotary_factor=0.5), gguf=False, single=True,
     off={"norm_topk_prob": False, "routed_scaling_factor": 1.0})
case("glm4_moe-groups", "glm4_moe", dict(SMALL, num_hidden_layers=2, head_dim=12,
     moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
     first_k_dense_replace=1, n_group=4, topk_group=2, partial_rotary_factor=0.5), gguf=False,
     single=True, rules=CHOICE, off={"topk_group": 4})
# Others that somebody has written from tfm-arch(5).
case("codegen", "codegen", dict(GPT, n_head=8, n_embd=48, rotary_dim=4, tie_word_embeddings=False),
     gguf=False, off={"rotary_dim": 6, "activation_function": "relu"})
case("ministral", "ministral", dict(SMALL, num_hidden_layers=3, head_dim=12, sliding_window=9,
     layer_types=["sliding_attention", "full_attention", "sliding_attention"], rope_theta=1000.0),
     gguf=False, off={"layer_types": ["full_attention"] * 3})
case("open-llama", "open-llama", dict(SMALL, rope_theta=1000.0,
     rope_scaling={"type": "linear", "factor": 2.0}), gguf=False, single=True, off={"rope_scaling": None})
case("open-llama-plain", "open-llama", dict(SMALL, use_stable_embedding=False,
     shared_input_output_embedding=False), gguf=False, single=True)
LATENT = dict(SMALL, num_hidden_layers=2, num_key_value_heads=4, moe_intermediate_size=24,
     n_shared_experts=2, n_routed_experts=8, num_experts_per_tok=3, first_k_dense_replace=1,
     kv_lora_rank=24, qk_rope_head_dim=8, qk_nope_head_dim=12, v_head_dim=10, rope_theta=1000.0)
case("deepseek_v3", "deepseek_v3", dict(LATENT, q_lora_rank=20, n_group=4, topk_group=2,
     attention_bias=True, rope_scaling={"rope_type": "yarn", "factor": 8.0, "mscale": 1.0,
     "original_max_position_embeddings": 32, "mscale_all_dim": 0.7}), gguf=False, single=True, rules=CHOICE,
     off={"rope_scaling": None, "topk_group": 4, "rope_interleave": False,
          "routed_scaling_factor": 1.0, "norm_topk_prob": False})
case("deepseek_v3-plain", "deepseek_v3", dict(LATENT, q_lora_rank=None, n_group=1, topk_group=1,
     rope_interleave=False, norm_topk_prob=False), gguf=False, single=True, rules=CHOICE,
     off={"rope_interleave": True, "norm_topk_prob": True})
# Configurations as version 5 of transformers writes them: `stored` instead of `dropped`.
case("gemma3-new", "gemma3_text", dict(GEMMA3, rope_scaling={"rope_type": "linear", "factor": 4.0},
     rope_local_base_freq=300.0), scaled=True, gguf=False, off={"rope_scaling": None},
     dropped=["rope_theta", "rope_scaling", "rope_local_base_freq"],
     stored={"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4.0,
             "rope_theta": 1000.0}, "sliding_attention": {"rope_type": "default",
             "rope_theta": 300.0}}})
case("gpt_neox-new", "gpt_neox", dict(SMALL, rotary_pct=0.75, rotary_emb_base=500),
     off={"rotary_pct": 0.25, "rotary_emb_base": 10000}, dropped=["rotary_pct", "rotary_emb_base",
     "partial_rotary_factor", "rope_theta"],
     stored={"rope_parameters": {"rope_type": "default", "rope_theta": 500,
             "partial_rotary_factor": 0.75}})
case("phi3-new", "phi3", dict(SMALL, original_max_position_embeddings=32, sliding_window=None,
     rope_scaling=LONG3), off={"rope_scaling": None}, dropped=["rope_theta", "rope_scaling"],
     stored={"rope_parameters": {**LONG, "rope_theta": 10000.0,
             "original_max_position_embeddings": 32}})
case("olmo3-new", "olmo3", dict(OLMO3, rope_scaling={"rope_type": "yarn",
     "factor": 8.0, "original_max_position_embeddings": 32, "attention_factor": 1.3}),
     off={"rope_scaling": None}, dropped=["rope_theta", "rope_scaling"],
     stored={"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 1000.0,
             "factor": 8.0, "original_max_position_embeddings": 32, "attention_factor": 1.3},
             "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}})
# What the configuration has from another family, and the code has no eye for.
case("llama-foreign", "llama", dict(LLAMA, sliding_window=9, layer_types=["sliding_attention"] * 2),
     stored={"sliding_window": 9, "layer_types": ["sliding_attention"] * 2})
# Drawn by lot, and those that were like them.
SINE = dict(n_embd=32, n_layer=2, n_head=4, dff=40, n_positions=64)
case("ctrl", "ctrl", dict(SINE, layer_norm_epsilon=0.5), gguf=False, scaled=True,
     idle=["Wk.bias"], off={"layer_norm_epsilon": 1e-6})
case("ctrl-untied", "ctrl", dict(SINE, tie_word_embeddings=False), gguf=False, scaled=True,
     idle=["Wk.bias"])
XGLM = dict(d_model=32, num_layers=2, attention_heads=4, ffn_dim=40, max_position_embeddings=64)
case("xglm", "xglm", XGLM, gguf=False, single=True, idle=["k_proj.bias"], off={"activation_function": "relu"})
case("xglm-plain", "xglm", dict(XGLM, scale_embedding=False, tie_word_embeddings=False), gguf=False,
     single=True, idle=["k_proj.bias"], off={"scale_embedding": True})
BIO = {k: v for k, v in SMALL.items() if k != "num_key_value_heads"}
case("biogpt", "biogpt", dict(BIO, max_position_embeddings=64), gguf=False, idle=["k_proj.bias"])
case("biogpt-plain", "biogpt", dict(BIO, max_position_embeddings=64, scale_embedding=False,
     tie_word_embeddings=False, hidden_act="relu"), gguf=False, idle=["k_proj.bias"],
     off={"scale_embedding": True})
VAULT = dict(SMALL, num_hidden_layers=4, head_dim=12, query_pre_attn_scalar=12, sliding_window=9,
     attention_bias=True, attn_logit_softcapping=1.5, final_logit_softcapping=4.0)
case("vaultgemma", "vaultgemma", VAULT, scaled=True, gguf=False,
     off={"attn_logit_softcapping": None, "final_logit_softcapping": None, **SW,
          "query_pre_attn_scalar": 20})
case("olmo", "olmo", dict(SMALL, clip_qkv=1.1), off={"clip_qkv": None})
case("olmo-bias", "olmo", dict(SMALL, attention_bias=True, tie_word_embeddings=True,
     rope_scaling={"type": "linear", "factor": 4.0}), gguf=False, off={"rope_scaling": None})
GRANITE = dict(SMALL, num_local_experts=5, num_experts_per_tok=3, embedding_multiplier=2.0,
     residual_multiplier=0.6, attention_multiplier=0.2, logits_scaling=3.0)
case("granitemoe", "granitemoe", dict(GRANITE, attention_bias=True),
     off={"embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 0.35,
          "logits_scaling": 1.0, "num_experts_per_tok": 2})
case("granitemoe-shared", "granitemoeshared", dict(GRANITE, shared_intermediate_size=24))
case("openai-gpt", "openai-gpt", {k: v for k, v in GPT.items() if k != "n_inner"}, gguf=False,
     off={"afn": "silu"})
case("flex_olmo", "flex_olmo", dict(SMALL, num_experts=5, num_experts_per_tok=2,
     attention_bias=True), gguf=False, off={"num_experts_per_tok": 1})
case("modernbert-decoder", "modernbert-decoder", dict(BIO, num_hidden_layers=4, pad_token_id=2,
     local_attention=18, global_rope_theta=1000.0, norm_bias=True, attention_bias=True,
     mlp_bias=True, classifier_bias=True), gguf=False, stored={"local_attention": 18},
     off={**SW, "global_rope_theta": 160000.0, "classifier_activation": "relu"})
case("modernbert-decoder-plain", "modernbert-decoder", dict(BIO, pad_token_id=2,
     decoder_bias=False, tie_word_embeddings=False, global_attn_every_n_layers=1), gguf=False)
case("hunyuan_v1_dense", "hunyuan_v1_dense", dict(SMALL, head_dim=12, rope_scaling={"type":
     "dynamic", "alpha": 100.0, "factor": 1.0}), off={"rope_scaling": None})
case("persimmon", "persimmon", BIO, gguf=False, off={"partial_rotary_factor": 1.0,
     "qk_layernorm": False, "rope_theta": 500.0})
case("diffllama", "diffllama", dict(SMALL, num_attention_heads=8, num_key_value_heads=4, head_dim=12,
     num_hidden_layers=3), gguf=False, rules={
     f"model.layers.*.self_attn.lambda_{x}": (0.1, 0.5) for x in ("q1", "q2", "k1", "k2")})
case("apertus", "apertus", dict(SMALL, attention_bias=True, rope_scaling={"rope_type": "llama3",
     "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 32}), gguf=False, off={"rope_scaling": None},
     rules={"model.layers.*.mlp.act_fn.alpha_p": (0, 0.9), "model.layers.*.mlp.act_fn.beta": (0.5, 0),
            "model.layers.*.mlp.act_fn.alpha_n": (0, 0.9), "model.layers.*.mlp.act_fn.eps": (-1e-6, 0)})
case("nemotron", "nemotron", dict(SMALL, rope_theta=500.0),
     off={"partial_rotary_factor": 1.0, "hidden_act": "relu"})
case("exaone4", "exaone4", dict(SMALL, num_hidden_layers=5, sliding_window=9), gguf=False,
     off={"layer_types": ["full_attention"] * 5})
case("exaone4-whole", "exaone4", dict(SMALL, head_dim=12, sliding_window=None,
     layer_types=["full_attention"] * 2))
case("arcee", "arcee", dict(SMALL, head_dim=12, rope_scaling={"rope_type": "yarn", "factor": 8.0,
     "original_max_position_embeddings": 32}), off={"rope_scaling": None})
case("glm", "glm", dict(SMALL, head_dim=12), gguf=False, off={"partial_rotary_factor": 1.0})
case("helium", "helium", dict(SMALL, head_dim=8, rope_theta=1000.0), gguf=False)
case("ernie4_5", "ernie4_5", dict(SMALL, head_dim=12, use_bias=True), gguf=False)
case("ernie4_5-untied", "ernie4_5", dict(SMALL, head_dim=12, tie_word_embeddings=False))
case("gpt_bigcode", "gpt_bigcode", GPT)
case("gpt_bigcode-heads", "gpt_bigcode", dict(GPT, multi_query=False, scale_attn_weights=False,
     tie_word_embeddings=False), gguf=False, off={"scale_attn_weights": True})
case("gpt_neo", "gpt_neo", dict(hidden_size=32, intermediate_size=40, num_layers=2, num_heads=4,
     window_size=9, attention_types=[[["global", "local"], 1]], max_position_embeddings=64),
     gguf=False, off={"window_size": 64})
DOTS = dict(SMALL, num_hidden_layers=3, moe_intermediate_size=24, n_routed_experts=8,
     num_experts_per_tok=3, n_shared_experts=2, first_k_dense_replace=1, routed_scaling_factor=1.5)
case("dots1", "dots1", dict(DOTS, norm_topk_prob=True, attention_bias=True), gguf=False,
     single=True, off={"norm_topk_prob": False, "routed_scaling_factor": 1.0})
case("dots1-groups", "dots1", dict(DOTS, num_hidden_layers=2, n_group=4, topk_group=2,
     layer_types=["sliding_attention", "full_attention"], sliding_window=9), gguf=False,
     single=True, rules=CHOICE, off={"topk_group": 4, "layer_types": ["full_attention"] * 2})
case("ernie4_5_moe", "ernie4_5_moe", dict(SMALL, num_hidden_layers=3, head_dim=8,
     moe_intermediate_size=24, moe_num_experts=5, moe_k=2, moe_num_shared_experts=1), gguf=False, single=True,
     off={"moe_k": 1})
# Chunks, positions that a factor of the scores grows with, experts whose input is weighed. High and low
# factors that are one number, as published.
LLAMA4 = dict(SMALL, num_hidden_layers=4, head_dim=12, intermediate_size=24, intermediate_size_mlp=40,
     num_local_experts=5, num_experts_per_tok=2, interleave_moe_layer_step=2, attention_chunk_size=9,
     floor_scale=7, attn_scale=0.4, rope_theta=1000.0)
case("llama4", "llama4_text", dict(LLAMA4, no_rope_layer_interval=3, rope_scaling={"rope_type":
     "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 1.0,
     "original_max_position_embeddings": 64}), gguf=False, turned=["gate_up_proj", "down_proj"],
     off={"layer_types": ["full_attention"] * 4, "attn_temperature_tuning": False,
          "rope_scaling": None, "no_rope_layers": [1, 0, 1, 0], "num_experts_per_tok": 1})
case("llama4-images", "llama4_text", dict(LLAMA4, num_experts_per_tok=1, moe_layers=[0, 1, 3],
     no_rope_layers=[1, 0, 1, 1], use_qk_norm=False, attn_temperature_tuning=False,
     layer_types=["chunked_attention", "chunked_attention", "full_attention", "full_attention"]),
     gguf=False, turned=["gate_up_proj", "down_proj"],
     inside=("language_model.", "llama4", "Llama4ForConditionalGeneration",
             ["vision_model.class_embedding f32 0 1 16", "multi_modal_projector.linear_1.weight f32 0 1 16 32"]),
     off={"use_qk_norm": True, "attn_temperature_tuning": True, "layer_types": ["full_attention"] * 4})
PHIMOE = dict(SMALL, num_local_experts=6, num_experts_per_tok=2, router_jitter_noise=0.3)
case("phimoe", "phimoe", dict(PHIMOE, attention_bias=True, lm_head_bias=True, sliding_window=9,
     rope_scaling={"type": "longrope", "long_factor": [1.5, 2.0, 3.0, 4.0],
     "short_factor": [1.0, 1.1, 1.3, 1.7], "long_mscale": 1.24, "short_mscale": 1.24,
     "original_max_position_embeddings": 32}), gguf=False,
     off={"rope_scaling": None, "router_jitter_noise": 0.01, "sliding_window": None})
case("phimoe-plain", "phimoe", dict(PHIMOE, router_jitter_noise=0.01), gguf=False,
     off={"router_jitter_noise": 0.3})
case("hunyuan_v1_moe", "hunyuan_v1_moe", dict(SMALL, head_dim=12, num_experts=5, moe_topk=[2, 2],
     attention_bias=True, rope_scaling={"type": "dynamic", "alpha": 100.0, "factor": 1.0}), gguf=False,
     off={"rope_scaling": None, "moe_topk": 1})
case("bitnet", "bitnet", dict(SMALL, attention_bias=True, rope_theta=1000.0), gguf=False,
     off={"hidden_act": "silu", "rope_theta": 500000.0})
case("dbrx", "dbrx", dict(d_model=32, n_heads=4, n_layers=2, max_seq_len=64, attn_config=dict(
     clip_qkv=1.1, kv_n_heads=2, rope_theta=1000.0), ffn_config=dict(ffn_hidden_size=24,
     moe_num_experts=5, moe_top_k=2, ffn_act_fn={"name": "gelu"})), gguf=False, rules={
     f"transformer.blocks.*.ffn.experts.mlp.{w}": (0, 0.3) for w in ("w1", "v1", "w2")},
     stored={"attn_config": dict(clip_qkv=1.1, kv_n_heads=2, rope_theta=1000.0), "ffn_config": dict(
     ffn_hidden_size=24, moe_num_experts=5, moe_top_k=2, ffn_act_fn={"name": "gelu"})})
HYBRID = dict(SMALL, layer_types=["attention"] * 2, embedding_multiplier=2.0, residual_multiplier=0.6,
     attention_multiplier=0.2, logits_scaling=3.0, shared_intermediate_size=24, mamba_n_heads=4)
case("granitemoehybrid", "granitemoehybrid", dict(HYBRID, num_local_experts=5, num_experts_per_tok=2,
     position_embedding_type="rope", rope_theta=500.0, attention_bias=True), gguf=False,
     off={"position_embedding_type": None, "num_experts_per_tok": 1})
case("granitemoehybrid-dense", "granitemoehybrid", dict(HYBRID, num_local_experts=0,
     tie_word_embeddings=True), gguf=False, off={"attention_multiplier": 1.0})
case("aria_text", "aria_text", dict(SMALL, num_attention_heads=4, head_dim=8, moe_num_experts=5, moe_topk=2,
     moe_num_shared_experts=2, rope_theta=500.0, attention_bias=True, mlp_bias=True), gguf=False,
     rules={f"model.layers.*.mlp.experts.fc{i}.weight": (0, 0.3) for i in (1, 2)},
     off={"moe_topk": 1, "rope_theta": 10000.0})
case("gpt_neox_japanese", "gpt_neox_japanese", dict(BIO, intermediate_multiple_size=1.3, rotary_pct=0.5,
     rotary_emb_base=500), gguf=False, off={"rotary_pct": 1.0, "rotary_emb_base": 10000})
case("jetmoe", "jetmoe", dict(hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_key_value_heads=2,
     kv_channels=12, max_position_embeddings=64, num_local_experts=5, num_experts_per_tok=2,
     rope_theta=1000.0, rms_norm_eps=0.5), gguf=False, off={"rope_theta": 10000.0, "rms_norm_eps": 1e-6})

"""The tiny models of make_families.py. `off`: options which, set to that value, must change the
logits; `idle`: tensors that cannot change them; `ctx`: the context that the logits are computed for;
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

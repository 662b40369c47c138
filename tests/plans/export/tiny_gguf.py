"""A tiny Llama as a GGUF file: 4 layers, width 32, quantised in blocks of 32, written by gguf's own writer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFEndian, GGUFWriter, TokenType, get_tensor_name_map
from gguf.quants import quantize
from transformers import AutoModelForCausalLM, AutoTokenizer

TYPE = GGMLQuantizationType.Q8_0


def write_tiny(folder: Path, path: Path, arch: str = "llama", endian: GGUFEndian = GGUFEndian.LITTLE, **more: Any) -> Path:
    """The model in a folder as a GGUF file.

    Parameters
    ----------
    more : int or list
        Other keys of the architecture; ``__`` stands for a dot.
    """
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config, writer = model.config, GGUFWriter(path, arch, endianess=endian)
    keys = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "rope.dimension_count": config.head_dim,
        "vocab_size": config.vocab_size,
    }
    for key, value in (keys | {key.replace("__", "."): value for key, value in more.items()}).items():
        name = key if key == "split.count" else f"{arch}.{key}"
        (writer.add_array if isinstance(value, list) else writer.add_uint32)(name, value)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    writer.add_float32(f"{arch}.rope.freq_base", config.rope_parameters["rope_theta"])
    writer.add_name("Tiny")
    writer.add_size_label("1K")
    _add_tokenizer(writer, tokenizer)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        _add_tensor(writer, names.get_name(name.removesuffix(".weight")), tensor.numpy(), config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter, tokenizer: Any) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token, _ in vocabulary])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(True)
    writer.add_chat_template(tokenizer.chat_template)


def _add_tensor(writer: GGUFWriter, name: str, array: np.ndarray, config: Any) -> None:
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-1])
    if heads:  # llama.cpp rotates neighbours where transformers rotates halves
        array = array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
    if array.ndim == 1:
        writer.add_tensor(f"{name}.weight", array)
    else:
        writer.add_tensor(f"{name}.weight", quantize(array, TYPE), raw_dtype=TYPE)

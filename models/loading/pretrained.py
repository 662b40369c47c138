"""Config, tokenizer and model by transformers, with everything refused that it would only warn about."""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from models.families import Family, family_of
from models.families.checkpoints import block_pattern, sublayer_of
from models.loading.building import loaded
from models.loading.checks.gguf import gguf_header
from models.loading.checks.words import in_words
from models.loading.gaps import Gaps, gaps_in
from models.loading.memory import Estimate
from models.loading.progress_bars import reported
from models.loading.slices import refuse_surplus, renamed
from models.loading.sources import Source
from models.loading.weight_files import read_json, unmark
from models.removal import leave_out
from refusal import Progress, Refusal, silent
from settings import subfolder

_DECODERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model")


def config_of(source: Source) -> PreTrainedConfig:
    """The config of a decoder that transformers knows, or that the operator trusts.

    Raises
    ------
    Refusal
        It is another one, or cannot be read.
    """
    with in_words(source.name):
        if source.gguf:
            gguf_header(source.folder / source.gguf)  # what it says of itself is true, so no list grows beyond it
            return AutoConfig.from_pretrained(source.folder, gguf_file=source.gguf)
        gaps = gaps_in(source.folder)
        if gaps is None:
            return _whole(source, read_json(source.folder / "config.json"))
        kind = gaps.config.get("model_type")
        if kind not in CONFIG_MAPPING:
            family_of(SimpleNamespace(model_type=kind))  # refuses it by name
        return CONFIG_MAPPING[kind].from_dict(gaps.config)


def _whole(source: Source, raw: dict[str, Any]) -> PreTrainedConfig:
    kind = raw.get("model_type")
    if not kind:
        raise Refusal(f"The config.json of {source.name} does not name a model_type, so it is not a transformers model.")
    if raw.get("is_encoder_decoder") or not all(name.endswith(_DECODERS) for name in raw.get("architectures") or ()):
        raise Refusal(
            f"{source.name} is an encoder ({', '.join(raw.get('architectures') or [kind])}). PruneScope works on "
            "decoders, which predict the next token: their architecture ends in ForCausalLM."
        )
    if kind not in CONFIG_MAPPING and "auto_map" in raw and not source.trusted:
        raise Refusal(
            f"{source.name} comes with its own code ('{kind}'), which could do anything on this machine. The operator can "
            "list it in PRUNESCOPE_TRUST to allow that."
        )
    if kind not in CONFIG_MAPPING and "auto_map" not in raw:
        family_of(SimpleNamespace(model_type=kind))  # refuses it by name
    config = AutoConfig.from_pretrained(source.folder, trust_remote_code=source.trusted)
    if not isinstance(config.get_text_config(decoder=True), PreTrainedConfig):
        raise Refusal(f"The config.json of {source.name} holds a text_config that models of the type '{kind}' do not have.")
    return config


def tokenizer_of(source: Source) -> PreTrainedTokenizerBase:
    """The tokenizer; a Refusal where there is none, or where it cannot be read."""
    options = {"gguf_file": source.gguf} if source.gguf else {"trust_remote_code": source.trusted}
    with in_words(source.name):
        return AutoTokenizer.from_pretrained(source.folder, **options)


def model_of(source: Source, config: PreTrainedConfig, expected: Estimate, progress: Progress = silent) -> PreTrainedModel:
    """The weights, all of them and nothing else, on the device.

    Raises
    ------
    Refusal
        They are not those of the config, or cannot be read.
    """
    options = {"config": config, "trust_remote_code": source.trusted}
    gaps = None if source.gguf else gaps_in(source.folder)
    if gaps is not None and gaps.blocks:
        refuse_surplus(source.files, family_of(config), gaps.blocks)
        options["key_mapping"] = renamed(family_of(config).layers.rpartition(".")[2], gaps.blocks)
    if source.gguf:
        options = {"gguf_file": source.gguf, "quantization_config": GgufConfig(dequantize=True)}
    elif not source.trusted:
        options["use_safetensors"] = True
    if expected.device == "split":
        options |= {"device_map": "auto", "offload_folder": subfolder("offload")}
    elif expected.device != "cpu":
        options["device_map"] = expected.device
    # Weights of another shape come back in ``told``, and are refused with the others.
    options |= {"dtype": getattr(torch, expected.dtype), "ignore_mismatched_sizes": True}
    with in_words(source.name, progress) as watched, reported(watched):
        model, told = loaded(source.folder, **options)
    if gaps is not None:  # transformers has made weights up for them
        family = family_of(config)
        told["missing_keys"] = [name for name in told["missing_keys"] if not _in_gap(str(name), gaps, family)]
        leave_out(model, family, gaps.attention, gaps.mlp)
    _check_complete(source.name, told)
    if source.gguf:
        unmark(model)
    return model.eval().requires_grad_(False)


def _check_complete(name: str, told: dict) -> None:
    """Refuse weights that are missing (transformers would make them up), left over, or of another shape."""
    wrong = {what: sorted(map(str, told[f"{what}_keys"])) for what in ("missing", "unexpected", "mismatched")}
    problems = [f"{len(keys)} {what} (first: {keys[0]})" for what, keys in wrong.items() if keys]
    if problems:
        raise Refusal(f"The weights of {name} do not match its config.json: {'; '.join(problems)}. Save the model again.")


def _in_gap(name: str, gaps: Gaps, family: Family) -> bool:
    """Whether a weight belongs to a sublayer that the config says is missing."""
    place = block_pattern(family).fullmatch(name)
    if place is None:
        return False
    missing = {"attention": gaps.attention, "mlp": gaps.mlp}
    return int(place[2]) in missing.get(sublayer_of(family, place[3]), ())

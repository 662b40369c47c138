"""Models that are laid over a device and the disk: the live side and what is read back are both split so."""

from contextlib import contextmanager

import psutil
import pytest
import torch
from accelerate import dispatch_model

from models.lease import Leases
from plans.export import guard, reread
from plans.export.export import export
from tests.plans.export.exporting import order_of, saved


class Split:
    """Leases that lend a model whose upper blocks lie on the disk, as where the memory is too small for it."""

    def __init__(self, folder):
        self.offload, self.leases = folder, Leases()

    @contextmanager
    def lease(self, ref, progress):
        with self.leases.lease(ref, progress) as subject:
            names = ("embed_tokens", "norm", "rotary_emb")
            places = {f"model.{name}": "cpu" for name in names} | {"lm_head": "cpu"}
            places |= {f"model.layers.{i}": "cpu" if i < 2 else "disk" for i in range(subject.layers)}
            dispatch_model(subject.model, places, main_device="cpu", offload_dir=str(self.offload), force_hooks=True)
            yield subject

    def release(self, fingerprint):
        """Nothing else is in memory."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_EXPORTS", str(tmp_path / "exports"))
    return saved(tmp_path / "model", "llama")


@pytest.mark.parametrize(("plan", "form", "reader"), [("b1", "removed", "stock"), ("a1,m3", "noop", "gaps")])
def test_a_split_model_is_exported_and_read_back_split(folder, tmp_path, monkeypatch, plan, form, reader):
    asked, runs = [], reread.process.run
    monkeypatch.setattr(reread.process, "run", lambda command, *rest: asked.append(command) or runs(command, *rest))
    told = export(order_of(folder, plan, form), Split(tmp_path / "offload"), lambda *_: {})
    assert told.difference < 1e-5 and asked[0][-2] == "split", "the fresh process lays it over what there is, too"

    tokens, places, loads = torch.arange(24).reshape(2, 12), [], reread.AutoModelForCausalLM.from_pretrained
    whole = reread.said(reader, told.folder, tokens, torch.float32, "cpu")

    def loaded(*given, **options):
        model, said = loads(*given, **options)
        places.extend(model.hf_device_map.values())
        return model, said

    monkeypatch.setattr(reread.AutoModelForCausalLM, "from_pretrained", loaded)
    size, there = sum(path.stat().st_size for path in told.folder.glob("*.safetensors")), psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: there._replace(available=int(0.75 * size)))
    split = reread.said(reader, told.folder, tokens, torch.float32, "split")
    assert "disk" in places and (split - whole).abs().max() < 1e-5, "where the memory is too small, the disk is read"


def test_what_is_wrong_is_found_in_a_split_model_as_well(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "cut", lambda subject, plan, real=guard.cut: real(subject))
    with pytest.raises(Exception, match="does not reproduce the pruned model"):
        export(order_of(folder, "b1", "removed"), Split(tmp_path / "offload"), lambda *_: {})
    assert not list((tmp_path / "exports").iterdir())

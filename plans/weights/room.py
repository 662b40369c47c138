"""What can be known before anything is pruned: that there is something to prune, and room for it."""

from models.linears import Linear, refuse_offloaded
from models.loading.memory import free_memory
from models.view import View
from plans.weights.masks import check_group
from plans.weights.sparsity import Sparsity, share
from refusal import Refusal


def check(view: View, found: list[list[Linear]], sparsity: Sparsity) -> None:
    """Refuse before anything is computed."""
    inside = [linear for block in found for linear in block]
    for weight in view.model.parameters():
        refuse_offloaded(weight)
    if not inside:
        part = {"all": "linear map", "attention": "attention", "mlp": "MLP"}[sparsity.modules]
        raise Refusal(f"There is nothing to prune: the plan leaves no {part}. Drop fewer sublayers, or prune other ones.")
    for linear in inside:
        check_group(linear.matrices.shape[2], sparsity, linear.name)
    whole = (linear.matrices.shape[1:] for linear in inside)
    most = max(width if sparsity.method == "wanda" else rows * width for rows, width in whole)
    if not sparsity.group and not share(most, sparsity.ratio):
        raise Refusal(f"A share of {sparsity.ratio:g} is less than one weight, so nothing would be pruned. Give a larger one.")
    _check_room(view, found, sparsity)


def _check_room(view: View, found: list[list[Linear]], sparsity: Sparsity) -> None:
    """Tell before the memory is full: pruned weights lie beside the dense ones, and SparseGPT's sums grow with in²."""
    needs = sum(linear.weight.numel() * linear.weight.element_size() for block in found for linear in block)
    what = "the pruned weights"
    if sparsity.method == "sparsegpt":
        blocks = [[linear.matrices.shape for linear in block] for block in found if block]
        needs += max(sum(8 * n * width**2 for n, _, width in block) + 24 * max(s[2] for s in block) ** 2 for block in blocks)
        what += " and SparseGPT's products of one block's inputs"
    free = free_memory(view.device.type)
    if needs > free:
        raise Refusal(
            f"Pruning needs {needs / 1e9:.1f} GB for {what}, {free / 1e9:.1f} GB is free. Use Wanda (w:wanda@0.5), prune one "
            "part alone (/attention or /mlp), or free memory."
        )

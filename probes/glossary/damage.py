"""What a plan does to predictions."""

from probes.glossary.entry import Entry

_SPACES = "arXiv 2603.24652"

ENTRIES = (
    Entry(
        "KL when chosen",
        ("kl when chosen", "mean kl when chosen"),
        "KL on the windows on which a plan was chosen.",
        "the mean of KL(dense‖pruned) over the first half of the windows",
        "compare it with the KL on held-out windows: a much lower one shows that the choice fits its own text",
        "the damage on other text. It is optimistic, since the plan was selected for it.",
    ),
    Entry(
        "KL, continued",
        ("kl, continued",),
        "KL on what the dense model writes after a window, instead of on the text itself.",
        "the mean of KL(dense‖pruned) over the tokens of the dense model's greedy continuation",
        "0 is no change; a value far above the KL on the text says that generation suffers more than reading",
        "that the pruned model's own text is as good: here it is told the dense model's words.",
    ),
    Entry(
        "KL estimate",
        ("kl estimate",),
        "The KL that theory expects of a small change of the logits.",
        "`Var_p(Δz) / (2T²)`: the variance of the change of the logits under the dense probabilities",
        "close to the measured KL, the change is small and acts evenly; far from it, it is not small",
        "a measurement.",
        f"{_SPACES}, theorem 3",
    ),
    Entry(
        "KL reversed",
        ("kl reversed",),
        "The divergence with the two models swapped.",
        "`Σ q ln(q / p)` per token, with q from the pruned and p from the dense model",
        "0 is no change; far above KL(dense‖pruned), the pruned model is sure of tokens that the dense one finds unlikely",
        "how much the dense model's tokens lost: that is KL(dense‖pruned).",
    ),
    Entry(
        "KL over the options",
        ("kl, options",),
        "How far the choice among the options moved.",
        "`Σ p ln(p / q)` over the options' tokens alone, probabilities renormalised to 1",
        "far below the KL over the vocabulary, the damage is elsewhere and the choice survives",
        "anything about the rest of the distribution, or about generated text.",
        _SPACES,
    ),
    Entry(
        "KL(dense‖pruned)",
        ("kl", "kl *", "kl,*", "kl(*", "mean kl*"),
        "How far the pruned model's prediction of the next token is from the dense model's, in nats.",
        "`Σ p ln(p / q)` over the vocabulary, p from the dense and q from the pruned model, mean over tokens",
        "0 is no change; at 0.1 the dense model's tokens keep nine tenths of their probability; above 1 texts fall apart",
        "that answers got worse: it measures difference from the dense model, on this text. A small one does not promise good "
        "long answers.",
    ),
    Entry(
        "Perplexity",
        ("perplexity*", "dense_perplexity"),
        "How surprised the model is by the text, as a number of equally likely tokens.",
        "`exp(−mean ln p(token))` over all tokens but the first of each window",
        "lower is better; compare it with the dense model's on the same windows",
        "quality of answers. It depends on tokenizer, text, window length and BOS, so it cannot be compared with a paper's "
        "unless these are the same.",
    ),
    Entry(
        "Same top token",
        ("same top token", "top1*"),
        "How often both models would write the same next token.",
        "the share of tokens of the text at which the likeliest token is the same in both",
        "100 % is no change; at 90 %, a greedy text differs after about ten tokens",
        "that the same text would come out: after one other token, all the rest may differ.",
    ),
    Entry(
        "1 − cos of h, z and p",
        ("1 − cos(*", "*cosine(h)*"),
        "How far hidden state h, logits z or probabilities p changed direction.",
        "1 − the cosine of the dense and the pruned vector, mean over positions, in float64",
        "0 is the same direction; hidden states may hardly move while probabilities move far, which is what ruins generation",
        "that three equal values are equal damage: the spaces have different dimensions, and softmax stretches some.",
        _SPACES,
    ),
    Entry(
        "Logit and probability cosine",
        ("logit cosine", "probability cosine"),
        "Whether the prediction of the next token keeps its direction.",
        "the cosine of the two models' logits, or probabilities, over the vocabulary, mean over tokens",
        "1 is no change",
        "much where logits share a large common part, as in most models: their cosine can be near 1 while tokens change.",
        _SPACES,
    ),
    Entry(
        "Parallel and orthogonal part",
        ("parallel part*", "orthogonal part*"),
        "What a change of h or z does along the vector, and across it.",
        "the length of the projection of Δ on the dense vector, and of the rest, over the length of that vector",
        "only the orthogonal part changes the direction; the norm before the head takes a parallel part of h out again",
        "a loss in itself.",
        f"{_SPACES}, theorem 1",
    ),
    Entry(
        "Dense and pruned",
        ("dense", "pruned"),
        "The score of the whole model, and of the model under the plan.",
        "the metric of the task, by lm-evaluation-harness, on the same items",
        "look at the difference with its interval, not at two numbers",
        "anything on its own: a dense model near chance has nothing to lose.",
    ),
)

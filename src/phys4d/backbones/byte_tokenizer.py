"""A tokenizer that needs no files: one token a byte. Tiny models that are built without a folder use it."""

from __future__ import annotations

from typing import Any

SPECIAL = ("<pad>", "</s>", "<unk>")
VOCABULARY = 256 + len(SPECIAL)
"""Size of its vocabulary."""


def byte_tokenizer() -> Any:
    """Bytes as tokens and </s> at the end, as the tokenizers of T5 close a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *letters))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )

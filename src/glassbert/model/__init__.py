"""BERT: token ids → hidden states → logits → loss. Knows no text and no files.

One legend of shapes holds for the whole package: **B** batch, **S** sequence, **T** tokens in the stream, **H**
hidden, **A** heads, **D** head size, **I** intermediate, **V** vocabulary, **L** layers, **C** classes.
"""

from glassbert.model.activations import ACT2FN
from glassbert.model.attention import ATTENTION, AttentionBackend
from glassbert.model.base import BertPreTrainedModel
from glassbert.model.bert import (
    BertAttention,
    BertEmbeddings,
    BertEncoder,
    BertIntermediate,
    BertLayer,
    BertModel,
    BertOutput,
    BertPooler,
    BertSelfAttention,
    BertSelfOutput,
    apply_chunking_to_forward,
)
from glassbert.model.config import BertConfig
from glassbert.model.heads import BertForSequenceClassification
from glassbert.model.layout import Layout, Packed, Padded
from glassbert.model.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    ModelOutput,
    SequenceClassifierOutput,
)

__all__ = [
    "ACT2FN",
    "ATTENTION",
    "AttentionBackend",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "BertAttention",
    "BertConfig",
    "BertEmbeddings",
    "BertEncoder",
    "BertForSequenceClassification",
    "BertIntermediate",
    "BertLayer",
    "BertModel",
    "BertOutput",
    "BertPooler",
    "BertPreTrainedModel",
    "BertSelfAttention",
    "BertSelfOutput",
    "Layout",
    "ModelOutput",
    "Packed",
    "Padded",
    "SequenceClassifierOutput",
    "apply_chunking_to_forward",
]

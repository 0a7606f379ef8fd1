"""BERT: token ids → hidden states → logits → loss. Knows no text and no files.

One legend of shapes holds for the whole package: **B** batch, **S** sequence, **T** tokens in the stream, **H**
hidden, **A** heads, **D** head size, **I** intermediate, **V** vocabulary, **L** layers, **C** classes.
"""

from glassbert.model.activations import ACT2FN
from glassbert.model.attention import ATTENTION, AttentionBackend
from glassbert.model.base import BertPreTrainedModel, PreTrainedModel
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
from glassbert.model.heads import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from glassbert.model.language import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertLMHeadModel,
    BertLMPredictionHead,
    BertOnlyMLMHead,
    BertOnlyNSPHead,
    BertPredictionHeadTransform,
    BertPreTrainingHeads,
)
from glassbert.model.layout import Layout, Packed, Padded
from glassbert.model.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertForPreTrainingOutput,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SentenceEncoderOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from glassbert.model.pruning import find_pruneable_heads_and_indices, prune_linear_layer
from glassbert.model.sentence import SentenceEncoder

__all__ = [
    "ACT2FN",
    "ATTENTION",
    "AttentionBackend",
    "BaseModelOutputWithPastAndCrossAttentions",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "BertAttention",
    "BertConfig",
    "BertEmbeddings",
    "BertEncoder",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForPreTrainingOutput",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertIntermediate",
    "BertLMHeadModel",
    "BertLMPredictionHead",
    "BertLayer",
    "BertModel",
    "BertOnlyMLMHead",
    "BertOnlyNSPHead",
    "BertOutput",
    "BertPooler",
    "BertPreTrainedModel",
    "BertPreTrainingHeads",
    "BertPredictionHeadTransform",
    "BertSelfAttention",
    "BertSelfOutput",
    "CausalLMOutputWithCrossAttentions",
    "Layout",
    "MaskedLMOutput",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "NextSentencePredictorOutput",
    "Packed",
    "Padded",
    "PreTrainedModel",
    "QuestionAnsweringModelOutput",
    "SentenceEncoder",
    "SentenceEncoderOutput",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
    "apply_chunking_to_forward",
    "find_pruneable_heads_and_indices",
    "prune_linear_layer",
]

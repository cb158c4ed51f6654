from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ftcl_model.model.backbone import Backbone
from ftcl_model.settings import BackboneSettings

CLASSES, WIDTH = 3, 8
LENGTHS = torch.tensor([23, 7, 2])


def make(settings: BackboneSettings) -> tuple[Backbone, Tensor]:
    torch.manual_seed(0)
    backbone = Backbone(6, CLASSES, settings).double().eval()
    return backbone, torch.randn(3, 23, 6, dtype=torch.float64)


RANDOM = BackboneSettings(width=WIDTH, attention_warmup=0)


def test_one_video_gets_the_scores_of_the_published_network() -> None:
    backbone, features = make(RANDOM)
    output = backbone(features[:1], LENGTHS[:1])
    x = features[0]
    # The convolution, the branches and the top-k means, written out for one video.
    weight, bias = backbone.embed.weight, backbone.embed.bias
    embedding = []
    for t in range(23):
        total = bias.clone()
        for tap in range(3):
            if 0 <= t + tap - 1 < 23:
                total = total + weight[:, :, tap] @ x[t + tap - 1]
        embedding.append(total.clamp(min=0))
    e = torch.stack(embedding)
    attention = (e @ backbone.attend.weight.T + backbone.attend.bias).softmax(dim=1)
    logits = e @ backbone.classify.weight.T + backbone.classify.bias
    torch.testing.assert_close(output.embedding[0], e)
    torch.testing.assert_close(output.attention[0], attention)
    torch.testing.assert_close(output.class_logits[0], logits)
    instance = logits * attention[:, :1]
    torch.testing.assert_close(output.instance_scores[0], instance.softmax(dim=1))
    for branch, count in enumerate((2, 7, 7)):  # 23 // 8, 23 // 3, 23 // 3
        weighted = (logits * attention[:, branch, None]).sort(dim=0, descending=True).values
        video = weighted[:count].mean(dim=0).log_softmax(dim=0)
        torch.testing.assert_close(output.video_log_scores[0, branch], video)
        ranked = attention[:, branch].argsort(descending=True)[:count]
        torch.testing.assert_close(output.branch_features[0, branch], e[ranked].mean(dim=0))


def test_padding_changes_nothing() -> None:
    backbone, features = make(RANDOM)
    padding = torch.arange(23) >= LENGTHS[:, None]
    together = backbone(features.masked_fill(padding[..., None], torch.nan), LENGTHS)
    assert together.mask.tolist() == (~padding).tolist()
    for video, length in enumerate(LENGTHS.tolist()):
        alone = backbone(features[video : video + 1, :length], LENGTHS[video : video + 1])
        for name in ("embedding", "attention", "class_logits", "instance_scores"):
            part = getattr(together, name)[video, :length]
            torch.testing.assert_close(part, getattr(alone, name)[0])
        torch.testing.assert_close(together.video_log_scores[video], alone.video_log_scores[0])
        torch.testing.assert_close(together.branch_features[video], alone.branch_features[0])


def test_padding_gets_no_gradient() -> None:
    backbone, features = make(RANDOM)
    features.requires_grad_()
    output = backbone(features, LENGTHS)
    (output.video_log_scores.sum() + output.branch_features.sum()).backward()
    padding = torch.arange(23) >= LENGTHS[:, None]
    assert features.grad is not None
    assert (features.grad[padding] == 0).all()
    assert (features.grad[~padding] != 0).any()


def test_dropout_hits_channels_and_whole_snippets_in_training_only() -> None:
    backbone, features = make(RANDOM)
    rested = backbone(features, LENGTHS).class_logits
    torch.testing.assert_close(backbone(features, LENGTHS).class_logits, rested, rtol=0, atol=0)
    backbone.train()
    trained = backbone(features, LENGTHS)
    bias = backbone.classify.bias
    dropped = (trained.class_logits == bias).all(dim=2)
    assert 0.5 < dropped.double().mean() < 0.95  # about 0.7 of the snippets
    # The published network has no dropout between embedding and attention.
    attention = trained.attention
    backbone.eval()
    torch.testing.assert_close(backbone(features, LENGTHS).attention, attention, rtol=0, atol=0)


def test_the_warm_attention_starts_uniform_and_is_faded_in() -> None:
    backbone, features = make(BackboneSettings(width=WIDTH, attention_warmup=80))
    assert (backbone(features, LENGTHS).attention == 1 / 3).all()
    torch.nn.init.normal_(backbone.attend.weight)
    logits = backbone.attend(backbone(features, LENGTHS).embedding)
    scales = {0: 0.0, 80: 0.0, 100: 0.25, 120: 0.5, 160: 1.0, 1000: 1.0}
    for iteration, scale in scales.items():
        backbone.warm_attention(iteration)
        expected = (scale * logits).softmax(dim=-1)
        torch.testing.assert_close(backbone(features, LENGTHS).attention, expected)


def test_without_warm_up_the_attention_starts_at_random() -> None:
    backbone, features = make(RANDOM)
    backbone.warm_attention(0)
    attention = backbone(features, LENGTHS).attention
    assert attention[0].std() > 0.01
    assert backbone.attention_scale == 1


@pytest.mark.parametrize("input_dropout", [False, True])
def test_input_dropout_reaches_embedding_and_attention(input_dropout: bool) -> None:
    settings = BackboneSettings(width=WIDTH, attention_warmup=0, input_dropout=input_dropout)
    backbone, features = make(settings)
    rested = backbone(features, LENGTHS)
    trained = backbone.train()(features, LENGTHS)
    assert torch.equal(rested.embedding, trained.embedding) is not input_dropout
    assert torch.equal(rested.attention, trained.attention) is not input_dropout

from __future__ import annotations

import torch

from ftcl_model.losses.proposals import choose_snippets

# The embedding of a snippet is its number plus one, so that what was chosen can be read off.
EMBEDDING = torch.arange(1.0, 7.0).expand(3, 6)[..., None]
ATTENTION = torch.tensor(
    [
        [0.9, 0.1, 0.8, 0.2, 0.7, 0.3],
        [0.1, 0.2, 0.9, 0.8, 0.99, 0.99],
        [0.5, 0.9, 0.9, 0.9, 0.9, 0.9],
    ]
)
LENGTHS = torch.tensor([6, 4, 1])


def test_the_highest_attention_is_chosen_in_the_order_of_time() -> None:
    chosen = choose_snippets(EMBEDDING, ATTENTION, LENGTHS, 3)
    assert chosen.snippets[..., 0].tolist() == [[1, 3, 5], [2, 3, 4], [1, 0, 0]]
    assert chosen.lengths.tolist() == [3, 3, 1]


def test_ranks_can_be_skipped() -> None:
    chosen = choose_snippets(EMBEDDING, ATTENTION, LENGTHS, 3, skip=3)
    assert chosen.snippets[..., 0].tolist() == [[2, 4, 6], [1, 0, 0], [0, 0, 0]]
    assert chosen.lengths.tolist() == [3, 1, 0]


def test_more_than_there_are_gives_what_there_is() -> None:
    chosen = choose_snippets(EMBEDDING, ATTENTION, LENGTHS, 8)
    assert chosen.snippets.shape == (3, 8, 1)
    assert chosen.snippets[1, :, 0].tolist() == [1, 2, 3, 4, 0, 0, 0, 0]
    assert chosen.lengths.tolist() == [6, 4, 1]
    nothing = choose_snippets(EMBEDDING, ATTENTION, LENGTHS, 2, skip=7)
    assert nothing.lengths.tolist() == [0, 0, 0]
    assert (nothing.snippets == 0).all()


def test_the_embedding_gets_a_gradient_where_it_was_chosen() -> None:
    embedding = EMBEDDING.clone().requires_grad_()
    chosen = choose_snippets(embedding, ATTENTION, LENGTHS, 3)
    chosen.snippets.sum().backward()
    assert embedding.grad is not None
    assert embedding.grad[..., 0].tolist() == [
        [1, 0, 1, 0, 1, 0], [0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]
    ]  # fmt: skip


def test_of_equal_attentions_the_first_are_taken() -> None:
    """As where a softmax in float32 has saturated, to whole stretches of 1."""
    embedding = torch.arange(400.0).reshape(1, 400, 1)
    attention = torch.zeros(1, 400)
    attention[0, 100:350] = 1.0
    lengths = torch.tensor([380])
    best = choose_snippets(embedding, attention, lengths, 5)
    next_best = choose_snippets(embedding, attention, lengths, 5, skip=5)
    assert best.snippets.flatten().tolist() == [100, 101, 102, 103, 104]
    assert next_best.snippets.flatten().tolist() == [105, 106, 107, 108, 109]

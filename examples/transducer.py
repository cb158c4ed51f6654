"""A transducer that reads numbers, though nobody says which digit is where.

    python examples/transducer.py

Two to five handwritten digits stand beside one another. A recurrent network goes over the columns
of the image, another one over the digits written so far, and the joint network says for each pair
what comes next: a digit, or the next column. `rnnt_loss` sums over all ways to write the number;
the gradient of the lattice's score, `rnnt`, says in which column each digit was written.

Data: the digits of scikit-learn, 8 x 8 pixels; the last 300, of other writers, are held out.

Takes 40 s of one core. Seen: of the digits of 200 held-out numbers 9.3 % are wrong, and 142 numbers
are right. A digit is written as soon as it can be told from the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import softdp

BLANK = 10


class Transducer(nn.Module):
    """Columns (b, t, 8) and digits (b, u) to logits (b, t / 2, u + 1, 11)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.strokes = nn.Sequential(
            *(nn.Conv1d(8, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU()),
            *(nn.Conv1d(width, width, 5, 2, padding=2), nn.BatchNorm1d(width), nn.ReLU()),
        )
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.embedding = nn.Embedding(11, width)  # of the digit written last, or of none yet
        self.predictor = nn.GRU(width, width, batch_first=True)
        self.joint = nn.Linear(width, 11)

    def forward(self, columns: Tensor, digits: Tensor) -> Tensor:
        written = nn.functional.pad(digits, (1, 0), value=BLANK)
        predicted, _ = self.predictor(self.embedding(written))
        encoded, _ = self.encoder(self.strokes(columns.mT).mT)
        return self.joint(torch.relu(encoded[:, :, None] + predicted[:, None]))

    @torch.no_grad()
    def read(self, columns: Tensor) -> Tensor:
        """The digits of one image (t, 8), each the most probable one when it is written."""
        encoded, _ = self.encoder(self.strokes(columns.T[None]).mT)
        digits = [BLANK]
        predicted, state = self.predictor(self.embedding(torch.tensor([[BLANK]])))
        for column in encoded[0]:
            for _ in range(3):  # more digits than that are in no column
                label = self.joint(torch.relu(column + predicted[0, 0])).argmax()
                if label == BLANK:
                    break
                digits.append(int(label))
                predicted, state = self.predictor(self.embedding(label.view(1, 1)), state)
        return torch.tensor(digits[1:])


def numbers(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, ...]:
    """Images (b, t, 8) of numbers, their digits (b, u), and how many half columns and digits."""
    columns, digits = [], []
    for _ in range(count):
        chosen = torch.randint(len(images), (int(torch.randint(2, 6, ())),))
        parts = [torch.zeros(2, 8)]
        for image in images[chosen]:
            parts += [image.T, torch.zeros(int(torch.randint(1, 5, ())), 8)]
        columns.append(torch.cat(parts))
        digits.append(labels[chosen])
    frames = torch.tensor([(len(one) + 1) // 2 for one in columns])
    written = torch.tensor([len(one) for one in digits])
    return pad_sequence(columns, True), pad_sequence(digits, True), frames, written


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, read and draw; returns losses and how many digits of a hundred are read wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1200, help="of Adam")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/transducer.png"))
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    data = load_digits()
    images, labels = torch.tensor(data.images).float() / 16, torch.tensor(data.target)
    model, loss_of = Transducer(), softdp.RNNTLoss(blank=BLANK)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, chosen.steps)
    losses = []
    for step in range(chosen.steps):
        columns, digits, frames, written = numbers(images[:-300], labels[:-300], 32)
        loss = loss_of(model(columns, digits), digits, frames, written)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0:
            print(f"step {step}: loss {losses[-1]:.2f}", flush=True)

    model.eval()
    columns, digits, frames, written = numbers(images[-300:], labels[-300:], 200)
    read = [model.read(image[: 2 * length]) for image, length in zip(columns, frames, strict=True)]
    errors = torch.stack(
        [
            softdp.edit_distance((one[:, None] != true[:length]).float(), 1.0, 1.0, gamma=0.0)
            for one, true, length in zip(read, digits, written, strict=True)
        ]
    )
    told = {"first": losses[0], "last": losses[-1]}
    told["errors"] = 100 * errors.sum().item() / written.sum().item()
    print(f"{told['errors']:.1f} % of the digits wrong, {(errors == 0).sum()} of 200 numbers right")

    log_p = model(columns, digits).log_softmax(-1).detach()
    labelled = digits[:, None, :, None].expand(-1, log_p.shape[1], -1, -1)
    log_label = log_p[:, :, :-1].gather(3, labelled)[..., 0].requires_grad_()
    cost = softdp.rnnt(log_p[..., BLANK], log_label, lengths=(frames, written))
    (when,) = torch.autograd.grad(-cost.sum(), log_label)  # (b, t / 2, u): how probable it is

    figure, axes = plt.subplots(4, 2, figsize=(11, 8))
    for k, axis in enumerate(axes.T.flat):
        width = 2 * int(frames[k])
        picture = columns[k, :width].T
        axis.imshow(picture, cmap="Greys", aspect="auto", extent=(0, width, 0, 8))
        middle = 2 * torch.arange(width // 2) + 1
        for u, probable in enumerate(when[k, : width // 2, : written[k]].T):
            axis.bar(middle, -4 * probable, width=1.8, color=f"C{u}", alpha=0.8)
            place = (probable * middle).sum().item()
            axis.text(place, -6, str(int(digits[k, u])), color=f"C{u}", ha="center", fontsize=13)
        text = "".join(map(str, read[k].tolist()))
        axis.set_title(f"read: {text}", color="C3" if errors[k] else "black", loc="left")
        axis.set(xlim=(0, 65), ylim=(-6.5, 8.2))
        axis.axis("off")
    figure.suptitle("Held-out numbers; below, where each of their digits is written")
    figure.tight_layout()
    chosen.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.picture, dpi=110)
    return told


if __name__ == "__main__":
    main()

"""Which letter is spoken when: a model of letters and their alignment with speech, from nothing.

    python examples/text_to_speech.py

A small synthesiser speaks texts: each letter has two formants and lasts as long as chance will
have it. Known are the texts and the spectrograms. Each letter gets a mean spectrum; the model
maximises the likelihood summed over all alignments (`monotonic_alignment` with gamma = 1), whose
posterior says softly which frame is whose. With gamma = 0 the same call is the hard search that
gives a text-to-speech model its durations.

Data: made here.

Takes 6 s of one core. Seen: boundaries between letters are off by 18.6 frames of 10 ms before, and
by 2.1 after, which is the letters that are spoken twice: nothing says where the one ends, the hard
search decides all the same, and the soft alignment says that it does not know.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import softdp

LETTERS = "aeioumnlrs"
RATE, HOP = 8000, 80  # samples a second, and a frame: 10 ms
Spoken = tuple[Tensor, Tensor, Tensor]


def speak(formants: Tensor, noise: float) -> Spoken:
    """A text (n,), the spectrogram of its speech (m, 65), and how many frames each letter has."""
    text = torch.randint(len(LETTERS), (int(torch.randint(6, 13, ())),))
    durations = torch.randint(4, 20, text.shape)
    pitch = formants[text].repeat_interleave(HOP * durations, 0)  # (samples, 2)
    # A formant glides from letter to letter.
    glide = nn.functional.avg_pool1d(pitch.T[None], 401, 1, 200, count_include_pad=False)[0]
    sound = torch.sin(2 * math.pi * glide.cumsum(1) / RATE).sum(0)
    sound = sound + noise * torch.randn_like(sound)
    window = torch.hann_window(128)
    spectrum = torch.stft(sound, 128, HOP, window=window, return_complex=True).abs()
    return text, (spectrum[:, : int(durations.sum())] + 0.1).log().T, durations


class Letters(nn.Module):
    """A mean spectrum for each letter, and one deviation."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(start + 0.1 * torch.randn(len(LETTERS), len(start)))
        self.log_deviation = nn.Parameter(torch.zeros(()))

    def forward(self, text: Tensor, speech: Tensor) -> Tensor:
        """log p of each frame (b, m, d) under each letter (b, n): (b, n, m)."""
        distance = softdp.pairwise_cost(self.mean[text], speech)
        scaled = distance / (2 * self.log_deviation.exp().square())
        return -(scaled + speech.shape[-1] * self.log_deviation)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Learn, align and draw; returns how many frames boundaries are off, before and after."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=150, help="of Adam")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--gamma", type=float, default=5.0, help="of the soft alignment drawn")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/text_to_speech.png"))
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    low, high = torch.linspace(300, 900, len(LETTERS)), torch.linspace(1200, 3400, len(LETTERS))
    formants = torch.stack([low[torch.randperm(len(LETTERS))], high], 1)
    spoken = [speak(formants, 0.5) for _ in range(chosen.texts)]
    text, speech, durations = (pad_sequence(part, True) for part in zip(*spoken, strict=True))
    lengths = tuple(torch.tensor([len(one[k]) for one in spoken]) for k in (0, 1))
    every = torch.cat([one[1] for one in spoken])
    speech = speech - every.mean()
    model = Letters(every.mean(0) - every.mean())

    def off() -> float:
        """How many frames a boundary between letters is off, on average."""
        with torch.no_grad():
            hard = softdp.monotonic_alignment(model(text, speech), lengths=lengths).alignment
        found, true = hard.sum(-1).cumsum(1), durations.cumsum(1)
        inside = torch.arange(text.shape[1]) < lengths[0][:, None] - 1
        return (found - true)[inside].abs().mean().item()

    told = {"before": off()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(chosen.steps):
        score = softdp.monotonic_alignment(model(text, speech), gamma=1.0, lengths=lengths).score
        loss = -score.sum() / lengths[1].sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    told["after"] = off()
    print(f"boundaries off by {told['before']:.1f} frames before, {told['after']:.1f} after")

    n, m = lengths[0][0], lengths[1][0]
    with torch.no_grad():
        log_p = model(text, speech)[0, :n, :m]
    hard = softdp.monotonic_alignment(log_p).alignment
    soft = softdp.monotonic_alignment(log_p, gamma=chosen.gamma).alignment
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(11, 8), sharex=True)
    top.imshow(speech[0, :m].T, origin="lower", aspect="auto", extent=(0, m, 0, RATE / 2000))
    top.set_ylabel("kHz")
    ends = durations[0, :n].cumsum(0)
    for letter, end, length in zip(text[0].tolist(), ends, durations[0], strict=False):
        top.axvline(end, color="white", linewidth=1)
        top.text(end - length / 2, RATE / 2000 + 0.1, LETTERS[letter], ha="center")
    for axis, alignment, name in (
        (middle, hard, "hard: gamma = 0"),
        (bottom, soft, f"soft: gamma = {chosen.gamma:g}"),
    ):
        axis.imshow(alignment, cmap="Blues", aspect="auto", extent=(0, m, n, 0))
        axis.step([0, *ends], [0, *range(1, n + 1)], "C3", where="post", linewidth=1, label="true")
        axis.set_yticks(torch.arange(n) + 0.5, [LETTERS[k] for k in text[0, :n]])
        axis.set_title(name)
    middle.legend(loc="lower left")
    bottom.set_xlabel("frame")
    figure.tight_layout()
    chosen.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chosen.picture, dpi=110)
    return told


if __name__ == "__main__":
    main()

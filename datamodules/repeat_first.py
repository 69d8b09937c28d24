"""RepeatFirst of POPGym as a language: at every step, name the suit of the first card."""

from itertools import product

import torch

from lightning_warmup.proofs.automata import Automaton, Symbol

SUITS = 4
LARGEST_REWARD = 1 / 51
"""The reward of a step with the smallest deck; larger decks give less."""


def automaton() -> Automaton:
    """Return the best play of RepeatFirst, with decks of any size.

    Each card after the first comes with the last answer, which is the right one in best play, and with its reward,
    which may be any that a deck gives. A policy that is right on all of this language plays best: its first answer
    is right, so the next card comes as the language says, and so on.
    """
    symbols: dict[str, Symbol] = {}
    moves: dict[tuple[str, str], str] = {}
    one_hot, zero = torch.eye(SUITS), torch.zeros(1)
    for suit in range(SUITS):
        symbols[f"first {suit}"] = torch.cat([torch.zeros(SUITS), zero, one_hot[suit]])
        moves["start", f"first {suit}"] = f"suit {suit}"
    for first, suit in product(range(SUITS), repeat=2):
        name = f"{suit} after {first}"
        rewards = zero, zero + LARGEST_REWARD
        lower, upper = (torch.cat([one_hot[first], reward, one_hot[suit]]) for reward in rewards)
        symbols[name] = lower, upper
        moves[f"suit {first}", name] = f"suit {first}"
    states = [f"suit {suit}" for suit in range(SUITS)]
    return Automaton(["start", *states], symbols, moves, {state: i for i, state in enumerate(states)})

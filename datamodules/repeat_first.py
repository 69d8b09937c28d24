"""RepeatFirst of POPGym as a language: at every step, name the suit of the first card."""

from itertools import product

import torch

from lightning_warmup.proofs.automata import Automaton, Symbol

SUITS = 4
LARGEST_REWARD = 1 / 51
"""The reward of a step with the smallest deck; larger decks give less."""


def automaton() -> Automaton:
    """Return the language of RepeatFirst, for decks of any size.

    Each card after the first comes with the last answer, right or wrong, and with its reward, which may be any
    that a deck gives.
    """
    symbols: dict[str, Symbol] = {}
    moves: dict[tuple[str, str], str] = {}
    for suit in range(SUITS):
        symbols[f"first {suit}"] = torch.cat([torch.zeros(SUITS + 1), torch.eye(SUITS)[suit]])
        moves["start", f"first {suit}"] = f"suit {suit}"
    for answer, suit in product(range(SUITS), repeat=2):
        name = f"{suit} after answer {answer}"
        card = torch.cat([torch.eye(SUITS)[answer], torch.zeros(1), torch.eye(SUITS)[suit]])
        reward = LARGEST_REWARD * torch.eye(2 * SUITS + 1)[SUITS]  # it stands after the answers
        symbols[name] = card - reward, card + reward
        moves |= {(f"suit {held}", name): f"suit {held}" for held in range(SUITS)}
    states = [f"suit {suit}" for suit in range(SUITS)]
    return Automaton(["start", *states], symbols, moves, {state: i for i, state in enumerate(states)})

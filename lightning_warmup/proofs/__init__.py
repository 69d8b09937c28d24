"""Proofs that a network is right for every string of a language, in real arithmetic.

A network is followed on boxes of states (:mod:`intervals`, :mod:`machine`), through a finite automaton that says
what is right (:mod:`automata`). A box for each state of the automaton is a proof (:mod:`certify`), which
:mod:`check` can repeat from weights and boxes alone; :mod:`train` trains a network until it has one.
"""

from lightning_warmup.proofs.automata import Automaton
from lightning_warmup.proofs.certify import Certificate, certify
from lightning_warmup.proofs.train import prove

__all__ = ["Automaton", "Certificate", "certify", "prove"]

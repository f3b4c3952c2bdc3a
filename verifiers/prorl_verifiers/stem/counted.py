"""What is counted in science, besides what is counted everywhere, and what may stand before it."""

from __future__ import annotations

from prorl_verifiers.algebra.counted import COUNTED, singular

_NOUNS = """
atom molecule electron proton neutron ion particle photon nucleus nucleon isotope isomer stereoisomer enantiomer
diastereomer conformer bond pair ring carbon hydrogen oxygen nitrogen acid base nucleotide codon gene allele
chromosome chromatid genotype phenotype gamete offspring generation species individual organism plant animal
bacterium virus neuron protein enzyme cell orbital shell subshell level state node peak signal line mode wavelength
oscillation cycle fringe order lens mirror resistor capacitor charge planet star galaxy count decay event collision
formula unit site peptide residue strand fragment band product reactant step stage phase center centre group
dimension
"""
_KINDS = """
different distinct possible total whole valence unpaired covalent stereogenic chiral lone sigma pi hydrogen carbon
oxygen nitrogen base amino peptide double single disulfide ionic identical such
"""
_SEVERAL = frozenset(("pair", "score", "prime", "quarter", "half", "dozen", "gross"))
"""Words that make more or less of the number, unless something says what they count: five pairs are ten."""
_ALL = COUNTED | frozenset(_NOUNS.split())
_BEFORE = frozenset(_KINDS.split())


def counted_thing(words: str) -> str:
    """Return what is counted, in the singular: `12 apples`, `4 lone pairs`; empty if the words say something else."""
    *before, noun = words.lower().removeprefix("of ").split() or [""]
    noun = singular(noun)
    if noun in _SEVERAL and not before:
        return ""
    return noun if noun in _ALL and all(each in _BEFORE for each in before) else ""

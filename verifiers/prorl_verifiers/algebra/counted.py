"""What is counted in answers. Any other word beside a number, but for a unit, says something else about it."""

from __future__ import annotations

_NOUNS = """
adult animal answer apple arrangement bag ball banana base bead bean bee bike bird block board boat book bottle bowl box
boy branch brick bus cake candy car card cat cell cent chair chicken child choice chocolate circle class clip coin
color column combination cookie corner cow crayon cube cup customer day degree diagonal die digit dime dog dollar
domino door dot dragon duck edge egg element employee envelope euro face factor family fish flower foot friend fruit
function gallon game girl goal grade guest hand handshake hat head hen hole horse hour house inch integer
intersection item jar key kid leaf leg letter line link lollipop machine man marble mark marker match meal member
mile minute month move nickel night number nut octopus orange ounce outcome pack package page pair palindrome paper
parent part path pear pen pencil penny people permutation person phone pie piece pig pizza plane plant plate player
pocket point pound present prime problem question quarter quart rabbit rectangle region ribbon ring roll room root
rose round route row sandwich score seat second section segment set share sheep shirt shoe shot side singer snack
sock solution song sphere square stamp star step sticker stone story student subset sweet symbol table tablet
teacher team term test ticket tile time toy train tree triangle trip truck tuple turn type unit value vertex
visitor vote watch way week wheel win window woman word worker yard year
"""
_IRREGULAR = {
    "children": "child", "men": "man", "women": "woman", "feet": "foot", "inches": "inch", "boxes": "box",
    "vertices": "vertex", "people": "people", "persons": "person", "leaves": "leaf", "halves": "half", "geese": "goose",
    "matches": "match", "classes": "class", "buses": "bus", "watches": "watch", "branches": "branch", "dice": "die",
    "sandwiches": "sandwich", "pennies": "penny", "families": "family", "candies": "candy", "stories": "story",
    "rupees": "rupee", "fishes": "fish", "bunches": "bunch",
}  # fmt: skip
COUNTED = frozenset(_NOUNS.split())


def singular(word: str) -> str:
    """Return the word without its plural ending."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    return word[:-1] if word.endswith("s") and len(word) > 2 else word

"""Letters that look like another one: what prohibitions are read with, so that a word cannot hide behind its looks.

The table holds the letters that Unicode's security data (UTS #39, confusables.txt) takes for an ASCII letter of the
same case, without those that compatibility normalisation or the loss of a mark leads there anyway. Letters with a
stroke or tail, small capitals, and squared and circled letters are added by their names and code points.
"""

from __future__ import annotations

import re
import unicodedata

_SAME_LOOKS = {
    "A": "ΑАᎪᗅꓮ𐊠𖽀𝚨𝛢𝜜𝝖𝞐",
    "B": "ΒВᏴᗷꓐꞴ𐊂𐊡𐌁𝚩𝛣𝜝𝝗𝞑",
    "C": "ϹСᏟⲤꓚ𐊢𐌂𐐕𐔜",
    "D": "Ꭰᗞᗪꓓ",
    "E": "ΕЕᎬⴹꓰ𐊆𑢦𑢮𝚬𝛦𝜠𝝚𝞔",
    "F": "ϜᖴꓝꞘ𐊇𐊥𐔥𑢢𑣂𝟊",
    "G": "ԌᏀᏳꓖ",
    "H": "ΗНᎻᕼⲎꓧ𐋏𝚮𝛨𝜢𝝜𝞖",
    "J": "ͿЈᎫᒍꓙꞲ",
    "K": "ΚКᏦᛕⲔꓗ𐔘𝚱𝛫𝜥𝝟𝞙",
    "L": "ᏞᒪⳐꓡ𐐛𐔦𑢣𑢲𖼖",
    "M": "ΜϺМᎷᗰᛖⲘꓟ𐊰𐌑𝚳𝛭𝜧𝝡𝞛",
    "N": "ΝⲚꓠ𐔓𝚴𝛮𝜨𝝢𝞜",
    "O": "ΟОଠዐⲞⵔꓳ𐊒𐊫𐐄𐓂𐔖𑢵𝚶𝛰𝜪𝝤𝞞",
    "P": "ΡРᏢᑭⲢꓑ𐊕𝚸𝛲𝜬𝝦𝞠",
    "Q": "ⵕ",
    "R": "ƦᎡᏒᖇꓣ𐒴𖼵",
    "S": "ЅՏᏕᏚꓢ𐊖𐐠𖼺",
    "T": "ΤТᎢⲦꓔ𐊗𐊱𐌕𑢼𖼊𝚻𝛵𝜯𝝩𝞣",
    "U": "Սᑌꓴ𐓎𑢸𖽂",
    "V": "ѴᏙᐯⴸꓦꛟ𐔝𑢠𖼈",
    "W": "ԜᎳᏔꓪ",
    "X": "ΧХᚷⲬⵝꓫꞳ𐊐𐊴𐌗𐔧𝚾𝛸𝜲𝝬𝞦",
    "Y": "ΥϒУҮᎩᎽⲨꓬ𐊲𑢤𖽃𝚼𝛶𝜰𝝪𝞤",
    "Z": "ΖᏃꓜ𑢩𝚭𝛧𝜡𝝛𝞕",
    "a": "ɑαа𝛂𝛼𝜶𝝰𝞪",
    "b": "ƄЬᏏᑲᖯ",
    "c": "ϲсᴄⲥꮯ𐐽",
    "d": "ԁᏧᑯꓒ",
    "e": "еҽꬲ",
    "f": "քẝꞙꬵ",
    "g": "ƍɡցᶃ",
    "h": "һհᏂ",
    "i": "ıɩɪͺιіӏᎥιꙇꭵ𑣃𝚤𝛊𝜄𝜾𝝸𝞲",
    "j": "ϳј",
    "l": "ƖǀΙІӀᛁⲒⵏꓲ𐊊𐌉𖼨𝚰𝛪𝜤𝝞𝞘",
    "n": "ոռ",
    "o": "οσоօഠဝჿᴏᴑⲟꬽ𐐬𐓪𑣈𑣗𝛐𝛔𝜊𝜎𝝄𝝈𝝾𝞂𝞸𝞼",
    "p": "ρϱрⲣ𝛒𝛠𝜌𝜚𝝆𝝔𝞀𝞎𝞺𝟈",
    "q": "ԛգզ",
    "r": "гᴦⲅꭇꭈꮁ",
    "s": "ƽѕꜱꮪ𐑈𑣁",
    "u": "ʋυսᴜꞟꭎꭒ𐓶𑣘𝛖𝜐𝝊𝞄𝞾",
    "v": "νѵᴠꮩ𑜆𑣀𝛎𝜈𝝂𝝼𝞶",
    "w": "ɯѡԝաᴡꮃ𑜊𑜎𑜏",
    "x": "хᕁᕽ",
    "y": "ɣʏγуүყᶌỿℽꭚ𑣜𝛄𝛾𝜸𝝲𝞬",
    "z": "ᴢꮓ𑣄",
}
"""By letter: what looks like it."""
_NAMED = re.compile(r"LATIN (SMALL LETTER|CAPITAL LETTER|LETTER SMALL CAPITAL) ([A-Z])(?: WITH .*)?")
_NAMED_RANGES = ((0x00C0, 0x02B0), (0x1D00, 0x1DC0), (0x1E00, 0x1F00), (0x2C60, 0x2C80), (0xA720, 0xA800))
_ALPHABETS = (0x1F150, 0x1F170, 0x1F1E6)
"""Where the negative circled, negative squared and regional letters A to Z begin."""
_WORD_WITH_SIGNS = re.compile(r"[\w@$!]+")
_SIGNS = "034578@$1!"
_LETTERS_FOR_SIGNS = (str.maketrans(_SIGNS, "oeastbasii"), str.maketrans(_SIGNS, "oeastbasli"))


def _table() -> dict[int, str]:
    table = {ord(other): letter for letter, others in _SAME_LOOKS.items() for other in others}
    for start in _ALPHABETS:
        table |= {start + index: chr(ord("a") + index) for index in range(26)}
    for first, end in _NAMED_RANGES:
        for code in range(first, end):
            named = _NAMED.fullmatch(unicodedata.name(chr(code), ""))
            if named:
                table.setdefault(code, named[2] if named[1].startswith("CAPITAL") else named[2].lower())
    return table


_LETTERS = _table()


def with_plain_letters(text: str) -> str:
    """Return the text with ASCII letters in place of those that look like one."""
    return text.translate(_LETTERS)


def with_letters_for_signs(text: str) -> tuple[str, str]:
    """Return the text with letters for digits and signs within words ("b4d", "cl@ss"): i for 1, and l for 1."""

    def read(found: re.Match[str], table: dict[int, int]) -> str:
        word = found.group()
        return word.translate(table) if any(map(str.isalpha, word)) else word

    one, other = _LETTERS_FOR_SIGNS
    return (
        _WORD_WITH_SIGNS.sub(lambda found: read(found, one), text),
        _WORD_WITH_SIGNS.sub(lambda found: read(found, other), text),
    )

"""The commonest function words by language: a text of nothing else says nothing, however sure a classifier is of it."""

from __future__ import annotations

from collections.abc import Mapping

_LISTS = {
    "en": "the a an and or but of to in on at for from with by as is are was were be been it its this that "
    "these those he she they we you i his her their our your my not no do does did have has had will "
    "would can if then so than there",
    "de": "der die das den dem des ein eine einen einem einer eines und oder aber von zu in im am an auf für "
    "mit bei nach aus ist sind war waren sein es er sie wir ihr ich du nicht kein keine auch noch nur wie "
    "als wenn dass sich hat haben wird werden zum zur so da",
    "fr": "le la les l' un une des du de d' et ou mais à au aux en dans sur pour par avec sans est sont était "
    "être il elle ils elles on nous vous je tu ce cette ces cet que qui ne pas plus se sa son ses leur a "
    "ont y comme si",
    "es": "el la los las un una unos unas de del y o pero a al en con por para sin es son era fue ser se su sus "
    "lo le les que no más como este esta estos estas ese esa yo tú él ella nosotros ellos hay muy si ya",
    "pt": "o a os as um uma uns umas de do da dos das e ou mas em no na nos nas com por para sem é são era foi "
    "ser se seu sua que não mais como este esta esse essa eu tu ele ela nós eles há muito ao à já",
    "it": "il lo la i gli le un uno una di del della dei delle e o ma a al alla in nel nella con per su da è "
    "sono era essere si che non più come questo questa io tu lui lei noi loro se suo sua ci",
    "nl": "de het een en of maar van te in op aan voor met bij naar uit is zijn was waren het hij zij ze wij we "
    "jij je ik niet geen ook nog als dat die dit er dan om door over",
    "pl": "i a w we z ze na do o u od po za przez dla jest są był była było być to ten ta te tego tej nie się "
    "co jak ale lub czy że on ona oni my wy ja ty już tak jego jej ich",
    "sv": "en ett den det de och eller men av till i på för med från är var vara som att inte han hon vi ni jag "
    "du om så sig har hade ska kan",
    "fi": "ja tai mutta on ovat oli olla se ne hän he me te minä sinä ei että kun jos niin myös kuin joka tämä "
    "nämä tuo",
    "sw": "na ya wa za la cha vya kwa ni si katika hii hiyo hizo huu hao huo huyo yake wake kama lakini au pia "
    "ndio",
    "vi": "và của là có không được trong cho với các những một này đó khi để thì mà ở từ như cũng đã sẽ tôi bạn",
    "ru": "и в во не на я он она они мы вы ты что это как а но или к ко у за из от по с со о об до для же бы "
    "был была было были есть так то его её их этот эта",
    "uk": "і й та в у не на я він вона вони ми ви ти що це як а але або до з зі із за від по про для же б був "
    "була було були є",
    "bg": "и в във не на аз той тя те ние вие ти че това как а но или до с със за от по е са беше да се си ще",
    "ar": "و في من على إلى أن لا ما هو هي هم هذا هذه ذلك التي الذي كان قد عن مع أو ثم",
    "fa": "و در از به که را این آن با است بود برای یا تا هم من تو او ما",
    "ur": "اور میں سے کا کی کے کو ہے ہیں تھا تھی کہ یہ وہ پر نے یا بھی نہیں",
    "hi": "और में से का की के को है हैं था थी थे कि यह वह पर ने या भी नहीं एक हो तो",
    "mr": "आणि मध्ये चा ची चे ला आहे आहेत होता होती की हा ही हे तो ती ते किंवा पण नाही",
    "ne": "र मा बाट को का की लाई छ छन् थियो कि यो त्यो पनि वा होइन हो",
    "ko": "그 이 저 것 수 등 및 또는 그리고 그러나 하지만 는 은 이다 있다 없다",
}  # fmt: skip
FUNCTION_WORDS: Mapping[str, frozenset[str]] = {code: frozenset(words.split()) for code, words in _LISTS.items()}
"""By ISO 639-1 code, in small letters."""
